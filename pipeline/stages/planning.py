"""Clips → shards → the columns that are missing or out of date. Pure functions of plan and seed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.clip import SEED
from freelabels.generators.contract.detector import Detector, Plan, inputs, provenance
from freelabels.pipeline.shards.index import Index
from freelabels.pipeline.shards.record import digest
from freelabels.pipeline.shards.shard import FRAME_FIELDS, MAX_ROWS
from freelabels.pipeline.sources.clip_specs import ClipColumns, ClipSpec, joined_ranges
from freelabels.pipeline.storage.uris import shown

# Raised whenever the same source would be decoded to other pixels.
DECODE = {"generator": "decode", "version": 2, "parameters": {}}

SURROGATE = re.compile("[\ud800-\udfff]")  # what Python makes of bytes in a name that are no UTF-8

Recipe = dict[str, Any]


@dataclass(frozen=True)
class ShardPlan:
    """One shard; its id, the name without its revision, is a pure function of its clips."""

    id: str
    clips: tuple[ClipSpec, ...]

    @property
    def frames(self) -> int:
        """How many rows the shard has."""
        return sum(clip.frames for clip in self.clips)


@dataclass(frozen=True)
class PlannedShards:
    """Many planned shards as columns: the k-th holds the clips `members[starts[k] : starts[k + 1]]`."""

    clips: ClipColumns
    members: NDArray[np.int64]
    starts: NDArray[np.int64]
    ids: Sequence[str]

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def of(clips: ClipColumns, members: NDArray[np.int64], starts: NDArray[np.int64]) -> PlannedShards:
        """Shards with their ids."""
        keys, bounds = clips.keys[members].tolist(), starts.tolist()
        kinds = [kind for kind, _ in clips.kinds]
        ids = [
            f"{kinds[offer]}-{digest([f'{key:016x}' for key in keys[start:stop]])[:16]}"
            for offer, start, stop in zip(
                clips.offers[members[starts[:-1]]].tolist(), bounds[:-1], bounds[1:], strict=True
            )
        ]
        return PlannedShards(clips, members, starts, ids)

    @property
    def frames(self) -> int:
        """How many rows all shards have."""
        return int(self.clips.frames[self.members].sum())

    @property
    def offers(self) -> NDArray[np.uint16]:
        """(shards,) which of `clips.kinds` each is."""
        return self.clips.offers[self.members[self.starts[:-1]]]

    def read(self, number: int) -> ShardPlan:
        """One of them, with the whole of its clips."""
        members = self.members[self.starts[number] : self.starts[number + 1]].tolist()
        return ShardPlan(self.ids[number], tuple(self.clips.read(member) for member in members))


def pack(clips: ClipColumns, rows: int = MAX_ROWS) -> PlannedShards:
    """Pack whole clips into shards of up to `rows` frames, in order, clips that offer the same together."""
    order = sorted(range(len(clips.kinds)), key=lambda k: (clips.kinds[k][0], sorted(clips.kinds[k][1])))
    groups = [np.flatnonzero(clips.offers == offer) for offer in order]
    starts = [0]
    for group in groups:
        ends = np.cumsum(clips.frames[group], dtype=np.int64)
        begin, base, filled = 0, starts[-1], 0
        while begin < len(group):
            stop = max(int(np.searchsorted(ends, filled + rows, side="right")), begin + 1)
            starts.append(base + stop)
            begin, filled = stop, int(ends[stop - 1])
    members = np.concatenate([np.zeros(0, np.int64), *groups])
    return PlannedShards.of(clips, members, np.asarray(starts, np.int64))


def held_keys(index: Index, ids: Collection[str]) -> NDArray[np.uint64]:
    """Keys of the clips in committed shards other than those called `ids`, shard by shard."""
    others = np.asarray(index.others(ids), np.int64)
    return index.keys[joined_ranges(index.starts[others], np.diff(index.starts)[others])]


def uncovered(shards: PlannedShards, index: Index) -> PlannedShards:
    """The shards to have, given that shards of an earlier run with other sources already hold some clips.

    A planned shard loses the clips that a committed shard outside this plan holds; that shard is kept in its
    place, so that no frame is ever stored twice and none is labelled again because a file came beside it.
    """
    clips, ids = shards.clips, set(shards.ids)
    others = np.asarray(index.others(ids), np.int64)
    if not len(others):
        return shards
    held, counts = held_keys(index, ids), np.diff(index.starts)[others]
    by_key = np.argsort(clips.keys)
    found = by_key[np.minimum(np.searchsorted(clips.keys, held, sorter=by_key), len(clips) - 1)]
    strange = clips.keys[found] != held
    missing = np.bincount(np.repeat(np.arange(len(others)), counts), strange, len(others))
    kept = (counts > 0) & (missing == 0)
    left = ~np.isin(clips.keys[shards.members], held)
    sizes = np.add.reduceat(left, shards.starts[:-1], dtype=np.int64)
    members = np.concatenate([found[np.repeat(kept, counts)], shards.members[left]])
    lengths = np.concatenate([counts[kept], sizes[sizes > 0]])
    return PlannedShards.of(clips, members, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def clip_table(clips: Sequence[ClipSpec]) -> list[dict[str, Any]]:
    """What a shard says of its clips: rows [start, stop), identity, kind, source, and how to decode it again.

    Of a name that isn't Unicode, which JSON can't hold, it says how it is shown.
    """
    table, start = [], 0
    for clip in map(_in_unicode, clips):
        entry = {
            "rows": [start, start + clip.frames],
            "key": clip.key,
            "kind": clip.kind,
            "source": list(clip.uris[:1]),
            "sha256": clip.sha256,
            "intrinsics": clip.intrinsics,
            "spec": clip.to_json(),
        }
        table.append(entry)
        start += clip.frames
    return table


def _in_unicode(clip: ClipSpec) -> ClipSpec:
    names = (*clip.uris, *clip.depth, *clip.poses)
    if not any(SURROGATE.search(name) for name in names):
        return clip
    uris, depth, poses = (tuple(map(shown, some)) for some in (clip.uris, clip.depth, clip.poses))
    return replace(clip, uris=uris, depth=depth, poses=poses)


def clip_seed(seed: int, clip: ClipSpec) -> int:
    """The seed of a clip's detectors: a pure function of the root seed and the clip's identity."""
    sequence = np.random.SeedSequence(seed, spawn_key=(int(clip.key, 16),))
    return int(sequence.generate_state(1, np.uint32)[0] >> 1)


def recipes(plan: Plan, seed: int) -> dict[str, Recipe]:
    """What makes each column of a plan: detector, version, parameters and digests of what goes in."""
    made: dict[str, Recipe] = {name: dict(DECODE) for name in FRAME_FIELDS}
    for detector in plan.detectors:
        recipe = json.loads(json.dumps(provenance(detector)))  # as it will be read back
        recipe["inputs"] = {name: digest(made[name])[:16] for name in ("image", *inputs(detector, made))}
        if SEED in detector.needs:
            recipe["seed"] = seed
        made |= dict.fromkeys(detector.makes, recipe)
    return made


def out_of_date(plan: Plan, wanted: Mapping[str, Recipe], made: Mapping[str, Recipe]) -> Iterator[Detector]:
    """The detectors of a plan that must run, because a column of theirs was not `made`, or made otherwise."""
    for detector in plan.detectors:
        if any(made.get(name) != wanted[name] for name in detector.makes):
            yield detector
