"""Relative inverse depth of a clip from the parallax of a moving camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from generators.calibration import calibrated
from generators.camera_track import CameraTrack, follow, track_camera
from generators.clip import CONSECUTIVE, Clip
from generators.detector import register
from generators.fields import Array, as_stored
from generators.geometry import crop_resize_intrinsics, rays

Floats = NDArray[np.float64]
Map = NDArray[np.float32]
Grey = NDArray[np.uint8]

LEAST_SIDE = 32  # pixels; smaller frames have nothing to track


@register
@dataclass(frozen=True)
class VideoDisparity:
    """Inverse depth by triangulating optical flow between frames whose cameras are known from the clip.

    Makes `disparity` (f16, inverse depth with its zero at infinity, larger is nearer, up to a positive scale
    per frame: the clip's median is 1) and its confidence, from the clip's frames and camera_K (an assumed K
    bends depth, its order hardly). The camera's path comes from point tracks and bundle adjustment; each
    frame is matched (DIS flow) with a few others chosen by baseline, each pixel triangulated robustly, then
    checked against the inverse depth of the other frames. Pixels that move by themselves, or whose rays
    don't meet, are left out. A clip without a baseline (still, rotating or zooming camera, noise) is NaN at
    confidence 0, and so are the frames beyond a cut that can't be tied to the rest.

    width: the longer side of the frames worked on. views: the number of frames each is matched with.
    """

    name: ClassVar[str] = "video_disparity"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[str, ...]] = ("disparity", "disparity_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({CONSECUTIVE})

    width: int = 320
    views: int = 4

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        height, width = clip.size
        disparity = np.full((len(clip), height, width), np.nan, np.float32)
        score = np.zeros((len(clip), height, width), np.float32)
        scale = min(1.0, self.width / max(height, width))
        if len(clip) > 1 and min(height, width) * scale >= LEAST_SIDE:
            grey = [self._working_copy(image, scale) for image in clip.image]
            size = grey[0].shape
            K = crop_resize_intrinsics(clip.camera_K, (0, 0), (size[1] / width, size[0] / height))
            camera = track_camera(follow(grey), len(grey), K)
            if camera is not None:
                for t, (w, s) in inverse_depths(grey, camera, K, self.views).items():
                    disparity[t] = cv2.resize(w, (width, height), interpolation=cv2.INTER_LINEAR)
                    score[t] = cv2.resize(s, (width, height), interpolation=cv2.INTER_LINEAR)
        disparity[~(score > 0)] = np.nan
        return {
            "disparity": as_stored("disparity", disparity),
            "disparity_confidence": calibrated(self.name, np.where(np.isfinite(disparity), score, 0)),
        }

    @staticmethod
    def _working_copy(image: NDArray[np.uint8], scale: float) -> Grey:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return np.asarray(grey)


def inverse_depths(
    grey: list[Grey], camera: CameraTrack, K: Floats, views: int
) -> dict[int, tuple[Map, Map]]:
    """Inverse depth and raw score (H, W) of each frame whose camera is known and has a baseline."""
    posed = np.flatnonzero(np.isfinite(camera.pose[:, 0, 0]))
    known = camera.points[np.isfinite(camera.points[:, 0])]
    if len(known) < 10:
        return {}
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setFinestScale(0)
    directions = rays(K, *grey[0].shape)
    first: dict[int, tuple[Map, Map]] = {}
    matches: dict[int, list[tuple[int, Array]]] = {}
    for t in posed:
        depth = known @ camera.pose[t, 2, :3] + camera.pose[t, 2, 3]
        typical = float(np.median(depth[depth > 0])) if (depth > 0).any() else 1.0
        matches[t] = [
            (s, match(grey[t], grey[s], flow, camera.pose[s] @ np.linalg.inv(camera.pose[t]), typical, K))
            for s in choose_views(int(t), posed, camera, typical, K, views)
        ]
        first[t] = triangulate(matches[t], int(t), camera, directions, K)
    return {int(t): fuse(int(t), matches[t], first, camera, directions) for t in posed}


TARGET_PARALLAX = 0.05  # of the image's width: small enough for flow, large enough for depth


def choose_views(
    t: int, posed: NDArray[np.int64], camera: CameraTrack, depth: float, K: Floats, views: int
) -> list[int]:
    """Other frames to match frame t with: half before and half after, near the parallax aimed at."""
    centre = -np.einsum("nji,nj->ni", camera.pose[posed, :3, :3], camera.pose[posed, :3, 3])
    here = centre[np.flatnonzero(posed == t)[0]]
    parallax = np.linalg.norm(centre - here, axis=1) * K[0, 0] / depth
    target = TARGET_PARALLAX * 2 * K[0, 2]
    out: list[int] = []
    for side in (posed < t, posed > t):
        for share in np.linspace(1, 0.5, views // 2):
            far = np.where(side, np.abs(parallax - share * target), np.inf)
            far[np.isin(posed, out)] = np.inf
            if np.isfinite(far.min()):
                out.append(int(posed[far.argmin()]))
    return out


def match(a: Grey, b: Grey, flow: cv2.DISOpticalFlow, motion: Floats, depth: float, K: Floats) -> Array:
    """Where each pixel of frame a lies in b, (H, W, 2) OpenCV pixels: b is first turned to a's view."""
    height, width = a.shape
    # The homography of the plane at the typical depth, facing the camera, in OpenCV's pixels.
    k = K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    normal = np.array([[0, 0, 1 / depth]])
    H = k @ (motion[:3, :3] + motion[:3, 3:] @ normal) @ np.linalg.inv(k)
    turned = cv2.warpPerspective(
        b, H, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    there = flow.calc(a, turned, None) + np.stack([x, y], -1)
    return np.asarray(cv2.perspectiveTransform(there.reshape(1, -1, 2), H).reshape(height, width, 2))


def triangulate(
    matches: list[tuple[int, Array]], t: int, camera: CameraTrack, directions: Floats, K: Floats
) -> tuple[Map, Map]:
    """Inverse depth and score (H, W) from where each pixel lies in the other frames."""
    height, width = directions.shape[:2]
    A, b = [], []
    inverse = np.linalg.inv(camera.pose[t])
    for s, there in matches:
        motion = camera.pose[s] @ inverse
        turned = directions @ motion[:3, :3].T
        u = (there + 0.5 - K[:2, 2]) / np.diag(K)[:2]
        # w (u T₃ − T) = R r − u R₃ r, per coordinate, in pixels of frame s.
        A.append((u * motion[2, 3] - motion[:2, 3]) * K[0, 0] / turned[..., 2:])
        b.append((turned[..., :2] - u * turned[..., 2:]) * K[0, 0] / turned[..., 2:])
        inside = (there >= 0).all(-1) & (there[..., 0] < width) & (there[..., 1] < height)
        A[-1] *= inside[..., None]
        b[-1] *= inside[..., None]
    a_, b_ = np.stack(A), np.stack(b)
    weight = np.ones(a_.shape[:-1])
    for _ in range(4):
        power = (weight[..., None] * a_ * a_).sum((0, -1))
        w = (weight[..., None] * a_ * b_).sum((0, -1)) / np.maximum(power, 1e-9)
        error = ((a_ * w[..., None] - b_) ** 2).sum(-1)
        weight = 1 / (1 + error)
    used = (a_ != 0).any(-1)
    error = np.sqrt((weight * error * used).sum(0) / np.maximum((weight * used).sum(0), 1e-9))
    # How many pixels of parallax the inverse depth rests on, against its error.
    certainty = w * np.sqrt(power) / (camera.noise + error)
    score = np.where((w > 0) & used.any(0), np.clip(certainty / 20, 0.02, 1) * np.exp(-((error / 2) ** 2)), 0)
    return w.astype(np.float32), score.astype(np.float32)


def fuse(
    t: int,
    matches: list[tuple[int, Array]],
    first: dict[int, tuple[Map, Map]],
    camera: CameraTrack,
    directions: Floats,
) -> tuple[Map, Map]:
    """The median of frame t's inverse depth and of what the matched frames say; score by their agreement."""
    own, score = first[t]
    said = [np.where(score > 0, own, np.nan)]
    for s, there in matches:
        motion = camera.pose[t] @ np.linalg.inv(camera.pose[s])
        at = there.astype(np.float32)
        w = cv2.remap(first[s][0], at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderValue=np.nan)
        ok = cv2.remap(first[s][1], at[..., 0], at[..., 1], cv2.INTER_NEAREST, borderValue=0) > 0
        ray = cv2.remap(directions.astype(np.float32), at[..., 0], at[..., 1], cv2.INTER_LINEAR)
        z = ray @ motion[2, :3] + motion[2, 3] * w
        with np.errstate(divide="ignore", invalid="ignore"):
            said.append(np.where(ok & (w > 0) & (z > 0), w / z, np.nan))
    stack = np.sort(np.stack(said), axis=0)  # NaN last
    count = np.isfinite(stack).sum(0)
    middle = np.maximum(count - 1, 0)
    low, high = (np.take_along_axis(stack, k[None], 0)[0] for k in (middle // 2, (middle + 1) // 2))
    median = (low + high) / 2
    with np.errstate(invalid="ignore"):
        agree = (np.abs(stack - median) < 0.1 * median).sum(0) / len(said)
    score = np.where(np.isfinite(median) & (score > 0), score * agree, 0)
    return np.where(score > 0, median, np.nan).astype(np.float32), score.astype(np.float32)
