"""What planning needs to know of every committed shard, remembered in a cache that the shards can always rebuild.

Listing a folder of a million shards takes seconds, opening a million records takes half an hour: so what a record
says is remembered beside its stamp, which changes when a shard is dropped and made anew. Nothing depends on the
cache being there, whole or up to date, and no worker writes to it.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.ground.errors import CorruptShard, MissingFile, NewerSchema, UserError
from freelabels.ground.faults import reached
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.record import canonical
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster, run

CACHE = ".index.npz"
SHARDS_PER_TASK = 500
NO_KEY = 0  # of a clip whose record gives none


def number_of(key: str) -> int:
    """A clip's key, 16 hexadecimal digits, as a number."""
    return int(key, 16)


@dataclass(frozen=True)
class Entry:
    """What a shard's record says: what made each column, as canonical JSON, and the keys of its clips."""

    made_by: bytes
    keys: tuple[int, ...]


@dataclass(frozen=True)
class Index:
    """The committed shards, newest revision of each, sorted by folder name.

    stamps: of their records, as the storage gives them. made: (shards,) which of `recipes` made their columns;
    recipes: what made each column, by column. starts: (shards + 1,) where each one's clips begin in `keys`, the
    clips' keys as numbers.
    """

    names: Sequence[str]
    stamps: Sequence[str]
    made: NDArray[np.int32]
    recipes: Sequence[Mapping[str, Any]]
    starts: NDArray[np.int64]
    keys: NDArray[np.uint64]

    def keys_of(self, number: int) -> list[int]:
        """Keys of the clips of a shard, in order."""
        return self.keys[self.starts[number] : self.starts[number + 1]].tolist()  # type: ignore[no-any-return]

    def others(self, ids: Collection[str]) -> list[int]:
        """Numbers of the shards that are not called `ids`."""
        return [k for k, name in enumerate(self.names) if name.rpartition(".")[0] not in ids]

    def by_id(self) -> dict[str, int]:
        """Numbers of the shards by name without revision."""
        return {name.rpartition(".")[0]: number for number, name in enumerate(self.names)}


EMPTY = Index((), (), np.zeros(0, np.int32), (), np.zeros(1, np.int64), np.zeros(0, np.uint64))


def read_index(dataset: Dataset, cluster: Cluster, reporter: Reporter) -> Index:
    """The index of a dataset: what is remembered and still so, the rest from the records, read by workers.

    Raises UserError if a record is damaged.
    """
    known = _load(dataset)
    while True:
        stamps = dataset.stamps()
        place = {name: k for k, name in enumerate(known.names) if stamps.get(name) == known.stamps[k]}
        try:
            fresh = _read_records(dataset, [name for name in stamps if name not in place], cluster, reporter)
            break
        except UserError:
            if dataset.stamps().keys() >= stamps.keys():
                raise
            # Another process has replaced some of these shards meanwhile: what is there now counts.
    if not fresh and len(place) == len(known.names):
        return known
    index = _merged(known, place, stamps, fresh)
    reached("index: read")
    save_index(dataset, index)
    reached("index: saved")
    return index


@dataclass(frozen=True)
class RecordsWork:
    """Some shards whose records are to be read in one task."""

    dataset: str
    names: tuple[str, ...]


def read_entries(work: RecordsWork) -> list[Entry]:
    """What the records of some shards say. Runs in a worker. Raises CorruptShard."""
    dataset = Dataset(work.dataset)
    entries, alike = [], dict[bytes, bytes]()
    for shard in dataset.open_all(work.names):
        made_by = canonical({column: shard.made_by(column) for column in shard.fields})
        keys = (clip.get("key") for clip in shard.clips)
        numbers = tuple(number_of(key) if key else NO_KEY for key in keys)
        entries.append(Entry(alike.setdefault(made_by, made_by), numbers))
    return entries


def _read_records(
    dataset: Dataset, names: Sequence[str], cluster: Cluster, reporter: Reporter
) -> dict[str, Entry]:
    """Entries by name; a few are read here, many by workers."""
    batches = [names[k : k + SHARDS_PER_TASK] for k in range(0, len(names), SHARDS_PER_TASK)]
    work = [RecordsWork(os.fspath(dataset.path), tuple(batch)) for batch in batches]
    found: dict[str, Entry] = {}
    alike: dict[bytes, bytes] = {}  # as many as there are ways that columns were made, not one a shard
    try:
        if len(work) <= 1:
            return {name: entry for w in work for name, entry in zip(w.names, read_entries(w), strict=True)}
        with reporter.stage("records", len(work)) as tick:
            for outcome in run(read_entries, work, lambda w: f"records {w.names[0]}", cluster):
                tick(failed=outcome.result is None)
                if outcome.result is None:
                    raise _as_raised(outcome.error)
                for name, entry in zip(outcome.work.names, outcome.result, strict=True):
                    found[name] = Entry(alike.setdefault(entry.made_by, entry.made_by), entry.keys)
    except NewerSchema as error:
        raise UserError(f"{dataset.path}: {error}") from error
    except CorruptShard as error:
        raise UserError(
            f"{dataset.path}: {error}; freelabels verify --repair {dataset.path} takes out what is broken"
        ) from error
    return found


def _as_raised(error: str) -> UserError:
    """The error behind a worker's sentence about it."""
    kind, _, sentence = error.partition(": ")
    kinds = {k.__name__: k for k in (CorruptShard, MissingFile, NewerSchema)}
    return kinds[kind](sentence) if kind in kinds else UserError(f"a record can't be read ({error})")


def _merged(
    known: Index, place: Mapping[str, int], stamps: Mapping[str, str], fresh: Mapping[str, Entry]
) -> Index:
    """Remembered entries that still hold, and new ones, for exactly the shards in `stamps`."""
    names = sorted(stamps)
    old = np.fromiter((place.get(name, -1) for name in names), np.int64, len(names))
    numbers: dict[bytes, int] = {canonical(recipe): k for k, recipe in enumerate(known.recipes)}
    made = np.zeros(len(names), np.int32)
    counts = np.zeros(len(names), np.int64)
    made[old >= 0] = known.made[old[old >= 0]]
    counts[old >= 0] = np.diff(known.starts)[old[old >= 0]]
    for k in np.flatnonzero(old < 0).tolist():
        entry = fresh[names[k]]
        made[k] = numbers.setdefault(entry.made_by, len(numbers))
        counts[k] = len(entry.keys)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    keys = np.empty(starts[-1], np.uint64)
    for k, (name, start) in enumerate(zip(names, starts[:-1].tolist(), strict=True)):
        source = int(old[k])
        stop = start + int(counts[k])
        if source < 0:
            keys[start:stop] = fresh[name].keys
        else:
            keys[start:stop] = known.keys[known.starts[source] : known.starts[source + 1]]
    used, renumbered = np.unique(made, return_inverse=True)
    recipes = [json.loads(text) for text in numbers]
    kept = tuple(recipes[k] for k in used.tolist())
    return Index(names, [stamps[n] for n in names], renumbered.astype(np.int32), kept, starts, keys)


def save_index(dataset: Dataset, index: Index) -> None:
    """Remember an index for the next run."""
    text = "\n".join(["\n".join(index.names), "\n".join(index.stamps), json.dumps(index.recipes)])
    stream = io.BytesIO()
    np.savez(  # an archive checks its members' checksums when it is read
        stream,
        count=np.asarray(len(index.names)),
        text=np.frombuffer(text.encode(), np.uint8),
        made=index.made,
        starts=index.starts,
        keys=index.keys,
    )
    dataset.storage.write(CACHE, stream.getvalue())


def _load(dataset: Dataset) -> Index:
    """What an earlier run remembered; one that can't be read is as if it were not there."""
    try:
        with np.load(io.BytesIO(dataset.storage.read(CACHE)), allow_pickle=False) as stored:
            count = int(stored["count"])
            lines = stored["text"].tobytes().decode().split("\n")
            names, stamps, recipes = lines[:count], lines[count : 2 * count], json.loads(lines[2 * count])
            return Index(names, stamps, stored["made"], recipes, stored["starts"], stored["keys"])
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile):
        return EMPTY
