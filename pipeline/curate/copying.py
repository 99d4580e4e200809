"""Datasets copied and merged into another: the clips that are chosen, as they are stored.

Run again after a kill, it makes what is missing: what stands in the target is whole, and is left.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from freelabels.generators.contract.fields import Kind, known_field
from freelabels.ground.errors import UserError
from freelabels.ground.paths import AnyPath, path_list
from freelabels.pipeline.curate.selection import Selection
from freelabels.pipeline.curate.transfer import Transfer, id_of, transfer
from freelabels.pipeline.shards.class_names import class_names, extend
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import exclusions_of, write_exclusions
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.shards.splits import Splits, splits_of, write_splits
from freelabels.pipeline.stages.bookkeeping import (
    begin,
    end,
    failure_entry,
    tell_failed,
    time_limit,
    write_failed,
    writing_to,
)
from freelabels.pipeline.storage.uris import absolute
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster, run

OWN = ("schema", "layout")  # attributes of a dataset that another does not take over
RENDER = "render"


@dataclass(frozen=True)
class CopySummary:
    """What came of a copy. shards: of the plan; made: of these, now; duplicates: clips that were there already."""

    dataset: str
    shards: int
    clips: int
    frames: int
    made: int
    failed: int
    duplicates: int

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.failed == 0


def copy(
    datasets: AnyPath | Sequence[AnyPath],
    out: AnyPath,
    selection: Selection | None = None,
    *,
    layout: str | None = None,
    cluster: Cluster | None = None,
    reporter: Reporter | None = None,
) -> CopySummary:
    """Bring the chosen clips of one dataset or several into the dataset at `out`, begun or gone on with.

    Labels, provenance, words, exclusions and splits come with them. A clip that several hold is taken from the
    first. Classes are told apart by name: where tables differ, ids are brought to one. layout: "folders" or
    "packed". cluster: default this process. Raises UserError for datasets that don't fit together, and for bad
    input.
    """
    sources = [Dataset(path) for path in path_list(datasets)]
    selection, cluster, to = selection or Selection(), cluster or Cluster(workers=0), reporter or Reporter()
    if not sources:
        raise UserError("no dataset to copy: name one or more")
    if absolute(os.fspath(out)) in {absolute(os.fspath(source.path)) for source in sources}:
        raise UserError(f"--out {out} is one of the datasets to copy; name another place")
    common = _in_common(sources)
    with writing_to(out):
        # All that may be refused comes before anything is written.
        there = Dataset(out)
        planned, duplicates = _plan(sources, there, selection)
        if not planned and not duplicates:
            raise UserError(f"no clip of {', '.join(str(source.path) for source in sources)} is chosen")
        rule = _splits([*sources, there])
        target = begin(out, common, layout)
        before = set(target.shards())
        _take_lists(sources, target, rule)
        made, failures = 0, []
        height, width = common.get("size", (256, 256))
        with to.stage("copy", len(planned)) as tick:
            for outcome in run(
                transfer,
                planned,
                lambda work: f"copy {work.shard}",
                cluster,
                seconds=lambda work: time_limit(work.frames, (height, width)),
                notice=tick.notice,
            ):
                tick(outcome.work.frames, failed=outcome.result is None, outcome=outcome)
                if outcome.fatal:
                    raise write_failed(target, outcome.error, made)
                made += outcome.result is not None and outcome.result not in before
                if outcome.result is None:
                    failures.append(failure_entry(outcome, outcome.work.shard, [outcome.work.source]))
        end(target, cluster, to)
        if failures:
            tell_failed(target, failures, to)
    clips, frames = sum(len(work.clips) for work in planned), sum(work.frames for work in planned)
    return CopySummary(os.fspath(out), len(planned), clips, frames, made, len(failures), duplicates)


def _in_common(sources: Sequence[Dataset]) -> dict[str, Any]:
    """What holds for all shards of all datasets. Raises UserError where they don't fit together."""
    first, *others = (
        {name: value for name, value in source.attributes.items() if name not in OWN} for source in sources
    )
    for source, attributes in zip(sources[1:], others, strict=True):
        if attributes.get("size") != first.get("size"):
            raise UserError(
                f"{sources[0].path} holds frames of {first.get('size')} and {source.path} of "
                f"{attributes.get('size')} (height, width): make them of one size to merge them"
            )
    return {
        name: value
        for name, value in first.items()
        if all(attributes.get(name) == value for attributes in others)
    }


def _splits(datasets: Sequence[Dataset]) -> Splits | None:
    """How all are divided that are. Raises UserError if they are divided otherwise."""
    rule, told_by = None, ""
    for one in datasets:
        if (its := splits_of(one)) is None:
            continue
        merged = its if rule is None else rule.merged(its)
        if merged is None:
            raise UserError(
                f"{told_by} and {one.path} are split otherwise: give both the same shares by freelabels split"
            )
        rule, told_by = merged, str(one.path)
    return rule


def _take_lists(sources: Sequence[Dataset], target: Dataset, rule: Splits | None) -> None:
    """Exclusions and splits first, so that nobody sees a clip without them."""
    if rule is not None and rule != splits_of(target):
        write_splits(target, rule)
    excluded = frozenset().union(*map(exclusions_of, [*sources, target]))
    if excluded - exclusions_of(target):
        write_exclusions(target, excluded)


def _plan(sources: Sequence[Dataset], target: Dataset, selection: Selection) -> tuple[list[Transfer], int]:
    """What to bring, and how many chosen clips an earlier dataset or another shard of the target has already."""
    tables: dict[str, list[str]] = {}
    there: dict[str, str] = {}  # key of a clip → id of the target's shard that holds it
    coming: set[str] = set()  # keys of what is planned
    renders: set[bool] = set()
    for shard in target.open_all(target.shards_if_any()):
        _extend(tables, shard, target)
        there |= {str(clip["key"]): shard.id for clip in shard.clips if clip.get("key")}
        renders |= {clip.get("kind") == RENDER for clip in shard.clips}
    planned: list[Transfer] = []
    duplicates = 0
    for source in sources:
        splits = splits_of(source)
        for shard in source.open_all(source.shards()):
            chosen = selection.of_shard(shard, splits)
            left = [k for k in chosen if str(shard.clips[k].get("key")) not in coming]
            own = id_of(shard, left) if left else ""
            left = [k for k in left if there.get(str(shard.clips[k].get("key")), own) == own]
            duplicates += len(chosen) - len(left)
            if left:
                clips = [shard.clips[number] for number in left]
                renders |= {clip.get("kind") == RENDER for clip in clips}
                coming |= {str(clip["key"]) for clip in clips if clip.get("key")}
                frames = sum(clip["rows"][1] - clip["rows"][0] for clip in clips)
                paths = os.fspath(source.path), os.fspath(target.path)
                planned.append(Transfer(paths[0], shard.name, tuple(left), paths[1], frames))
                _extend(tables, shard, source)
            shard.close()
            if len(renders) > 1:
                raise UserError(
                    f"{source.path}: real and rendered frames don't belong into one dataset; give each domain "
                    "its own, and train on both"
                )
    if unmet := selection.unmet():
        raise UserError(f"no clip is called {unmet[0]!r}: give its key, content hash, or source")
    whole = {name: tuple(table) for name, table in tables.items()}
    return [replace(work, tables=whole) for work in planned], duplicates


def _extend(tables: dict[str, list[str]], shard: Shard, dataset: Dataset) -> None:
    """Take up the class tables of a shard. Raises UserError for more classes than ids."""
    for name in shard.fields:
        spec = known_field(name)
        if spec is None or spec.kind is not Kind.CATEGORY or not (table := class_names(shard, name)):
            continue
        extend(tables.setdefault(name, []), table)
        most = int(np.iinfo(spec.dtype).max if spec.invalid is None else spec.invalid)
        if len(tables[name]) > most:
            raise UserError(
                f"{dataset.path}: with its classes of {name} there are {len(tables[name])}, and no more than "
                f"{most} can be told apart"
            )
