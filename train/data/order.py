"""In what order windows are drawn: a pure function of the data, the seed and the position, computed by index.

Shards come in random order, the windows of some of them mixed at a time, so that only these are read from at once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from freelabels.train.data.windows import Windows

SAMPLING = (
    2  # how windows are grouped and ordered now; 1: by versions up to 0.1.0, whose runs go on as they began
)


class Order(Protocol):
    """The endless, shuffled sequence of one domain's windows."""

    def __len__(self) -> int:
        """Windows of an epoch."""

    def at(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """(epochs, numbers of the windows) at positions counted from the start of training."""


class ShuffledBlocks:
    """Blocks in the order of an epoch's permutation, the windows of `buffer` of them mixed by another.

    An epoch costs a permutation of the blocks; a position costs one of the windows that are mixed with it.
    held: (runs,) which are not drawn from.
    """

    def __init__(self, windows: Windows, held: NDArray[np.bool_], domain: int, buffer: int, seed: int):
        self.windows, self.held, self.domain, self.buffer, self.seed = windows, held, domain, buffer, seed
        counts = windows.counts(~held)
        self._blocks = np.flatnonzero((windows.domain == domain) & (counts > 0)).astype(np.int32)
        self._counts = counts[self._blocks].astype(np.int32)
        self._total = int(self._counts.sum(dtype=np.int64))
        self._epoch = lru_cache(maxsize=2)(self._shuffled)  # two, because a batch may see an epoch's end
        self._mix = lru_cache(maxsize=64)(self._mixed)

    def __len__(self) -> int:
        return self._total

    def at(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """As `Order`."""
        epochs, places = np.divmod(positions, self._total)
        numbers = np.empty(len(positions), np.int64)
        for k, (epoch, place) in enumerate(zip(epochs.tolist(), places.tolist(), strict=True)):
            blocks, ends = self._epoch(epoch)
            number = int(np.searchsorted(ends, place, side="right")) // self.buffer
            begin = int(ends[number * self.buffer - 1]) if number else 0
            drawn = begin + int(self._mix(epoch, number)[place - begin])
            block = int(np.searchsorted(ends, drawn, side="right"))
            numbers[k] = self._number(blocks[block], drawn - (int(ends[block - 1]) if block else 0))
        return epochs, numbers

    def _random(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.domain, *key)))

    def _shuffled(self, epoch: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The blocks of an epoch in order, and how many windows there are up to the end of each."""
        order = self._random(epoch).permutation(len(self._blocks))
        return self._blocks[order], np.cumsum(self._counts[order], dtype=np.int64)

    def _mixed(self, epoch: int, number: int) -> NDArray[np.int64]:
        """A permutation of the windows in an epoch's buffer of that number."""
        _, ends = self._epoch(epoch)
        last = min((number + 1) * self.buffer, len(ends)) - 1
        begin = int(ends[number * self.buffer - 1]) if number else 0
        return self._random(epoch, number).permutation(int(ends[last]) - begin)

    def _number(self, block: int, place: int) -> int:
        """The number of a block's window, counted among those that are drawn from."""
        start, stop = self.windows.first_run[block], self.windows.first_run[block + 1]
        first = self.windows.first[start : stop + 1].astype(np.int64)
        counts = np.diff(first) * ~self.held[start:stop]
        ends = np.cumsum(counts)
        run = int(np.searchsorted(ends, place, side="right"))
        return int(first[run]) + place - int(ends[run] - counts[run])


class ShuffledWindows:
    """The order of sampling 1: all of an epoch's windows laid out, so some tens of bytes a window."""

    def __init__(self, windows: Windows, held: NDArray[np.bool_], domain: int, buffer: int, seed: int):
        self.domain, self.buffer, self.seed = domain, buffer, seed
        self._numbers = windows.numbers(~held & (windows.per_run(windows.domain) == domain)).astype(np.int64)
        blocks = np.searchsorted(windows.first_run, windows.run_of(self._numbers), side="right") - 1
        present, of_window = np.unique(blocks, return_inverse=True)
        names = [
            f"{windows.datasets[windows.dataset[block]]}/{windows.shard[block].decode()}" for block in present
        ]
        _, of_block = np.unique(names, return_inverse=True)
        shard = of_block[of_window]
        self._members = np.split(np.argsort(shard, kind="stable"), np.cumsum(np.bincount(shard))[:-1])
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def __len__(self) -> int:
        return len(self._numbers)

    def at(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """As `Order`."""
        epochs, places = np.divmod(positions, len(self))
        pairs = zip(epochs.tolist(), places.tolist(), strict=True)
        return epochs, np.array([self._epoch(epoch)[place] for epoch, place in pairs], np.int64)

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.domain, epoch)))
        members = [self._members[k] for k in rng.permutation(len(self._members))]
        buffers = [np.concatenate(members[k : k + self.buffer]) for k in range(0, len(members), self.buffer)]
        return np.asarray(self._numbers[np.concatenate([rng.permutation(buffer) for buffer in buffers])])


def order_of(
    sampling: int, windows: Windows, held: NDArray[np.bool_], domain: int, buffer: int, seed: int
) -> Order:
    """The order of a sampling."""
    kind = ShuffledWindows if sampling == 1 else ShuffledBlocks
    return kind(windows, held, domain, buffer, seed)
