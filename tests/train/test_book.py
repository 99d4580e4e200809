"""Labels that the network makes: versions at known steps, the same after a stop, a sentence where one is lost."""

import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.shapes import write_dataset
from freelabels.ground.errors import UserError
from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.windows import REAL
from freelabels.train.run import checkpoint
from freelabels.train.run.trainer import TrainSummary, fit
from freelabels.train.tasks.similarity.kmeans import kmeans, renamed, whitened
from freelabels.train.tasks.similarity.predict_noise import PredictNoise
from tests.train.test_trainer import assert_bits_equal

CONFIG = TrainConfig(
    tasks=("deep_cluster", "predict_noise", "edges"),
    set=("deep_cluster.clusters=4", "deep_cluster.steps=3", "predict_noise.steps=2"),
    steps=7,
    precision="fp32",
    device="cpu",
    save_every=100,
    log_every=10,
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
    return str(write_dataset(tmp_path_factory.mktemp("data") / "real", REAL, 16, 48, 2, labels=("edges",)))


def run(data: str, out: Path, **options: Any) -> TrainSummary:
    return fit([data], [], str(out), CONFIG, quiet=True, **options)


def book(out: Path) -> dict[str, bytes]:
    files = (path for path in (out / "book").rglob("*") if path.is_file())
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_a_stopped_run_makes_the_same_labels_and_the_same_weights(data: str, tmp_path: Path) -> None:
    def interrupt(step: int, learner: object) -> None:
        if step == 5:
            signal.raise_signal(signal.SIGINT)

    summary = run(data, tmp_path / "whole")
    run(data, tmp_path / "stopped", on_step=interrupt)
    run(data, tmp_path / "stopped", resume=True)
    whole, stopped = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("whole", "stopped"))
    assert whole["step"] == 7
    assert_bits_equal(whole, stopped)
    versions = {"deep_cluster": 3, "predict_noise": 4}
    wanted = {f"book/{task}/{n:06d}.npz" for task, count in versions.items() for n in range(count)}
    assert book(tmp_path / "whole").keys() == wanted
    assert book(tmp_path / "whole") == book(tmp_path / "stopped")
    assert {s["task"] for s in summary.scores} == set(CONFIG.tasks)
    with np.load(tmp_path / "whole" / "book/deep_cluster/000002.npz") as file:
        assert file["labels"].shape == (16,) and len(np.unique(file["labels"])) == 4  # one a clip, none empty

    # A run that comes to a version after a kill finds it, and takes it; one that has lost it says so.
    shutil.rmtree(tmp_path / "stopped" / "book")
    longer = replace(CONFIG, steps=8)
    with pytest.raises(UserError, match=r"book/deep_cluster/000002.npz is missing"):
        fit([data], [], str(tmp_path / "stopped"), longer, resume=True, quiet=True)


def test_a_new_run_takes_no_labels_of_one_that_was_killed_early(data: str, tmp_path: Path) -> None:
    left = tmp_path / "run" / "book" / "deep_cluster" / "000000.npz"
    left.parent.mkdir(parents=True)
    np.savez(left, labels=np.full(16, 3))
    run(data, tmp_path / "run")
    with np.load(left) as file:
        assert len(np.unique(file["labels"])) == 4


def test_clusters_are_found_and_keep_their_names() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 90)
    x = torch.from_numpy(rng.normal(size=(90, 8)) * 0.1 + 5 * np.eye(8)[truth])
    told = kmeans(whitened(x, 2), 3, seed=1)
    assert all(len(set(told[truth == k])) == 1 for k in range(3)) and len(set(told)) == 3
    assert (renamed((told + 1) % 3, told, 3) == told).all()
    assert len(set(kmeans(np.zeros((6, 2)), 4, seed=0))) == 4  # none stays empty, even of equal points


def test_exchanging_targets_brings_them_nearer_and_loses_none() -> None:
    task = PredictNoise(width=8)
    features = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    before = task.assign(torch.nn.Identity(), features, None, 0)
    after = task.assign(torch.nn.Identity(), features, before, 0)
    assert sorted(after.tolist()) == list(range(40))
    fit_before, fit_after = ((features * task.targets(n)).sum() for n in (before, after))
    assert fit_after > fit_before + 10
