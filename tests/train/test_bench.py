"""The table of features: rows see equally many pixels, finished ones stay, a failure costs itself alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from benchmarks.tools.shapes import write_dataset
from freelabels.ground.errors import UserError
from freelabels.train.bench import features, work
from freelabels.train.bench.budget import fitted, pixels_of
from freelabels.train.bench.features import bench_features
from freelabels.train.bench.photos import photo_dataset
from freelabels.train.bench.report import FeatureTable, markdown, table_of
from freelabels.train.bench.rows import ROWS, Row, row_of
from freelabels.train.bench.work import RowWork, labels_cost, run_row
from freelabels.train.config import BenchConfig, LoaderConfig, ModelConfig, ProbeConfig, TrainConfig
from freelabels.train.data.catalogue import read_catalogue
from freelabels.train.data.loader import Loader
from freelabels.train.data.windows import REAL, SYNTHETIC
from freelabels.train.export import trained_backbone
from freelabels.train.model.network import Pyramid
from freelabels.train.run.checks import check
from freelabels.train.run.state import begin
from freelabels.train.run.trainer import TrainSummary
from freelabels.train.tasks.tasks import tasks

CONFIG = BenchConfig(
    rows=("random", "renders"),
    seeds=1,
    budget=0.02,  # five steps of four frames
    size=32,
    batch=4,
    backbone="test_resnet",
    width=16,
    held_out=0.25,
    scored=2,
    precision="fp32",
    device="cpu",
    probe=ProbeConfig(seeds=1, draws=1, shots=(1,), rotation="skip", random="skip"),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Made:
    out: Path
    data: Path
    datasets: tuple[Path, Path]
    table: FeatureTable

    def again(self, config: BenchConfig = CONFIG, out: Path | None = None) -> FeatureTable:
        return bench_features(self.data, out or self.out, self.datasets, config=config)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("bench")
    rng = np.random.default_rng(0)
    for name in ("dark", "light"):
        for k in range(6):
            image = rng.integers(0, 100, (32, 32, 3)) + 150 * (name == "light")
            (root / "classes" / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / "classes" / name / f"{k}.png"), image.astype(np.uint8))
    real = write_dataset(root / "real", REAL, 4, 40, frames=1, labels=("edges",))
    renders = write_dataset(root / "renders", SYNTHETIC, 4, 40, frames=1, labels=("edges", "depth"))
    out, data, datasets = root / "out", root / "classes", (real, renders)
    return Made(out, data, datasets, bench_features(data, out, datasets, config=CONFIG))


def work_of(made: Made, name: str, out: Path | None = None) -> RowWork:
    paths = [(str(path),) for path in (made.data, *made.datasets)]
    return RowWork(name, 0, str(out or made.out), CONFIG, paths[0], paths[1], paths[1], paths[2])


@pytest.mark.slow
def test_rows_are_trained_billed_and_probed_stage_by_stage(made: Made) -> None:
    renders = made.table.rows["renders"]
    assert renders.tasks == ("edges", "depth") and renders.steps == 5 and renders.seconds > 0
    assert made.table.rows["random"].steps == 0 and made.table.failed == made.table.left_out == {}
    kept = json.loads(work_of(made, "renders").record.read_text())
    assert set(kept["lines"]) == {"edges", "depth"} and min(kept["lines"].values()) > 20
    assert {"score", "constant", "error", "trivial", "metric"} <= set(kept["scores"][0])
    measures = {table.measure for table in made.table.tables}
    assert {"linear, ridge", "nearest neighbours", "low-shot, 1 a class"} <= measures
    assert all(set(table.rows) == {"random", "renders"} for table in made.table.tables)
    said = (made.out / "features.md").read_text()
    assert said == markdown(made.table) and "| renders | free labels of renders | 1 | 5 × 4 |" in said
    assert json.loads((made.out / "features.json").read_text())["stages"] == list(made.table.stages)
    assert (made.out / "features.png").stat().st_size > 10_000


@pytest.mark.slow
def test_finished_rows_are_kept(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "run_row", None)
    alone = made.again(replace(CONFIG, rows=("renders",)))
    assert set(alone.rows) == {"random", "renders"}  # what else is finished stays in the table
    assert made.again() == made.table
    settings = made.out / "bench.json"
    older = json.loads(settings.read_text())
    del older["photos"], older["probe"]["void"]  # of a version that had no such options, as if by default
    settings.write_text(json.dumps(older))
    assert made.again() == made.table
    del older["probe"]["neighbours"]  # nor may it be used now, in some rows of a table
    settings.write_text(json.dumps(older))
    with pytest.raises(UserError, match=r"another --probe\.neighbours: 0, not 20"):
        made.again(replace(CONFIG, probe=replace(CONFIG.probe, neighbours=20)))


@pytest.mark.slow
def test_a_trained_row_that_could_not_be_probed_is_not_trained_again(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = work_of(made, "renders")
    before = json.loads(work.record.read_text())
    work.record.unlink()
    monkeypatch.setattr("freelabels.train.run.trainer.step", None)
    after = run_row(work)
    assert after["seconds"] == before["seconds"] > 0 and json.loads(work.record.read_text()) == after


@pytest.mark.slow
def test_a_row_that_is_stopped_is_billed_for_what_it_keeps(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = TrainSummary("run", 3, False, (), None, 1.0, 0.0)

    def fit(real: Any, synthetic: Any, out: str, *_: Any, **__: Any) -> TrainSummary:
        Path(out).mkdir(parents=True)
        return stopped

    monkeypatch.setattr(work, "fit", fit)
    one = work_of(made, "renders", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_row(one)
    told = json.loads((tmp_path / "runs" / one.name / "bill.json").read_text())
    assert told["steps"] == 3 and told["seconds"] > 0


def test_a_row_that_fails_is_recorded_and_the_rest_is_made(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = json.loads(work_of(made, "renders").record.read_text())

    def some(work: RowWork) -> dict[str, Any]:
        if work.row == "random":
            raise RuntimeError("out of luck")
        work.record.write_text(json.dumps(done))
        return done

    monkeypatch.setattr(features, "run_row", some)
    table = made.again(out=tmp_path)
    assert table.failed == {"random-0": "RuntimeError: out of luck"} and set(table.rows) == {"renders"}
    assert "Not made: random-0: RuntimeError: out of luck." in (tmp_path / "features.md").read_text()
    assert json.loads((tmp_path / "failures.jsonl").read_text())["row"] == "random-0"


def test_data_that_no_row_can_be_probed_on_end_it_at_once(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "trained", lambda *_: {"run": str(made.out / "runs" / "random-0")})
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"--data .*empty: holds nothing to probe on"):
        bench_features(tmp_path / "empty", tmp_path / "out", made.datasets, config=CONFIG)
    assert not (tmp_path / "out" / "failures.jsonl").exists()
    with pytest.raises(UserError, match=r"--data .*nowhere: there is no such folder"):
        bench_features(made.data / "nowhere", tmp_path / "other", made.datasets, config=CONFIG)
    assert not (tmp_path / "other").exists()  # said before any row is trained


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"size": 64}, "begun with another --size: 32, not 64"),
        ({"rows": ("rotten",)}, "--rows rotten: did you mean 'rotation'"),
        ({"rows": ("supervised",)}, "--rows supervised: no --pictures are given"),
        ({"rows": ("normals",)}, "--rows normals: nothing holds normals"),
        ({"cost": ("real",)}, "--cost is PATH=SECONDS"),
        ({"cost": ("real=-1",)}, "--cost real=-1: seconds are 0 or more"),
        ({"cost": ("elsewhere=1",)}, "--cost .*elsewhere: is none of the datasets"),
        ({"seeds": 0}, "--seeds must be at least 1"),
        ({"width": 0}, "--width must be at least 1"),
        ({"budget": 0.0}, "--budget must be above 0"),
        ({"pretext_lr": float("nan")}, "--pretext-lr must be above 0"),
        ({"size": 48}, "--size 48: give a multiple of 32"),
        ({"held_out": 1.0}, "--held-out is a share between 0 and 1"),
        ({"precision": "fp8"}, "--precision fp8"),
        ({"device": "tpu"}, "--device is auto, cpu or cuda, not 'tpu'"),
        ({"probe": ProbeConfig(shots=(0,))}, "--shots 0: give numbers of images a class"),
        ({"probe": replace(CONFIG.probe, void=(9,))}, r"begun with another --probe.void: \[255\], not \[9\]"),
    ],
)
def test_what_cant_be_is_said_before_any_work(made: Made, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        made.again(replace(CONFIG, **change))


@pytest.mark.parametrize("names", [("edges",), ("rotation",), ("jigsaw",), ("simclr",), ("edges", "simclr")])
def test_every_row_shows_the_trunk_as_many_pixels(made: Made, names: tuple[str, ...]) -> None:
    catalogue = read_catalogue([str(made.datasets[0])], [], 1)
    config = TrainConfig(
        loader=LoaderConfig(size=64, batch=4), model=ModelConfig("test_resnet", width=16), tasks=names
    )
    learned = {name: tasks()[name] for name in names}
    chosen = fitted(config, learned, catalogue, 10.0)
    step, _ = pixels_of(chosen, learned, catalogue)
    assert abs(chosen.steps * step / 1e6 - 10.0) <= step / 1e6
    assert step <= 4 * 64**2 or "simclr" in names  # which compares the samples of its batch


def test_random_weights_have_the_statistics_of_the_pictures(made: Made) -> None:
    backbone, config, _ = trained_backbone(str(made.out / "runs" / "random-0"))
    assert config.tasks == (work.ANY_TASK,)
    means = [m.running_mean for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert means and all(bool((mean != 0).all()) for mean in means if mean is not None)


def test_a_run_begins_from_the_trunk_of_another(made: Made, tmp_path: Path) -> None:
    first = made.out / "runs" / "renders-0"
    old, config, _ = trained_backbone(str(first))
    config = replace(config, tasks=("rotation",), start=str(first), set=())
    state = begin([str(made.datasets[0])], [], tmp_path / "run", config, False, torch.device("cpu"))
    for name, value in old.state_dict().items():
        torch.testing.assert_close(state.learner.model.backbone.state_dict()[name], value)
    other = replace(config, model=replace(config.model, backbone="test_convnext"))
    with pytest.raises(UserError, match=r"--start .*renders-0: its trunk is another than"):
        begin([str(made.datasets[0])], [], tmp_path / "other", other, False, torch.device("cpu"))
    assert check([str(made.datasets[0])], [], tmp_path / "third", config, False)


def test_fewer_laterals_leave_fine_stages_to_deep_ones() -> None:
    maps = [torch.randn(1, 8, 16 >> k, 16 >> k, requires_grad=True) for k in range(3)]
    Pyramid((8, 8, 8), 8, deep=1)(maps, (16, 16)).sum().backward()
    assert [one.grad is not None for one in maps] == [False, False, True]


def test_a_row_may_learn_from_a_share_of_the_clips_that_are_not_held_out() -> None:
    one = work.RowWork("any", 0, "out", replace(CONFIG, held_out=0.2), (), (), (), ())
    shares = [1 - work.configured(one, Row("", kept=kept), ("edges",)).loader.held_out for kept in (1, 0.1)]
    assert shares == pytest.approx([0.8, 0.08])


def test_labels_cost_what_is_told() -> None:
    told = ("data/real=120", "data/renders=80.5")
    assert labels_cost(told, ["data/real", "data/renders"]) == 200.5
    assert labels_cost(told, ["data/other"]) is None and labels_cost(told, []) == 0


def record(name: str, seed: int, value: float, at_chance: bool = False) -> dict[str, Any]:
    table = {"data": "d", "measure": "m", "unit": "%, accuracy", "higher_is_better": True, "constant": 0.1}
    return {
        **{"row": name, "seed": seed, "about": name, "tasks": [], "steps": 1, "batch": 1, "pixels": 1.0},
        **{"seconds": 2.0, "labels": 0.0, "at_chance": at_chance, "stages": ["conv5"]},
        **{"data": [{"name": "d", "what": "w"}], "tables": [{**table, "values": [value]}]},
    }


def test_rows_are_means_over_seeds_beside_random_of_the_same_seed() -> None:
    some = [record("random", k, v) for k, v in enumerate((0.2, 0.3, 0.4))]
    some += [record("free", k, v, k == 0) for k, v in enumerate((0.3, 0.4, 0.5))]
    found = table_of(some, ("random", "free"), {}, {}, {"backbone": "b", "size": 64, "budget": 1.0})
    (figure,) = found.tables[0].rows["free"]
    assert figure is not None and figure.mean == pytest.approx(0.4) and figure.gain is not None
    assert figure.interval == pytest.approx(4.3027 * 0.1 / 3**0.5, abs=1e-4)
    assert figure.gain[0] == pytest.approx(0.1) and figure.clear
    assert "| free † 1 of 3 |" in markdown(found) and "**40.0** ± 24.8\\*" in markdown(found)


def test_a_table_may_have_columns_of_its_own() -> None:
    """As a detector's has, whose scores are of no stage."""
    one = record("random", 0, 0.2)
    one["tables"].append(
        {**one["tables"][0], "measure": "detector", "constant": float("nan"), "values": [0.3, 0.25]}
        | {"columns": ["AP50", "AP"]}
    )
    plain = record("plain", 0, 0.3)  # which has no such table
    found = table_of([plain, one], ("plain", "random"), {}, {}, {"backbone": "b", "size": 64, "budget": 1.0})
    assert [len(table.rows["random"]) for table in found.tables] == [1, 2]
    assert "## d: detector (%, accuracy)" in markdown(found) and "| row | AP50 | AP |" in markdown(found)


def test_every_row_is_of_tasks_that_there_are() -> None:
    assert {name for row in ROWS.values() for name in (*row.tasks, *row.second)} <= set(tasks())
    assert row_of("counting", tasks()).tasks == ("counting",)
    with pytest.raises(UserError) as refused:
        row_of("rotaton", tasks())
    assert str(refused.value).count(" rotation,") == 1  # a row and a task have that name


def test_photos_of_val_are_kept_for_scores_and_those_of_train_are_learned_from(tmp_path: Path) -> None:
    for part, value in (("train", 50), ("val", 200)):
        for kind in ("a", "b"):
            (tmp_path / "photos" / part / kind).mkdir(parents=True)
            for k in range(3):  # of the same names in every folder
                grey = np.full((40, 48, 3), value, np.uint8)
                cv2.imwrite(str(tmp_path / "photos" / part / kind / f"{k}.png"), grey)
    made = photo_dataset(tmp_path / "photos", tmp_path / "out", 32, most=4)
    loader = Loader(read_catalogue([str(made)], [], 1), (), LoaderConfig(size=32, batch=2, held_out=0.5), 0)
    windows = loader.catalogue.windows
    for held, value in ((~loader.held, 50), (loader.held, 200)):
        images = loader.centred([windows[number] for number in windows.numbers(held)])["image"]
        assert len(images) == 4 and images.unique().tolist() == [value]
