"""Which windows of frames there are, in columns: some bytes a window, however many there are."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import field

DOMAINS = (REAL, SYNTHETIC) = (0, 1)
DOMAIN_NAMES = field("domain").names
CHUNK = 1 << 22  # runs looked at together, where temporary arrays would take as much as the columns

T = TypeVar("T")


@dataclass(frozen=True)
class Window:
    """Consecutive frames of one clip: rows start … start + frames - 1 of a shard.

    group: what must not be split from it, as a number of 64 bits. kind: photo, video, stereo, render …, what
    decides on its labels.
    """

    dataset: str
    shard: str
    start: int
    domain: int
    group: int
    kind: str


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
        return Window(
            self.datasets[self.dataset[block]],
            self.shard[block].decode(),
            int(self.row[run]) + number - int(self.first[run]),
            int(self.domain[block]),
            int(self.group[run]),
            self.kinds[self.kind[block]],
        )

    def run_of(self, numbers: NDArray[Any]) -> NDArray[np.int64]:
        """The run that each window lies in."""
        # In the column's own type, or searching would copy the whole of it into another.
        return np.searchsorted(self.first, numbers.astype(self.first.dtype), side="right") - 1

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


class Builder:
    """Collects windows, shard by shard, into columns."""

    def __init__(self) -> None:
        self._datasets: dict[str, int] = {}
        self._kinds: dict[str, int] = {}
        self._shards: list[bytes] = []
        self._dataset, self._domain, self._kind = array("H"), array("B"), array("B")
        self._first_run, self._first = array("q", [0]), array("Q", [0])
        self._row, self._group = array("H"), array("Q")

    def __len__(self) -> int:
        return int(self._first[-1])

    def add(self, dataset: str, shard: str, domain: int, runs: Iterable[tuple[str, int, int, int]]) -> None:
        """A shard's runs: (kind, first row, number of windows, group) of each."""
        last: str | None = None
        for kind, row, count, group in runs:
            if kind != last:
                self._shards.append(shard.encode())
                self._dataset.append(self._datasets.setdefault(dataset, len(self._datasets)))
                self._domain.append(domain)
                self._kind.append(self._kinds.setdefault(kind, len(self._kinds)))
                self._first_run.append(self._first_run[-1])
                last = kind
            self._row.append(row)
            self._group.append(group)
            self._first.append(self._first[-1] + count)
            self._first_run[-1] += 1

    def build(self) -> Windows:
        """What was added."""
        return Windows(
            tuple(self._datasets),
            tuple(self._kinds),
            np.array(self._dataset, np.uint16),
            np.array(self._shards, np.bytes_),
            np.array(self._domain, np.uint8),
            np.array(self._kind, np.uint8),
            np.array(self._first_run, np.int64),
            narrowed(np.array(self._first, np.uint64), np.uint32),
            narrowed(np.array(self._row, np.uint16), np.uint8),
            np.array(self._group, np.uint64),
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
