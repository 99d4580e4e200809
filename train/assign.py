"""Clips clustered by a run's features, and their clusters published as a column of the data: two stages.

The first reads one frame of each clip and reports its features; they are clustered here; the second commits the
next revision of each shard with the column `cluster`, which says what made it, as any label's does.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.ground.errors import UserError
from freelabels.ground.paths import AnyPath, path_list
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.record import digest
from freelabels.pipeline.shards.shard import Shard, revision_of
from freelabels.pipeline.shards.splits import TRAIN, Splits, splits_of
from freelabels.pipeline.storage.uris import absolute
from freelabels.pipeline.work.attempt import Result, Work
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster, run
from freelabels.train.export import trained_backbone
from freelabels.train.frame_features import mean_features
from freelabels.train.model.network import Backbone
from freelabels.train.run.checkpoint import CHECKPOINT
from freelabels.train.run.logs import writing
from freelabels.train.tasks.clusters.boosting import COLUMN
from freelabels.train.tasks.clusters.k_means import k_means, nearest, whitened

VERSION = 1  # of what makes the column
LIST = "clusters.jsonl"  # in the run's folder
NAMED = 12  # digits of the digest that tell the clusters of two runs apart


@dataclass(frozen=True)
class AssignSummary:
    """What was assigned. smallest, largest: clips of a cluster; shards: those that got the column now."""

    run: str
    clips: int
    clusters: int
    smallest: int
    largest: int
    shards: int

    @property
    def complete(self) -> bool:
        """Always: what fails ends it."""
        return True


@dataclass(frozen=True)
class Features:
    """A work item: the features of a shard's clips."""

    run: str
    stamp: str
    dataset: str
    shard: str


@dataclass(frozen=True)
class Published:
    """A work item: a shard's clusters by clip, to be committed."""

    dataset: str
    shard: str
    labels: tuple[int, ...]
    made_by: Mapping[str, Any]


def assign(
    run_folder: AnyPath,
    datasets: AnyPath | Sequence[AnyPath],
    clusters: int = 64,
    seed: int = 0,
    into: bool = False,
    cluster: Cluster | None = None,
    reporter: Reporter | None = None,
) -> AssignSummary:
    """Cluster all clips of datasets by what a run's averaged trunk makes of their middle frames.

    Which clip lies in which cluster is written to ``clusters.jsonl`` in the run's folder; with `into` also to the
    column `cluster` of the data, for the task `boosting`. Where a dataset has splits, clips of `val` and `test`
    get the nearest of the clusters that the others make. The same run, data and parameters give the same bytes,
    whatever the number of workers. Raises UserError for bad input and for a shard that fails.
    """
    where, reporter, folder = cluster or Cluster(), reporter or Reporter(), Path(os.fspath(run_folder))
    _, _, record = trained_backbone(str(folder))  # says what is wrong with the run before any work
    weights = hashlib.sha256((folder / CHECKPOINT).read_bytes()).hexdigest()
    paths = [absolute(path) for path in path_list(datasets)]
    shards = [(path, name) for path in paths for name in Dataset(path).shards()]
    work = [Features(str(folder.resolve()), weights, path, name) for path, name in shards]
    found: dict[tuple[str, str], NDArray[np.float32]] = {}
    for item, result in _results(features_of, work, "features", where, reporter):
        found[item.dataset, item.shard] = result
    points = np.concatenate([found[key] for key in shards]) if shards else np.empty((0, 1), np.float32)
    rules = {path: splits_of(Dataset(path)) for path in paths}
    learned = np.array(
        [one for key in shards for one in _learned(*key, rules[key[0]], len(found[key]))], bool
    )
    most = int(learned.sum())
    if not 2 <= clusters <= most:
        what = "clips" if most == len(points) else "clips to train on"
        raise UserError(f"--clusters {clusters}: there are {most} {what}; give 2 to {most}")
    white = whitened(points, learned)
    centres, own = k_means(white[learned], clusters, np.random.default_rng(seed))
    labels, _ = nearest(white, centres)
    labels[learned] = own
    made_by = {
        "generator": "assign",
        "version": VERSION,
        "weights": weights,
        "step": record["step"],
        "clusters": clusters,
        "seed": seed,
        "features": hashlib.sha256(points.tobytes()).hexdigest(),
    }
    if most < len(points):
        made_by["learned"] = hashlib.sha256(learned.tobytes()).hexdigest()
    ends = np.cumsum([len(found[key]) for key in shards])
    parts = dict(zip(shards, np.split(labels, ends[:-1]), strict=True))
    with writing(folder):
        lines = [
            json.dumps({"dataset": path, "shard": name, "clusters": parts[path, name].tolist()})
            for path, name in shards
        ]
        (folder / LIST).write_text("\n".join(lines) + "\n")
    made = 0
    if into:
        todo = [Published(*key, tuple(parts[key].tolist()), made_by) for key in shards]
        made = sum(done for _, done in _results(publish, todo, "publish", where, reporter))
    sizes = np.bincount(labels, minlength=clusters)
    return AssignSummary(str(folder), len(points), clusters, int(sizes.min()), int(sizes.max()), made)


def _learned(path: str, name: str, rule: Splits | None, clips: int) -> list[bool]:
    """Which clips of a shard are to train on."""
    if rule is None:
        return [True] * clips
    shard = Dataset(path).open(name)
    try:
        return [rule.of(shard, clip) == TRAIN for clip in shard.clips]
    finally:
        shard.close()


def _results(
    function: Callable[[Work], Result], work: Sequence[Work], stage: str, where: Cluster, reporter: Reporter
) -> Iterator[tuple[Work, Result]]:
    with reporter.stage(stage, len(work)) as tick:
        for outcome in run(function, work, lambda item: f"{stage} {item.shard}", where, notice=tick.notice):  # type: ignore[attr-defined]
            tick(1, failed=outcome.result is None, outcome=outcome)
            if outcome.result is None:
                raise UserError(f"{outcome.item}: {outcome.error}; what is published stays, run again")
            yield outcome.work, outcome.result


@lru_cache(maxsize=1)
def _trunk(folder: str, stamp: str) -> tuple[Backbone, int]:
    """The backbone of a run whose weights have that digest, and the side of its images; kept by a worker."""
    backbone, config, _ = trained_backbone(folder)
    return backbone, config.loader.size


def features_of(work: Features) -> NDArray[np.float32]:
    """The last stage's mean over places, float32 (clips, C), of each clip's middle frame in the centre view."""
    backbone, size = _trunk(work.run, work.stamp)
    shard = Dataset(work.dataset).open(work.shard)
    try:
        middles = [(clip["rows"][0] + clip["rows"][1] - 1) // 2 for clip in shard.clips]
        frames = [shard.read_rows("image", row, row + 1) for row in middles]
    finally:
        shard.close()
    return mean_features(backbone, size, frames)


def publish(work: Published) -> bool:
    """Commit a shard's clusters; False if it holds them already."""
    dataset = Dataset(work.dataset)
    shard_id, _, _ = work.shard.rpartition(".")
    base: Shard | None = dataset.newest(shard_id, revision_of(work.shard))
    if base is None:
        raise UserError(f"{work.shard} was taken out by another process meanwhile")
    made_by = {**work.made_by, "inputs": {"image": digest(base.made_by("image"))[:16]}}
    if COLUMN in base.fields and base.made_by(COLUMN) == made_by:
        base.close()
        return False
    lengths = [stop - start for start, stop in (clip["rows"] for clip in base.clips)]
    values = np.repeat(np.asarray(work.labels, np.int32), lengths)
    names = cluster_names(work.made_by)
    attributes = {COLUMN: {"names": names}}
    commit_shard(
        dataset, base.id, {COLUMN: values}, base.clips, {COLUMN: made_by}, attributes=attributes, base=base
    )
    return True


def cluster_names(made_by: Mapping[str, Any]) -> list[str]:
    """Names of clusters, so that those of two assignments are never taken for the same."""
    return [f"{digest(dict(made_by))[:NAMED]}-{number}" for number in range(made_by["clusters"])]
