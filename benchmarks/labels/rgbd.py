"""A 7-Scenes clip with its truth: depth fused over many frames, seen from the depth or the colour camera.

The depth images of 7-Scenes are stored as the depth camera saw them, not registered to the colour image: a
perfect answer for the colour image gets about 92 % of the pairs right against depth as stored. The colour
camera of the Kinect (published nominal focal length 525 pixels, 25 mm beside the depth camera) is therefore
given its own view of the fused depth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.labels.footage import Floats, half_of, read_image
from benchmarks.labels.motion import DEFAULTS, SIDE
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.geometry import (
    backproject,
    crop_resize_intrinsics,
    invert_pose,
    project,
    transform,
)
from freelabels.pipeline.sources.clip_specs import DEFAULT_FPS
from freelabels.pipeline.sources.decode import crop_resize, window
from freelabels.pipeline.sources.sampling import sample

COLOUR_FOCAL = 525.0
COLOUR_OFFSET = 0.025  # metres to the right of the depth camera
UNKNOWN = (0, 65535)
FUSED = 12  # frames on either side
RATE = 30.0  # frames a second
CLIP, EVERY = 64, 10  # frames a clip, and from one measured frame to the next


@dataclass(frozen=True)
class RgbdClip:
    """image (T, H, W, 3); depth (T, H, W) metres, NaN unknown; pose (T, 4, 4) depth camera → world; K."""

    image: NDArray[np.uint8]
    depth: Floats
    pose: Floats
    K: Floats

    @property
    def colour_K(self) -> Floats:
        """Intrinsics of the colour camera, whose images have the depth images' size."""
        scale = COLOUR_FOCAL / 585.0
        return np.array(
            [[self.K[0, 0] * scale, 0, self.K[0, 2]], [0, self.K[1, 1] * scale, self.K[1, 2]], [0, 0, 1]]
        )

    def fused(self, t: int, colour: bool) -> Floats:
        """Median depth (H, W) of the frames around t, without t itself, as one of the two cameras sees it."""
        offset = np.eye(4)
        offset[0, 3] = COLOUR_OFFSET * colour
        K = self.colour_K if colour else self.K
        views = []
        for other in range(max(0, t - FUSED), min(len(self.depth), t + FUSED + 1), 2):
            if other != t:
                motion = invert_pose(self.pose[t] @ offset) @ self.pose[other]
                views.append(seen_from(self.depth[other], self.K, motion, K))
        stack = np.sort(np.stack(views), axis=0)  # NaN last
        count = np.isfinite(stack).sum(axis=0)
        middle = np.take_along_axis(stack, np.maximum(count - 1, 0)[None] // 2, axis=0)[0]
        return np.where(count >= 3, middle, np.nan)


def seen_from(depth: Floats, K: Floats, motion: Floats, K_there: Floats) -> Floats:
    """Depth (H, W) carried by `motion` (4, 4) into another camera, nearest first; NaN where nothing lands."""
    points = transform(motion, backproject(depth, K)[np.isfinite(depth)])
    at = project(points, K_there)
    at = np.floor(np.nan_to_num(at, nan=-1)).astype(np.int64)
    height, width = depth.shape
    inside = (at >= 0).all(axis=1) & (at < (width, height)).all(axis=1)
    out = np.full(depth.shape, np.inf)
    flat = out.ravel()
    np.minimum.at(flat, (at[:, 1] * width + at[:, 0])[inside], points[inside, 2])
    return np.where(np.isfinite(out), out, np.nan)


def rgbd_folders(data: Path | None, half: str = "") -> list[Path]:
    """The clips that depth and normals are judged on; half: of `HALVES`, "" for both."""
    folders = sorted((data / "rgbd").iterdir()) if data is not None and (data / "rgbd").is_dir() else []
    return [folder for folder in folders if half in ("", half_of(folder.name))]


def read_rgbd(folder: Path, scale: float) -> RgbdClip:
    """All frames of a 7-Scenes folder; images are averaged down to `scale`, depth is taken by nearest."""
    K = np.loadtxt(folder / "camera-intrinsics.txt").reshape(3, 3)
    K[:2] *= scale
    images, depths, poses = [], [], []
    for path in sorted(folder.glob("*.color.jpg")):
        stem = path.name.removesuffix(".color.jpg")
        raw = cv2.imread(str(folder / f"{stem}.depth.png"), cv2.IMREAD_UNCHANGED)
        if raw is None:
            raise ValueError(f"{folder / stem}.depth.png can't be read as an image: check the data folder")
        depth = np.where(np.isin(raw, UNKNOWN), np.nan, raw / 1000.0)
        size = (round(raw.shape[1] * scale), round(raw.shape[0] * scale))
        images.append(cv2.resize(read_image(path), size, interpolation=cv2.INTER_AREA))
        depths.append(cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST))
        poses.append(np.loadtxt(folder / f"{stem}.pose.txt"))
    return RgbdClip(np.stack(images).astype(np.uint8), np.stack(depths), np.stack(poses), K)


@dataclass(frozen=True)
class Film:
    """A clip of the colour camera, as a detector sees it.

    setting: "" for half of the size at the camera's rate, else how the product stores it. judged: frames of the
    clip, and which of the folder they are. seen: from a map (H, W[, C]) of the colour camera's whole frame to its
    values at the clip's pixels.
    """

    setting: str
    clip: Clip
    judged: list[tuple[int, int]]
    seen: Callable[[Floats], Floats]


def films(folder: Path, full: RgbdClip) -> Iterator[Film]:
    """Parts of a folder at half of its size, then all of it as the product stores it by default.

    full: what `read_rgbd` reads of the folder at its own size.
    """
    half = read_rgbd(folder, 0.5)
    for start in range(0, len(half.image) - CLIP // 2, CLIP):
        image = half.image[start : start + CLIP]
        clip = Clip(image, np.arange(len(image)) / RATE, half.colour_K, "given")
        judged = [(k, start + k) for k in range(EVERY // 2, len(clip) - 1, EVERY)]
        yield Film("", clip, judged, lambda values: values[::2, ::2])
    times = np.arange(len(full.image)) / RATE
    taken = sample(list(times), DEFAULT_FPS)
    x, y, width, height = window(full.image.shape[1:3], (SIDE, SIDE))
    K = crop_resize_intrinsics(full.colour_K, (x, y), (SIDE / width, SIDE / height))
    image = np.stack([crop_resize(full.image[t], (SIDE, SIDE)) for t in taken])

    def seen(values: Floats) -> Floats:
        inside = np.ascontiguousarray(values[y : y + height, x : x + width])
        return np.asarray(cv2.resize(inside, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST_EXACT))

    judged = [(k, taken[k]) for k in range(2, len(taken), EVERY // 2)]
    yield Film(f", {DEFAULTS}", Clip(image, times[taken], K, "given"), judged, seen)
