"""Which frames a page lists, shard by shard: some of a dataset's shards at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import excluded_rows, exclusions_of
from freelabels.pipeline.shards.identity import clip_identity

LISTED_SHARDS = 500  # at a time


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
    """Some shards of a dataset, as many as a page lists at a time.

    first: the number of the first one among all, where they follow each other. shard_columns: which of
    `column_sets` each has. excluded: (number here, row) of frames on the exclusion list.
    """

    first: int
    shard_names: list[str]
    shard_columns: list[int]
    column_sets: list[tuple[str, ...]]
    clips: ClipListing
    excluded: list[tuple[int, int]]


def listing(dataset: Dataset, names: Sequence[str], first: int = 0) -> ShardListing:
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
            clips.source.append(_shown_source(clip))
        out.extend((place, int(row)) for row in np.flatnonzero(excluded_rows(shard, excluded)))
        columns[place] = sets.setdefault(shard.fields, len(sets))
        shard.close()
    return ShardListing(first, list(names), columns, list(sets), clips, out)


def _shown_source(clip: Mapping[str, Any]) -> str:
    return str((clip.get("source") or [clip_identity(clip) or "unknown"])[0])
