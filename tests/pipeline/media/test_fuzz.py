"""Damaged files are used or refused by a sentence; `python -m benchmarks.fuzz` does this at length."""

import pytest

from benchmarks.fuzz import fuzz, whole_stills, whole_videos


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("stills", 64), ("videos", 22)])
def test_no_damage_is_fatal(kind: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    bad = fuzz(kind, whole_stills if kind == "stills" else whole_videos, count, seed=7, limit=60, keep=None)
    assert bad == 0, capsys.readouterr().out
