"""Benchmarks say what is wrong with their options before they spend minutes."""

from pathlib import Path

import pytest

from benchmarks.label import main as label
from benchmarks.realism import realism
from benchmarks.tools.against import HERE, compare
from freelabels.ground.errors import UserError


def test_what_is_compared_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no checkout"):
        compare(tmp_path, [tmp_path], 64, 1)
    with pytest.raises(UserError, match=r"--sources .*nothing\.mp4: does not exist"):
        compare(HERE, [tmp_path, tmp_path / "nothing.mp4"], 64, 1)
    with pytest.raises(UserError, match="--repeats"):
        compare(HERE, [tmp_path], 64, 0)
    with pytest.raises(UserError, match="--before"):
        label(sources=(tmp_path,))


def test_several_sources_end_in_a_line_of_all_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also against a checkout from before the package was a folder."""
    (tmp_path / "freelabels.py").touch()
    sources = [tmp_path / "short", tmp_path / "long"]
    for source in sources:
        source.mkdir()
    seconds = {("before", "short"): 1.0, ("before", "long"): 9.0, ("now", "short"): 2.0, ("now", "long"): 9.0}

    def cost(checkout: Path, source: Path, out: Path, *_: object) -> tuple[float, set[str]]:
        return seconds["now" if checkout == HERE else "before", source.name], {"edges"}

    monkeypatch.setattr("benchmarks.tools.against.label_cost", cost)
    compare(tmp_path, sources, 64, 1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["short", "long", "all"]
    assert lines[-1].split()[1:4] == ["10.0", "11.0", "1.10"]


@pytest.mark.parametrize("options", [{"nets": 0}, {"count": 0}, {"runs": ("nowhere",)}])
def test_realism_refuses_before_it_renders(
    options: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.realism._rendered", lambda *_: pytest.fail("renders"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"at least 1|is no run"):
        realism(**options)  # type: ignore[arg-type]
