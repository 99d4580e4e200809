"""A dataset divided into train, val and test, by source."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from freelabels.ground.errors import UserError
from freelabels.pipeline.curate.selection import Selection
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.identity import group_of
from freelabels.pipeline.shards.index import read_index
from freelabels.pipeline.shards.splits import SPLITS, Splits, splits_of, write_splits
from freelabels.pipeline.stages.bookkeeping import writing_to
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster


@dataclass(frozen=True)
class SplitSummary:
    """What each split holds: {"sources": …, "clips": …, "frames": …} by name; whether the rule was changed."""

    dataset: str
    splits: Mapping[str, Mapping[str, int]]
    changed: bool


def split(
    path: str | os.PathLike[str],
    *,
    val: float | None = None,
    test: float | None = None,
    put: str = "",
    selection: Selection | None = None,
    anew: bool = False,
) -> SplitSummary:
    """Divide a dataset into train, val and test, or, told nothing, count what its splits hold.

    val, test: shares of the sources. put: a split that the sources of the `selection` are pinned to, whatever the
    shares say. anew: change shares that are there, and forget what is pinned: clips move. Raises NotADataset, and
    UserError for shares other than those that are there.
    """
    dataset = Dataset(path)
    _ = dataset.attributes  # raises NotADataset
    there = splits_of(dataset)
    asked = Splits(val or 0.0, test or 0.0)
    told = val is not None or test is not None
    if there is None or anew:
        if not (told or put):
            raise UserError(f"{path} has no splits: give shares, such as --val .1 --test .1")
        rule = asked
    else:
        rule = there
        if told and (asked.val, asked.test) != (there.val, there.test):
            raise UserError(
                f"{path} is split already, val {there.val:g} and test {there.test:g}; other shares move clips "
                "from one side to the other: give --anew if nothing was trained on it yet"
            )
    if put:
        rule = Splits(rule.val, rule.test, {**rule.pinned, **_pinned(dataset, put, selection, rule)})
    if rule != there:
        with writing_to(path):
            write_splits(dataset, rule)
    return SplitSummary(os.fspath(path), _count(dataset, rule), rule != there)


def _pinned(dataset: Dataset, put: str, selection: Selection | None, rule: Splits) -> dict[int, str]:
    """The groups of the chosen clips. Raises UserError."""
    if put not in SPLITS:
        raise UserError(f"--put is one of {', '.join(SPLITS)}, not {put!r}")
    if selection is None or selection.everything:
        raise UserError(f"--put {put}: say which clips, by --clips, --listed or --where")
    found = {}
    for shard in dataset.open_all(dataset.shards()):
        for number in selection.of_shard(shard, rule):
            clip = shard.clips[number]
            found[group_of(clip, f"{shard.id}/{clip['rows'][0]}")] = put
        shard.close()
    if unmet := selection.unmet():
        raise UserError(f"no clip is called {unmet[0]!r}: give its key, content hash, or source")
    return found


def _count(dataset: Dataset, rule: Splits) -> dict[str, dict[str, int]]:
    """Sources, clips and frames of each split."""
    groups: list[set[int]] = [set() for _ in SPLITS]
    clips, frames = Counter[int](), Counter[int]()
    for _, part in read_index(dataset, Cluster(workers=0), Reporter("quiet")).summaries("clips"):
        places = rule.places(part.clips["group"])
        lengths = (part.clips["stop"] - part.clips["start"]).astype(np.int64)
        for place in np.unique(places).tolist():
            its = places == place
            groups[place].update(part.clips["group"][its].tolist())
            clips[place] += int(its.sum())
            frames[place] += int(lengths[its].sum())
    return {
        name: {"sources": len(groups[k]), "clips": clips[k], "frames": frames[k]}
        for k, name in enumerate(SPLITS)
    }
