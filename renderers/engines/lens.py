"""A camera's lens: which way each pixel looks, and where points are seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.geometry import rays
from freelabels.generators.contract.lens import distort, distorts, lens_rays, slopes, undistort
from freelabels.generators.contract.products import times
from freelabels.renderers.engines.windows import Window

Floats = NDArray[np.float64]
MARGIN = 0.02  # of its sides, around a picture that a lens has to cover
PINHOLE = (0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Lens:
    """Intrinsics and distortion of a picture or of a window of its rows.

    K: (3, 3) pixels. distortion: k1, k2, p1, p2, k3. top: row of the picture that the window begins with. rows:
    of the whole picture, 0: as many as are asked for. aperture: metres, its diameter, 0: a pinhole. focus: metres,
    z-depth of what is sharp.
    """

    K: Floats
    distortion: tuple[float, ...] = PINHOLE
    top: int = 0
    rows: int = 0
    aperture: float = 0.0
    focus: float = 1.0

    @staticmethod
    def of(K: Floats | Lens) -> Lens:
        """A lens, given one or the intrinsics of a pinhole."""
        return K if isinstance(K, Lens) else Lens(np.asarray(K, np.float64))

    def whole(self, window: Window) -> Lens:
        """The lens of the picture, given that of a window of it."""
        matrix = np.array(self.K, np.float64)
        matrix[1, 2] += window.top
        return replace(self, K=matrix, top=0)

    def seen_in(self, window: Window) -> Lens:
        """The lens of a window, given that of its picture."""
        return replace(self, K=window.intrinsics(self.K), top=window.top, rows=window.size[0])

    @property
    def bends(self) -> bool:
        """Whether it is more than a pinhole."""
        return distorts(self.distortion)

    @property
    def focal(self) -> float:
        """Pixels."""
        return float(self.K[0, 0])

    def rays(self, size: tuple[int, int]) -> Floats:
        """(H·W, 3) directions with z = 1 through all pixel centres, camera axes; not to be written to.

        As all vectors here, in columns.
        """
        return _rays(self.K.tobytes(), self.distortion, size)

    def covers(self, size: tuple[int, int]) -> bool:
        """Whether every corner of a picture, and a little beyond, sees something: none is past the last circle."""
        if not self.bends:
            return True
        height, width = size
        ends_x, ends_y = (-MARGIN * width, (1 + MARGIN) * width), (-MARGIN * height, (1 + MARGIN) * height)
        at = np.array([(x, y) for x in ends_x for y in ends_y]) - self.K[:2, 2]
        x, y = undistort(at[:, 0] / self.K[0, 0], at[:, 1] / self.K[1, 1], self.distortion)
        return bool(np.isfinite(x).all() and np.isfinite(y).all())

    def bounds(self, size: tuple[int, int]) -> Floats:
        """The least and the largest x and y, (2, 2), of rays (x, y, 1) through a picture's pixels."""
        return _bounds(self.K.tobytes(), self.distortion, size)

    def world_rays(self, rotation: Floats, size: tuple[int, int]) -> NDArray[np.float32]:
        """The same (H·W, 3) in world axes; rotation: (3, 3) camera → world."""
        out = np.empty((3, *size), np.float32)
        if self.bends:
            ray = self.rays(size)
            x, y = ray[:, 0].reshape(size), ray[:, 1].reshape(size)
        else:
            x = (np.arange(size[1]) + 0.5 - self.K[0, 2]) / self.K[0, 0]
            y = ((np.arange(size[0]) + 0.5 - self.K[1, 2]) / self.K[1, 1])[:, None]
        for axis, (right, down, ahead) in enumerate(rotation):
            out[axis] = x * right + (y * down + ahead)
        return out.reshape(3, -1).T

    def steps(self, size: tuple[int, int]) -> Floats:
        """How rays (x, y, 1) change from one pixel to the next, (to the right or down, of x or y, N or 1)."""
        if not self.bends:
            return np.diag([1 / self.K[0, 0], 1 / self.K[1, 1]])[:, :, None]
        return _steps(self.K.tobytes(), self.distortion, size)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Where in the picture points (N, 3), camera axes, are seen; those behind the camera anywhere."""
        return self.land(points[:, 0] / points[:, 2], points[:, 1] / points[:, 2])

    def land(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Where in the picture rays (x, y, 1) end."""
        if self.bends:
            x, y = distort(x, y, self.distortion)
        return self.K[0, 0] * x + self.K[0, 2], self.K[1, 1] * y + self.K[1, 2]


@lru_cache(maxsize=2)
def _rays(K: bytes, distortion: tuple[float, ...], size: tuple[int, int]) -> Floats:
    """One clip's frames all look the same way: a table is made once for all of them."""
    matrix = np.frombuffer(K).reshape(3, 3)
    bent = distorts(distortion)
    table = (lens_rays(matrix, distortion, *size) if bent else rays(matrix, *size)).reshape(-1, 3)
    table = np.asfortranarray(table)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=2)
def _bounds(K: bytes, distortion: tuple[float, ...], size: tuple[int, int]) -> Floats:
    ray = _rays(K, distortion, size)
    return np.array([[ray[:, k].min() for k in (0, 1)], [ray[:, k].max() for k in (0, 1)]])


@lru_cache(maxsize=2)
def _steps(K: bytes, distortion: tuple[float, ...], size: tuple[int, int]) -> Floats:
    matrix, ray = np.frombuffer(K).reshape(3, 3), _rays(K, distortion, size)
    a, b, c, d = slopes(ray[:, 0], ray[:, 1], distortion)
    area = a * d - b * c
    table = np.array([[d, -c], [-b, a]]) / area
    table /= matrix[[0, 1], [0, 1]][:, None, None]
    table.flags.writeable = False
    return table


def turned(steps: Floats, rotation: Floats) -> NDArray[np.float32]:
    """`Lens.steps` in world axes, (to the right or down, N or 1, 3)."""
    return np.stack([times(step.T, rotation[:, :2].T) for step in steps]).astype(np.float32)
