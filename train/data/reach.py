"""How far into a clip tasks look that learn from time: which of its frames are theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array
from freelabels.train.data.windows import Window

SPEED = "speed"  # the table that says how fast what is seen moves
MARK = "|"  # between a reach's key and a name, in a batch

T = TypeVar("T")


@dataclass(frozen=True)
class Reach:
    """Frames of one clip, evenly spaced, beside those that all tasks share.

    frames: how many. span: seconds from the first to the last, fewer where the clip is shorter; 0: neighbours.
    moving: least speed, pixels from a frame to the next, see the field `speed`. fields: read of each frame.
    """

    frames: int
    span: float = 0.0
    moving: float = 0.0
    fields: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What its entries in a batch begin with."""
        return f"{self.frames} {self.span:g} {self.moving:g}{MARK}"

    @property
    def tables(self) -> tuple[str, ...]:
        """What is read of each frame besides its fields."""
        return (SPEED,) if self.moving and SPEED not in self.fields else ()

    def rows(self, window: Window, shared: int, time: Array | None) -> tuple[list[int], NDArray[np.bool_]]:
        """Rows of its frames, and which of them are there (T,); what isn't is the clip's last row again.

        They begin at the window, or before it where the clip would end too early. shared: frames of the window.
        time: seconds of the clip's rows, if it is known.
        """
        first, last = window.start - window.before, window.start + window.after + shared - 1
        steps = max(1, self.frames - 1)
        step = 1
        if self.span and time is not None and len(time) > 1:
            between = float(np.median(np.diff(time)))
            if between > 0:
                step = round(self.span / steps / between)
        step = max(1, min(step, (last - first) // steps))
        start = max(first, min(window.start, last - steps * step))
        rows = start + step * np.arange(self.frames)
        return np.minimum(rows, last).tolist(), rows <= last

    def serves(self, present: NDArray[np.bool_], speed: Array | None) -> bool:
        """Whether all frames are there, and move enough: some part of what is seen, at the median of the frames.

        speed: (T, 2), the table `speed`; without one nothing is held against them.
        """
        if not present.all():
            return False
        known = np.zeros(0) if speed is None else speed[np.isfinite(speed).all(1)]
        return not self.moving or not len(known) or bool(np.median(known.max(1)) >= self.moving)


def own(batch: Mapping[str, T], reach: Reach) -> dict[str, T]:
    """A batch as a task with that reach is given it: its own frames and fields instead of the shared ones."""
    key = reach.key
    shared = {name: value for name, value in batch.items() if MARK not in name}
    return shared | {name.removeprefix(key): value for name, value in batch.items() if name.startswith(key)}
