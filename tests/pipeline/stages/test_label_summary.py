"""What a run says in the end: what holds which label, what is gone, and how long the rest would take."""

import io
import sys
import webbrowser
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import freelabels
from freelabels.pipeline.sources.clip_specs import SourceOptions
from freelabels.pipeline.work import progress
from freelabels.pipeline.work.progress import Reporter, Tick, duration
from tests.sources import moving_frames, write_photos, write_video

HERE = freelabels.Cluster(workers=0)


def heard() -> tuple[Reporter, io.StringIO]:
    said = io.StringIO()
    return Reporter("auto", Console(file=said, width=200)), said


def test_coverage_and_what_is_gone_are_said(tmp_path: Path) -> None:
    still = np.repeat(moving_frames(1), 3, axis=0)
    write_video(tmp_path / "a" / "still.mp4", still)
    write_photos(tmp_path / "a", 2)
    (tmp_path / "a" / "notes.doc").touch()
    reporter, said = heard()
    options, labels = SourceOptions(fps=None), ["regions", "disparity"]
    first = freelabels.label(
        tmp_path / "a",
        tmp_path / "out",
        labels=labels,
        size=(32, 32),
        options=options,
        cluster=HERE,
        reporter=reporter,
    )
    assert first.coverage["photo"]["regions"]["coverage"] == 1
    assert first.coverage["video"]["disparity"] | {"pixels": 0} == {
        **{"pixels": 0, "labelled": 0, "coverage": 0, "shards": 1, "empty": 1}
    }
    lines = said.getvalue().splitlines()
    assert "photo: regions 100%" in lines and "video: disparity 0%, regions 100%" in lines
    assert "  no disparity on all shard of video (often: the camera hardly moves, or only turns)" in lines
    assert first.gone == 0

    (tmp_path / "a" / "still.mp4").unlink()
    reporter, said = heard()
    again = freelabels.label(
        tmp_path / "a", tmp_path / "out", labels=labels, size=(32, 32), cluster=HERE, reporter=reporter
    )
    assert (again.made, again.gone) == (0, 1) and "prune --gone" in said.getvalue()
    assert freelabels.prune(tmp_path / "out", gone=True).clips == 1
    assert freelabels.inspect(tmp_path / "out")["sources"] == {"photo": {"clips": 2, "frames": 2}}


def test_an_interrupted_stage_says_how_long_the_rest_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tick, "_seconds", lambda tick: 100.0)
    reporter, said = heard()
    with pytest.raises(KeyboardInterrupt), reporter.stage("label", 10) as tick:
        for _ in range(4):
            tick(5)
        raise KeyboardInterrupt
    assert said.getvalue() == "label: 4 of 10 0.2 frames/s, about 2 min left\n"
    assert [duration(s) for s in (3, 119, 7200, 1e6)] == [
        "about 3 s",
        "about 119 s",
        "about 2 h",
        "about 12 days",
    ]


@pytest.mark.slow
def test_the_demo_needs_nothing_but_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from freelabels.cli.demo import demo, sources

    monkeypatch.setattr(sources, "FRAMES", 4)
    monkeypatch.setattr(sources, "PHOTOS", ("coffee",))
    monkeypatch.setattr(freelabels, "label", partial(freelabels.label, labels=["edges", "regions"]))
    opened: list[str] = []
    monkeypatch.setattr(demo, "_has_screen", lambda: True)
    monkeypatch.setattr(webbrowser, "open", lambda address: not opened.append(address))
    assert demo.demo(out=str(tmp_path / "demo"), steps=0, clips=0, size=64) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"labels, a page: a few minutes, everything into {tmp_path / 'demo'}")
    address = (tmp_path / "demo" / "page.html").as_uri()
    assert opened == [address] and said.splitlines()[-1] == f"shown in your browser: {address}"
    assert f"freelabels inspect {tmp_path / 'demo' / 'real'} --serve\n" in said
    for name in ("real.png", "page.html"):
        assert (tmp_path / "demo" / name).stat().st_size > 1000 and name in said
    figures = freelabels.inspect(tmp_path / "demo" / "real")
    assert {kind: n["frames"] for kind, n in figures["sources"].items()} == {"photo": 1, "video": 4}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(freelabels.UserError, match="holds something else"):
        demo.demo(out=str(tmp_path / "mine"))


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="always has a screen")
def test_the_demo_opens_no_window_where_nobody_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from freelabels.cli.demo import demo

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert demo._has_screen()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert not demo._has_screen()
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not demo._has_screen()

    def none(address: str) -> bool:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "open", none)
    assert not demo._shown("file:///page.html")


def test_a_notebook_that_asks_for_colour_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn anew stays there as a line each time; Jupyter sets FORCE_COLOR for what its cells run."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    reporter, said = heard()
    assert reporter.console.is_terminal
    with reporter.stage("label", 2) as tick:
        tick(1)
        tick(1)
    assert len(said.getvalue().splitlines()) == 1 and "\x1b[?25l" not in said.getvalue()


def test_the_end_of_a_stage_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    with Reporter().stage("label", 2) as tick:
        tick()
        tick()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" about")[0].strip() for line in lines] == ["label: 1 of 2", "label: 2 of 2"]
