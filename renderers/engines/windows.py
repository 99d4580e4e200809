"""A picture as windows of rows, each small enough for what is computed about its pixels to fit memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PIXELS = 1 << 19  # of a window, its margins included, unless a few rows have more
MARGIN = (
    16  # rows that windows overlap: farther than pixels look at one another; a multiple of 8, as patterns are
)


@dataclass(frozen=True)
class Window:
    """Rows `top` to `bottom` of a picture of `size` (height, width), of which `first` to `last` are kept.

    The upper ends are exclusive; what lies between `top` and `first`, `last` and `bottom` is margin.
    """

    size: tuple[int, int]
    top: int
    bottom: int
    first: int
    last: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels, margins included."""
        return self.bottom - self.top, self.size[1]

    @property
    def kept(self) -> slice:
        """The rows that are kept, counted from `top`."""
        return slice(self.first - self.top, self.last - self.top)

    def intrinsics(self, K: NDArray[np.float64]) -> NDArray[np.float64]:
        """K (3, 3) of the window, given that of the picture."""
        moved = np.array(K, np.float64)
        moved[1, 2] -= self.top
        return moved


def whole(size: tuple[int, int]) -> Window:
    """The picture as one window."""
    return Window(size, 0, size[0], 0, size[0])


def windows(size: tuple[int, int], pixels: int = PIXELS) -> list[Window]:
    """All windows of a picture, from above; one, where the picture has no more than so many pixels."""
    height, width = size
    if height * width <= pixels:
        return [whole(size)]
    rows = max(pixels // width - 2 * MARGIN, MARGIN) // 8 * 8
    return [
        Window(
            size, max(first - MARGIN, 0), min(first + rows + MARGIN, height), first, min(first + rows, height)
        )
        for first in range(0, height, rows)
    ]
