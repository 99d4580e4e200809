"""Which frames a page in a file lists, shard by shard, from their records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import excluded_rows, exclusions_of
from freelabels.pipeline.viewer.layout import shown_source


@dataclass(frozen=True)
class ClipListing:
    """The clips of some shards by column, shards in order: as little as a page needs to list every frame."""

    shard: list[int]
    start: list[int]
    stop: list[int]
    kind: list[str]
    source: list[str]


@dataclass(frozen=True)
class ShardListing:
    """Some shards of a dataset.

    shard_columns: which of `column_sets` each has. excluded: (number here, row) of frames on the exclusion list.
    """

    shard_names: list[str]
    shard_columns: list[int]
    column_sets: list[tuple[str, ...]]
    clips: ClipListing
    excluded: list[tuple[int, int]]


def listing(dataset: Dataset, names: Sequence[str]) -> ShardListing:
    """What a page says of the frames of some shards, from their records; one that can't be read has none."""
    excluded = exclusions_of(dataset)
    places = {name: k for k, name in enumerate(names)}
    sets: dict[tuple[str, ...], int] = {(): 0}
    columns = [0] * len(names)
    clips = ClipListing([], [], [], [], [])
    out: list[tuple[int, int]] = []
    for shard in dataset.open_all(names, lambda error: None):
        place = places[shard.name]
        for clip in shard.clips:
            start, stop = clip["rows"]
            clips.shard.append(place)
            clips.start.append(start)
            clips.stop.append(stop)
            clips.kind.append(clip["kind"])
            clips.source.append(shown_source(clip))
        out.extend((place, int(row)) for row in np.flatnonzero(excluded_rows(shard, excluded)))
        columns[place] = sets.setdefault(shard.fields, len(sets))
        shard.close()
    return ShardListing(list(names), columns, list(sets), clips, out)
