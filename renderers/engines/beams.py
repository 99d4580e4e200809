"""Which rays to a light may meet what lies in boxes, told from the light's own view of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freelabels.generators.contract.products import times
from freelabels.renderers.engines.raycast import Floats

CELLS = 128  # of the light's view, along a side
LEAST = 1e-3  # side of a cell at least, metres, or metres a metre from a lamp: float32 errs by less
AHEAD = 0.1  # metres before a lamp from where on it has a view


def to_sun(boxes: Floats, origins: NDArray[np.float32], sun: ArrayLike) -> NDArray[np.integer]:
    """The index (M,) of those of the rays that may meet a box on their way to a sun.

    boxes: (G, 8, 3) corners, world, metres. origins: (N, 3) where rays leave, world. sun: (3,) unit, towards it.
    """
    frame = _frame(np.asarray(sun, np.float64))[:, :2]
    view = _View(times(boxes.reshape(-1, 3), frame).reshape(-1, 8, 2))
    return np.flatnonzero(view.shows(times(origins, frame / view.cell)))


def to_lamp(boxes: Floats, towards: NDArray[np.float32], lamp: ArrayLike) -> NDArray[np.integer]:
    """The index (M,) of those of the rays that may meet a box on their way to a lamp.

    boxes: as of `to_sun`. towards: (N, 3) from where rays leave to the lamp, at a place (3,), metres.
    """
    corners = boxes.reshape(-1, 3) - np.asarray(lamp, np.float64)
    frame = _frame(corners.mean(axis=0))
    places = times(corners, frame)
    if places[:, 2].min() < AHEAD:
        return np.arange(len(towards))
    view = _View((places[:, :2] / places[:, 2:]).reshape(-1, 8, 2))
    seen = times(towards, -frame)
    ahead = np.maximum(seen[:, 2], np.float32(AHEAD / 2))
    spots = np.array([seen[:, k] / ahead / np.float32(view.cell[k]) for k in range(2)], np.float32).T
    return np.flatnonzero(view.shows(spots) & (seen[:, 2] >= AHEAD / 2))


def _frame(ahead: Floats) -> Floats:
    """(3, 3) axes in columns, the third along a vector (3,)."""
    z = ahead / np.sqrt((ahead * ahead).sum())
    x = np.cross(z, np.eye(3)[int(np.argmin(np.abs(z)))])
    x /= np.sqrt((x * x).sum())
    return np.stack([x, np.cross(z, x), z], axis=1)


class _View:
    """Where boxes with corners (G, 8, 2) are seen, in cells with sides `cell` (2,), one to spare on all sides."""

    def __init__(self, corners: Floats) -> None:
        low, high = corners.min(axis=1), corners.max(axis=1)
        self.cell = np.maximum((high.max(axis=0) - low.min(axis=0)) / CELLS, LEAST)
        self.first = np.floor(low.min(axis=0) / self.cell) - 2
        begin = (np.floor(low / self.cell) - 1 - self.first).astype(int)
        end = (np.floor(high / self.cell) + 2 - self.first).astype(int)
        self.cells = np.zeros(end.max(axis=0) + 1, bool)
        for (left, top), (right, bottom) in zip(begin.tolist(), end.tolist(), strict=True):
            self.cells[left:right, top:bottom] = True

    def shows(self, spots: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(N,) whether there may be a box at spots (N, 2), in cells; the cells at the border are empty."""
        across, down = (
            np.clip(spots[:, k] - np.float32(self.first[k]), 0, self.cells.shape[k] - 1).astype(np.int32)
            for k in range(2)
        )
        found: NDArray[np.bool_] = self.cells.ravel().take(across * np.int32(self.cells.shape[1]) + down)
        return found
