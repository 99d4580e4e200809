"""Clips clustered by a run's features: listed, published as a column, learned by another run."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.tools.shapes import write_dataset
from freelabels.ground.errors import UserError
from freelabels.pipeline.quality.verify import verify
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.identity import group_of
from freelabels.pipeline.shards.splits import VAL, Splits, write_splits
from freelabels.pipeline.work.runner import Cluster
from freelabels.train.assign import LIST, Features, assign, features_of
from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.catalogue import read_catalogue
from freelabels.train.data.loader import Loader
from freelabels.train.data.windows import REAL
from freelabels.train.frame_features import frame_features
from freelabels.train.run.trainer import fit

HERE = Cluster(0)
CONFIG = TrainConfig(
    tasks=("rotation",),
    steps=2,
    precision="fp32",
    device="cpu",
    evaluate=8,
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
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("teacher")
    data = write_dataset(root / "data", REAL, 4, 40, frames=2, labels=("edges",))
    fit(
        [str(data)],
        [],
        str(root / "run"),
        replace(CONFIG, loader=replace(CONFIG.loader, held_out=0)),
        quiet=True,
    )
    return root / "run"


def data(path: Path) -> Path:
    return write_dataset(path, REAL, 10, 40, frames=3, labels=("edges",))


def columns(path: Path) -> list[list[int]]:
    dataset = Dataset(path)
    return [dataset.open(name).read_rows("cluster").tolist() for name in dataset.shards()]


@pytest.mark.slow
def test_clusters_are_listed_then_published_once_and_learned_by_another_run(
    teacher: Path, tmp_path: Path
) -> None:
    path = data(tmp_path / "data")
    summary = assign(teacher, path, 3, cluster=HERE)
    assert (summary.clips, summary.clusters, summary.shards) == (10, 3, 0) and summary.smallest > 0
    assert all("cluster" not in Dataset(path).open(name).fields for name in Dataset(path).shards())
    assert assign(teacher, path, 3, into=True, cluster=HERE).shards == 3
    listed = [json.loads(line)["clusters"] for line in (teacher / LIST).read_text().splitlines()]
    assert columns(path) == [np.repeat(clusters, 3).tolist() for clusters in listed]
    assert verify(path, cluster=HERE).problems == ()
    shards = Dataset(path).shards()
    assert assign(teacher, path, 3, into=True, cluster=HERE).shards == 0  # it is there already
    assert Dataset(path).shards() == shards
    config = replace(CONFIG, tasks=("boosting",))
    summary_of_run = fit([str(path)], [], str(tmp_path / "pupil"), config, quiet=True)
    assert {score["task"] for score in summary_of_run.scores} == {"boosting"}
    head = torch.load(tmp_path / "pupil" / "checkpoint.pt", weights_only=True)["learner"]
    assert head["model.heads.boosting.weight"].shape[0] == 3


@pytest.mark.slow
def test_clips_kept_from_training_get_clusters_and_have_no_part_in_them(
    teacher: Path, tmp_path: Path
) -> None:
    whole, part = (write_dataset(tmp_path / f"{n}", REAL, n, 40, frames=1, labels=("edges",)) for n in (8, 4))
    dataset = Dataset(whole)
    kept = {group_of(clip): VAL for clip in dataset.open(dataset.shards()[-1]).clips}
    write_splits(dataset, Splits(pinned=kept))
    assert len(kept) == 4
    told = [assign(teacher, path, 3, into=True, cluster=HERE) for path in (whole, part)]
    assert [one.clips for one in told] == [8, 4]
    assert columns(whole)[:1] == columns(part) and set(columns(whole)[1]) <= {0, 1, 2}
    with pytest.raises(UserError, match="--clusters 5: there are 4 clips to train on; give 2 to 4"):
        assign(teacher, whole, 5, cluster=HERE)
    write_splits(dataset, Splits())
    assert assign(teacher, whole, 3, into=True, cluster=HERE).shards == 2  # another rule, other clusters


def test_clusters_of_two_assignments_are_never_taken_for_the_same(teacher: Path, tmp_path: Path) -> None:
    one, two = data(tmp_path / "one"), data(tmp_path / "two")
    for path, seed in ((one, 0), (two, 1)):
        assign(teacher, path, 2, seed=seed, into=True, cluster=HERE)
    catalogue = read_catalogue([str(one), str(two)], [], 1)
    assert len(catalogue.names["cluster"]) == 4
    loader = Loader(catalogue, ("cluster",), replace(CONFIG.loader, held_out=0), 0)
    batch = loader.centred(list(catalogue.windows))
    ids = batch["cluster"][:, 0]
    assert set(ids[:30].tolist()) == {0, 1} and set(ids[30:].tolist()) == {2, 3}


def test_data_without_clusters_and_bad_numbers_of_them_are_sentences(teacher: Path, tmp_path: Path) -> None:
    path = data(tmp_path / "data")
    with pytest.raises(
        UserError, match="the task boosting needs the field cluster, which no given shard holds"
    ):
        fit([str(path)], [], str(tmp_path / "run"), replace(CONFIG, tasks=("boosting",)), quiet=True)
    with pytest.raises(UserError, match="--clusters 11: there are 10 clips; give 2 to 10"):
        assign(teacher, path, 11, cluster=HERE)
    with pytest.raises(UserError, match="is no run"):
        assign(path, path, 2, cluster=HERE)


def test_a_map_sees_what_assign_sees_and_forgets_other_weights(teacher: Path, tmp_path: Path) -> None:
    """Features of a run, kept in its folder by its weights; `inspect --map-run` places frames by them."""
    old = teacher / "features" / "of weights before"
    old.mkdir(parents=True)
    seen = frame_features(str(teacher), "cpu")
    assert seen.name == "run" and seen.folder.parent == teacher / "features" and not old.exists()
    path = data(tmp_path / "data")
    name = Dataset(path).shards()[0]
    stored = Dataset(path).open(name).read_rows("image")
    of_clips = features_of(Features(str(teacher), "", str(path), name))
    np.testing.assert_allclose(seen.of(stored)[1::3], of_clips, rtol=1e-4, atol=1e-6)
    with pytest.raises(UserError, match="--device is auto, cpu or cuda, not 'tpu'"):
        frame_features(str(teacher), "tpu")
    with pytest.raises(UserError, match="is no run: it has no"):
        frame_features(str(path))
