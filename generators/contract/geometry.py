"""Pinhole geometry of the contract: OpenCV axes, pixel (row i, column j) centred at (j + 0.5, i + 0.5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.products import product

Floats = NDArray[np.floating]


def intrinsics(focal: float, width: int, height: int) -> NDArray[np.float64]:
    """K (3, 3) of a camera with square pixels and a centred principal point; `focal` in pixels."""
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float64)


def intrinsics_from_fov(degrees: float, width: int, height: int) -> NDArray[np.float64]:
    """K (3, 3) of a camera whose longer image side spans `degrees`."""
    return intrinsics(max(width, height) / 2 / np.tan(np.radians(degrees) / 2), width, height)


def crop_resize_intrinsics(
    K: Floats, offset: tuple[float, float], scale: tuple[float, float]
) -> NDArray[np.float64]:
    """K after cutting `offset` = (x, y) pixels off the left and top, then scaling by `scale` = (x, y)."""
    out = np.array(K, np.float64)
    out[..., 0, 2] -= offset[0]
    out[..., 1, 2] -= offset[1]
    out[..., 0, :] *= scale[0]
    out[..., 1, :] *= scale[1]
    return out


def pixel_centres(height: int, width: int) -> NDArray[np.float64]:
    """(H, W, 2) image coordinates (x, y) of all pixel centres."""
    out = np.empty((height, width, 2))
    out[..., 0] = np.arange(width) + 0.5
    out[..., 1] = (np.arange(height) + 0.5)[:, None]
    return out


def rays(K: Floats, height: int, width: int) -> NDArray[np.float64]:
    """(H, W, 3) viewing directions with z = 1 through all pixel centres, camera frame."""
    out = np.ones((height, width, 3))
    out[..., 0] = (np.arange(width) + 0.5 - K[0, 2]) / K[0, 0]
    out[..., 1] = ((np.arange(height) + 0.5 - K[1, 2]) / K[1, 1])[:, None]
    return out


def backproject(depth: Floats, K: Floats) -> NDArray[np.float64]:
    """(H, W, 3) camera-frame points of z-depths (H, W); a NaN or infinite depth gives such a point."""
    return rays(K, *depth.shape) * np.asarray(depth, np.float64)[..., None]


def project(points: Floats, K: Floats) -> NDArray[np.float64]:
    """(..., 2) image coordinates (x, y) of camera-frame points (..., 3); NaN where z ≤ 0."""
    points = np.asarray(points, np.float64)
    z = np.where(points[..., 2] > 0, points[..., 2], np.nan)
    return np.stack([K[0, 0] * points[..., 0] / z + K[0, 2], K[1, 1] * points[..., 1] / z + K[1, 2]], axis=-1)


def invert_pose(pose: Floats) -> NDArray[np.float64]:
    """The inverse of rigid transforms (..., 4, 4)."""
    pose = np.asarray(pose, np.float64)
    out: NDArray[np.float64] = np.zeros(pose.shape, np.float64)
    rotation = np.swapaxes(pose[..., :3, :3], -1, -2)
    out[..., :3, :3] = rotation
    out[..., :3, 3] = -product(rotation, pose[..., :3, 3:])[..., 0]
    out[..., 3, 3] = 1
    return out


def transform(pose: Floats, points: Floats) -> NDArray[np.float64]:
    """Points (..., 3) moved by one rigid transform (4, 4)."""
    return np.asarray(np.asarray(points, np.float64) @ np.asarray(pose)[:3, :3].T + np.asarray(pose)[:3, 3])
