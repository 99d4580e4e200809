"""Places on surfaces that are shaded, and their relations as pixels of a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from generators.geometry import Floats

Ints = NDArray[np.integer]

TILE = 8  # pixels both ways over which `smoothed` averages


@dataclass(frozen=True)
class Points:
    """N places on surfaces.

    pixel: (N,) row-major index. geometry: (N,). at: (N, 3) world, metres. normal: (N, 3) unit, for shading;
    flat: (N, 3) the triangle's own; both face the camera. viewer: (N, 3) unit, towards the camera. distance:
    (N,) metres from it. across: (2, N, 3) world vectors to what the next pixel right and down sees.
    """

    pixel: Ints
    geometry: Ints
    at: Floats
    normal: Floats
    flat: Floats
    viewer: Floats
    distance: Floats
    across: Floats

    @property
    def above(self) -> Floats:
        """(N, 3) starts for rays that leave the surface without meeting it again."""
        start: Floats = (
            self.at + self.flat * np.maximum(self.distance * np.float32(2e-4), np.float32(1e-4))[:, None]
        )
        return start

    @staticmethod
    def joined(parts: Sequence[Points]) -> Points:
        """All points in order."""
        whole = {
            entry.name: np.concatenate(
                [getattr(part, entry.name) for part in parts], axis=int(entry.name == "across")
            )
            for entry in fields(Points)
        }
        return Points(**whole)


def by_geometry(geometry: Ints) -> Iterator[tuple[int, Ints]]:
    """Each geometry id that occurs with the indices of its points."""
    order = np.argsort(geometry, kind="stable")
    bounds = np.flatnonzero(np.diff(geometry[order], prepend=-1, append=np.iinfo(np.int32).max))
    for start, stop in pairwise(bounds):
        yield int(geometry[order[start]]), order[start:stop]


def smoothed(values: Floats, known: Ints, points: Points, whole: int, size: tuple[int, int]) -> Floats:
    """Values (N, 3) averaged over a tile of pixels, rows then columns, without leaving a smooth surface.

    known: indices of those of the first `whole` points whose values count. Points that are no whole pixel get
    the mean of the whole ones around that show their surface; where there are none, values stay.
    """
    height, width = size
    pixel = points.pixel[:whole]
    layers = np.zeros((4, height * width), np.float32)  # value, weight
    layers[:3, points.pixel[known]], layers[3, points.pixel[known]] = values[known].T, 1
    normal = np.zeros((3, height * width), np.float32)
    normal[:, pixel] = points.normal[:whole].T
    surface = np.full(height * width, -1, np.int32)
    surface[pixel] = points.geometry[:whole]
    grid = layers.reshape(4, height, width)
    for axis in (0, 1):
        grid = _tile_sum(grid, _linked(normal.reshape(3, *size), surface.reshape(size), axis), axis)
    layers = grid.reshape(4, -1)
    smooth = values.copy()
    weight = layers[3, pixel]
    some = np.flatnonzero(weight > 0)
    smooth[some] = (layers[:3, pixel[some]] / weight[some]).T

    row, column = np.divmod(points.pixel[whole:], width)
    geometry, facing = points.geometry[whole:], points.normal[whole:].T
    near = np.concatenate([values[whole:].T, np.ones((1, len(row)), np.float32)]) * np.float32(1e-3)
    for down, right in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        around = np.clip(row + down, 0, height - 1) * width + np.clip(column + right, 0, width - 1)
        alike = (surface[around] == geometry) & (np.einsum("kn,kn->n", normal[:, around], facing) > 0.6)
        near += layers[:, around] * alike
    smooth[whole:] = (near[:3] / near[3]).T
    return smooth


def _linked(normal: Floats, surface: Ints, axis: int) -> NDArray[np.bool_]:
    """Whether each pixel goes on smoothly in the next one along an axis (one shorter than the picture)."""
    here, there = _shifted(axis, 1)
    alike = np.einsum("kyx,kyx->yx", normal[(slice(None), *here)], normal[(slice(None), *there)]) > 0.9
    return np.asarray(alike & (surface[here] == surface[there]))


def _tile_sum(layers: Floats, linked: NDArray[np.bool_], axis: int) -> Floats:
    """The sum (4, H, W) over `TILE` pixels along an axis, as far as they are linked without a gap."""
    total = layers.copy()
    chain = linked
    for step in range(1, TILE // 2 + 1):
        if step >= layers.shape[1 + axis]:
            break
        here, there = ((slice(None), *part) for part in _shifted(axis, step))
        total[here] += layers[there] * chain
        if step < TILE // 2:  # TILE is even: one more pixel on one side than on the other
            total[there] += layers[here] * chain
        following = _shifted(axis, 1)
        chain = chain[following[0]] & linked[_from(axis, step)] if chain.shape[axis] > 1 else chain
    return total


def _shifted(axis: int, step: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of a picture that pair each pixel with the one `step` further along an axis."""
    here, there = [slice(None)] * 2, [slice(None)] * 2
    here[axis], there[axis] = slice(None, -step), slice(step, None)
    return tuple(here), tuple(there)


def _from(axis: int, step: int) -> tuple[slice, ...]:
    return (slice(step, None), slice(None)) if axis == 0 else (slice(None), slice(step, None))
