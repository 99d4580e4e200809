"""Cameras and points refined together until they reproject where they were seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

INLIER_PIXELS = 3.0  # reprojection errors above this are no sighting of the point
BEHIND = 1e4  # squared error, in pixels, of a point behind a camera that saw it
DAMPING = 1e-4  # where Levenberg-Marquardt starts
LEAST_GAIN = 1e-3  # a step that lowers the cost by less than this share is the last


def reproject(world: Floats, pose: Floats, K: Floats) -> tuple[Floats, Floats]:
    """Pixels (..., 2) and depths (...) of world points (..., 3) in cameras (..., 4, 4)."""
    camera = np.einsum("...ij,...j->...i", pose[..., :3, :3], world) + pose[..., :3, 3]
    z = camera[..., 2]
    safe = np.where(np.abs(z) < 1e-9, 1e-9, z)
    return camera[..., :2] / safe[..., None] * np.diag(K)[:2] + K[:2, 2], z


def bundle_adjust(
    pose: Floats, world: Floats, table: Floats, seen: NDArray[np.bool_], K: Floats, iterations: int
) -> float:
    """Levenberg-Marquardt over all posed cameras and points, in place; returns the inliers' error in pixels.

    pose: world → camera (T, 4, 4), NaN where unknown; world: points (P, 3), NaN where unknown; table: where
    they were seen, (P, T, 2) pixels, if `seen` (P, T). Cauchy loss with a scale of one pixel; points are
    eliminated first (Schur complement). The first camera stands still. Points that end up behind a camera or
    farther than `INLIER_PIXELS` from where they were seen, in the mean, become NaN; infinite if too few.
    Source: B. Triggs et al., Bundle adjustment: a modern synthesis, 2000, section 6.
    """
    cameras = np.flatnonzero(np.isfinite(pose[:, 0, 0]))
    points = np.flatnonzero(np.isfinite(world[:, 0]) & (seen[:, cameras].sum(axis=1) >= 2))
    if len(points) < 10 or len(cameras) < 2:
        return float("inf")
    p, c = np.nonzero(seen[np.ix_(points, cameras)])
    xy = table[points[p], cameras[c]]
    T, X = pose[cameras].copy(), world[points].copy()

    def errors(T: Floats, X: Floats) -> tuple[Floats, Floats]:
        projected, z = reproject(X[p], T[c], K)
        residual = projected - xy
        return residual, np.where(z > 1e-6, (residual**2).sum(axis=1), BEHIND)

    damping = DAMPING
    residual, square = errors(T, X)
    for _ in range(iterations):
        cost = float(np.log1p(square).sum())
        normal = _NormalEquations(T, X, p, c, residual, 1 / (1 + square), np.diag(K)[:2])
        for _ in range(4):
            T_new, X_new = normal.step(T, X, damping)
            residual_new, square_new = errors(T_new, X_new)
            gain = cost - float(np.log1p(square_new).sum())
            if gain > 0:
                break
            damping *= 10
        else:
            break
        T, X, residual, square = T_new, X_new, residual_new, square_new
        damping = max(damping / 10, 1e-8)
        if gain < LEAST_GAIN * cost:
            break
    error = np.bincount(p, np.sqrt(square), len(points)) / np.bincount(p, minlength=len(points))
    pose[cameras] = T
    world[points] = np.where((error < INLIER_PIXELS)[:, None], X, np.nan)
    inlier = square < INLIER_PIXELS**2
    return float(np.sqrt(square[inlier].mean())) if inlier.any() else float("inf")


def path_doubt(
    pose: Floats, world: Floats, table: Floats, seen: NDArray[np.bool_], K: Floats, noise: float
) -> float:
    """Error of the points' depths that the path's uncertainty makes, as a share of their spread.

    As `bundle_adjust` leaves cameras and points; noise: pixels by which points are seen off. Covariance of the
    cameras once points are eliminated (Triggs et al., section 6.3), without the scale, which is free. The median
    over points of the standard deviation of log depth in the middle view, their common change left out; infinite
    where nothing is known.
    """
    cameras = np.flatnonzero(np.isfinite(pose[:, 0, 0]))
    points = np.flatnonzero(np.isfinite(world[:, 0]) & (seen[:, cameras].sum(axis=1) >= 2))
    if len(points) < 10 or len(cameras) < 2:
        return float("inf")
    p, c = np.nonzero(seen[np.ix_(points, cameras)])
    T, X = pose[cameras], world[points]
    residual = reproject(X[p], T[c], K)[0] - table[points[p], cameras[c]]
    weight = 1 / (1 + (residual**2).sum(axis=1))
    normal = _NormalEquations(T, X, p, c, residual, weight, np.diag(K)[:2])
    reduced, move = normal.reduced(normal.point_inverses(0.0), 0.0)
    value, vector = np.linalg.eigh(reduced[6:, 6:])
    root = vector[:, 1:] / np.sqrt(np.maximum(value[1:], 1e-12))
    middle = len(cameras) // 2
    turned = X @ T[middle, :3, :3].T
    depth = turned[:, 2] + T[middle, 2, 3]
    change = -np.einsum("j,pjk->pk", T[middle, 2, :3], move.reshape(len(points), 3, -1))
    own = np.stack([turned[:, 1], -turned[:, 0], 0 * depth, 0 * depth, 0 * depth, 0 * depth + 1], axis=1)
    change[:, 6 * middle : 6 * middle + 6] += own
    kept = depth > 0
    change = (change / depth[:, None])[kept, 6:] @ root
    error = noise * np.linalg.norm(change - np.median(change, axis=0), axis=1)
    spread = np.subtract(*np.percentile(np.log(depth[kept]), [84, 16])) / 2 if kept.any() else 0.0
    return float(np.median(error) / spread) if spread > 0 else float("inf")


class _NormalEquations:
    """J^T W J and J^T W r of all sightings, kept in blocks by camera and by point."""

    def __init__(
        self, T: Floats, X: Floats, p: Indices, c: Indices, residual: Floats, weight: Floats, focal: Floats
    ) -> None:
        cameras, points = len(T), len(X)
        R = T[c, :3, :3]
        turned = np.einsum("nij,nj->ni", R, X[p])
        x, y, z = (turned + T[c, :3, 3]).T
        z = np.where(np.abs(z) < 1e-6, 1e-6, z)
        zero = np.zeros_like(x)
        by_position = np.stack(
            [focal[0] / z, zero, -focal[0] * x / z**2, zero, focal[1] / z, -focal[1] * y / z**2], -1
        ).reshape(-1, 2, 3)
        # A camera moves from the left: R X + t → exp(ω) R X + t + τ.
        J_camera = np.concatenate([-by_position @ _cross(turned), by_position], axis=2)  # (N, 2, 6)
        J_point = by_position @ R  # (N, 2, 3)
        weighted_camera = J_camera.swapaxes(1, 2) * weight[:, None, None]
        weighted_point = J_point.swapaxes(1, 2) * weight[:, None, None]
        self.U = _sum_by(weighted_camera @ J_camera, c, cameras)
        self.V = _sum_by(weighted_point @ J_point, p, points)
        mixed = np.zeros((points, 3, cameras, 6))
        mixed[p, :, c] = weighted_point @ J_camera
        self.W = mixed.reshape(points, 3, cameras * 6)
        self.g_camera = _sum_by((weighted_camera @ residual[..., None])[..., 0], c, cameras)
        self.g_point = _sum_by((weighted_point @ residual[..., None])[..., 0], p, points)

    def point_inverses(self, damping: float) -> Floats:
        """(P, 3, 3) inverses of the points' own blocks."""
        size = np.trace(self.V, axis1=1, axis2=2)[:, None, None]
        return np.linalg.inv(self.V + np.eye(3) * (damping * size + 1e-12))

    def reduced(self, inverse: Floats, damping: float) -> tuple[Floats, Floats]:
        """The cameras' equations (6 T, 6 T) once points are eliminated, and how these (3 P, 6 T) follow them."""
        points, _, unknowns = self.W.shape
        Y = (inverse @ self.W).reshape(points * 3, unknowns)
        S = -self.W.reshape(points * 3, unknowns).T @ Y
        for k, U in enumerate(self.U):
            S[6 * k : 6 * k + 6, 6 * k : 6 * k + 6] += U + damping * np.diag(np.diag(U)) + 1e-9 * np.eye(6)
        return S, Y

    def step(self, T: Floats, X: Floats, damping: float) -> tuple[Floats, Floats]:
        """Cameras and points after one damped Gauss-Newton step."""
        unknowns = self.W.shape[2]
        inverse = self.point_inverses(damping)
        S, Y = self.reduced(inverse, damping)
        right = Y.T @ self.g_point.ravel() - self.g_camera.ravel()
        move = np.zeros(unknowns)
        move[6:] = np.linalg.solve(S[6:, 6:], right[6:])
        X = X - np.einsum("pij,pj->pi", inverse, self.g_point + self.W @ move)
        turn, shift = move.reshape(-1, 6)[:, :3], move.reshape(-1, 6)[:, 3:]
        T = T.copy()
        T[:, :3, :3] = _rotation(turn) @ T[:, :3, :3]
        T[:, :3, 3] += shift
        return T, X


def _cross(vectors: Floats) -> Floats:
    """Matrices (N, 3, 3) of the cross product with vectors (N, 3)."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)


def _rotation(vector: Floats) -> Floats:
    """Rotation matrices (N, 3, 3) of axis-angle vectors (N, 3)."""
    angle = np.maximum(np.linalg.norm(vector, axis=1), 1e-12)[:, None, None]
    cross = _cross(vector)
    return np.asarray(
        np.eye(3) + np.sin(angle) / angle * cross + (1 - np.cos(angle)) / angle**2 * (cross @ cross)
    )


def _sum_by(values: Floats, index: Indices, count: int) -> Floats:
    """Sums of values (N, ...) that share an index, as (count, ...)."""
    flat = values.reshape(len(values), -1)
    out = np.stack([np.bincount(index, flat[:, k], count) for k in range(flat.shape[1])], axis=1)
    return np.asarray(out.reshape(count, *values.shape[1:]))
