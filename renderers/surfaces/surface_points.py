"""Places on surfaces that are shaded, and their relations as pixels of a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array
from freelabels.generators.contract.geometry import Floats
from freelabels.generators.contract.products import put

Ints = NDArray[np.integer]
AnyFloats = TypeVar("AnyFloats", Floats, NDArray[np.float64])
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SurfacePoints:
    """N places on surfaces.

    pixel: (N,) row-major index. geometry, primitive: (N,) as in `Hits`. at: (N, 3) world, metres. normal: (N, 3)
    unit, for shading; flat: (N, 3) the triangle's own; both face the camera. viewer: (N, 3) unit, towards the
    camera. distance: (N,) metres from it. across: (2, N, 3) world vectors to what the next pixel right and down
    sees.
    """

    pixel: Ints
    geometry: Ints
    primitive: Ints
    at: Floats
    normal: Floats
    flat: Floats
    viewer: Floats
    distance: Floats
    across: Floats

    @cached_property
    def above(self) -> Floats:
        """(N, 3) starts for rays that leave the surface without meeting it again."""
        start: Floats = (
            self.at + self.flat * np.maximum(self.distance * np.float32(2e-4), np.float32(1e-4))[:, None]
        )
        return start

    @staticmethod
    def joined(parts: Sequence[SurfacePoints]) -> SurfacePoints:
        """All points in order."""
        whole = {
            entry.name: np.concatenate(
                [getattr(part, entry.name) for part in parts], axis=int(entry.name == "across")
            )
            for entry in fields(SurfacePoints)
        }
        return SurfacePoints(**whole)


def largest(vectors: Floats) -> Floats:
    """The largest component (N,) of vectors (N, 3); NumPy's max along so short an axis is ten times slower."""
    return np.maximum(np.maximum(vectors[:, 0], vectors[:, 1]), vectors[:, 2])


def dot(one: AnyFloats, other: AnyFloats) -> AnyFloats:
    """Inner products (N,) of vectors (N, 3); NumPy's own sums along so short an axis take three times as long."""
    product: AnyFloats = one[:, 0] * other[:, 0]
    product += one[:, 1] * other[:, 1]
    product += one[:, 2] * other[:, 2]
    return product


def by_geometry(geometry: Ints) -> Iterator[tuple[int, Ints]]:
    """Each geometry id that occurs with the indices of its points."""
    order = np.argsort(geometry, kind="stable")
    bounds = np.flatnonzero(np.diff(geometry[order], prepend=-1, append=np.iinfo(np.int32).max))
    for start, stop in pairwise(bounds):
        yield int(geometry[order[start]]), order[start:stop]


class Lattice:
    """Which pixels show the same smooth surface as their neighbours, and means over such pixels.

    The first `whole` of the points stand for whole pixels, the others for samples within one. size: (height,
    width).
    """

    def __init__(self, points: SurfacePoints, whole: int, size: tuple[int, int]) -> None:
        self.size, self.whole, self.points = size, whole, points
        self.pixel = points.pixel[:whole]
        self.normal = np.zeros((3, size[0] * size[1]), np.float32)
        self.normal[:, self.pixel] = points.normal[:whole].T
        self.surface = np.full(size[0] * size[1], -1, np.int32)
        self.surface[self.pixel] = points.geometry[:whole]
        self.linked = tuple(self._linked(axis) for axis in (0, 1))

    def _linked(self, axis: int) -> Mask:
        """Whether each pixel goes on smoothly in the next one along an axis (one shorter than the picture)."""
        here, there = _shifted(axis, 1)
        normal, surface = self.normal.reshape(3, *self.size), self.surface.reshape(self.size)
        alike = np.einsum("kyx,kyx->yx", normal[(slice(None), *here)], normal[(slice(None), *there)]) > 0.9
        return np.asarray(alike & (surface[here] == surface[there]))

    def mean(self, values: Floats, known: Ints, tile: int, prior: float = 0.0) -> Floats:
        """Values (N, C) averaged over `tile` (even) pixels both ways, without leaving a smooth surface.

        known: indices of those whole points whose values count. Samples get the mean of the pixels around
        theirs that show their surface. Where nothing is known, values stay. prior: so many values more, the mean
        of all surfaces around, keep surfaces a pixel or two wide from being as noisy as few values are.
        """
        count = values.shape[1] + 1
        layers = np.zeros((count, self.size[0] * self.size[1]), np.float32)  # values, then weight
        at = self.points.pixel[known]
        for layer, of in zip(layers, values.T, strict=False):
            layer[at] = of[known]
        layers[-1, at] = 1
        grid = layers.reshape(count, *self.size)
        for axis in (0, 1):
            grid = _tile_sum(grid, self.linked[axis], axis, tile)
        own = values[self.whole :].T
        if prior:
            wide = _wide_mean(layers.reshape(count, *self.size), tile)
            grid = grid + np.float32(prior) * wide
            there = self.points.pixel[self.whole :]
            some = wide[-1].reshape(-1)[there] > 0
            own = np.where(some, wide.reshape(count, -1)[:-1, there], own)
        layers = grid.reshape(count, -1)
        smooth = values.copy(order="F")
        some = np.flatnonzero(layers[-1, self.pixel] > 0)
        found = layers.take(self.pixel[some], 1)
        put(smooth, some, (found[:-1] / found[-1]).T)
        smooth[self.whole :] = self._around(layers, own)
        return smooth

    @cached_property
    def _neighbours(self) -> list[tuple[Ints, Mask]]:
        """For each of the eight directions the pixel there (M,) and whether it shows the sample's surface."""
        height, width = self.size
        row, column = np.divmod(self.points.pixel[self.whole :], width)
        geometry, normal = self.points.geometry[self.whole :], self.points.normal[self.whole :].T
        found = []
        for down, right in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
            pixel = np.clip(row + down, 0, height - 1) * width + np.clip(column + right, 0, width - 1)
            alike = np.einsum("kn,kn->n", self.normal.take(pixel, 1), normal) > 0.6
            found.append((pixel, alike & (self.surface[pixel] == geometry)))
        return found

    def _around(self, layers: Floats, own: Floats) -> Floats:
        """Means (samples, C) over the pixels around that show the same; own: (C, samples) where none does."""
        own = own * np.float32(1e-3)
        total = np.concatenate([own, np.full((1, own.shape[1]), 1e-3, np.float32)])
        for pixel, alike in self._neighbours:
            total += layers.take(pixel, 1) * alike
        return np.asarray((total[:-1] / total[-1]).T)

    def map(self, values: Array, elsewhere: float) -> Array:
        """The picture (H, W) of values (whole,) of the whole pixels."""
        flat = np.full(self.size[0] * self.size[1], elsewhere, values.dtype)
        flat[self.pixel] = values
        return flat.reshape(self.size)


def _tile_sum(layers: Floats, linked: Mask, axis: int, tile: int) -> Floats:
    """The sum (C, H, W) over `tile` pixels along an axis, as far as they are linked without a gap."""
    total = layers.copy()
    chain = linked
    for step in range(1, tile // 2 + 1):
        if step >= layers.shape[1 + axis]:
            break
        here, there = ((slice(None), *part) for part in _shifted(axis, step))
        total[here] += layers[there] * chain
        if step < tile // 2:  # an even number: one more pixel on one side than on the other
            total[there] += layers[here] * chain
        following = _shifted(axis, 1)
        chain = chain[following[0]] & linked[_from(axis, step)] if chain.shape[axis] > 1 else chain
    return total


def _wide_mean(layers: Floats, reach: int) -> Floats:
    """Means of values (C, H, W), the last layer of which is their weight, as far as `reach` pixels; weight 1."""
    total = layers.astype(np.float64)
    for axis in (1, 2):
        size = layers.shape[axis]
        summed = np.cumsum(total, axis=axis)
        high = np.minimum(np.arange(size) + reach, size - 1)
        low = np.arange(size) - reach - 1
        total = summed.take(high, axis)
        inside = np.flatnonzero(low >= 0)
        before = summed.take(low[inside], axis)
        if axis == 1:
            total[:, inside] -= before
        else:
            total[:, :, inside] -= before
    weight = total[-1:]
    return np.asarray(np.where(weight > 0.5, total / np.maximum(weight, 1), 0), np.float32)


def _shifted(axis: int, step: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of a picture that pair each pixel with the one `step` further along an axis."""
    here, there = [slice(None)] * 2, [slice(None)] * 2
    here[axis], there[axis] = slice(None, -step), slice(step, None)
    return tuple(here), tuple(there)


def _from(axis: int, step: int) -> tuple[slice, ...]:
    return (slice(step, None), slice(None)) if axis == 0 else (slice(None), slice(step, None))
