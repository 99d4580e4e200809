"""Clips → shards → the columns that are missing or out of date. Pure functions of plan and seed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from generators.clip import SEED
from generators.detector import Detector, Plan, inputs, provenance
from pipeline.clips import ClipSpec
from pipeline.index import Index, number_of
from pipeline.shards import MAX_ROWS, digest

# Raised whenever the same source would be decoded to other pixels.
DECODE = {"generator": "decode", "version": 1, "parameters": {}}
FRAME_FIELDS = ("image", "clip", "frame_index", "time", "domain", "camera_K", "camera_pose")

Recipe = dict[str, Any]


@dataclass(frozen=True)
class ShardPlan:
    """The clips of one shard; its id is a pure function of them."""

    clips: tuple[ClipSpec, ...]

    @cached_property
    def id(self) -> str:
        """Name of the shard without its revision."""
        return f"{self.clips[0].kind}-{digest([clip.key for clip in self.clips])[:16]}"

    @property
    def frames(self) -> int:
        """How many rows the shard has."""
        return sum(clip.frames for clip in self.clips)

    @property
    def provides(self) -> frozenset[str]:
        """What every clip of the shard offers to detectors."""
        return self.clips[0].provides | {SEED}


def pack(clips: Sequence[ClipSpec], rows: int = MAX_ROWS) -> list[ShardPlan]:
    """Pack whole clips into shards of up to `rows` frames, in order, clips that offer the same together."""

    def group(clip: ClipSpec) -> tuple[str, list[str]]:
        return clip.kind, sorted(clip.provides)

    plans = []
    for _, members in groupby(sorted(clips, key=group), key=group):
        shard: list[ClipSpec] = []
        for clip in members:
            if shard and sum(c.frames for c in shard) + clip.frames > rows:
                plans.append(ShardPlan(tuple(shard)))
                shard = []
            shard.append(clip)
        plans.append(ShardPlan(tuple(shard)))
    return plans


def held_keys(index: Index, ids: Collection[str]) -> set[int]:
    """Keys of the clips in committed shards other than those called `ids`."""
    return {key for number in index.others(ids) for key in index.keys_of(number)}


def uncovered(plans: Sequence[ShardPlan], index: Index) -> list[ShardPlan]:
    """The shards to have, given that shards of an earlier run with other sources already hold some clips.

    A planned shard loses the clips that a committed shard outside this plan holds; that shard is kept in its
    place, so that no frame is ever stored twice and none is labelled again because a file came beside it.
    """
    ids = {plan.id for plan in plans}
    others = index.others(ids)
    if not others:
        return list(plans)
    held = held_keys(index, ids)
    wanted = {number_of(clip.key): clip for plan in plans for clip in plan.clips}
    kept = []
    for number in others:
        keys = index.keys_of(number)
        if keys and all(key in wanted for key in keys):
            kept.append(ShardPlan(tuple(wanted[key] for key in keys)))
    for plan in plans:
        rest = tuple(clip for clip in plan.clips if number_of(clip.key) not in held)
        if rest:
            kept.append(ShardPlan(rest))
    return kept


def clip_table(clips: Sequence[ClipSpec]) -> list[dict[str, Any]]:
    """What a shard says of its clips: rows [start, stop), identity, kind, source, and how to decode it again."""
    table, start = [], 0
    for clip in clips:
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
