"""Band-limited solid noise for textures and skies, filtered to what a pixel can show."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from freelabels.generators.contract.geometry import Floats

_CELLS = 16  # the lattice repeats after this many cells
_FINE = 4  # texels per cell
_SIDE = _CELLS * _FINE
_ROW_BITS = 3
_ROW = 1 << _ROW_BITS  # slices side by side in the atlas


@cache
def _atlas() -> Floats:
    """One period of noise, as a picture that OpenCV's remap can look up.

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
    """(2, rows, columns): slices of constant z side by side in one picture, and another of the next slices.

    Two pictures rather than two channels, for which OpenCV 5.0 rounds places to 1/32 texel.
    """
    solid = np.pad(solid.reshape(_SIDE, _SIDE, _SIDE), ((0, 1), (0, 1), (0, 1)), mode="wrap")
    pair = np.stack([solid[:-1], solid[1:]])
    rows = pair.reshape(2, -1, _ROW, _SIDE + 1, _SIDE + 1).swapaxes(2, 3)
    return np.ascontiguousarray(rows.reshape(2, -1, _ROW * (_SIDE + 1)), np.float32)


def noise(points: Floats) -> Floats:
    """Smooth noise (N,) of mean 0 and variance 1 with features about one unit wide, at points (N, 3)."""
    return _lookup(_atlas(), points * np.float32(_FINE))


def _lookup(atlas: Floats, texels: Floats, nearest: bool = False) -> Floats:
    """Values (N,) of a solid at places (N, 3) in texels, interpolated or those of the nearest texel."""
    count = len(texels)
    if not count:
        return np.zeros(0, np.float32)
    width = 4096  # remap takes no picture longer than a short
    height = -(-count // width)
    part = np.zeros((3, height * width), np.float32)
    part[:, :count] = texels.T
    if nearest:
        np.rint(part, out=part)
    whole = np.floor(part)
    part -= whole  # where in the texel
    texel = whole.astype(np.int32)
    texel &= _SIDE - 1
    x, y, z = texel
    y += (z >> _ROW_BITS) * (_SIDE + 1)
    x += (z & (_ROW - 1)) * (_SIDE + 1)
    if nearest:
        return np.asarray(atlas[0, y, x][:count])
    across, down = (part[:2] + texel[:2].astype(np.float32)).reshape(2, height, width)
    low, high = (cv2.remap(slices, across, down, cv2.INTER_LINEAR).reshape(-1)[:count] for slices in atlas)
    return np.asarray(low + (high - low) * part[2, :count], np.float32)


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
    return np.asarray(np.clip(np.float32(1.6) - np.float32(1.8) * footprint, 0, 1))


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
