"""`freelabels sources`: how files were understood, before any work, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freelabels.cli.main import main
from tests.films import clap, talkie
from tests.pipeline.sources.test_metres import rgbd
from tests.pipeline.sources.test_sources import save, scene
from tests.sources import moving_frames, write_video


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rgbd(tmp_path / "room", 2000, "f-{}.color.png", "f-{}.depth.png")
    save(tmp_path / "photos" / "a.png", scene(7))
    save(tmp_path / "photos" / "a_normal.png", scene(8))
    (tmp_path / "photos" / "b.png").write_text("broken")
    (tmp_path / "photos" / "c.blend").write_text("?")
    return tmp_path


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as end:
        main(["sources", *arguments])
    return end.value.code, capsys.readouterr().out


def test_it_says_what_was_found_as_what_and_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob("*"))
    status, said = command(capsys, str(folder), "--json")
    found = json.loads(said)
    assert status == 0 and sorted(folder.rglob("*")) == before
    holdings = {one["kind"]: one for one in found["holdings"]}
    assert holdings["rgbd"]["depth_unit"] == 0.001 and "7-Scenes" in holdings["rgbd"]["depth_origin"]
    assert (holdings["rgbd"]["frames"], holdings["rgbd"]["size"]) == (4, [96, 128])
    assert (holdings["photo"]["clips"], holdings["photo"]["camera_origin"]) == (1, "assumed")
    assert [Path(one["uri"]).name for one in found["refused"]] == ["b.png"]
    assert [one["first"] for one in found["passed"]] == ["a_normal.png", "c.blend"]


def test_what_can_be_heard_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    talkie(tmp_path / "a.mp4", clap(1.0, 0.5, 44_100), 44_100, frames=10)
    write_video(tmp_path / "b.mp4", moving_frames(4))
    found = json.loads(command(capsys, str(tmp_path), "--json")[1])
    assert {Path(one["place"]).name: one["sound"] for one in found["holdings"]} == {"a.mp4": 1, "b.mp4": 0}


def test_as_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, said = command(capsys, str(folder))
    lines = said.splitlines()
    assert lines[0].split()[:3] == ["kind", "clips", "frames"]
    assert any(line.startswith("rgbd") and "0.001 m a count" in line for line in lines)
    assert "passed over:" in lines and "refused:" in lines


def test_nothing_that_can_be_used_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_text("broken")
    assert command(capsys, str(tmp_path))[0] == 1
