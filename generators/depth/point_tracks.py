"""Points followed through a clip, and how far they move beyond what a camera standing still explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Grey = NDArray[Any]

REST = 0.5  # pixels that a point at rest may seem to move
LEAST_REST = 0.1  # share of points at rest from which the camera is taken to stand still
REST_SPREAD = 0.55  # share of 4 × 4 cells in which points rest: what is far, or moved towards, fills fewer
TRACKS = 400  # points followed at any time


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


def follow(grey: Sequence[Grey]) -> Tracks:
    """Corners followed by pyramidal Lucas-Kanade, forwards and back again to check, refilled as they go."""
    distance = max(3, round(np.sqrt(grey[0].size / TRACKS) * 0.6))
    alive = np.zeros(0, np.int64)
    at = np.zeros((0, 2), np.float32)
    seen: list[tuple[NDArray[np.int64], int, Floats]] = []
    count = 0
    for t, image in enumerate(grey):
        if t and len(at):
            ahead, ok = _follow_once(grey[t - 1], image, at)
            back, ok_back = _follow_once(image, grey[t - 1], ahead)
            keep = ok & ok_back & (np.abs(back - at).max(axis=1) < 0.5)
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


def _follow_once(a: Grey, b: Grey, at: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    moved, ok, _ = cv2.calcOpticalFlowPyrLK(a, b, at, at.copy(), winSize=(15, 15), maxLevel=4)
    return np.asarray(moved, np.float32), np.asarray(ok).ravel() > 0


def stands_still(a: Floats, b: Floats) -> bool:
    """Whether a camera that saw points at `a`, then at `b` (N, 2), in pixels, stood still while others moved.

    All over the frame many points are where they were; a camera that moves leaves few, or those of one place.
    """
    rest = np.linalg.norm(b - a, axis=1) < REST
    low, size = a.min(axis=0), np.maximum(np.ptp(a, axis=0), 1e-9)
    column, row = np.minimum((a - low) / size * 4, 3).astype(int).T
    cells = np.unique(4 * row + column)
    held = np.unique((4 * row + column)[rest])
    return bool(rest.mean() >= LEAST_REST and len(held) >= REST_SPREAD * len(cells))


def parallax(a: Floats, b: Floats, K: Floats) -> float:
    """Motion in pixels between points a and b (N, 2) that no rotation and zoom explains: 70th percentile.

    Higher would take a few movers for parallax, lower would miss it where one plane fills most of the view.
    """
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
    return float(np.percentile(np.linalg.norm(residual, axis=1), 70) * focal)
