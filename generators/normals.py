"""Surface normals by fitting planes to inverse depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from generators.calibration import calibrated
from generators.clip import Clip
from generators.detector import register
from generators.fields import Array, as_stored
from generators.geometry import crop_resize_intrinsics, rays
from generators.planes import Planes, fit_planes, links

Map = NDArray[np.float32]

JUMP = 0.04  # relative step of inverse depth between neighbours at which windows stop
LEAST_RADIUS = 3.0  # pixels, of the first pass
BEND = 0.5  # step of the unit normal at which windows stop in the second pass
TRUSTING = 0.25  # power of the disparity's confidence: order may be doubtful where the slope is not


@register
@dataclass(frozen=True)
class Normals:
    """Normals of the planes that fit inverse depth around each pixel, in windows that stop at edges.

    Makes `normals` (f16, unit, OpenCV camera frame, facing the camera, geometric, 0 = invalid) and its
    confidence from `disparity` and camera_K. A plane's inverse depth is linear in pixel coordinates,
    w = (a, b, c)·(x, y, 1), and its normal is −Kᵀ(a, b, c) whatever the scale of w; so `disparity` must be
    inverse depth with its zero at infinity, as the detectors of this package make it.

    Two passes of geodesic least squares: the first stops at jumps of depth, the second also where the normals
    of the first bend (creases). The second has narrow windows and wide ones, and each pixel keeps the plane
    with less residual for its reach: wide ones average noise, narrow ones follow what is small or curved.
    Confidence falls with the error that the residual leaves in the slope, with the angle between the passes
    and, a little, with the confidence of the disparity. radius, wide_radius: windows as shares of the longer
    side, those of the first pass being narrow; width: the longer side of the frames worked on.
    """

    name: ClassVar[str] = "normals"
    version: ClassVar[int] = 2
    makes: ClassVar[tuple[str, ...]] = ("normals", "normals_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({"disparity", "disparity_confidence"})

    radius: float = 0.012
    wide_radius: float = 0.05
    width: int = 640

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        frames = [
            self._frame(disparity.astype(np.float32), trust.astype(np.float32) / 255, clip.camera_K)
            for disparity, trust in zip(
                clip.labels["disparity"], clip.labels["disparity_confidence"], strict=True
            )
        ]
        return {
            "normals": as_stored("normals", np.stack([normal for normal, _ in frames])),
            "normals_confidence": calibrated(self.name, np.stack([score for _, score in frames])),
        }

    def _frame(self, inverse: Map, trust: Map, K: Array) -> tuple[Map, Map]:
        """Normals (H, W, 3) and raw scores (H, W), at the size of the frame."""
        height, width = inverse.shape
        scale = min(1.0, self.width / max(height, width))
        if scale < 1:
            small = (max(1, round(width * scale)), max(1, round(height * scale)))
            K = crop_resize_intrinsics(K, (0, 0), (small[0] / width, small[1] / height))
            normal, score = self._fit(
                _resized(inverse, small, cv2.INTER_NEAREST), _resized(trust, small, cv2.INTER_NEAREST), K
            )
            normal = _resized(normal, (width, height), cv2.INTER_LINEAR)
            score = _resized(score, (width, height), cv2.INTER_LINEAR)
            length = np.linalg.norm(normal, axis=-1)
            score = np.where(np.isfinite(inverse) & (length > 0.5), score, 0)
            normal = normal / np.maximum(length, 0.5)[..., None]
        else:
            normal, score = self._fit(inverse, trust, K)
        normal = np.where((score > 0)[..., None], normal, 0)
        return normal.astype(np.float32), score.astype(np.float32)

    def _fit(self, inverse: Map, trust: Map, K: Array) -> tuple[Map, Map]:
        known = np.isfinite(inverse) & (inverse > 0) & (trust > 0)
        if not known.any():
            return np.zeros((*inverse.shape, 3), np.float32), np.zeros(inverse.shape, np.float32)
        inverse = np.where(known, inverse, 0).astype(np.float32)
        weight = np.where(known, trust, 0).astype(np.float32)
        longer = max(inverse.shape)
        steps = np.log(np.where(known, inverse, inverse[known].min())).astype(np.float32) / np.float32(JUMP)
        directions = np.moveaxis(rays(K, *inverse.shape), -1, 0).astype(np.float32)
        first = fit_planes(inverse, weight, *links([steps], max(LEAST_RADIUS, self.radius * longer)))
        rough, _ = _facing(first, directions, K)
        normal, away, tilt = np.zeros_like(rough), ~known, np.full(inverse.shape, np.inf, np.float32)
        least = tilt
        for radius in (self.radius, self.wide_radius):
            near = links([steps, *(rough / np.float32(BEND))], max(2 * LEAST_RADIUS, radius * longer))
            planes = fit_planes(inverse, weight, *near)
            found, degenerate = _facing(planes, directions, K)
            # The residual tilts the plane by so many radians, if it is one-sided; less if it is noise.
            lean = float(K[0, 0]) * planes.residual / np.maximum(planes.value * planes.reach, 1e-9)
            better = lean < least
            least = np.where(better, lean, least)
            normal, away = np.where(better, found, normal), np.where(better, degenerate, away)
            tilt = np.where(better, lean / np.sqrt(np.maximum(planes.support, 1)), tilt)
        score = trust**TRUSTING / (1 + (tilt / 0.1) ** 2) * np.clip(dot(normal, rough), 0, 1)
        score = np.where(known & ~away, np.maximum(score, 1e-3), 0).astype(np.float32)
        return np.ascontiguousarray(np.moveaxis(normal, 0, -1)), score


def _resized(image: Map, size: tuple[int, int], interpolation: int) -> Map:
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.float32)


def _facing(planes: Planes, directions: Map, K: Array) -> tuple[Map, NDArray[np.bool_]]:
    """Unit normals (3, H, W) facing the camera, and where there is none because the plane is degenerate."""
    height, width = planes.value.shape
    x, y = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32)[:, None] + 0.5
    a, b = planes.slope_x, planes.slope_y
    c = planes.value - a * x - b * y
    normal = np.stack([-(a * k[0] + b * k[1] + c * k[2]) for k in np.asarray(K, np.float32).T])
    length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
    away = (length < 1e-20) | (dot(normal, directions) >= 0)
    normal /= np.where(away, np.inf, length)
    return normal, away


def dot(a: Map, b: Map) -> Map:
    """Inner products (H, W) of vectors (3, H, W)."""
    return np.asarray(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])
