"""`freelabels calibrate`: what each detector's confidence means."""

from __future__ import annotations

from typing import Annotated

import freelabels
from freelabels.cli.shell.options import FLAT, HERE, Where, size_of
from freelabels.cli.shell.terminal import DONE, conclude, reporter


def calibrate(
    *,
    out: str,
    clips: int = 24,
    seed: int | None = None,
    frames: int = 8,
    size: str = "256",
    footage: tuple[str, ...] = ("shipped",),
    install: bool = False,
    where: Annotated[Where, FLAT] = HERE,
    json: bool = False,
) -> int:
    """Fit what each detector's confidence means: on rendered clips, whose truth is exact, and on footage.

    Args:
        out: Folder for calibration.json and a reliability diagram per label.
        clips: How many clips to render.
        seed: Seed of the clips; default: that of the maps that ship.
        frames: Frames of a clip.
        size: Side of the frames in pixels, or WIDTHxHEIGHT.
        footage: Files of counts on footage with truth, as `python -m benchmarks.labels --counts FILE` writes them;
            "shipped" are the counts that come with the package, "none" leaves renders alone.
        install: Make these the maps that detectors use from now on, in this installation.
        where: Where and how carefully it runs.
        json: Print progress and summary as JSON lines on standard output.
    """
    summary = freelabels.calibrate(
        out,
        clips,
        **({} if seed is None else {"seed": seed}),
        frames=frames,
        size=size_of(size),
        footage=footage,
        install=install,
        cluster=where.cluster,
        reporter=reporter(json),
    )
    conclude(json, summary, f"confidence maps and reliability diagrams: {out}")
    return DONE
