"""All committed shards by their summaries, remembered in a cache that the shards can always rebuild.

Listing a folder of a million shards takes seconds, opening a million records takes hours: so what a record says is
remembered beside its stamp, which changes when a shard is dropped and made anew. The cache is a folder of parts of
some thousand shards, which are never changed and are named by the digest of their bytes: one that doesn't match is
as if it were not there. Nothing depends on the cache being there, whole or up to date, and no worker
writes to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.ground.errors import NewerSchema, UserError
from freelabels.ground.faults import reached
from freelabels.pipeline.shards.dataset import INDEX, Dataset
from freelabels.pipeline.shards.summary import (
    TABLES,
    Collector,
    Summaries,
    decoded,
    encoded,
    joined,
    joined_ranges,
)
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster, run

SHARDS_PER_TASK = 500
PART = 4096  # shards of a part; one with less than half of them is put together with what is new
NOWHERE = -1


@dataclass(frozen=True)
class Part:
    """Remembered shards: a file of the cache, or, where nothing can be written, themselves; `head`: no tables."""

    head: Summaries
    source: str | Summaries

    def load(self, dataset: Dataset, tables: Sequence[str]) -> Summaries | None:
        """With some of the tables; None: another process has put it together with others."""
        return _load(dataset, self.source, tables) if isinstance(self.source, str) else self.source


@dataclass(frozen=True)
class Index:
    """The committed shards, newest revision of each, sorted by folder name.

    names: (shards,) of their folders. made: (shards,) which of `recipes` made their columns; recipes: what made
    each column, by column. rows: (shards,) how many frames each has. parts: what is remembered; part, place:
    (shards,) where each shard stands in them. broken: sentences about shards whose records can't be read, which
    are left out.
    """

    dataset: Dataset
    names: NDArray[np.bytes_]
    made: NDArray[np.int32]
    recipes: Sequence[Mapping[str, Any]]
    rows: NDArray[np.uint16]
    parts: Sequence[Part]
    part: NDArray[np.int32]
    place: NDArray[np.int32]
    broken: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.names)

    def name(self, number: int) -> str:
        """Folder name of a shard."""
        return decoded(self.names[number])

    def numbers_of(self, ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Numbers of the shards with these names without revision; -1: not there."""
        if not len(self):
            return np.full(len(ids), NOWHERE, np.int64)
        own = without_revision(self.names)
        order = np.argsort(own)
        found = order[np.minimum(np.searchsorted(own, ids, sorter=order), len(order) - 1)]
        return np.where(own[found] == ids, found, NOWHERE)

    def others(self, ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Numbers of the shards that are not called `ids`, in order."""
        there = self.numbers_of(ids)
        return np.setdiff1d(np.arange(len(self)), there[there >= 0], assume_unique=True)

    def summaries(
        self, *tables: str, of: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], Summaries]]:
        """The shards, or those with the numbers `of`, part by part, with some of the tables.

        Yields their numbers in the index, and their summaries in the same order. Raises UserError if the record
        of one that is no longer remembered can't be read.
        """
        wanted = np.arange(len(self)) if of is None else of
        for k in np.unique(self.part[wanted]).tolist():
            members = wanted[self.part[wanted] == k]
            members = members[np.argsort(self.place[members])]
            whole = self.parts[k].load(self.dataset, tables)
            if whole is None:
                yield members, _read_anew(self.dataset, [self.name(number) for number in members.tolist()])
            else:
                chosen = np.zeros(len(whole), bool)
                chosen[self.place[members]] = True
                yield members, whole.select(chosen)

    def keys_of(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """(numbers,) how many clips these shards have, and the keys of their clips, shard by shard."""
        counts = np.zeros(len(self), np.int64)
        found = []
        for some, part in self.summaries("clips", of=numbers):
            counts[some] = part.shards["clips"]
            found.append((some, part.clips["key"].copy()))
        starts = np.zeros(len(self), np.int64)
        starts[numbers] = np.cumsum(counts[numbers]) - counts[numbers]
        keys = np.empty(int(counts[numbers].sum()), np.uint64)
        for some, its in found:
            keys[joined_ranges(starts[some], counts[some])] = its
        return counts[numbers], keys


def without_revision(names: NDArray[np.bytes_]) -> NDArray[np.bytes_]:
    """Names of shards' folders without the revision."""
    return np.array([name.rpartition(b".")[0] for name in names.tolist()], names.dtype).reshape(-1)


def read_index(dataset: Dataset, cluster: Cluster, reporter: Reporter, *, lenient: bool = False) -> Index:
    """The index of a dataset: what is remembered and still so, the rest from the records, read by workers.

    What was new is remembered, where the dataset can be written to. Raises UserError if a record can't be read,
    unless it is `lenient`.
    """
    parts = _remembered(dataset)
    while True:
        stamps = dataset.stamps()
        names, marks = encoded(stamps), encoded(stamps.values())
        parts, broken = _completed(dataset, names, marks, parts, cluster, reporter)
        if not broken or dataset.stamps().keys() >= stamps.keys():
            break
        # Another process has replaced some of these shards meanwhile: what is there now counts.
    if broken and not lenient:
        kind, sentence = broken[0]
        how = f"; freelabels verify --repair {dataset.path} takes out what is broken"
        raise UserError(f"{dataset.path}: {sentence}{'' if kind == NewerSchema.__name__ else how}")
    return index_of(dataset, names, marks, parts, [sentence for _, sentence in broken])


def index_of(
    dataset: Dataset,
    names: NDArray[np.bytes_],
    stamps: NDArray[np.bytes_],
    parts: Sequence[Part],
    broken: Sequence[str] = (),
) -> Index:
    """The index of the shards with these names, sorted, and stamps, as far as they stand in `parts`."""
    part, place = _matched(names, stamps, parts)
    made, rows = np.zeros(len(names), np.int32), np.zeros(len(names), np.uint16)
    recipes: dict[str, int] = {}
    for k, known in enumerate(parts):
        mine, head = part == k, known.head
        new = np.array([recipes.setdefault(text, len(recipes)) for text in head.recipes], np.int32)
        some = head.shards[place[mine]]
        if len(some):
            made[mine], rows[mine] = new[some["made"]], some["rows"]
    there = part != NOWHERE
    used, number = np.unique(made[there], return_inverse=True)
    texts = list(recipes)
    return Index(
        dataset,
        names[there],
        number.astype(np.int32),
        [json.loads(texts[k]) for k in used.tolist()],
        rows[there],
        parts,
        part[there],
        place[there],
        broken,
    )


def _matched(
    names: NDArray[np.bytes_], stamps: NDArray[np.bytes_], parts: Sequence[Part]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Of each shard the part that remembers it as it is, `NOWHERE` if none does, and its place there."""
    part, place = np.full(len(names), NOWHERE, np.int32), np.zeros(len(names), np.int32)
    for k, known in enumerate(parts):
        if len(names) and len(known.head):
            at = np.minimum(np.searchsorted(names, known.head.names), len(names) - 1)
            same = (names[at] == known.head.names) & (stamps[at] == known.head.stamps) & (part[at] == NOWHERE)
            part[at[same]], place[at[same]] = k, np.flatnonzero(same)
    return part, place


def _completed(
    dataset: Dataset,
    names: NDArray[np.bytes_],
    stamps: NDArray[np.bytes_],
    parts: Sequence[Part],
    cluster: Cluster,
    reporter: Reporter,
) -> tuple[list[Part], list[tuple[str, str]]]:
    """Parts that remember all shards; of those whose records can't be read, the kind of error and a sentence."""
    part, place = _matched(names, stamps, parts)
    new, live = part == NOWHERE, np.bincount(part[part != NOWHERE], minlength=len(parts))
    if not new.any() and (live > 0).all():
        return [*parts], []
    few = [k for k in range(len(parts)) if live[k] < PART // 2]
    broken: list[tuple[str, str]] = []

    def pieces() -> Iterator[Summaries]:
        for k in few:
            if (whole := parts[k].load(dataset, TABLES)) is None:
                new[part == k] = True
            elif live[k]:
                chosen = np.zeros(len(whole), bool)
                chosen[place[part == k]] = True
                yield whole.select(chosen)
        yield from _read_records(dataset, list(map(decoded, names[new].tolist())), cluster, reporter, broken)

    found = [known for k, known in enumerate(parts) if k not in few]
    kept = True
    for whole in _of_size(pieces()):
        reached("index: read")
        found.append(remember(dataset, replace(whole, stamps=stamps[np.searchsorted(names, whole.names)])))
        kept &= isinstance(found[-1].source, str)
        reached("index: saved")
    for k in few if kept else ():
        source = parts[k].source
        if isinstance(source, str) and source not in {
            one.source for one in found if isinstance(one.source, str)
        }:
            with suppress(OSError):
                dataset.storage.remove(f"{INDEX}/{source}")
    return found, broken


def _of_size(pieces: Iterable[Summaries]) -> Iterator[Summaries]:
    """The same shards in pieces of about `PART`."""
    waiting: list[Summaries] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(map(len, waiting)) >= PART:
            yield joined(waiting)
            waiting = []
    if sum(map(len, waiting)):
        yield joined(waiting)


# --- the cache ------------------------------------------------------------------------------------------------


def _remembered(dataset: Dataset) -> list[Part]:
    """What earlier runs remembered, without the tables."""
    found = [(file, _load(dataset, file)) for file in dataset.storage.files(INDEX)]
    return [Part(head, file) for file, head in found if head is not None]


def _load(dataset: Dataset, file: str, tables: Sequence[str] = ()) -> Summaries | None:
    """A part, with some of its tables; None if it is not there, damaged or of another version."""
    try:
        data = dataset.storage.read(f"{INDEX}/{file}")
        return Summaries.from_bytes(data, tables) if file == _file_name(data) else None
    except (FileNotFoundError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _file_name(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()[:32]}.npz"


def remember(dataset: Dataset, whole: Summaries) -> Part:
    """Remember shards for the next run; where that can't be written, for this one."""
    data = whole.to_bytes()
    file = _file_name(data)
    try:
        dataset.storage.write(f"{INDEX}/{file}", data)
    except OSError:
        return Part(whole.head, whole)
    return Part(whole.head, file)


# --- records --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SummaryWork:
    """Some shards whose records are to be read in one task."""

    dataset: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Read:
    """What the records of some shards say; of those that can't be read, the kind of error and a sentence."""

    whole: Summaries
    broken: list[tuple[str, str]] = field(default_factory=list)


def read_summaries(work: SummaryWork) -> Read:
    """Read the records of some shards. Runs in a worker."""
    dataset, found = Dataset(work.dataset), Collector()
    broken: list[tuple[str, str]] = []
    for shard in dataset.open_all(
        work.names, lambda error: broken.append((type(error).__name__, str(error)))
    ):
        found.add(shard)
    return Read(found.build(), broken)


def _read_anew(dataset: Dataset, names: Sequence[str]) -> Summaries:
    read = read_summaries(SummaryWork(os.fspath(dataset.path), tuple(names)))
    for _, sentence in read.broken:
        raise UserError(f"{dataset.path}: {sentence}; run again")
    return read.whole


def _read_records(
    dataset: Dataset,
    names: Sequence[str],
    cluster: Cluster,
    reporter: Reporter,
    broken: list[tuple[str, str]],
) -> Iterator[Summaries]:
    """What the records say; a few are read here, many by workers."""
    batches = [names[k : k + SHARDS_PER_TASK] for k in range(0, len(names), SHARDS_PER_TASK)]
    work = [SummaryWork(os.fspath(dataset.path), tuple(batch)) for batch in batches]
    if len(work) <= 1:
        for read in map(read_summaries, work):
            broken += read.broken
            yield read.whole
        return
    with reporter.stage("records", len(work)) as tick:
        for outcome in run(read_summaries, work, lambda w: f"records {w.names[0]}", cluster):
            tick(failed=outcome.result is None)
            if outcome.result is None:
                raise UserError(f"a record can't be read ({outcome.error})")
            broken += outcome.result.broken
            yield outcome.result.whole
