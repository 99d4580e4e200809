"""Shards held open for reading again, by all threads together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.storage.file_cache import FileCache
from freelabels.pipeline.storage.uris import is_remote

RECORDS = 64  # shards remembered; reading a record again takes longer than opening its files


@dataclass
class _Held:
    """A shard and how many threads are reading it."""

    shard: Shard
    users: int = 0


class OpenShards:
    """The last shards that were read; open are the last `most`, and those that a thread is reading.

    cache: where copies of an object store's columns are kept.
    """

    def __init__(self, most: int, cache: FileCache | None = None):
        self.most, self.cache = most, cache
        self._datasets: dict[
            str, Dataset
        ] = {}  # each remembers its own record, which a store is asked for once
        self._held: OrderedDict[tuple[str, str], _Held] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def opened(self, dataset: str, name: str) -> Iterator[Shard]:
        """A shard of a dataset, open while it is used; other threads may read it too. Raises CorruptShard."""
        key = (dataset, name)
        with self._lock:
            held = self._held.get(key)
        if held is None:  # outside of the lock: other threads needn't wait
            source = self._datasets.setdefault(dataset, Dataset(dataset, self.cache))
            held = _Held(source.open(name))
        with self._lock:
            held = self._held.setdefault(key, held)
            self._held.move_to_end(key)
            held.users += 1
            self._shrink(self.most)
        try:
            yield held.shard
        finally:
            with self._lock:
                held.users -= 1
                self._shrink(self.most)

    def close(self) -> None:
        """Close all that no thread is reading."""
        with self._lock:
            self._shrink(0)

    def _shrink(self, most: int) -> None:
        """Close the shards that were read longest ago, but for `most` and those in use."""
        idle = [key for key, held in self._held.items() if not held.users]
        for place, key in enumerate(idle):
            left = len(self._held) - (place + 1)
            remote = (
                is_remote(key[0]) and self.cache is None
            )  # holds no file open, and opening it takes a request
            if left >= (RECORDS if remote and most else most):
                self._held[key].shard.close()
        for key in idle[: max(0, len(self._held) - RECORDS)]:
            self._held.pop(key).shard.close()
