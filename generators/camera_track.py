"""The camera's path through a clip: point tracks, essential matrix, resection, bundle adjustment."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Grey = NDArray[np.uint8]

SEED = 0
TRACKS = 500  # points followed at any time
LEAST_TRACKS = 40  # fewer than these shared by two frames: a cut, noise, or nothing to see
RANSAC_PIXELS = 1.0
LEAST_PARALLAX = 1.5  # pixels of motion, in the median, that rotation and zoom don't explain


@dataclass(frozen=True)
class Tracks:
    """Points followed through a clip: (track, frame, xy) of every sighting, xy (N, 2) in pixels."""

    track: NDArray[np.int64]
    frame: NDArray[np.int64]
    xy: Floats

    def table(self, frames: int) -> Floats:
        """Positions as (tracks, frames, 2), NaN where a track isn't seen."""
        out = np.full((int(self.track.max(initial=-1)) + 1, frames, 2), np.nan)
        out[self.track, self.frame] = self.xy
        return out


@dataclass(frozen=True)
class CameraTrack:
    """Where the camera was: world → camera (T, 4, 4), NaN where it could not be told; scale is arbitrary.

    noise: reprojection error in pixels, root mean square of the inliers. points: (P, 3) world points.
    """

    pose: Floats
    noise: float
    points: Floats


def follow(grey: list[Grey]) -> Tracks:
    """Corners followed by pyramidal Lucas-Kanade, forwards and back again to check, refilled as they go."""
    distance = max(3, round(np.sqrt(grey[0].size / TRACKS) * 0.6))
    options = {"winSize": (15, 15), "maxLevel": 4}
    alive = np.zeros(0, np.int64)
    at = np.zeros((0, 2), np.float32)
    seen: list[tuple[NDArray[np.int64], int, Floats]] = []
    count = 0
    for t, image in enumerate(grey):
        if t and len(at):
            ahead, ok, _ = cv2.calcOpticalFlowPyrLK(grey[t - 1], image, at, None, **options)
            back, ok_back, _ = cv2.calcOpticalFlowPyrLK(image, grey[t - 1], ahead, None, **options)
            keep = (ok.ravel() > 0) & (ok_back.ravel() > 0) & (np.abs(back - at).max(axis=1) < 0.5)
            keep &= (ahead >= 0).all(axis=1) & (ahead < np.array(image.shape[::-1])).all(axis=1)
            at, alive = ahead[keep], alive[keep]
        if len(at) < 0.8 * TRACKS:
            mask = np.full(image.shape, 255, np.uint8)
            for x, y in at:
                cv2.circle(mask, (int(x), int(y)), distance, 0, -1)
            new = cv2.goodFeaturesToTrack(image, TRACKS - len(at), 0.003, distance, mask=mask)
            if new is not None:
                at = np.concatenate([at, new.reshape(-1, 2)])
                alive = np.concatenate([alive, count + np.arange(len(new))])
                count += len(new)
        seen.append((alive, t, at.astype(np.float64)))
    return Tracks(
        np.concatenate([ids for ids, _, _ in seen]),
        np.concatenate([np.full(len(ids), t) for ids, t, _ in seen]),
        np.concatenate([xy for _, _, xy in seen]) + 0.5,  # OpenCV's pixel centres are whole numbers
    )


def parallax(a: Floats, b: Floats, K: Floats) -> float:
    """Median motion in pixels between points a and b (N, 2) that no rotation and zoom explains."""
    centre, focal = K[:2, 2], K[0, 0]
    p, q = (a - centre) / focal, (b - centre) / focal
    x, y = p.T
    # Small rotation (three) and zoom (one): the motion field of a camera that stays where it is.
    basis = np.stack(
        [np.stack([x * y, -(1 + x * x), y, x], -1), np.stack([1 + y * y, -x * y, -x, y], -1)], axis=1
    )
    weight = np.ones(len(p))
    residual = q - p
    for _ in range(6):
        w = np.sqrt(weight)[:, None]
        motion, *_ = np.linalg.lstsq((basis * w[..., None]).reshape(-1, 4), ((q - p) * w).ravel(), rcond=None)
        residual = q - p - basis @ motion
        size = np.linalg.norm(residual, axis=1)
        weight = 1 / np.maximum(size, 0.5 / focal)
    return float(np.median(np.linalg.norm(residual, axis=1)) * focal)


def track_camera(tracks: Tracks, frames: int, K: Floats) -> CameraTrack | None:
    """The camera's path over all frames that hang together; None where no baseline can be told."""
    table = tracks.table(frames)
    seen = np.isfinite(table[..., 0])
    pair = _first_pair(table, seen, K)
    if pair is None:
        return None
    i, j = pair
    shared = np.flatnonzero(seen[:, i] & seen[:, j])
    a, b = table[shared, i], table[shared, j]
    cv2.setRNGSeed(SEED)
    E, inlier = cv2.findEssentialMat(a, b, K, cv2.RANSAC, 0.999, RANSAC_PIXELS)
    if E is None or E.shape != (3, 3) or inlier.mean() < 0.5:
        return None
    _, R, t, _, _ = cv2.recoverPose(E, a, b, K, distanceThresh=1e4, mask=inlier.copy())
    pose = np.full((frames, 4, 4), np.nan)
    pose[i] = np.eye(4)
    pose[j] = np.eye(4)
    pose[j, :3, :3], pose[j, :3, 3] = R, t.ravel()
    world = np.full((len(table), 3), np.nan)
    _triangulate(world, table, seen, pose, K)
    for s in _outwards(i, j, frames):
        if np.isfinite(pose[s, 0, 0]):
            continue
        if not _resect(s, world, table, seen, pose, K):
            continue
        _triangulate(world, table, seen, pose, K)
        if np.isfinite(pose[:, 0, 0]).sum() % 8 == 0:
            bundle_adjust(pose, world, table, seen, K, 4)
    noise = bundle_adjust(pose, world, table, seen, K, 12)
    _triangulate(world, table, seen, pose, K, again=True)
    noise = bundle_adjust(pose, world, table, seen, K, 6)
    return CameraTrack(pose, noise, world)


def _first_pair(table: Floats, seen: NDArray[np.bool_], K: Floats) -> tuple[int, int] | None:
    """The two frames with the most parallax among those that share most of their tracks."""
    frames = seen.shape[1]
    best, pair = LEAST_PARALLAX, None
    step = max(1, frames // 8)
    for i in range(0, frames - 1, step):
        for j in range(i + 1, frames, max(1, step // 2)):
            shared = seen[:, i] & seen[:, j]
            if shared.sum() < max(LEAST_TRACKS, 0.35 * seen[:, i].sum()):
                break
            value = parallax(table[shared, i], table[shared, j], K) * min(1, shared.sum() / 150)
            if value > best:
                best, pair = value, (i, j)
    return pair


def _outwards(i: int, j: int, frames: int) -> list[int]:
    inside = sorted(range(i + 1, j), key=lambda s: min(s - i, j - s))
    return inside + [s for d in range(1, frames) for s in (j + d, i - d) if 0 <= s < frames]


def _reproject(world: Floats, pose: Floats, K: Floats) -> tuple[Floats, Floats]:
    """Pixels (..., 2) and depths (...) of world points (..., 3) in cameras (..., 4, 4)."""
    camera = np.einsum("...ij,...j->...i", pose[..., :3, :3], world) + pose[..., :3, 3]
    z = camera[..., 2]
    safe = np.where(np.abs(z) < 1e-9, 1e-9, z)
    return camera[..., :2] / safe[..., None] * np.diag(K)[:2] + K[:2, 2], z


def _triangulate(
    world: Floats, table: Floats, seen: NDArray[np.bool_], pose: Floats, K: Floats, again: bool = False
) -> None:
    """Fill in (in place) the tracks seen by two posed cameras or more that have no point yet."""
    posed = np.isfinite(pose[:, 0, 0])
    views = seen & posed
    todo = np.flatnonzero((views.sum(axis=1) >= 2) & (again | ~np.isfinite(world[:, 0])))
    if not len(todo):
        return
    ray = (table[todo] - K[:2, 2]) / np.diag(K)[:2]  # (P, T, 2)
    see = views[todo]
    ray = np.where(see[..., None], ray, 0)
    P = np.where(posed[:, None, None], pose[:, :3], 0)
    rows = ray[..., :, None] * P[None, :, 2:3] - P[None, :, :2]  # (P, T, 2, 4)
    rows = np.where(see[..., None, None], rows, 0).reshape(len(todo), -1, 4)
    A, b = rows[..., :3], -rows[..., 3]
    normal = np.einsum("pki,pkj->pij", A, A)
    scale = np.trace(normal, axis1=1, axis2=2)[:, None, None]
    eigen = np.linalg.eigvalsh(normal)
    point = np.linalg.solve(normal + 1e-9 * scale * np.eye(3), np.einsum("pki,pk->pi", A, b)[..., None])[
        ..., 0
    ]
    projected, z = _reproject(point[:, None], np.where(posed[:, None, None], pose, np.eye(4)), K)
    error = np.where(see, np.linalg.norm(projected - table[todo], axis=-1), 0)
    error = np.nan_to_num(error).sum(axis=1) / see.sum(axis=1)
    good = (
        (eigen[:, 0] > 1e-5 * eigen[:, 2]) & (error < 2 * RANSAC_PIXELS) & np.all(~see | (z > 1e-6), axis=1)
    )
    world[todo] = np.where(good[:, None], point, world[todo] if again else np.nan)


def _resect(s: int, world: Floats, table: Floats, seen: NDArray[np.bool_], pose: Floats, K: Floats) -> bool:
    """Find (in place) camera s from the points it sees; False if these are too few or don't agree."""
    known = np.flatnonzero(seen[:, s] & np.isfinite(world[:, 0]))
    if len(known) < 12:
        return False
    posed = np.flatnonzero(np.isfinite(pose[:, 0, 0]))
    start = pose[posed[np.abs(posed - s).argmin()]]
    rvec, tvec = cv2.Rodrigues(start[:3, :3])[0], start[:3, 3:].copy()
    cv2.setRNGSeed(SEED)
    ok, rvec, tvec, inlier = cv2.solvePnPRansac(
        world[known], table[known, s], K, None, rvec, tvec, True, 100, 2 * RANSAC_PIXELS, 0.999
    )
    if not ok or inlier is None or len(inlier) < max(12, 0.4 * len(known)):
        return False
    inlier = inlier.ravel()
    rvec, tvec = cv2.solvePnPRefineLM(world[known][inlier], table[known[inlier], s], K, None, rvec, tvec)
    pose[s] = np.eye(4)
    pose[s, :3, :3], pose[s, :3, 3] = cv2.Rodrigues(rvec)[0], tvec.ravel()
    return True


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
        projected, z = _reproject(X[p], T[c], K)
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
    np.logical_and.at(depth_ok, p, _reproject(X[p], T[c], K)[1] > 1e-6)
    world[points] = np.where(((error < 3 * RANSAC_PIXELS) & depth_ok)[:, None], X, np.nan)
    inlier = square < (3 * RANSAC_PIXELS) ** 2
    return float(np.sqrt(square[inlier].mean())) if inlier.any() else float("inf")


def _sum_by(values: Floats, index: NDArray[np.int64], count: int) -> Floats:
    """Sums of values (N, ...) that share an index, as (count, ...)."""
    flat = values.reshape(len(values), -1)
    out = np.stack([np.bincount(index, flat[:, k], count) for k in range(flat.shape[1])], axis=1)
    return np.asarray(out.reshape(count, *values.shape[1:]))
