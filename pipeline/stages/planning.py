"""Clips → shards → the columns that are missing or out of date. Pure functions of plan and seed."""

from __future__ import annotations

import json
import re
from array import array
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
from freelabels.pipeline.shards.summary import decoded
from freelabels.pipeline.sources.clip_specs import ClipColumns, ClipSpec
from freelabels.pipeline.storage.uris import shown

# Raised whenever the same source would be decoded to other pixels.
DECODE = {"generator": "decode", "version": 2, "parameters": {}}

TAG = ("kind", "text", "origin")  # of words that came with a source

SURROGATE = re.compile("[\ud800-\udfff]")  # what Python makes of bytes in a name that are no UTF-8

DIGITS = 16  # of a clip's key
CHUNK = 1 << 20  # clips at a time, where temporary arrays would take as much as the columns

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


def shard_id(kind: str, keys: Sequence[str]) -> str:
    """Name of a shard without its revision: a pure function of its clips' kind and keys."""
    return f"{kind}-{digest(list(keys))[:16]}"


@dataclass(frozen=True)
class PlannedShards:
    """Many planned shards as columns: the k-th holds the clips `members[starts[k] : starts[k + 1]]`."""

    clips: ClipColumns
    members: NDArray[np.uint32]
    starts: NDArray[np.int64]
    ids: NDArray[np.bytes_]

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def of(clips: ClipColumns, members: NDArray[np.uint32], starts: NDArray[np.int64]) -> PlannedShards:
        """Shards with their ids."""
        kinds = [kind for kind, _ in clips.kinds]
        ids: list[bytes] = []
        for some in _chunks(starts):
            bounds = starts[some.start : some.stop + 1]
            text = clips.keys[members[bounds[0] : bounds[-1]]].astype(">u8").tobytes().hex()
            offers = clips.offers[members[bounds[:-1]]].tolist()
            ends = ((bounds - bounds[0]) * DIGITS).tolist()
            for offer, start, stop in zip(offers, ends[:-1], ends[1:], strict=True):
                keys = [text[k : k + DIGITS] for k in range(start, stop, DIGITS)]
                ids.append(shard_id(kinds[offer], keys).encode())
        return PlannedShards(clips, members, starts, np.array(ids, np.bytes_).reshape(-1))

    def id(self, number: int) -> str:
        """Name of a shard without its revision."""
        return decoded(self.ids[number])

    @property
    def frames(self) -> int:
        """How many rows all shards have."""
        return int(self.lengths.sum())

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(shards,) how many rows each has."""
        out = np.zeros(len(self), np.int64)
        for some in _chunks(self.starts):
            start, stop = self.starts[some.start], self.starts[some.stop]
            frames = self.clips.frames[self.members[start:stop]]
            out[some] = np.add.reduceat(frames, self.starts[some] - start, dtype=np.int64)
        return out

    @property
    def offers(self) -> NDArray[np.uint8]:
        """(shards,) which of `clips.kinds` each is; where its clips differ, the one that offers least.

        Clips are packed with those that offer the same, but an earlier version may not have known all they offer.
        """
        order = np.argsort([len(provides) for _, provides in self.clips.kinds], kind="stable")
        rank = np.argsort(order).astype(np.uint8)
        least = np.zeros(len(self), np.uint8)
        for some in _chunks(self.starts):
            start, stop = self.starts[some.start], self.starts[some.stop]
            ranks = rank[self.clips.offers[self.members[start:stop]]]
            least[some] = np.minimum.reduceat(ranks, self.starts[some] - start)
        return order[least].astype(np.uint8)

    def read(self, number: int) -> ShardPlan:
        """One of them, with the whole of its clips."""
        members = self.members[self.starts[number] : self.starts[number + 1]].tolist()
        return ShardPlan(self.id(number), tuple(self.clips.read(member) for member in members))


def _chunks(starts: NDArray[np.int64]) -> Iterator[slice]:
    """Slices of shards with about `CHUNK` clips each."""
    shard = 0
    while shard < len(starts) - 1:
        stop = int(np.searchsorted(starts, starts[shard] + CHUNK, side="right")) - 1
        yield slice(shard, max(stop, shard + 1))
        shard = max(stop, shard + 1)


def pack(clips: ClipColumns, rows: int = MAX_ROWS) -> PlannedShards:
    """Pack whole clips into shards of up to `rows` frames, in order, clips that offer the same together."""
    members = np.empty(len(clips), np.uint32)
    starts = array("q", [0])
    for offer in sorted(
        range(len(clips.kinds)), key=lambda k: (clips.kinds[k][0], sorted(clips.kinds[k][1]))
    ):
        begin = filled = starts[-1]
        for start in range(0, len(clips), CHUNK):
            found = np.flatnonzero(clips.offers[start : start + CHUNK] == offer) + start
            members[filled : filled + len(found)] = found
            filled += len(found)
            begin = _close(
                clips.frames[members[begin:filled]], rows, begin, starts, start + CHUNK >= len(clips)
            )
    return PlannedShards.of(clips, members, np.frombuffer(starts, np.int64))


def _close(frames: NDArray[np.uint8], rows: int, begin: int, starts: array[int], last: bool) -> int:
    """Close shards of clips of so many frames, the first number `begin`; returns the first that is left.

    last: whether what is left makes a shard too.
    """
    ends = np.cumsum(frames, dtype=np.int64)
    first = filled = 0
    while first < len(ends):
        stop = max(int(np.searchsorted(ends, filled + rows, side="right")), first + 1)
        if stop == len(ends) and not last:
            break
        starts.append(begin + stop)
        first, filled = stop, int(ends[stop - 1])
    return begin + first


def uncovered(shards: PlannedShards, index: Index) -> PlannedShards:
    """The shards to have, given that shards of an earlier run with other sources already hold some clips.

    A planned shard loses the clips that a committed shard outside this plan holds; that shard is kept in its
    place, so that no frame is ever stored twice and none is labelled again because a file came beside it.
    """
    clips, others = shards.clips, index.others(shards.ids)
    if not len(others):
        return shards
    counts, held = index.keys_of(others)
    by_key = np.argsort(clips.keys)
    found = by_key[np.minimum(np.searchsorted(clips.keys, held, sorter=by_key), len(clips) - 1)]
    strange = clips.keys[found] != held
    missing = np.bincount(np.repeat(np.arange(len(others)), counts), strange, len(others))
    kept = (counts > 0) & (missing == 0)
    left = ~np.isin(clips.keys[shards.members], held)
    sizes = np.add.reduceat(left, shards.starts[:-1], dtype=np.int64)
    members = np.concatenate([found[np.repeat(kept, counts)], shards.members[left]]).astype(np.uint32)
    lengths = np.concatenate([counts[kept], sizes[sizes > 0]])
    return PlannedShards.of(clips, members, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def clip_table(clips: Sequence[ClipSpec]) -> list[dict[str, Any]]:
    """What a shard says of its clips: rows [start, stop), identity, kind, source, and how to decode it again.

    Of a name that isn't Unicode, which JSON can't hold, it says how it is shown.
    """
    table, start = [], 0
    for clip in map(_in_unicode, clips):
        entry: dict[str, Any] = {
            "rows": [start, start + clip.frames],
            "key": clip.key,
            "kind": clip.kind,
            "source": list(clip.uris[:1]),
            "sha256": clip.sha256,
            "intrinsics": clip.intrinsics,
            "spec": clip.to_json(),
        }
        del entry["spec"]["tags"]
        if not clip.sound:  # as before sound was known
            del entry["spec"]["sound"]
        if clip.tags:
            entry["tags"] = [dict(zip(TAG, tag, strict=True)) for tag in clip.tags]
        table.append(entry)
        start += clip.frames
    return table


def _in_unicode(clip: ClipSpec) -> ClipSpec:
    names = (*clip.uris, *clip.depth, *clip.poses, *(origin for *_, origin in clip.tags))
    if not any(SURROGATE.search(name) for name in names):
        return clip
    uris, depth, poses = (tuple(map(shown, some)) for some in (clip.uris, clip.depth, clip.poses))
    tags = tuple((kind, text, shown(origin)) for kind, text, origin in clip.tags)
    return replace(clip, uris=uris, depth=depth, poses=poses, tags=tags)


def clip_seed(seed: int, clip: ClipSpec) -> int:
    """The seed of a clip's detectors: a pure function of the root seed and the clip's identity."""
    sequence = np.random.SeedSequence(seed, spawn_key=(int(clip.key, 16),))
    return int(sequence.generate_state(1, np.uint32)[0] >> 1)


@dataclass(frozen=True)
class Choice:
    """What is made of a shard's columns: the detectors to run, and what made each column once they have.

    anew: the frames are decoded again, so that nothing that is there is of use. older: columns that stay as
    another version made them, and what made them.
    """

    anew: bool
    detectors: tuple[Detector, ...]
    recipes: Mapping[str, Recipe]
    older: Mapping[str, str]


def choose(
    plan: Plan, seed: int, made: Mapping[str, Recipe], asked: Collection[str], update: frozenset[str]
) -> Choice:
    """Which detectors of a plan must run, given what `made` the columns that are there.

    Those must whose column is missing, was made with other parameters or seed, or from columns that are no more.
    A column that another version made stays, unless its detector is `asked` for with other parameters, or it is
    among those to `update`. All of a detector's columns go together.
    """
    decode = dict(DECODE)
    stored = made.get("image")
    anew = stored is None or (stored != decode and "image" in update)
    older: dict[str, str] = {}
    if stored is not None and not anew:
        if stored != decode:
            older["image"] = release(stored)
        decode = dict(stored)
    effective: dict[str, Recipe] = dict.fromkeys(FRAME_FIELDS, decode)
    stale: list[Detector] = []
    for detector in plan.detectors:
        wanted = _recipe(detector, seed, effective)
        kept = None if anew else _kept(detector, wanted, made, effective, detector.name in asked)
        if kept != wanted and update.intersection(detector.makes):
            kept = None
        if kept is None:
            stale.append(detector)
        elif kept != wanted:
            older |= dict.fromkeys(detector.makes, release(kept))
        effective |= dict.fromkeys(detector.makes, wanted if kept is None else kept)
    return Choice(anew, tuple(stale), effective, older)


def release(recipe: Recipe) -> str:
    """Generator and version, for people."""
    return f"{recipe.get('generator', '?')} {recipe.get('version', '?')}"


def _recipe(detector: Detector, seed: int, effective: Mapping[str, Recipe]) -> Recipe:
    """What makes a detector's columns: name, version, parameters and digests of what goes in."""
    recipe: Recipe = json.loads(json.dumps(provenance(detector)))  # as it will be read back
    recipe["inputs"] = {
        name: digest(effective[name])[:16] for name in ("image", *inputs(detector, effective))
    }
    if SEED in detector.needs:
        recipe["seed"] = seed
    return recipe


def _kept(
    detector: Detector,
    wanted: Recipe,
    made: Mapping[str, Recipe],
    effective: Mapping[str, Recipe],
    asked: bool,
) -> Recipe | None:
    """What made the columns of a detector that stay; None: they are made now."""
    recipe = made.get(detector.makes[0])
    if recipe is None or any(made.get(name) != recipe for name in detector.makes):
        return None
    if recipe == wanted:
        return recipe
    same_version = recipe.get("version") == wanted["version"]
    if recipe.get("generator") != wanted["generator"] or recipe.get("seed") != wanted.get("seed"):
        return None
    if recipe.get("parameters") != wanted["parameters"] and (same_version or asked):
        return None
    before = recipe.get("inputs", {})
    if any(name not in effective or digest(effective[name])[:16] != was for name, was in before.items()):
        return None
    if same_version and before.keys() != wanted["inputs"].keys():
        return None
    return recipe
