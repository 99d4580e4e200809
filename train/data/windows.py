"""Which windows of frames there are, in columns: some bytes a window, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import field as field_of

DOMAINS = (REAL, SYNTHETIC) = (0, 1)
DOMAIN_NAMES = field_of("domain").names
MOST = (1 << 32) - 1  # windows that are numbered in four bytes
CHUNK = 1 << 22  # runs looked at together, where temporary arrays would take as much as the columns

T = TypeVar("T")


@dataclass(frozen=True)
class Window:
    """Consecutive frames of one clip: rows start … start + frames - 1 of a shard.

    group: what must not be split from it, as a number of 64 bits. kind: photo, video, stereo, render …, what
    decides on its labels. run: the number of its clip, or of the part of it that isn't interrupted, among all.
    before, after: how many windows of the run begin before and after it, so how far its clip reaches.
    """

    dataset: str
    shard: str
    start: int
    domain: int
    group: int
    kind: str
    run: int = field(default=0, compare=False)
    before: int = field(default=0, compare=False)
    after: int = field(default=0, compare=False)


@dataclass(frozen=True, eq=False)
class Windows(Sequence[Window]):
    """Many windows as columns, made by `Builder`.

    Windows that follow each other in one clip are a run, runs of one shard and kind a block. By block: dataset
    (in `datasets`), shard (bytes), domain, kind (in `kinds`) and, with one entry more, first_run. By run: row and
    group and, with one entry more, first, the number of its first window.
    """

    datasets: tuple[str, ...]
    kinds: tuple[str, ...]
    dataset: NDArray[np.uint16]
    shard: NDArray[np.bytes_]
    domain: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    first_run: NDArray[np.int64]
    first: NDArray[Any]
    row: NDArray[Any]
    group: NDArray[np.uint64]

    def __len__(self) -> int:
        return int(self.first[-1])

    @overload
    def __getitem__(self, number: int) -> Window: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Window]: ...
    def __getitem__(self, number: int | slice) -> Window | Sequence[Window]:
        if isinstance(number, slice):
            return [self[k] for k in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} windows, there is no window {number}")
        [run] = self.run_of(np.array([number]))
        block = int(np.searchsorted(self.first_run, run, side="right")) - 1
        before = number - int(self.first[run])
        return Window(
            self.datasets[self.dataset[block]],
            self.shard[block].decode(),
            int(self.row[run]) + before,
            int(self.domain[block]),
            int(self.group[run]),
            self.kinds[self.kind[block]],
            int(run),
            before,
            int(self.first[run + 1]) - 1 - number,
        )

    def run_of(self, numbers: NDArray[Any]) -> NDArray[np.int64]:
        """The run that each window lies in."""
        # In the column's own type, or searching would copy the whole of it into another.
        return np.searchsorted(self.first, numbers.astype(self.first.dtype), side="right") - 1

    def longest(self) -> int:
        """How many windows the longest run has."""
        parts = (self.first[k : k + CHUNK + 1] for k in range(0, len(self.row), CHUNK))
        return max((int(np.diff(part).max()) for part in parts), default=0)

    def per_run(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values by block, by run."""
        return np.repeat(values, np.diff(self.first_run))

    def numbers(self, runs: NDArray[np.bool_]) -> NDArray[Any]:
        """Numbers of the windows in the marked runs."""
        marked = np.flatnonzero(runs)
        starts = self.first[marked]
        counts = self.first[marked + 1] - starts
        before = np.cumsum(counts, dtype=self.first.dtype) - counts
        return np.asarray(np.repeat(starts - before, counts) + np.arange(counts.sum(), dtype=starts.dtype))

    def counts(self, runs: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(blocks,) how many windows of the marked runs each block has."""
        found = np.zeros(len(self.domain), np.int64)
        for blocks in self.chunks():
            start, stop = self.first_run[blocks.start], self.first_run[blocks.stop]
            lengths = np.diff(self.first[start : stop + 1]) * runs[start:stop]
            found[blocks] = np.add.reduceat(
                lengths, self.first_run[blocks.start : blocks.stop] - start, dtype=np.int64
            )
        return found

    def chunks(self) -> Iterator[slice]:
        """Slices of blocks with about `CHUNK` runs each."""
        block = 0
        while block < len(self.domain):
            stop = int(np.searchsorted(self.first_run, self.first_run[block] + CHUNK, side="right")) - 1
            yield slice(block, max(stop, block + 1))
            block = max(stop, block + 1)


@dataclass(frozen=True)
class Runs:
    """Windows that follow each other in one clip, many such, shard by shard.

    All (runs,): shard, the number of the shard; kind; row, that of the first window; count, of windows; group.
    """

    shard: NDArray[np.int64]
    kind: NDArray[np.uint8]
    row: NDArray[np.uint16]
    count: NDArray[np.uint16]
    group: NDArray[np.uint64]

    @staticmethod
    def of(runs: Sequence[tuple[int, int, int, int, int]]) -> Runs:
        """From (shard, kind, row, count, group) of each."""
        columns = list(zip(*runs, strict=True)) or [()] * 5
        dtypes = (np.int64, np.uint8, np.uint16, np.uint16, np.uint64)
        return Runs(*(np.array(values, dtype) for values, dtype in zip(columns, dtypes, strict=True)))

    @staticmethod
    def joined(some: Sequence[Runs]) -> Runs:
        """All runs of several, those of each shard together, by row."""
        whole = Runs.of([])
        columns = {
            f.name: np.concatenate([getattr(runs, f.name) for runs in (whole, *some)]) for f in fields(Runs)
        }
        order = np.lexsort((columns["row"], columns["shard"]))
        return Runs(**{name: values[order] for name, values in columns.items()})

    def select(self, chosen: NDArray[np.bool_]) -> Runs:
        """The marked ones alone."""
        return Runs(**{f.name: getattr(self, f.name)[chosen] for f in fields(Runs)})


class Builder:
    """Collects windows, dataset by dataset, into columns."""

    def __init__(self) -> None:
        self._datasets: dict[str, int] = {}
        self._kinds: dict[str, int] = {}
        self._runs: list[Runs] = []
        # By block: dataset, shard, domain, kind and how many runs there are.
        self._blocks: list[tuple[NDArray[Any], ...]] = []
        self._windows = 0

    def __len__(self) -> int:
        return self._windows

    def kind(self, name: str) -> int:
        """The number of a kind."""
        return self._kinds.setdefault(name, len(self._kinds))

    def add(self, dataset: str, shard: str, domain: int, runs: Iterable[tuple[str, int, int, int]]) -> None:
        """A shard's runs: (kind, first row, number of windows, group) of each."""
        some = Runs.of([(0, self.kind(kind), row, count, group) for kind, row, count, group in runs])
        self.extend(dataset, np.array([shard.encode()]), domain, some)

    def extend(self, dataset: str, shards: NDArray[np.bytes_], domain: int, runs: Runs) -> None:
        """A dataset's runs, of shards with these names."""
        if not len(runs.shard):
            return
        new = (np.diff(runs.shard, prepend=-1) != 0) | (np.diff(runs.kind.astype(np.int16), prepend=-1) != 0)
        first = np.flatnonzero(new)
        number = self._datasets.setdefault(dataset, len(self._datasets))
        self._blocks.append(
            (
                np.full(len(first), number, np.uint16),
                shards[runs.shard[first]],
                np.full(len(first), domain, np.uint8),
                runs.kind[first],
                np.diff(first, append=len(new)),
            )
        )
        self._runs.append(runs)
        self._windows += int(runs.count.sum(dtype=np.int64))

    def build(self) -> Windows:
        """What was added."""
        nothing = (np.zeros(0, t) for t in (np.uint16, np.bytes_, np.uint8, np.uint8, np.int64))
        blocks = zip(tuple(nothing), *self._blocks, strict=True)
        dataset, shard, domain, kind, length = (np.concatenate(columns) for columns in blocks)
        row, count, group = (
            np.concatenate([getattr(Runs.of([]), name), *(getattr(runs, name) for runs in self._runs)])
            for name in ("row", "count", "group")
        )
        first = np.zeros(len(count) + 1, np.uint32 if len(self) <= MOST else np.uint64)
        np.cumsum(count, out=first[1:], dtype=first.dtype)
        first_run = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        kinds, names = tuple(self._kinds), tuple(self._datasets)
        return Windows(
            names, kinds, dataset, shard, domain, kind, first_run, first, narrowed(row, np.uint8), group
        )


def narrowed(values: NDArray[Any], dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """Unsigned values as `dtype` if that holds them all."""
    fits = not len(values) or int(values.max()) <= np.iinfo(dtype).max
    return values.astype(dtype) if fits else values


def spread(items: Sequence[T], most: int) -> list[T]:
    """Up to `most` items, evenly spread over the sequence."""
    return [items[k * len(items) // most] for k in range(most)] if len(items) > most else list(items)


def evenly(numbers: NDArray[Any], most: int) -> list[int]:
    """As `spread`, of an array."""
    return [int(numbers[k]) for k in spread(range(len(numbers)), most)]
