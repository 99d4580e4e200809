"""What a format is to the benchmark, and what formats share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Frame = dict[str, Array]
Frames = dict[str, Array]  # by field, (frame, y, x[, channel])
SHARD = 64  # frames a shard, or as many bytes where a format counts those
SHARD_BYTES = 64 << 20


@dataclass(frozen=True)
class Peer:
    """A format: how to write frames, and how to open what was written for random and for sequential reading.

    share: of the requested random reads that are made; those of slow formats are measured on fewer.
    """

    write: Callable[[Path, Frames], None]
    random: Callable[[Path, Frames], Callable[[int], Frame]] | None
    sequential: Callable[[Path, Frames], Iterable[Frame]] | None = None
    share: float = 1.0

    def in_order(self, path: Path, frames: Frames) -> Iterable[Frame]:
        """All frames, in the format's own way where it has one."""
        if self.sequential is not None:
            return self.sequential(path, frames)
        assert self.random is not None
        return map(self.random(path, frames), range(count(frames)))


def count(frames: Frames) -> int:
    return len(next(iter(frames.values())))


def each(frames: Frames) -> Iterator[Frame]:
    for number in range(count(frames)):
        yield {name: values[number] for name, values in frames.items()}
