"""Depth as a structured-light camera measures it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.renderers.scene.rigs import DepthSensor

Array = NDArray[np.floating[Any]]


def measured(sensor: DepthSensor, depth: Array, rng: np.random.Generator) -> NDArray[np.float32]:
    """What a sensor reads of exact depth (H, W) in metres, NaN where its projector's light doesn't come.

    NaN: no reading. Beside what `sensed` says nothing nearer or farther than the sensor reaches is read.
    """
    read = sensed(depth, sensor.quantum, rng)
    near, far = sensor.reach
    return np.where((read >= near) & (read <= far), read, np.float32(np.nan))


def sensed(depth: Array, quantum: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Depth (H, W) with rims displaced, inverse depth quantised, holes as NaN.

    A pixel's reading comes from a spot a pixel beside it or so (Gaussian), its inverse depth is rounded to
    multiples of `quantum` (1 / metres), and where the spot's neighbourhood holds a jump of depth it is lost half
    of the time.
    """
    height, width = depth.shape
    y, x = np.mgrid[:height, :width]
    at_y, at_x = (
        np.clip(np.rint(axis + rng.normal(0, 0.7, (height, width))).astype(int), 0, most - 1)
        for axis, most in ((y, height), (x, width))
    )
    inverse = (1 / depth)[at_y, at_x]
    rounded = np.rint(inverse / quantum + rng.normal(0, 0.3, inverse.shape)) * quantum
    padded = np.pad(inverse, 1, mode="edge")  # the frame's border is no rim
    around = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    steps = [np.abs(other - inverse) for other in around]
    rim = np.fmax.reduce(steps) > 0.1 * inverse
    read = rounded > 0  # not where it is unknown
    read &= ~(rim & (rng.random(inverse.shape) < 0.5))
    return np.where(read, 1 / np.where(read, rounded, 1), np.nan).astype(np.float32)
