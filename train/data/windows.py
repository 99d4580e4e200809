"""Which windows of frames there are, which of them are held out, and in what order they are drawn.

Everything here is a pure function of the data and the seed: the position of a batch is one number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import field
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import (
    excluded_rows,
    exclusions_json,
    exclusions_of,
    read_exclusions,
)

DOMAINS = (REAL, SYNTHETIC) = (0, 1)
DOMAIN_NAMES = field("domain").names


@dataclass(frozen=True)
class Window:
    """Consecutive frames of one clip: rows start … start + frames - 1 of a shard.

    group: what must not be split from it. kind: photo, video, stereo, render …, what decides on its labels.
    """

    dataset: str
    shard: str
    start: int
    domain: int
    group: str
    kind: str


@dataclass(frozen=True)
class Catalogue:
    """What the given datasets hold.

    windows: all of them, real ones first, shards in order. fields: (domain, name) of every column of any shard.
    names: by category, its table of names. digest: identifies the data, so that a resumed run can tell.
    excluded: how many frames exclusion lists keep out of it.
    """

    windows: tuple[Window, ...]
    fields: frozenset[tuple[int, str]]
    names: Mapping[str, tuple[str, ...]]
    digest: str
    excluded: int = 0

    def has(self, name: str) -> bool:
        """Whether any shard holds the field."""
        return any((domain, name) in self.fields for domain in DOMAINS)


def read_catalogue(
    real: Sequence[str], synthetic: Sequence[str], frames: int, exclude: Sequence[str] = ()
) -> Catalogue:
    """List the windows of `frames` frames in all shards; clips shorter than that are left out.

    Windows that hold a frame on a dataset's own exclusion list, or on a list in one of the files `exclude`, are
    left out too. Raises UserError if a given folder is no dataset or has no clip that is long enough.
    """
    listed = frozenset(frame for path in exclude for frame in read_exclusions(path))
    excluded = 0
    windows: list[Window] = []
    columns: set[tuple[int, str]] = set()
    names: dict[str, tuple[str, ...]] = {}
    everything = hashlib.sha256()
    for domain, paths in ((REAL, real), (SYNTHETIC, synthetic)):
        for path in paths:
            dataset = Dataset(path)
            _ = dataset.attributes  # raises NotADataset
            found = len(windows)
            unwanted = listed | exclusions_of(dataset)
            if unwanted:
                everything.update(exclusions_json(unwanted).encode())
            for shard in dataset.open_all(dataset.shards()):
                columns |= {(domain, column) for column in shard.fields}
                everything.update(
                    json.dumps([domain, shard.name, shard.record.get("sha256", shard.rows)]).encode()
                )
                for column in shard.fields:
                    table = shard.attributes(column).get("names")
                    if table and len(table) > len(names.get(column, ())):
                        names[column] = tuple(_names(table))
                out = excluded_rows(shard, unwanted)
                excluded += int(out.sum())
                shard.close()
                for clip in shard.clips:
                    start, stop = clip["rows"]
                    group = group_of(clip) or f"{shard.id}/{start}"
                    windows += [
                        Window(str(path), shard.name, row, domain, group, clip.get("kind", ""))
                        for row in range(start, stop - frames + 1)
                        if not out[row : row + frames].any()
                    ]
            if len(windows) == found and unwanted:
                raise UserError(
                    f"{path} has no frames left to train on: its exclusion list leaves out too many"
                )
            if len(windows) == found:
                few = f" with clips of {frames} frames or more" if frames > 1 else ""
                raise UserError(f"{path} holds no shards{few}: label or render into it first")
    return Catalogue(tuple(windows), frozenset(columns), names, everything.hexdigest(), excluded)


def _names(table: Any) -> list[str]:
    """A table of names as the array's attributes hold it: a list, or a mapping from id to name."""
    if isinstance(table, Mapping):
        return [str(table.get(str(k), table.get(k, ""))) for k in range(1 + max(int(k) for k in table))]
    return [str(name) for name in table]


def group_of(clip: Mapping[str, Any]) -> str:
    """What a clip shares with others that must not be split from it: its source file, or its scene."""
    for name in ("sha256", "source", "key"):
        if clip.get(name) not in (None, "", []):
            return json.dumps([name, clip[name]], sort_keys=True)
    return ""


def held_out_groups(windows: Sequence[Window], share: float) -> frozenset[str]:
    """Groups of clips that training never sees: those whose name hashes below `share`, in each domain and kind.

    A group's fate doesn't depend on what else is there, except that one is held out of a kind where none fell
    below (photos can't stand in for videos, they have no motion), and one is kept where all did; a kind with a
    single group has none held out.
    """
    chosen: set[str] = set()
    for part in sorted({(w.domain, w.kind) for w in windows}):
        groups = sorted({w.group for w in windows if (w.domain, w.kind) == part}, key=_uniform)
        if share > 0 and len(groups) > 1:
            below = sum(_uniform(group) < share for group in groups)
            chosen |= set(groups[: min(max(below, 1), len(groups) - 1)])
    return frozenset(chosen)


def _uniform(group: str) -> float:
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64


@dataclass(frozen=True)
class Order:
    """The endless, shuffled sequence of one domain's windows: shards in random order, mixed within a buffer.

    numbers: the windows' numbers in the catalogue; shards: the shard each of them lies in; buffer: how many
    shards are mixed at a time, so that only these are read from at once.
    """

    numbers: tuple[int, ...]
    shards: tuple[str, ...]
    buffer: int
    seed: int
    domain: int

    def __getitem__(self, position: int) -> tuple[int, int]:
        """(epoch, number of the window) at a position counted from the start of training."""
        epoch, index = divmod(position, len(self.numbers))
        return epoch, int(_shuffled(self, epoch)[index])


@lru_cache(maxsize=8)
def _shuffled(order: Order, epoch: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(np.random.SeedSequence(order.seed, spawn_key=(order.domain, epoch)))
    names, shard = np.unique(order.shards, return_inverse=True)
    members = [np.flatnonzero(shard == k) for k in rng.permutation(len(names))]
    buffers = [np.concatenate(members[k : k + order.buffer]) for k in range(0, len(members), order.buffer)]
    mixed = np.concatenate([rng.permutation(buffer) for buffer in buffers])
    return np.asarray(np.asarray(order.numbers)[mixed])


def spread(items: Sequence[Window], most: int) -> list[Window]:
    """Up to `most` items, evenly spread over the sequence."""
    return [items[k * len(items) // most] for k in range(most)] if len(items) > most else list(items)


def by_domain(datasets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Datasets of real frames and those of rendered ones. Raises UserError for one with neither, or both."""
    real: list[str] = []
    synthetic: list[str] = []
    for path in datasets:
        dataset = Dataset(path)
        shards = dataset.open_all(dataset.shards())
        kinds = {clip["kind"] == "render" for shard in shards for clip in shard.clips}
        if not kinds:
            raise UserError(f"{path} holds no shards yet; label or render into it first")
        if len(kinds) == 2:
            raise UserError(f"{path} holds real and rendered frames; give each domain a dataset of its own")
        (synthetic if True in kinds else real).append(path)
    return real, synthetic
