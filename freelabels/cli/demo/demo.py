"""`freelabels demo`: labels, renders, a few steps of training, and the page, in a few minutes."""

from __future__ import annotations

import os
import shutil
import sys
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import freelabels
from freelabels.cli.shell.terminal import DONE, INTERRUPTED, note, reporter, say
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import counted

if TYPE_CHECKING:
    from freelabels.train.config import TrainConfig

WORKED_ON = ("sources", "real", "synthetic", "run")  # folders of the demo


def demo(*, out: str = "demo", steps: int = 40, clips: int = 12, size: int = 128, open: bool = True) -> int:
    """See it at work: label photos and a clip that need no download, render, train a little, write the page.

    Args:
        out: Folder for everything; run again, it makes what is missing.
        steps: Steps of training; 0 leaves it out.
        clips: Clips to render; 0 leaves them out.
        size: Side of the frames in pixels.
        open: Show the page in a browser where there is a screen.
    """
    for option, value, least in (("--steps", steps, 0), ("--clips", clips, 0), ("--size", size, 32)):
        if value < least:
            raise UserError(f"{option} is {least} or more, not {value}")
    began, folder, to = time.monotonic(), Path(out), reporter()
    if folder.exists() and any(p.name not in (*WORKED_ON, *_pictures(folder)) for p in folder.iterdir()):
        raise UserError(f"{out} holds something else; name a new folder with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} can't be made ({error.strerror}); name another folder with --out") from error
    parts = ["labels", *(["renders"] if clips else []), *(["a short training"] if steps else []), "a page"]
    say(f"{', '.join(parts)}: a few minutes, everything into {folder.resolve()}")
    here = freelabels.Cluster(workers=0)  # few things to do: Ray would take longer to start

    def made(what: str, path: Path) -> None:
        say(f"{what}: {path.resolve()} ({time.monotonic() - began:.0f} s)")

    from freelabels.cli.demo.sources import write_sources
    from freelabels.pipeline.stages.bookkeeping import writing_to
    from freelabels.pipeline.viewer.contact_sheet import draw_contact_sheet
    from freelabels.pipeline.viewer.page import write_html

    if not (folder / "sources" / "clip.mp4").exists():
        with writing_to(out):
            write_sources(folder / "sources")
    real, synthetic = folder / "real", folder / "synthetic"
    freelabels.label(folder / "sources", real, size=(size, size), cluster=here, reporter=to)
    made(
        "labels of photos and a clip", Path(draw_contact_sheet(str(real), str(folder / "real.png"), frames=6))
    )
    datasets = [str(real)]
    try:
        if clips:
            options = freelabels.RenderOptions(frames=2, size=(size, size))
            freelabels.render(synthetic, clips, options, cluster=here, reporter=to)
            sheet = draw_contact_sheet(str(synthetic), str(folder / "synthetic.png"), frames=6)
            made("renders with exact labels", Path(sheet))
            datasets.append(str(synthetic))
    except UserError as error:
        note(f"{error}; going on without renders")
    if steps:
        shutil.rmtree(folder / "run", ignore_errors=True)
        say(f"training {counted(steps, 'step')} …")
        if not freelabels.fit(datasets, folder / "run", _few(steps), quiet=True).finished:
            return INTERRUPTED
        made("what the network has learned", max((folder / "run" / "pictures").iterdir()))
    say("writing the page …")
    page = Path(write_html(datasets, str(folder / "page.html"), clips=0)).resolve()
    made("the page", page)
    beside = f" --beside {synthetic}" if len(datasets) > 1 else ""
    mapped = f" --map-run {folder / 'run'}" if steps else ""
    say(f"the same page of every frame: freelabels inspect {real}{beside} --serve{mapped}")
    shown = open and _has_screen() and _shown(page.as_uri())
    say(f"{'shown in your browser' if shown else 'open in a browser'}: {page.as_uri()}")
    return DONE


def _has_screen() -> bool:
    """Whether somebody sits here: a program, a pipe or a far terminal gets no window."""
    windows = (
        sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    return bool(windows) and sys.stdout.isatty()


def _shown(address: str) -> bool:
    """Whether a browser took the address."""
    try:
        return webbrowser.open(address)
    except (webbrowser.Error, OSError):
        return False


def _few(steps: int) -> TrainConfig:
    """A small net and small views, so that a minute shows something."""
    from freelabels.train.config import LoaderConfig, TrainConfig

    return TrainConfig(
        steps=steps,
        picture_every=max(steps, 1),
        save_every=max(steps, 1),
        evaluate=16,
        loader=LoaderConfig(size=64, batch=8, synthetic=0.75),
    )


def _pictures(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.suffix in (".png", ".html")]
