"""What of the flow between two frames the camera's own motion explains: that of a plane, then parallax."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SAMPLING = 5  # px between the pixels that the camera is fitted to
LEAST_SAMPLES = 20
OFF = 3.0  # times its noise by which flow is surely off the plane
SPREAD = 0.5  # of 4 × 4 cells of the frame that must hold flow off the plane: a mover fills fewer
CELLS = 4
LEAST_OFF = 0.1  # share of a cell's flow, or of the frame's, that is off the plane
AGREEING = 0.6  # share of the flow off the plane that must point along the parallax
SINE = 0.1  # of the angle to the epipolar line at which an estimate loses half its weight
ROUNDS = 8
WIDER = 1.25  # times the depths that are common: what is nearer or farther than that is no parallax


def camera_homography(flow: Floats, trusted: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """(3, 3) homography, in pixel centres, that most of the trusted flow (H, W, 2) follows; None without one."""
    y, x = _lattice(flow.shape[:2])
    kept = trusted[y, x]
    y, x = y[kept], x[kept]
    if len(x) < LEAST_SAMPLES:
        return None
    here = np.column_stack([x, y]) + 0.5
    cv2.setRNGSeed(0)
    found: Any = cv2.findHomography(
        here, here + flow[y, x], cv2.USAC_MAGSAC, 0.5, maxIters=1000, confidence=0.999
    )
    return None if found[0] is None else np.asarray(found[0], np.float64)


def carried(homography: NDArray[np.float64], height: int, width: int) -> tuple[Floats, Floats]:
    """Where a homography takes the pixel centres of a frame, x and y (H, W)."""
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    to_x, to_y, scale = (row[0] * x + (row[1] * y + row[2]) for row in homography)
    return (to_x / scale).astype(np.float32), (to_y / scale).astype(np.float32)


def off_parallax(residual: Floats, noise: Floats, trusted: NDArray[np.bool_]) -> Floats:
    """(H, W) length of the residual (H, W, 2) to the camera's plane that no parallax explains, in pixels.

    Seen from a camera that moves, what is nearer or farther than the plane shifts along lines that meet in one
    point, all the farther the farther it is off the plane (plane and parallax: Irani and Anandan, A unified
    approach to moving object detection in 2D and 3D scenes, 1998). Where flow off the plane is all over the frame
    and points along such lines, only what leaves them counts, or lies beyond the depths that are common. Where it
    isn't, all of it counts: a mover before a camera that only turns looks like parallax, but of one place.

    noise: (H, W) pixels that flow errs.
    """
    length = np.asarray(np.hypot(residual[..., 0], residual[..., 1]), np.float32)
    y, x = _lattice(length.shape)
    kept = trusted[y, x]
    y, x = y[kept], x[kept]
    if len(x) < LEAST_SAMPLES:
        return length
    off = length[y, x] > OFF * noise[y, x]
    if off.mean() < LEAST_OFF or _cells(off, x, y, length.shape) < SPREAD:
        return length
    u, v = _centred(length.shape)
    shifts, at_u, at_v = residual[y, x][off], u[x[off]], v[y[off]]
    way = _epipole(shifts, at_u, at_v)
    right, down = way[2] * u - way[0], (way[2] * v - way[1])[:, None]
    reach = np.maximum(np.hypot(right, down), np.float32(1e-6))
    right, down = right / reach, down / reach
    across = np.abs(residual[..., 0] * down - residual[..., 1] * right)
    if np.mean(across[y, x][off] < OFF * noise[y, x][off]) < AGREEING:
        return length
    depth = (residual[..., 0] * right + residual[..., 1] * down) / reach
    low, high = np.percentile(depth[y, x][across[y, x] < OFF * noise[y, x]], [3, 97])
    low, high = WIDER * np.minimum(low, 0), WIDER * np.maximum(high, 0)
    beyond = np.maximum(np.maximum(depth - high, low - depth), 0) * reach
    return np.asarray(np.hypot(across, beyond), np.float32)


def _epipole(shifts: Floats, u: Floats, v: Floats) -> NDArray[np.float64]:
    """(3,) direction t of the camera's motion; shifts (N, 2) at (u, v) lie along (t2 u - t0, t2 v - t1).

    Least squares on the sine of the angle between, reweighted (Cauchy), from several starts; that of most weight.
    """
    x, y = (shifts / np.maximum(np.linalg.norm(shifts, axis=1, keepdims=True), 1e-6)).astype(np.float64).T
    u, v = u.astype(np.float64), v.astype(np.float64)
    rows = np.stack([y, -x, x * v - y * u], axis=1)
    best, most = np.array([1.0, 0.0, 0.0]), -1.0
    starts = [np.linalg.eigh(rows.T @ rows)[1][:, 0], *np.eye(3)]
    for way in starts:
        weight = np.ones(len(rows))
        for _ in range(ROUNDS):
            reach = np.maximum(np.hypot(way[2] * u - way[0], way[2] * v - way[1]), 1e-6)
            weight = 1 / (1 + (rows @ way / reach / SINE) ** 2)
            scaled = rows * (weight / reach**2)[:, None]
            way = np.linalg.eigh(rows.T @ scaled)[1][:, 0]
        if weight.sum() > most:
            best, most = way, float(weight.sum())
    return best


def _lattice(shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the pixels that the camera is fitted to."""
    y, x = np.mgrid[SAMPLING // 2 : shape[0] : SAMPLING, SAMPLING // 2 : shape[1] : SAMPLING]
    return y.ravel(), x.ravel()


def _centred(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Columns' and rows' centres from the middle of the frame, in units of its longer side."""
    longer = max(shape)
    u, v = (np.arange(shape[1]) + 0.5 - shape[1] / 2), (np.arange(shape[0]) + 0.5 - shape[0] / 2)
    return (u / longer).astype(np.float32), (v / longer).astype(np.float32)


def _cells(
    off: NDArray[np.bool_], x: NDArray[np.int64], y: NDArray[np.int64], shape: tuple[int, ...]
) -> float:
    """Share of the frame's cells, of those with any sample, in which enough samples are off."""
    cell = (y * CELLS // shape[0]) * CELLS + x * CELLS // shape[1]
    count = np.bincount(cell, minlength=CELLS**2)
    some = np.bincount(cell, off, minlength=CELLS**2) > LEAST_OFF * count
    return float(some[count > 0].mean())
