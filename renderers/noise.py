"""Band-limited solid noise for textures and skies, filtered to what a pixel can show."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_CELLS = 16  # the lattice repeats after this many cells
_FINE = 4  # texels per cell
_SIDE = _CELLS * _FINE
_ROW = 8  # slices side by side in the atlas


@cache
def _atlas() -> Floats:
    """One period of noise as slices in one picture, so that OpenCV's remap can look it up.

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
    lattice = np.pad((lattice - lattice.mean()) / lattice.std(), ((0, 0), (0, 1), (0, 1)), mode="wrap")
    rows = lattice.reshape(-1, _ROW, _SIDE + 1, _SIDE + 1).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(rows.reshape(-1, _ROW * (_SIDE + 1)), np.float32)


def noise(points: Floats) -> Floats:
    """Smooth noise (N,) of mean 0 and variance 1 with features about one unit wide, at points (N, 3)."""
    count = len(points)
    width = 4096  # remap takes no picture longer than a short
    height = -(-count // width)
    cell = np.zeros((3, height * width), np.float32)
    np.multiply(points.T, _FINE, out=cell[:, :count])
    cell -= np.floor(cell / _SIDE) * _SIDE
    np.minimum(cell, np.float32(_SIDE) * (1 - 2**-23), out=cell)
    x, y, z = cell
    low = np.floor(z)
    near = _slice(x, y, low, (height, width))
    far = _slice(x, y, np.where(low < _SIDE - 1, low + 1, 0), (height, width))
    return np.asarray((near + (far - near) * (z - low))[:count], np.float32)


def _slice(x: Floats, y: Floats, z: Floats, shape: tuple[int, int]) -> Floats:
    row = np.floor(z / _ROW)
    column = z - row * _ROW
    across, down = x + column * (_SIDE + 1), y + row * (_SIDE + 1)
    found = cv2.remap(_atlas(), across.reshape(shape), down.reshape(shape), cv2.INTER_LINEAR)
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
