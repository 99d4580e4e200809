"""Surface normals by fitting planes to inverse depth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from freelabels.generators.contract.calibration import calibrated
from freelabels.generators.contract.clip import FOCAL_DOUBT, Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_stored
from freelabels.generators.contract.geometry import crop_resize_intrinsics, rays
from freelabels.generators.contract.ranges import Range
from freelabels.generators.tools.planes import Planes, fit_planes, link_weights, neighbour_steps

Map = NDArray[np.float32]

JUMP = 0.02  # relative step of inverse depth between neighbours at which windows stop
ROUGH = 4.0  # times the frame's roughness is added to it: what noise does everywhere is no edge
ROUGHEST = 0.05  # of relative bends: what is more is an edge and no noise
STEEPEST = 0.1  # slope of log inverse depth per pixel; beyond it a window has crossed an edge
LEAST_RADIUS = 6.0  # pixels, of narrow windows; those of the first pass are half as wide
BEND = 0.5  # step of the unit normal at which windows stop after the first pass
RIGHT = np.float32(np.radians(22.5))  # error within which a normal counts as right
TRUSTING = 0.25  # power of the disparity's confidence: order may be doubtful where the slope is not


@dataclass(frozen=True)
class _Surface:
    """What planes say of each pixel: normal (3, H, W) and, (H, W) each, whether there is none, slopes, errors.

    rise: slopes of the logarithm of inverse depth to the right and down. lean: radians by which the residual
    tilts the plane if it is one-sided; tilt: if it is noise.
    """

    normal: Map
    none: NDArray[np.bool_]
    rise: tuple[Map, Map]
    lean: Map
    tilt: Map

    def or_better(self, other: _Surface) -> _Surface:
        """In each pixel the surface that leans less."""
        better = other.lean < self.lean

        def chosen(mine: Map, its: Map) -> Map:
            return np.asarray(np.where(better, its, mine))

        return _Surface(
            chosen(self.normal, other.normal),
            np.where(better, other.none, self.none),
            (chosen(self.rise[0], other.rise[0]), chosen(self.rise[1], other.rise[1])),
            chosen(self.lean, other.lean),
            chosen(self.tilt, other.tilt),
        )


@register
@dataclass(frozen=True)
class Normals:
    """Normals of the planes that fit inverse depth around each pixel, in windows that stop at edges.

    Makes `normals` (f16, unit, OpenCV camera frame, facing the camera, geometric, 0 = invalid) and its
    confidence from `disparity` and camera_K. A plane's inverse depth is linear in pixel coordinates,
    w = (a, b, c)·(x, y, 1), and its normal is −Kᵀ(a, b, c) whatever the scale of w; so `disparity` must be
    inverse depth with its zero at infinity, as the detectors of this package make it.

    Three passes of geodesic least squares. The windows of the first are small and stop at jumps of depth. Those of
    the next stop where depth jumps off the slope found before, so that steep surfaces are no edges, and where the
    normals found before bend (creases); they are narrow or wide, and each pixel keeps the plane with less residual
    for its reach: wide ones average noise, narrow ones follow what is small or curved. What counts as a jump grows
    with the roughness of the frame. Confidence falls with the error that the residual leaves in the slope, with
    the angle to the first pass and, a little, with the confidence of the disparity; where the focal length is
    assumed, also with how far another one would turn the normal.

    radius, wide_radius: windows as shares of the longer side; width: the longer side of the frames worked on.
    """

    name: ClassVar[str] = "normals"
    version: ClassVar[int] = 4
    makes: ClassVar[tuple[str, ...]] = ("normals", "normals_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({"disparity", "disparity_confidence"})

    radius: Annotated[float, Range(0.001, 0.5)] = 0.012
    wide_radius: Annotated[float, Range(0.001, 1)] = 0.2
    width: Annotated[int, Range(32, 4096)] = 640

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        frames = [
            self._frame(disparity.astype(np.float32), trust.astype(np.float32) / 255, clip.camera_K)
            for disparity, trust in zip(
                clip.labels["disparity"], clip.labels["disparity_confidence"], strict=True
            )
        ]
        normals = np.stack([normal for normal, _ in frames])
        confidence = calibrated(self.name, np.stack([score for _, score in frames]))
        held = focal_trust(normals, FOCAL_DOUBT[clip.intrinsics])
        return {
            "normals": as_stored("normals", normals),
            "normals_confidence": as_stored("normals_confidence", np.rint(confidence * held)),
        }

    def _frame(self, inverse: Map, trust: Map, K: Array) -> tuple[Map, Map]:
        """Normals (H, W, 3) and raw scores (H, W), at the size of the frame."""
        height, width = inverse.shape
        scale = min(1.0, self.width / max(height, width))
        if scale < 1:
            small = (max(1, round(width * scale)), max(1, round(height * scale)))
            K = crop_resize_intrinsics(K, (0, 0), (small[0] / width, small[1] / height))
            normal, score = self._fit(
                _resized(inverse, small, cv2.INTER_NEAREST_EXACT),
                _resized(trust, small, cv2.INTER_NEAREST_EXACT),
                K,
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
        directions = np.moveaxis(rays(K, *inverse.shape), -1, 0).astype(np.float32)
        longer = max(inverse.shape)
        narrow = max(LEAST_RADIUS, self.radius * longer)
        depth = np.log(np.where(known, inverse, inverse[known].min()))
        jump = np.float32(JUMP + ROUGH * roughness(depth, known))
        depth /= jump

        def surface(apart: tuple[Map, Map], radius: float) -> _Surface:
            return _surface(fit_planes(inverse, weight, *link_weights(apart, radius)), directions, K)

        first = found = surface(neighbour_steps(depth), narrow / 2)
        for radii in ((narrow,), (narrow, self.wide_radius * longer)):
            jumps = neighbour_steps(depth, (found.rise[0] / jump, found.rise[1] / jump))
            bends = neighbour_steps(np.moveaxis(found.normal, 0, -1) / np.float32(BEND))
            apart = jumps[0] + bends[0], jumps[1] + bends[1]
            found = reduce(_Surface.or_better, [surface(apart, radius) for radius in radii])
        agreement = np.clip(dot(found.normal, first.normal), 0, 1)
        score = trust**TRUSTING / (1 + (found.tilt / 0.1) ** 2) * agreement
        score = np.where(known & ~found.none, np.maximum(score, 1e-3), 0).astype(np.float32)
        return np.ascontiguousarray(np.moveaxis(found.normal, 0, -1)), score


def focal_trust(normals: Map, doubt: float) -> Map:
    """(...) chance that unit normals (..., 3) are within `RIGHT` although the focal length may be another.

    doubt: standard deviation of its logarithm. The normal of inverse depth (a, b, c) is (f a, f b, c') up to
    scale, so a focal length s times as long stretches its x and y by s.
    """
    if doubt == 0:
        return np.ones(normals.shape[:-1], np.float32)
    slope = np.hypot(normals[..., 0], normals[..., 1])
    swing = np.arctan2(slope * np.float32(np.exp(doubt)), -normals[..., 2]) - np.arctan2(
        slope, -normals[..., 2]
    )
    return np.asarray(erf(RIGHT / np.maximum(np.abs(swing) * np.sqrt(2), 1e-6)), np.float32)


def _resized(image: Map, size: tuple[int, int], interpolation: int) -> Map:
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.float32)


def roughness(depth: Map, known: NDArray[np.bool_]) -> float:
    """Mean size of the second differences of log inverse depth (H, W) along rows and columns, where known."""
    sizes = []
    for values, inside in ((depth, known), (depth.T, known.T)):
        bend = np.abs(values[:-2] + values[2:] - 2 * values[1:-1])
        sizes.append(bend[inside[:-2] & inside[1:-1] & inside[2:]])
    every = np.concatenate(sizes)
    return float(np.minimum(every, ROUGHEST).mean()) if every.size else 0.0


def _surface(planes: Planes, directions: Map, K: Array) -> _Surface:
    """The surface that planes in inverse depth make, its normals facing the camera."""
    height, width = planes.value.shape
    x, y = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32)[:, None] + 0.5
    a, b = planes.slope_x, planes.slope_y
    c = planes.value - a * x - b * y
    normal = np.stack([-(a * k[0] + b * k[1] + c * k[2]) for k in np.asarray(K, np.float32).T])
    length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
    none = (length < 1e-20) | (dot(normal, directions) >= 0)
    normal /= np.where(none, np.inf, length)
    value = np.maximum(planes.value, np.float32(1e-9))
    focal = np.float32(K[0, 0])
    lean: Map = np.asarray(focal * planes.residual / np.maximum(value * planes.reach, 1e-9), np.float32)
    return _Surface(
        normal,
        none,
        (np.clip(a / value, -STEEPEST, STEEPEST), np.clip(b / value, -STEEPEST, STEEPEST)),
        lean,
        np.asarray(lean / np.sqrt(np.maximum(planes.support, 1)), np.float32),
    )


def dot(a: Map, b: Map) -> Map:
    """Inner products (H, W) of vectors (3, H, W)."""
    return np.asarray(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])
