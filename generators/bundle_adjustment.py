"""Cameras and points refined together until they reproject where they were seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

INLIER_PIXELS = 3.0  # reprojection errors above this are no sighting of the point


def reproject(world: Floats, pose: Floats, K: Floats) -> tuple[Floats, Floats]:
    """Pixels (..., 2) and depths (...) of world points (..., 3) in cameras (..., 4, 4)."""
    camera = np.einsum("...ij,...j->...i", pose[..., :3, :3], world) + pose[..., :3, 3]
    z = camera[..., 2]
    safe = np.where(np.abs(z) < 1e-9, 1e-9, z)
    return camera[..., :2] / safe[..., None] * np.diag(K)[:2] + K[:2, 2], z


def _rotation(vector: Floats) -> Floats:
    """Rotation matrices (N, 3, 3) of axis-angle vectors (N, 3)."""
    angle = np.linalg.norm(vector, axis=1)[:, None, None]
    x, y, z = vector.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    safe = np.maximum(angle, 1e-12)
    return np.asarray(
        np.eye(3) + np.sin(safe) / safe * cross + (1 - np.cos(safe)) / safe**2 * (cross @ cross)
    )


def bundle_adjust(
    pose: Floats, world: Floats, table: Floats, seen: NDArray[np.bool_], K: Floats, iterations: int
) -> float:
    """Levenberg-Marquardt over all posed cameras and points (in place), Cauchy loss, points eliminated.

    The first camera stands still and the scale is kept. Returns the inliers' error in pixels.
    Source: B. Triggs et al., Bundle adjustment: a modern synthesis, 2000, section 6.
    """
    cameras = np.flatnonzero(np.isfinite(pose[:, 0, 0]))
    points = np.flatnonzero(np.isfinite(world[:, 0]) & (seen[:, cameras].sum(axis=1) >= 2))
    if len(points) < 10 or len(cameras) < 2:
        return float("inf")
    p, c = np.nonzero(seen[np.ix_(points, cameras)])
    xy = table[points[p], cameras[c]]
    T, X = pose[cameras].copy(), world[points].copy()
    focal = np.diag(K)[:2]
    C, P = len(cameras), len(points)

    def evaluate(T: Floats, X: Floats) -> tuple[Floats, Floats, float]:
        projected, z = reproject(X[p], T[c], K)
        residual = projected - xy
        square = (residual**2).sum(axis=1)
        square = np.where(z > 1e-6, square, 1e4)
        return residual, square, float(np.log1p(square).sum())

    damping = 1e-4
    residual, square, cost = evaluate(T, X)
    for _ in range(iterations):
        weight = 1 / (1 + square)
        R = T[c, :3, :3]
        camera = np.einsum("nij,nj->ni", R, X[p]) + T[c, :3, 3]
        x, y, z = camera.T
        z = np.where(np.abs(z) < 1e-6, 1e-6, z)
        zero = np.zeros_like(x)
        by_camera = np.stack(
            [focal[0] / z, zero, -focal[0] * x / z**2, zero, focal[1] / z, -focal[1] * y / z**2], -1
        ).reshape(-1, 2, 3)
        # Left perturbation: camera → exp(ω)(R X) + t.
        turned = camera - T[c, :3, 3]
        a, b, d = turned.T
        cross = np.stack([zero, d, -b, -d, zero, a, b, -a, zero], -1).reshape(-1, 3, 3)
        Jc = np.concatenate([by_camera @ cross, by_camera], axis=2)  # (N, 2, 6)
        Jp = by_camera @ R  # (N, 2, 3)
        JcT = np.swapaxes(Jc, 1, 2) * weight[:, None, None]
        JpT = np.swapaxes(Jp, 1, 2) * weight[:, None, None]
        U = _sum_by(JcT @ Jc, c, C)
        V = _sum_by(JpT @ Jp, p, P)
        W = np.zeros((P, 3, C, 6))
        W[p, :, c] = JpT @ Jc
        gc = _sum_by((JcT @ residual[..., None])[..., 0], c, C)
        gp = _sum_by((JpT @ residual[..., None])[..., 0], p, P)
        improved = False
        for _ in range(4):
            Vd = V + damping * np.eye(3) * np.trace(V, axis1=1, axis2=2)[:, None, None] + 1e-12 * np.eye(3)
            inverse = np.linalg.inv(Vd)
            flat = W.reshape(P, 3, C * 6)
            Y = np.einsum("pij,pjk->pik", inverse, flat)
            S = -flat.reshape(P * 3, -1).T @ Y.reshape(P * 3, -1)
            for k in range(C):
                S[6 * k : 6 * k + 6, 6 * k : 6 * k + 6] += U[k] + damping * np.diag(np.diag(U[k]))
            right = -gc.ravel() + Y.reshape(P * 3, -1).T @ gp.ravel()
            step = np.zeros(6 * C)
            step[6:] = np.linalg.solve(S[6:, 6:] + 1e-9 * np.eye(6 * C - 6), right[6:])
            move = -np.einsum("pij,pj->pi", inverse, gp + (flat @ step))
            step = step.reshape(C, 6)
            T_new = T.copy()
            T_new[:, :3, :3] = _rotation(step[:, :3]) @ T[:, :3, :3]
            T_new[:, :3, 3] += step[:, 3:]
            X_new = X + move
            r_new, s_new, cost_new = evaluate(T_new, X_new)
            if cost_new < cost:
                improved = True
                break
            damping *= 10
        if not improved:
            break
        gain = cost - cost_new
        T, X, residual, square, cost = T_new, X_new, r_new, s_new, cost_new
        damping = max(damping / 10, 1e-8)
        if gain < 1e-4 * cost:
            break
    pose[cameras] = T
    error = _sum_by(np.sqrt(square)[:, None], p, P)[:, 0] / np.bincount(p, minlength=P)
    depth_ok = np.ones(P, bool)
    np.logical_and.at(depth_ok, p, reproject(X[p], T[c], K)[1] > 1e-6)
    world[points] = np.where(((error < INLIER_PIXELS) & depth_ok)[:, None], X, np.nan)
    inlier = square < (INLIER_PIXELS) ** 2
    return float(np.sqrt(square[inlier].mean())) if inlier.any() else float("inf")


def _sum_by(values: Floats, index: NDArray[np.int64], count: int) -> Floats:
    """Sums of values (N, ...) that share an index, as (count, ...)."""
    flat = values.reshape(len(values), -1)
    out = np.stack([np.bincount(index, flat[:, k], count) for k in range(flat.shape[1])], axis=1)
    return np.asarray(out.reshape(count, *values.shape[1:]))
