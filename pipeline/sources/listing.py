"""Items, numbered as they come: which are remembered, and in what order their files stand by name."""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice
from typing import IO

import numpy as np
from numpy.typing import NDArray

from freelabels.pipeline.sources.clip_specs import SourceOptions
from freelabels.pipeline.sources.layouts.grouping import Item
from freelabels.pipeline.sources.scan_cache import Known, fingerprinter, fingerprints_of

PHOTOS_PER_TASK = 32
ITEMS_AT_A_TIME = 1 << 14  # looked up
NONE = (1 << 32) - 1  # instead of a number


@dataclass
class Listing:
    """What is kept of the listed items.

    rows: of each, its number in the cache, `NONE`: not there. order: of their files. unknown: items to examine;
    tasks: in so many tasks.
    """

    rows: array[int] = field(default_factory=lambda: array("I"))
    order: Order = field(default_factory=lambda: Order())
    unknown: int = 0
    tasks: int = 0


@dataclass
class Order:
    """The place of files among all files by name: next to nothing for an item of one file, as items are ordered.

    several: numbers of the items of several files; slots: where their files begin in `ranks`, which says how many
    files of such items come before each one. ahead: by that rank, how many items have been listed before it.
    """

    several: array[int] = field(default_factory=lambda: array("q"))
    slots: array[int] = field(default_factory=lambda: array("q"))
    ranks: array[int] = field(default_factory=lambda: array("q"))
    ahead: array[int] = field(default_factory=lambda: array("q"))

    def of(self, items: NDArray[np.int64], files: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Where files, each by its item's number and its own in it, stand among all."""
        several, ahead = np.frombuffer(self.several, np.int64), np.frombuffer(self.ahead, np.int64)
        out = items + np.searchsorted(ahead, items, side="right")
        at = np.minimum(np.searchsorted(several, items), max(len(several) - 1, 0))
        among = several[at] == items
        ranks = np.frombuffer(self.ranks, np.int64)[
            np.frombuffer(self.slots, np.int64)[at[among]] + files[among]
        ]
        out[among] = ahead[ranks] + ranks
        return np.asarray(out)


def list_items(items: Iterable[Item], options: SourceOptions, known: Known, unknown: IO[bytes]) -> Listing:
    """Number all items and their files; those that the cache doesn't know go to the file `unknown`."""
    listing, photos = Listing(), 0
    fingerprint = fingerprinter(options)
    ordered = _ordered(items, listing.order)
    while batch := list(islice(ordered, ITEMS_AT_A_TIME)):
        rows = known.rows(fingerprints_of([fingerprint(item) for item in batch]))
        for k in np.flatnonzero(rows < 0).tolist():
            pickle.dump((len(listing.rows) + k, batch[k]), unknown)
            listing.unknown += 1
            photos += batch[k].kind == "image"
        listing.rows.frombytes(rows.astype(np.uint32).tobytes())  # -1 becomes NONE
    listing.tasks = listing.unknown - photos + -(-photos // PHOTOS_PER_TASK)
    return listing


def _ordered(items: Iterable[Item], order: Order) -> Iterator[Item]:
    """The items as they come, their files put in order: no later item has a file before this one's first."""
    waiting: list[tuple[str, int]] = []
    number = 0

    def pass_by() -> None:
        order.ranks[heappop(waiting)[1]] = len(order.ahead)
        order.ahead.append(number)

    for item in items:
        if waiting:
            first = min(item.uris)
            while waiting and waiting[0][0] <= first:
                pass_by()
        if len(item.uris) > 1:
            order.several.append(number)
            order.slots.append(len(order.ranks))
            for uri in item.uris:
                heappush(waiting, (uri, len(order.ranks)))
                order.ranks.append(0)
        yield item
        number += 1
    while waiting:
        pass_by()
