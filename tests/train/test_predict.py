"""A run's network labels sources: with confidence that is scaled on renders, into a dataset to train on again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import freelabels
from benchmarks.tools.shapes import write_dataset
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.work.progress import Reporter
from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.predicting.certainty import logistic, temperature
from freelabels.train.predicting.student import load_student
from tests.sources import write_photos

QUIET, HERE, SIZE = Reporter("quiet"), freelabels.Cluster(workers=0), 32
LEARNED = ("edges", "depth", "normals", "disparity")
CONFIG = TrainConfig(
    steps=1,
    precision="fp32",
    device="cpu",
    evaluate=1,
    tasks=(*LEARNED, "rotation"),
    loader=LoaderConfig(size=SIZE, batch=4, held_out=0.4),
    model=ModelConfig("test_resnet", width=16),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("predict")
    write_dataset(folder / "renders", 1, 8, SIZE, 2, confidence=255)
    freelabels.fit((), folder / "run", CONFIG, synthetic=folder / "renders", quiet=True)
    return folder / "run"


@pytest.fixture(scope="module")
def made(run: Path) -> Path:
    write_photos(run.parent / "photos", 2)
    out = run.parent / "second"
    done = freelabels.predict(run, run.parent / "photos", out, size=(SIZE, 48), cluster=HERE, reporter=QUIET)
    assert (done.labels, done.made, done.frames, done.scaled) == (LEARNED, 1, 2, True)
    return out


@pytest.mark.slow
def test_labels_and_confidence_are_columns_that_say_what_made_them(run: Path, made: Path) -> None:
    dataset = Dataset(made)
    [shard] = map(dataset.open, dataset.shards())
    for name in LEARNED:
        recipe = shard.made_by(name)
        assert recipe["generator"] == "predict" and recipe["parameters"]["run"] == "run"
        assert recipe["parameters"]["scaled"]["slope"] >= 0
        assert shard.made_by(f"{name}_confidence") == recipe
        assert shard.shape(name)[1:3] == (SIZE, 48)
    assert freelabels.verify(made, reporter=QUIET).problems == ()
    again = freelabels.predict(run, (), made, reporter=QUIET)
    assert again.made == 0 and dataset.shards() == Dataset(made).shards()


@pytest.mark.slow
def test_the_same_line_again_leaves_them_as_they_are(run: Path, made: Path) -> None:
    there = Dataset(made).shards()
    again = freelabels.predict(
        run, run.parent / "photos", made, size=(SIZE, 48), cluster=HERE, reporter=QUIET
    )
    assert again.made == 0 and Dataset(made).shards() == there


def test_a_device_that_there_is_not_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--device is auto, cpu or cuda, not 'gpu'"):
        freelabels.predict(run, (), tmp_path, device="gpu", reporter=QUIET)


def test_a_second_round_trains_on_them(made: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, tasks=("edges", "depth"), loader=replace(CONFIG.loader, held_out=0.0))
    assert freelabels.fit(made, tmp_path / "run", config, quiet=True).finished


def test_without_renders_only_probabilities_are_given(run: Path, made: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in ("train.toml", "checkpoint.pt"):
        (tmp_path / "run" / name).write_bytes((run / name).read_bytes())
    text = (tmp_path / "run" / "train.toml").read_text()
    (tmp_path / "run" / "train.toml").write_text(text.replace("renders", "nowhere"))
    freelabels.copy(made, tmp_path / "copy", reporter=QUIET)
    done = freelabels.predict(tmp_path / "run", (), tmp_path / "copy", reporter=QUIET)
    assert (done.labels, done.scaled, set(done.left_out)) == (("edges",), False, set(LEARNED[1:]))
    with pytest.raises(UserError, match="has not learned 'flow'"):
        freelabels.predict(run, (), made, labels=["flow"], reporter=QUIET)
    with pytest.raises(UserError, match="holds edges made by shapes"):
        freelabels.predict(run, (), run.parent / "renders", labels=["edges"], reporter=QUIET)


def test_a_temperature_undoes_what_logits_were_multiplied_by() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 40_000)
    right = (rng.random(40_000) < 1 / (1 + np.exp(-np.abs(logits)))).astype(float)
    assert 1 / temperature(np.abs(3 * logits), right).slope == pytest.approx(3, rel=0.1)
    curve = logistic(5 * logits + 2, (rng.random(40_000) < 1 / (1 + np.exp(-logits - 1))).astype(float))
    assert curve.slope == pytest.approx(0.2, rel=0.1) and curve.shift == pytest.approx(0.6, abs=0.1)
    assert logistic(logits, np.ones(40_000))(np.array([9.0]))[0] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_the_network_leaves_as_one_program(run: Path, tmp_path: Path, form: str) -> None:
    path = freelabels.export(run, tmp_path, to=form)
    student = load_student(str(run), "cpu")
    images = np.random.default_rng(0).uniform(0, 255, (3, 3, SIZE, SIZE)).astype(np.float32)
    with torch.no_grad():
        answers = student.network(torch.from_numpy(images))
    want = [t.value(a).numpy() for t, a in zip(student.tasks.values(), answers, strict=True)]
    if form == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        found = onnxruntime.InferenceSession(str(path)).run(None, {"image": images})
    else:
        found = [out.detach().numpy() for out in torch.export.load(path).module()(torch.from_numpy(images))]
    for one, other in zip(found, want, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3, rtol=1e-3)
    about = json.loads((tmp_path / "network.json").read_text())
    assert [label["name"] for label in about["labels"]] == list(LEARNED)


def test_other_forms_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--to onxx: did you mean 'onnx'"):
        freelabels.export(run, tmp_path, to="onxx")
