"""Band-limited solid noise for textures and skies, filtered to what a pixel can show."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float32]

_CELLS = 16  # the lattice repeats after this many cells
_FINE = 4  # texels per cell
_SIDE = _CELLS * _FINE
_ROW = 8  # slices side by side in the atlas


@cache
def _atlas() -> Floats:
    """One period of noise, z-slices side by side in one picture, so that OpenCV's remap can look it up.

    Random values on a lattice, smoothed by the cubic B-spline: no creases at cell borders and hardly anything
    above one cycle per cell.
    """
    lattice = np.random.Generator(np.random.PCG64(7)).uniform(-1, 1, (_CELLS,) * 3)
    t = np.arange(_FINE) / _FINE
    spline = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    for axis in range(3):
        taps = [np.roll(lattice, 1 - k, axis)[..., None] for k in range(4)]
        fine = sum(tap * np.expand_dims(weight, (0, 1, 2)) for tap, weight in zip(taps, spline, strict=True))
        fine = np.moveaxis(np.asarray(fine), -1, axis + 1)
        lattice = fine.reshape(*fine.shape[:axis], -1, *fine.shape[axis + 2 :])
    return _as_atlas((lattice - lattice.mean()) / lattice.std())


def _as_atlas(solid: NDArray[np.float64]) -> Floats:
    solid = np.pad(solid.reshape(_SIDE, _SIDE, _SIDE), ((0, 0), (0, 1), (0, 1)), mode="wrap")
    rows = solid.reshape(-1, _ROW, _SIDE + 1, _SIDE + 1).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(rows.reshape(-1, _ROW * (_SIDE + 1)), np.float32)


def noise(points: Floats) -> Floats:
    """Smooth noise (N,) of mean 0 and variance 1 with features about one unit wide, at points (N, 3)."""
    return _lookup(_atlas(), points * np.float32(_FINE))


def _lookup(atlas: Floats, texels: Floats, nearest: bool = False) -> Floats:
    """Values (N,) of a solid at places (N, 3) in texels, interpolated or those of the nearest texel."""
    count = len(texels)
    width = 4096  # remap takes no picture longer than a short
    height = -(-count // width)
    cell = np.zeros((3, height * width), np.float32)
    cell[:, :count] = texels.T
    if nearest:
        cell = np.rint(cell)
    cell -= np.floor(cell / _SIDE) * _SIDE
    np.minimum(cell, np.float32(_SIDE) * np.float32(1 - 2**-23), out=cell)
    x, y, z = cell
    low = np.floor(z)
    near = _slice(atlas, x, y, low, (height, width))
    if nearest:
        return near[:count]
    far = _slice(atlas, x, y, np.where(low < _SIDE - 1, low + 1, 0), (height, width))
    return np.asarray((near + (far - near) * (z - low))[:count], np.float32)


def _slice(atlas: Floats, x: Floats, y: Floats, z: Floats, shape: tuple[int, int]) -> Floats:
    row = np.floor(z / _ROW)
    column = z - row * _ROW
    across, down = x + column * (_SIDE + 1), y + row * (_SIDE + 1)
    found = cv2.remap(atlas, across.reshape(shape), down.reshape(shape), cv2.INTER_LINEAR)
    return np.asarray(found, np.float32).reshape(-1)


def layered_noise(points: Floats, footprint: Floats, octaves: int, gain: float = 0.5) -> Floats:
    """Octaves of noise (N,), each twice as fine and `gain` times as strong, of variance about 1.

    points: (N, 3) in features of the coarsest octave. footprint: (N,) how far apart pixels lie at these
    points; octaves finer than that fade away.
    """
    total = np.zeros(len(points), np.float32)
    strength = 1 / np.sqrt(sum(gain ** (2 * octave) for octave in range(octaves)))
    finest = float(footprint.min()) if len(points) else np.inf
    for octave in range(octaves):
        frequency = 2.0**octave
        if finest * frequency >= 1:
            break
        # Shifts keep the octaves' lattices from meeting in one point.
        layer = noise(points * np.float32(frequency) + np.float32(octave) * np.float32(5.31))
        layer *= kept(footprint * np.float32(frequency))
        total += np.float32(strength * gain**octave) * layer
    return total


def kept(footprint: Floats) -> Floats:
    """The share of a pattern of period 1 to keep (N,), where pixels are `footprint` (N,) apart: 1 → 0."""
    return np.clip(np.float32(1.6) - np.float32(1.8) * footprint, 0, 1)


_STONES = 8  # cells along a period of `stones`


@cache
def _stone_atlas() -> tuple[Floats, Floats]:
    """One period of a solid cut into irregular cells: how far inside its cell, and which cell."""
    rng = np.random.Generator(np.random.PCG64(11))
    corner = np.stack(np.meshgrid(*[np.arange(_STONES)] * 3, indexing="ij"), -1).reshape(-1, 3)
    seeds = (corner + rng.uniform(0.1, 0.9, corner.shape)) % _STONES
    texel = (np.stack(np.meshgrid(*[np.arange(_SIDE)] * 3, indexing="ij"), -1).reshape(-1, 3)) * (
        _STONES / _SIDE
    )
    distance, index = cKDTree(seeds, boxsize=_STONES).query(texel, k=2)
    tone = rng.permutation(len(seeds)) / len(seeds)
    return _as_atlas((distance[:, 1] - distance[:, 0]) / 2), _as_atlas(tone[index[:, 0]])


def stones(points: Floats) -> tuple[Floats, Floats]:
    """A solid of irregular cells one unit wide (Worley 1996): distance (N,) to the cell's border, its number.

    The number is in [0, 1) and the same for all points (N, 3) of a cell.
    """
    inside, number = _stone_atlas()
    scaled = points * np.float32(_SIDE / _STONES)
    return _lookup(inside, scaled), _lookup(number, scaled, nearest=True)
