"""A projector of dots: the light that its pattern throws on surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.geometry import Floats
from freelabels.generators.contract.products import times
from freelabels.renderers.engines.raycast import Surfaces, occluded
from freelabels.renderers.scene.rigs import Dots
from freelabels.renderers.surfaces.surface_points import SurfacePoints, dot

SIDE = 256  # cells after which the pattern repeats
SHARE = 0.6  # of the cells that hold a dot
LARGEST = 0.26  # of a cell's side: the radius of a dot


@dataclass(frozen=True)
class Projector:
    """Dots thrown from a pose (4, 4), projector → world, axes as a camera's."""

    dots: Dots
    pose: NDArray[np.float64]

    def irradiance(self, surfaces: Surfaces, points: SurfacePoints) -> Floats:
        """What dots give to the points (N,), their slant and what stands between counted."""
        turn, place = self.pose[:3, :3].astype(np.float32), self.pose[:3, 3].astype(np.float32)
        towards = place - points.at
        local = times(-towards, turn)
        given = np.zeros(len(local), np.float32)
        ahead = np.flatnonzero((local[:, 2] > 0.05) & (dot(towards, points.normal) > 0))
        x, y, z = (local[ahead, axis] for axis in range(3))
        # Where dots are finer than pixels their light is spread over them.
        right, down = points.across[0].take(ahead, 0), points.across[1].take(ahead, 0)
        pixel = np.sqrt(np.minimum(dot(right, right), dot(down, down))) / z / np.float32(self.dots.pitch)
        shines = self.pattern(x / z, y / z, pixel)
        bright = np.flatnonzero(shines > 0)
        these = ahead[bright]
        square = dot(towards, towards)[these]
        cosine = dot(towards, points.normal)[these] / np.sqrt(square)
        free = ~occluded(surfaces, points.above.take(these, 0), towards.take(these, 0), 0.0, 1.0)
        given[these] = np.float32(self.dots.power) * shines[bright] * cosine / square * free
        return given

    def pattern(self, x: Floats, y: Floats, pixel: Floats) -> Floats:
        """How bright the pattern is (N,) in directions (x, y, 1); pixel: (N,) sides of pixels, in cells.

        A dot is (1 - (r / R)²)² bright; R is `LARGEST`, or a pixel's side where that is more: then it is as much
        less bright as it is larger.
        """
        pitch = np.float32(self.dots.pitch)
        column, row = np.floor(x / pitch), np.floor(y / pitch)
        cell = np.mod(row, SIDE).astype(np.int32) * SIDE + np.mod(column, SIDE).astype(np.int32)
        held, place = _cells(self.dots.seed)
        right, down = x / pitch - column - place[0, cell], y / pitch - row - place[1, cell]
        # A dot's cell ends where it would be cut off, so that of a large pixel its share is kept.
        radius = np.clip(pixel, np.float32(LARGEST), np.float32(0.5))
        fade = np.float32(LARGEST) / np.maximum(pixel, np.float32(LARGEST))
        left = np.maximum(1 - (right * right + down * down) / (radius * radius), 0)
        return np.asarray(left * left * fade * fade * held[cell], np.float32)


def _cells(seed: int) -> tuple[Floats, Floats]:
    """Which cells hold a dot, 0 or 1 (SIDE²,), and where in them (2, SIDE²)."""
    rng = np.random.Generator(np.random.PCG64(seed))
    held = (rng.random(SIDE**2) < SHARE).astype(np.float32)
    return held, rng.uniform(LARGEST, 1 - LARGEST, (2, SIDE**2)).astype(np.float32)
