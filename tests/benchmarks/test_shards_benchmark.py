"""Shards beside other formats: the frames that are made, and what happens without the peers."""

from pathlib import Path

import pytest

from benchmarks.shards import environment
from benchmarks.shards.frames import FIELDS, SIDE, generated
from freelabels.generators.contract.fields import field


def test_made_frames_are_what_the_contract_asks_for() -> None:
    frames = generated(2)
    assert tuple(frames) == FIELDS
    for name, values in frames.items():
        assert values.shape[:3] == (2, SIDE, SIDE) and values.dtype == field(name).dtype, name
        assert field(name).valid(values).mean() > 0.5, name


def test_without_uv_the_peers_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment.shutil, "which", lambda *_, **__: None)
    assert environment.make_environment(tmp_path / "peers") is None
    assert capsys.readouterr().out.startswith("the peers are left out: uv")
