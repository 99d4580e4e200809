"""`label --dry-run`: what would be done and what it costs, from stated figures; nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from freelabels import Cluster, UserError, label
from freelabels.cli.main import main
from freelabels.pipeline.stages.label_estimate import EXAMINE, KIB, SECONDS, WRITE, estimate
from freelabels.pipeline.work.progress import Reporter
from tests.sources import moving_frames, write_photos, write_video

QUIET: dict[str, Any] = {"cluster": Cluster(workers=0), "reporter": Reporter("quiet")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_photos(tmp_path / "data", 4, 64)
    write_video(tmp_path / "data" / "film.mp4", moving_frames(6))
    return tmp_path / "data"


@pytest.mark.slow
def test_it_plans_what_label_then_does(folder: Path, tmp_path: Path) -> None:
    wanted: dict[str, Any] = {"labels": ["edges", "flow"], "size": (64, 64), "shard_frames": 3}
    before = estimate(folder, tmp_path / "out", **wanted)
    assert not (tmp_path / "out").exists()
    done = label(folder, tmp_path / "out", **wanted, **QUIET)
    assert (before.shards, before.frames, before.to_do) == (done.shards, done.frames, done.made)
    assert before.skipped == done.skipped and "flow" in before.skipped["photo"]
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    after = estimate(folder, tmp_path / "out", **wanted)
    assert (after.to_do, sum(after.cpu_hours.values()), after.gib) == (0, 0, 0)
    more = estimate(folder, tmp_path / "out", **{**wanted, "labels": ["edges", "flow", "regions"]})
    assert more.to_do == done.shards and {*more.cpu_hours} == {"superpixels", WRITE}
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == files


def test_cost_is_frames_times_figures(folder: Path, tmp_path: Path) -> None:
    small = estimate(folder, tmp_path / "out", labels=["edges"])
    assert small.cpu_hours["edges"] == pytest.approx(10 * SECONDS["edges"] / 3600)
    assert small.cpu_hours[EXAMINE] == pytest.approx(10 * SECONDS[EXAMINE] / 3600)
    kib = 10 * (KIB["image"] + KIB["edges"] + KIB["edges_confidence"])
    assert small.gib == pytest.approx(kib / 1024**2)
    large = estimate(folder, tmp_path / "out", labels=["edges"], size=(512, 512))
    assert large.gib == pytest.approx(4 * small.gib)


def test_what_has_no_figure_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert estimate(folder, tmp_path / "out", labels=["edges"]).without_figures == ()
    monkeypatch.delitem(SECONDS, "edges")  # type: ignore[arg-type]
    monkeypatch.delitem(KIB, "edges_confidence")  # type: ignore[arg-type]
    found = estimate(folder, tmp_path / "out", labels=["edges"])
    assert found.without_figures == ("edges", "edges_confidence")
    assert any("for want of figures: edges" in line for line in found.lines())


def test_what_cant_go_on_is_said(folder: Path, tmp_path: Path) -> None:
    label(folder, tmp_path / "out", labels=["edges"], size=(32, 32), **QUIET)
    with pytest.raises(UserError, match="was begun with size"):
        estimate(folder, tmp_path / "out", labels=["edges"], size=(64, 64))


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["label", str(folder), "--out", str(tmp_path / "out"), "--dry-run", "--labels", "edges,flow"]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = capsys.readouterr().out
    assert end.value.code == 0 and not (tmp_path / "out").exists()
    assert "plan: 10 frames in 2 shards, 2 to make or complete" in said
    assert "CPU-hours and" in said and "no flow of photo" in said and said.startswith("kind")
    with pytest.raises(SystemExit):
        main([*arguments, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["shards"] == 2 and found["cpu_hours"]["edges"] > 0
    assert sum(one["clips"] for one in found["inventory"]["holdings"]) == 5
