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
from generators.geometry import rays

Floats = NDArray[np.float64]

LEAST_SUPPORT = 0.3  # share of a window that must be known for a fit


@register
@dataclass(frozen=True)
class Normals:
    """Normals of the planes that fit inverse depth best around each pixel.

    Makes `normals` (f16, unit, OpenCV camera frame, facing the camera, 0 = invalid) and its confidence from
    `disparity` and camera_K. A plane's inverse depth is linear in pixel coordinates, w = (a, b, c)·(x, y, 1),
    and its normal is −Kᵀ(a, b, c), whatever the scale of w; so `disparity` must be inverse depth with its
    zero at infinity, as all detectors here make it (a shifted one would bend normals).

    Each pixel takes, of all windows of a size that contain it, the one whose plane fits best, so that fits
    don't straddle occlusions; confidence falls with the angle between the fits of the sizes and with the
    confidence of the disparity. sizes: windows' edge lengths as a share of the image's shorter side.
    Source: M. Tomasi-like shiftable windows (Bobick and Intille, Large occlusion stereo, IJCV 1999, 3.1).
    """

    name: ClassVar[str] = "normals"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[str, ...]] = ("normals", "normals_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({"disparity", "disparity_confidence"})

    sizes: tuple[float, ...] = (0.03, 0.06)

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        directions = rays(clip.camera_K, *clip.size)
        frames = [
            self._fit(w.astype(np.float64), trust / 255.0, clip.camera_K, directions)
            for w, trust in zip(clip.labels["disparity"], clip.labels["disparity_confidence"], strict=True)
        ]
        return {
            "normals": as_stored("normals", np.stack([n for n, _ in frames])),
            "normals_confidence": calibrated(self.name, np.stack([s for _, s in frames])),
        }

    def _fit(self, inverse: Floats, trust: Floats, K: Floats, directions: Floats) -> tuple[Floats, Floats]:
        """Normals (H, W, 3) and raw scores (H, W) of one frame."""
        weight = np.where(np.isfinite(inverse), trust, 0)
        inverse = np.where(weight > 0, inverse, 0)
        fits = []
        for share in self.sizes:
            reach = max(1, round(share * min(inverse.shape) / 2))
            plane, residual = fit_planes(inverse, weight, reach)
            fits.append(facing_camera(best_nearby(plane, residual, reach), K, directions))
        mean = np.sum(fits, axis=0)
        length = np.linalg.norm(mean, axis=-1)
        valid = (length > 1e-6) & (weight > 0) & np.all([f.any(axis=-1) for f in fits], axis=0)
        normals = np.where(valid[..., None], mean / np.maximum(length, 1e-6)[..., None], 0)
        # The mean of unit vectors is the shorter, the more they disagree; 22.5° apart loses 2 % of it.
        agreement = np.exp(-(1 - length / len(fits)) / 0.02)
        return normals, np.where(valid, np.maximum(agreement * weight, 0.01), 0)


def fit_planes(inverse: Floats, weight: Floats, reach: int) -> tuple[Floats, Floats]:
    """Weighted least-squares planes over all (2·reach + 1)² windows.

    Returns (a, b, c) of w = a·x + b·y + c, x and y pixel-centre coordinates, as (H, W, 3), and the weighted
    root mean square residual relative to the mean of w (H, W); infinite where less than `LEAST_SUPPORT` of
    the window is known.
    """
    height, width = inverse.shape
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    size = (2 * reach + 1, 2 * reach + 1)

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.boxFilter(values, cv2.CV_64F, size, borderType=cv2.BORDER_CONSTANT))

    total = mean(weight)
    safe = np.maximum(total, 1e-9)
    mx, my, mw = (mean(weight * v) / safe for v in (x, y, inverse))
    xx = mean(weight * x * x) / safe - mx * mx + 1e-3
    yy = mean(weight * y * y) / safe - my * my + 1e-3
    xy = mean(weight * x * y) / safe - mx * my
    xw = mean(weight * x * inverse) / safe - mx * mw
    yw = mean(weight * y * inverse) / safe - my * mw
    ww = mean(weight * inverse * inverse) / safe - mw * mw
    determinant = np.maximum(xx * yy - xy * xy, 1e-12)
    a = (yy * xw - xy * yw) / determinant
    b = (xx * yw - xy * xw) / determinant
    plane = np.stack([a, b, mw - a * mx - b * my], axis=-1)
    residual = np.sqrt(np.maximum(ww - a * xw - b * yw, 0)) / np.maximum(mw, 1e-9)
    known = mean((weight > 0).astype(np.float64)) >= LEAST_SUPPORT
    return plane, np.where(known, residual, np.inf)


def best_nearby(plane: Floats, residual: Floats, reach: int) -> Floats:
    """Each pixel's plane replaced by the one with the least residual among nine windows that contain it."""
    height, width = residual.shape
    edge = cv2.copyMakeBorder(residual, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=float("inf"))
    shifts = [(dy, dx) for dy in (0, -reach, reach) for dx in (0, -reach, reach)]
    stack = np.stack(
        [edge[reach + dy : reach + dy + height, reach + dx : reach + dx + width] for dy, dx in shifts]
    )
    stack[1:] = stack[1:] * 1.2  # the centred window unless another is clearly better
    choice = stack.argmin(axis=0)
    row, column = np.indices(residual.shape)
    offset = np.array(shifts)[choice]
    chosen = plane[(row + offset[..., 0]).clip(0, height - 1), (column + offset[..., 1]).clip(0, width - 1)]
    chosen[~np.isfinite(stack.min(axis=0))] = 0
    return np.asarray(chosen)


def facing_camera(plane: Floats, K: Floats, directions: Floats) -> Floats:
    """Unit normals (H, W, 3), camera frame, of planes in inverse depth; 0 where the plane faces away."""
    normal = -(plane @ K)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = np.divide(normal, length, out=np.zeros_like(normal), where=length > 1e-12)
    normal[(normal * directions).sum(axis=-1) >= 0] = 0
    return np.asarray(normal)
