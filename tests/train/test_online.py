"""Labels that a run makes for itself: the book, its versions, exact resume, k-means."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.tools.shapes import write_dataset
from freelabels.ground.errors import UserError
from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.windows import REAL
from freelabels.train.run import book, checkpoint
from freelabels.train.run.book import BOOK
from freelabels.train.run.trainer import TrainSummary, fit
from freelabels.train.tasks.clusters.k_means import agreement, k_means, nearest, unit, whitened
from freelabels.train.tasks.contract.online import Labels
from tests.train.test_trainer import assert_bits_equal

pytestmark = pytest.mark.slow

TASKS = ("deep_cluster", "joint_cluster", "cluster_embedding", "graph_constraint", "predict_noise")
SET = (
    *(f"{name}.every=3" for name in TASKS),
    *("deep_cluster.clusters=4", "joint_cluster.clusters=8", "joint_cluster.least=6"),
    *("cluster_embedding.clusters=4", "graph_constraint.neighbours=5", "predict_noise.block=7"),
)
CONFIG = TrainConfig(
    tasks=TASKS,
    set=SET,
    steps=10,
    precision="fp32",
    device="cpu",
    save_every=5,
    log_every=5,
    picture_every=100,
    evaluate=8,
    ema=0.9,
    loader=LoaderConfig(size=32, batch=4, held_out=0.25),
    model=ModelConfig("test_resnet", width=16),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "clips"
    return str(write_dataset(path, REAL, 24, 40, frames=2, labels=("edges",)))


@pytest.fixture(scope="module")
def whole(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to its end."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run(data, folder)
    return folder


def run(data: str, out: Path, config: TrainConfig = CONFIG, **options: Any) -> TrainSummary:
    return fit([data], [], str(out), config, quiet=True, **options)


def pages(folder: Path) -> dict[str, bytes]:
    """What the book holds, by the name of its files."""
    found = sorted((folder / BOOK).rglob("*.npz"))
    return {str(path.relative_to(folder / BOOK)): path.read_bytes() for path in found}


def test_a_version_is_made_every_so_many_steps_of_one_frame_a_clip(whole: Path) -> None:
    for name in TASKS:
        versions = [book.get(whole, name, version) for version in range(4)]  # before steps 1, 4, 7 and 10
        assert not book.page(whole, name, 4).exists()
        assert all(len(column) == 24 for labels in versions for column in labels.clips.values())
    assert {score["task"] for score in json.loads((whole / "summary.json").read_text())["scores"]} == {*TASKS}


class Killed(BaseException):
    """What nobody catches."""


@pytest.mark.parametrize("step", [3, 7])  # the last of a version; the first of one made after the checkpoint
def test_cut_off_and_resumed_the_book_and_the_weights_are_the_same(
    data: str, whole: Path, tmp_path: Path, step: int
) -> None:
    def cut_off(number: int, learner: object) -> None:
        if number == step:
            raise Killed

    with pytest.raises(Killed):
        run(data, tmp_path / "cut", replace(CONFIG, save_every=2), on_step=cut_off)
    assert checkpoint.load(tmp_path / "cut" / checkpoint.CHECKPOINT)["step"] == step - 1
    run(data, tmp_path / "cut", resume=True)
    assert_bits_equal(*(checkpoint.load(path / checkpoint.CHECKPOINT) for path in (whole, tmp_path / "cut")))
    assert pages(tmp_path / "cut") == pages(whole)


def test_a_run_that_has_ended_is_scored_again_by_the_labels_it_learned(
    data: str, whole: Path, tmp_path: Path
) -> None:
    # Nine steps end where a version would be due: it is not made, and the head isn't reset before it is scored.
    config = replace(CONFIG, steps=9)
    first = run(data, tmp_path / "run", config)
    assert not book.page(tmp_path / "run", "deep_cluster", 3).exists()
    again = run(data, tmp_path / "run", config, resume=True)
    assert first.scores == again.scores


def test_labels_that_are_gone_or_damaged_end_a_run_with_a_sentence(data: str, tmp_path: Path) -> None:
    run(data, tmp_path / "run", replace(CONFIG, steps=2))
    page = book.page(tmp_path / "run", "deep_cluster", 0)
    page.write_bytes(page.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"000000.npz is damaged and can't be read"):
        run(data, tmp_path / "run", resume=True)
    page.unlink()
    with pytest.raises(UserError, match=r"000000.npz is missing, the labels that the run goes on with"):
        run(data, tmp_path / "run", resume=True)


def test_too_few_clips_are_a_sentence(data: str, tmp_path: Path) -> None:
    config = replace(CONFIG, set=("deep_cluster.clusters=64",), tasks=("deep_cluster",))
    with pytest.raises(UserError, match=r"makes 64 clusters .* --set deep_cluster.clusters=N with N up to"):
        run(data, tmp_path / "run", config)


def test_the_same_labels_are_the_same_bytes_and_come_back(tmp_path: Path) -> None:
    labels = Labels(7, {"label": np.arange(5, dtype=np.int32)}, {"centres": np.ones((2, 3), np.float32)})
    book.put(tmp_path, "one", labels)
    content = book.page(tmp_path, "one", 7).read_bytes()
    book.put(tmp_path, "one", labels)
    assert book.page(tmp_path, "one", 7).read_bytes() == content
    assert list(pages(tmp_path)) == ["one/000007.npz"]
    again = book.get(tmp_path, "one", 7)
    assert again.version == 7
    np.testing.assert_array_equal(again.clips["label"], labels.clips["label"])
    np.testing.assert_array_equal(again.whole["centres"], labels.whole["centres"])


# --- k-means ----------------------------------------------------------------------------------------------------


def test_k_means_finds_what_is_there_and_leaves_no_cluster_empty() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(3), 40)
    points = (10 * np.eye(3)[truth] + rng.normal(0, 0.3, (120, 3))).astype(np.float32)
    assert max(agreement(k_means(points, 3, np.random.default_rng(s))[1], truth) for s in range(3)) == 1.0
    same = np.concatenate([np.zeros((50, 2)), rng.normal(0, 1, (9, 2))]).astype(np.float32)
    for seed in range(20):  # a start among equal points leaves clusters empty
        centres, labels = k_means(same, 8, np.random.default_rng(seed))
        assert np.bincount(labels, minlength=8).min() > 0
        assert np.isfinite(centres).all()


def test_nearest_is_the_nearest() -> None:
    rng = np.random.default_rng(1)
    points, centres = (rng.normal(0, 1, (n, 5)).astype(np.float32) for n in (70, 6))
    every = ((points[:, None] - centres[None]) ** 2).sum(2)
    found, distance = nearest(points, centres)
    np.testing.assert_array_equal(found, every.argmin(1))
    np.testing.assert_allclose(distance, every.min(1), rtol=1e-4)


def test_whitening_makes_directions_alike_and_is_fitted_to_some() -> None:
    rng = np.random.default_rng(2)
    features = (rng.normal(0, 1, (400, 3)) * [100, 1, 0.01]).astype(np.float32)
    fitted = np.arange(400) < 300
    white = whitened(features, fitted)
    np.testing.assert_allclose(np.linalg.norm(white, axis=1), 1, rtol=1e-5)
    assert white[fitted].var(0).min() > 0.2  # a third each, where one direction had all of it
    features[~fitted] = 1e6
    np.testing.assert_array_equal(whitened(features, fitted)[fitted], white[fitted])
    np.testing.assert_allclose(unit(np.zeros((1, 3), np.float32)), 0)


def test_agreement_is_one_for_the_same_under_other_names_and_small_for_chance() -> None:
    rng = np.random.default_rng(3)
    a = rng.integers(5, size=5000)
    assert agreement(a, (a + 2) % 5) == pytest.approx(1)
    assert agreement(a, rng.integers(5, size=5000)) < 0.01
