"""The table of `benchmarks.pretexts images`, and the row that learns from another."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.pretexts import beside, images
from docs.pretexts_table import FIGURES, PAGE, with_figures
from freelabels.ground.errors import UserError
from freelabels.train.config import TrainConfig

SCORE = {"task": "counting", "domain": "all", "metric": "error", "trivial": "chance"}
SCORE |= {"score": 0.2, "constant": 0.3, "better": True, "error": 0.05, "frames": 9}
RECORD = {
    "row": "counting",
    "scores": [SCORE, SCORE | {"domain": "real"}],
    "tables": [{"measure": "linear, ridge", "values": [0.5, None]}],
    "seconds": 3.0,
    "lines": {"counting": 75},
}


def test_the_table_for_the_page_has_a_line_a_row() -> None:
    lines = images.markdown(
        [RECORD, RECORD | {"row": "random", "scores": []}], ["conv1", "conv2"]
    ).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[2] == ["`counting`", "error", "0.200", "0.300 (chance)", "2.0", "50.0", "", "3", "75"]
    assert cells[3] == ["`random`", "", "", "", "", "50.0", "", "3", ""]
    assert len(cells) == 4 and {len(line) for line in cells} == {9}


def test_figures_take_the_place_of_those_before_on_the_page() -> None:
    page = PAGE.read_text()
    first = with_figures(page, "| one |")
    assert first.startswith(page[: page.index(FIGURES[0])]) and first.endswith(page[page.index(FIGURES[1]) :])
    assert "| one |" in first and with_figures(first, "| two |") == with_figures(page, "| two |")


def test_what_learns_from_another_row_comes_last_and_judges_of_generators_lie_apart(tmp_path: Path) -> None:
    assert images.systems()[-1] == "boosting" and len(set(images.systems())) == len(images.systems())
    apart = {name for name in images.systems() if images.judges(name)}
    assert apart == {"gan", "dcgan", "wgan", "self_gan"}  # bigan's trunk sees real ones alone


@pytest.mark.benchmark
@pytest.mark.slow
def test_clusters_of_one_row_are_what_another_learns(tmp_path: Path) -> None:
    toy = {"megapixels": 0.05, "size": 32, "batch": 4, "backbone": "test_resnet", "photos": 110, "scored": 8}
    images.main(out=str(tmp_path), only=("boosting",), **toy)  # type: ignore[arg-type]
    [score] = json.loads(images.record_of("boosting", tmp_path, 0).read_text())["scores"]
    assert score["trivial"] == "commonest cluster"
    assert "`boosting`" in (tmp_path / images.TABLE).read_text()


def test_a_parameter_reaches_the_rows_that_learn_its_task(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str, ...]] = []

    def told(real: object, synthetic: object, run: str, config: TrainConfig, quiet: bool) -> SimpleNamespace:
        seen.append(config.set)
        return SimpleNamespace(scores=[{"task": t, "domain": "all", "score": 0.5} for t in config.tasks])

    monkeypatch.setattr(beside, "fit", told)
    monkeypatch.setattr(beside, "made", lambda *_: ([], []))
    beside.main(("dcgan", "gan"), (0,), set=("dcgan.weight=1", "edges.x=2"))
    assert seen == [("edges.x=2",), ("dcgan.weight=1", "edges.x=2"), ("edges.x=2",)]
    *_, last = capsys.readouterr().out.splitlines()
    assert last.split()[0] == "gan" and last.split()[-3] == "0.500"  # its own score, behind what others lose
    with pytest.raises(UserError, match=r"wgan\.rate=1: edges, depth, dcgan are trained"):
        beside.main(("dcgan",), (0,), set=("wgan.rate=1",))
