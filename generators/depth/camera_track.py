"""The camera's path through a clip, grown from two frames by resection and bundle adjustment."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.depth.bundle_adjustment import INLIER_PIXELS, bundle_adjust, path_doubt, reproject
from freelabels.generators.depth.depth_reversal import misfit, reversed_depth
from freelabels.generators.depth.point_tracks import Tracks, parallax, stands_still

Floats = NDArray[np.float64]

SEED = 0
LEAST_TRACKS = 40  # fewer than these shared by two frames: a cut, noise, or nothing to see
RANSAC_PIXELS = 1.0
LEAST_PARALLAX = 1.0  # pixels
ENOUGH_PARALLAX = 6.0  # pixels beyond which two frames are as good as any
ADJUST_EVERY = 12  # cameras
NOISE_LIMIT = 0.25  # of the parallax: as large an error leaves no trust
LEAST_EXPLAINED, ENOUGH_EXPLAINED = 0.4, 0.7  # share of sightings that reproject well: no trust, full trust
LEAST_TRUST = 0.1
DOUBTED = 0.25  # error of depths by the path's own doubt, of their spread, that halves trust
AS_WELL = 1.25  # times the misfit of the path found: what a told one may have, to be taken as it is
PAIRS_OF = 9  # frames, evenly spread, between which a told path's parallax is looked for
DECISIVE = 0.15  # of the misfit: by so much must the reading with near and far exchanged fit worse


@dataclass(frozen=True)
class CameraTrack:
    """Where the camera was: world → camera (T, 4, 4), NaN where it could not be told; scale is arbitrary.

    noise: reprojection error in pixels, root mean square of the inliers. points: (P, 3) world points, NaN
    where a track has none. trust: 1 where most tracks reproject well and the error is small against the
    parallax, near 0 where the motion in the frames is not a camera's (a crowd), or where near and far
    exchanged fit as well.
    """

    pose: Floats
    noise: float
    points: Floats
    trust: float


def camera_tracks(tracks: Tracks, frames: int, K: Floats, told: Floats | None = None) -> list[CameraTrack]:
    """The camera's paths over the runs of frames that hang together; none where no baseline can be told.

    A cut ends a run. Each path is NaN in the frames of the others. told: camera → world (T, 4, 4) as the source
    has it, NaN where it hasn't. That path, which is one for all frames and can't lose its way, is taken as it is
    where it fits the tracks about as well as the paths found, and refined where none of these can be trusted.
    """
    table = tracks.table(frames)
    found = _found(table, frames, K)
    start = _world_to_camera(told) if told is not None else None
    if start is None:
        return found
    seen = np.isfinite(table[..., 0]) & np.isfinite(start[:, 0, 0])
    pixels = _most_parallax(table, seen, K)
    if pixels <= LEAST_PARALLAX:
        return found
    trusted = [camera for camera in found if camera.trust >= LEAST_TRUST]
    if not trusted:
        refined = _told(start, table, seen, K, pixels, refine=True)
        return [refined] if refined is not None else found
    exact = _told(start, table, seen, K, pixels, refine=False)
    if exact is None or exact.trust < LEAST_TRUST:
        return found
    mine = theirs = 0.0
    for camera in trusted:
        views = _views(seen, camera.pose)
        mine += float(views.sum()) * misfit(exact.pose, exact.points, table, views, K)
        theirs += float(views.sum()) * misfit(camera.pose, camera.points, table, views, K)
    return [exact] if mine <= AS_WELL * theirs else found


def _found(table: Floats, frames: int, K: Floats) -> list[CameraTrack]:
    """The paths that the tracks alone tell."""
    found = []
    open_frames = np.ones(frames, bool)
    while open_frames.sum() > 1:
        seen = np.isfinite(table[..., 0]) & open_frames
        camera = _track(table, seen, K)
        if camera is None:
            break
        found.append(camera)
        open_frames &= ~np.isfinite(camera.pose[:, 0, 0])
    return found


def _track(table: Floats, seen: NDArray[np.bool_], K: Floats) -> CameraTrack | None:
    """One path through the frames in which tracks are `seen`, grown from its best pair of frames."""
    pair = _first_pair(table, seen, K)
    if pair is None:
        return None
    i, j, motion = pair
    pose = np.full((seen.shape[1], 4, 4), np.nan)
    pose[i], pose[j] = np.eye(4), motion
    world = np.full((len(table), 3), np.nan)
    _triangulate(world, table, seen, pose, K)
    for s in _outwards(i, j, len(pose)):
        if _resect(s, world, table, seen, pose, K):
            _triangulate(world, table, seen, pose, K)
            if np.isfinite(pose[:, 0, 0]).sum() % ADJUST_EVERY == 0:
                bundle_adjust(pose, world, table, seen, K, 4)
    noise = _settle(world, table, seen, pose, K)
    if not np.isfinite(noise):
        return None
    views = _views(seen, pose)
    turned_pose, turned_world = reversed_depth(pose, world)
    turned_noise = _settle(turned_world, table, seen, turned_pose, K)
    cost = misfit(pose, world, table, views, K)
    turned_cost = misfit(turned_pose, turned_world, table, views, K)
    decided = 1.0
    if _depth_correlation(pose, world, turned_pose, turned_world) < 0:
        decided = abs(cost - turned_cost) / (DECISIVE * max(min(cost, turned_cost), 1e-9))
    if turned_cost < cost and np.isfinite(turned_noise):
        pose, world, noise = turned_pose, turned_world, turned_noise
    shared = seen[:, i] & seen[:, j]
    fit = _fit(pose, world, table, views, K, noise, parallax(table[shared, i], table[shared, j], K))
    known = 1 / (1 + (path_doubt(pose, world, table, seen, K, noise) / DOUBTED) ** 2)
    return CameraTrack(pose, noise, world, float(fit * np.clip(decided, 0, 1) * known))


def _views(seen: NDArray[np.bool_], pose: Floats) -> NDArray[np.bool_]:
    """(P, T) sightings in posed frames of tracks that two of these see or more."""
    views = seen & np.isfinite(pose[:, 0, 0])
    return np.asarray(views & (views.sum(axis=1) > 1)[:, None])


def _fit(
    pose: Floats,
    world: Floats,
    table: Floats,
    views: NDArray[np.bool_],
    K: Floats,
    noise: float,
    pixels: float,
) -> float:
    """From 0 to 1, how far a path explains the sightings, with how little error beside its parallax in pixels."""
    explained = (_explained(world, table, views, pose, K) - LEAST_EXPLAINED) / (
        ENOUGH_EXPLAINED - LEAST_EXPLAINED
    )
    precise = 1.5 * (1 - noise / (NOISE_LIMIT * pixels))
    return float(np.clip(explained, 0, 1) * np.clip(precise, 0, 1))


def _world_to_camera(told: Floats) -> Floats | None:
    """Told poses the other way round, from the first and in units of their reach; None without a baseline."""
    known = np.isfinite(told).all(axis=(1, 2))
    if known.sum() < 2:
        return None
    motion = np.linalg.inv(told[known][0]) @ told[known]
    reach = float(np.linalg.norm(motion[:, :3, 3], axis=1).max())
    if not 0 < reach < np.inf:
        return None
    motion[:, :3, 3] /= reach
    pose = np.full(told.shape, np.nan)
    pose[known] = np.linalg.inv(motion)
    return pose


def _most_parallax(table: Floats, seen: NDArray[np.bool_], K: Floats) -> float:
    """The largest parallax in pixels between some frames that share enough tracks, 0 if none do."""
    frames = np.unique(np.linspace(0, seen.shape[1] - 1, PAIRS_OF).round().astype(int)).tolist()
    found = [0.0]
    for i, j in combinations(frames, 2):
        shared = seen[:, i] & seen[:, j]
        if shared.sum() >= LEAST_TRACKS:
            found.append(parallax(table[shared, i], table[shared, j], K))
    return max(found)


def _told(
    pose: Floats, table: Floats, seen: NDArray[np.bool_], K: Floats, pixels: float, *, refine: bool
) -> CameraTrack | None:
    """The path that the source tells with the points that it gives the tracks; None if it gives too few."""
    world = np.full((len(table), 3), np.nan)
    _triangulate(world, table, seen, pose, K)
    known = 1.0
    if refine:
        pose = pose.copy()
        noise = _settle(world, table, seen, pose, K)
        if not np.isfinite(noise):
            return None
        known = 1 / (1 + (path_doubt(pose, world, table, seen, K, noise) / DOUBTED) ** 2)
    else:
        p, c = np.nonzero(_views(seen, pose) & np.isfinite(world[:, :1]))
        error = np.linalg.norm(reproject(world[p], pose[c], K)[0] - table[p, c], axis=1)
        error = error[error < INLIER_PIXELS]
        if len(error) < LEAST_TRACKS:
            return None
        noise = float(np.sqrt((error**2).mean()))
    return CameraTrack(
        pose, noise, world, known * _fit(pose, world, table, _views(seen, pose), K, noise, pixels)
    )


def _settle(world: Floats, table: Floats, seen: NDArray[np.bool_], pose: Floats, K: Floats) -> float:
    """Bundle adjustment (in place) from all the points that the path can have; returns its error in pixels."""
    bundle_adjust(pose, world, table, seen, K, 8)
    _triangulate(world, table, seen, pose, K, again=True)
    return bundle_adjust(pose, world, table, seen, K, 6)


def _depth_correlation(pose: Floats, world: Floats, other_pose: Floats, other_world: Floats) -> float:
    """Rank correlation, in the middle view, of the depths that two paths give to the points both have."""
    posed = np.flatnonzero(np.isfinite(pose[:, 0, 0]))
    middle = posed[len(posed) // 2]
    both = np.isfinite(world[:, 0]) & np.isfinite(other_world[:, 0])
    if both.sum() < 3:
        return -1.0
    depth, other = (w[both] @ p[middle, 2, :3] for w, p in ((world, pose), (other_world, other_pose)))
    return float(np.corrcoef(depth.argsort().argsort(), other.argsort().argsort())[0, 1])


def _explained(world: Floats, table: Floats, views: NDArray[np.bool_], pose: Floats, K: Floats) -> float:
    """Share of the sightings that reproject within `RANSAC_PIXELS`."""
    p, c = np.nonzero(views)
    projected, _ = reproject(world[p], pose[c], K)
    error = np.linalg.norm(projected - table[p, c], axis=1)
    return float(np.mean(np.nan_to_num(error, nan=np.inf) < RANSAC_PIXELS))


def _first_pair(table: Floats, seen: NDArray[np.bool_], K: Floats) -> tuple[int, int, Floats] | None:
    """Two frames i < j with parallax that an essential matrix explains, and the motion (4, 4) from i to j."""
    frames = seen.shape[1]
    step = max(1, frames // 8)
    candidates = []
    for i in range(0, frames - 1, step):
        for j in range(i + 1, frames, max(1, step // 2)):
            shared = seen[:, i] & seen[:, j]
            if shared.sum() < max(LEAST_TRACKS, 0.35 * seen[:, i].sum()):
                break
            if stands_still(table[shared, i], table[shared, j]):
                continue
            pixels = parallax(table[shared, i], table[shared, j], K)
            if pixels > LEAST_PARALLAX:
                candidates.append((min(pixels, ENOUGH_PARALLAX) * float(shared.sum()), i, j))
    best, pair = 0.0, None
    for _, i, j in sorted(candidates, reverse=True)[:8]:
        shared = seen[:, i] & seen[:, j]
        a, b = table[shared, i], table[shared, j]
        cv2.setRNGSeed(SEED)
        E, inlier = cv2.findEssentialMat(a, b, K, cv2.RANSAC, 0.999, RANSAC_PIXELS)
        if np.shape(E) != (3, 3) or inlier.mean() < 0.5:
            continue
        kept = inlier.ravel() > 0
        pixels = parallax(a[kept], b[kept], K)
        value = min(pixels, ENOUGH_PARALLAX) * float(kept.sum()) if pixels > LEAST_PARALLAX else 0.0
        if value <= best:
            continue
        _, R, t, mask, _ = cv2.recoverPose(E, a, b, K, distanceThresh=1e4, mask=inlier.copy())
        if (mask > 0).mean() < 0.4:
            continue
        motion = np.eye(4)
        motion[:3, :3], motion[:3, 3] = R, t.ravel()
        best, pair = value, (i, j, motion)
    return pair


def _outwards(i: int, j: int, frames: int) -> list[int]:
    inside = sorted(range(i + 1, j), key=lambda s: min(s - i, j - s))
    return inside + [s for d in range(1, frames) for s in (j + d, i - d) if 0 <= s < frames]


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
    projected, z = reproject(point[:, None], np.where(posed[:, None, None], pose, np.eye(4)), K)
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
    inlier = np.ravel(inlier) if ok else np.zeros(0, np.int64)
    if len(inlier) < max(12, 0.4 * len(known)):
        return False
    rvec, tvec = cv2.solvePnPRefineLM(world[known][inlier], table[known[inlier], s], K, None, rvec, tvec)
    pose[s] = np.eye(4)
    pose[s, :3, :3], pose[s, :3, 3] = cv2.Rodrigues(rvec)[0], tvec.ravel()
    return True
