"""Small clips that are made up, to try detectors on: what sources give, in ordinary and odd sizes and pictures."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.clip import (
    BASELINE,
    CONSECUTIVE,
    INTRINSICS,
    SEED,
    SENSOR_DEPTH,
    SOUND,
    STEREO,
    Clip,
)
from freelabels.generators.contract.detector import (
    Detector,
    inputs,
    label_names,
    optional_inputs,
    plan,
    run_detectors,
)
from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX
from freelabels.generators.contract.geometry import intrinsics_from_fov
from freelabels.generators.contract.sounds import RATE, sample_bounds

SOURCE_NEEDS = frozenset({CONSECUTIVE, STEREO, SENSOR_DEPTH, INTRINSICS, BASELINE, SEED, SOUND})
SIZE = (48, 64)  # (height, width) of ordinary ones; the smallest size that the project labels is 16 × 16
STEP = 0.03  # metres that the camera moves to the right in a frame
AHEAD = 3  # frames by which the right camera is ahead of the left one
FLOOR, BOX = (1, 3), 4  # pixels that things move in a frame: the floor's upper and lower end, the box


def provided(clip: Clip) -> frozenset[str]:
    """What a clip gives beyond single frames: names from `contract.clip`."""
    has = {
        CONSECUTIVE: len(clip) > 1,
        STEREO: clip.right is not None,
        SENSOR_DEPTH: clip.sensor_depth is not None,
        INTRINSICS: clip.intrinsics != "assumed",
        BASELINE: clip.baseline is not None and clip.intrinsics != "assumed",
        SEED: True,
        SOUND: clip.sound is not None,
    }
    return frozenset(name for name, present in has.items() if present)


def ready_for(detector: Detector, clip: Clip) -> Clip | None:
    """The clip with the labels on it that a detector reads, and no others; None if it can't have all it needs.

    Labels that the clip lacks are made by the detectors that are installed.
    """
    gives = provided(clip)
    needed = {need.removesuffix(CONFIDENCE_SUFFIX) for need in detector.needs - SOURCE_NEEDS}
    helpful = optional_inputs(detector).intersection(label_names())
    lacking = sorted((needed | helpful) - set(clip.labels))
    try:
        # What asks for a pair reads labels that were made from the pair.
        before = plan(lacking, gives - {SENSOR_DEPTH} if STEREO in detector.needs else gives, {}).detectors
    except ValueError:  # no detector makes it
        return None
    labels = {**clip.labels, **run_detectors(clip, before)}
    if not detector.needs <= gives | set(labels):
        return None
    return replace(clip, labels={name: labels[name] for name in inputs(detector, labels)})


def filmed(frames: int, height: int, width: int) -> Clip:
    """A clip that has all a detector may ask for, and whose parts agree.

    The camera passes a textured floor, `FLOOR` pixels a frame; nearer than that, at `BOX`, a box sinks by itself.
    """
    rng = np.random.default_rng(0)
    K = intrinsics_from_fov(60.0, width, height)
    speed = np.linspace(*FLOOR, height, dtype=np.float32)[:, None]  # pixels a frame, of each row
    floor = _texture(rng, height, width + FLOOR[1] * (frames + 3))
    side = max(2, min(height, width) // 3)
    box = _texture(rng, side, side)[..., ::-1]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    image, right = (np.zeros((frames, height, width, 3), np.uint8) for _ in range(2))
    depth = np.tile(K[0, 0] * STEP / speed, (frames, 1, width)).astype(np.float32)
    for t in range(frames):
        for view, at in ((image, t), (right, t + AHEAD)):
            view[t] = cv2.remap(floor, x + speed * at, y, cv2.INTER_LINEAR)
            top, left = height // 3 + t, int(0.7 * width) - BOX * at
            rows, columns = slice(top, top + side), slice(max(0, left), max(0, left + side))
            seen = view[t, rows, columns]
            seen[:] = box[: seen.shape[0], max(0, -left) :][:, : seen.shape[1]]
            if view is image:
                depth[t, rows, columns] = K[0, 0] * STEP / BOX
    pose = np.tile(np.eye(4), (frames, 1, 1))
    pose[:, 0, 3] = STEP * np.arange(frames)
    time = np.arange(frames) / 10
    return Clip(image, time, K, "given", right, AHEAD * STEP, depth, pose, sound=_heard(time))


def sample_clips() -> dict[str, Clip]:
    """Clips by name, made anew at every call, of 1 to 4 frames and 16 to 64 pixels a side."""
    rng = np.random.default_rng(1)
    whole = filmed(4, *SIZE)
    assert whole.sensor_depth is not None
    holed = np.where(rng.random(whole.sensor_depth.shape) < 0.2, np.float32(np.nan), whole.sensor_depth)
    video = replace(
        whole, right=None, baseline=None, sensor_depth=None, camera_pose=None, intrinsics="assumed"
    )
    one = slice(0, 1)
    still = replace(video, sound=None)
    photo = replace(still, image=video.image[one], time=video.time[one])
    flat = np.ones_like(whole.image[:2])
    short = replace(filmed(2, *SIZE), sensor_depth=np.full(flat.shape[:3], 2, np.float32))
    return {
        "photo": photo,
        "photo with depth": replace(photo, sensor_depth=holed[one], intrinsics="given"),
        "pair of photos": replace(filmed(1, *SIZE), sensor_depth=None, camera_pose=None),
        "video": video,
        "video, frames between": replace(
            still, image=video.image[::3], time=video.time[::3], between=(video.image[1:3],)
        ),
        "a box crosses": replace(still, image=_crossed(rng, 6, *SIZE), time=np.arange(6) / 10),
        "still video": replace(video, image=np.repeat(video.image[one], 4, axis=0)),
        "stereo video with depth": replace(whole, sensor_depth=holed),
        "two frames": filmed(2, *SIZE),
        "one frame of 17 × 23": filmed(1, 17, 23),
        "17 × 23": filmed(2, 17, 23),
        "64 × 20": filmed(2, 64, 20),
        "16 × 16": filmed(2, 16, 16),
        "black": replace(short, image=0 * flat, right=0 * flat, sound=_silence(short.time)),
        "grey": replace(short, image=127 * flat, right=127 * flat),
        "white": replace(short, image=255 * flat, right=255 * flat),
        "noise": replace(
            short,
            image=rng.integers(0, 256, flat.shape, np.uint8),
            right=rng.integers(0, 256, flat.shape, np.uint8),
            sensor_depth=rng.uniform(0.3, 9, flat.shape[:3]).astype(np.float32),
        ),
        "nothing measured": replace(
            short,
            sensor_depth=np.full(flat.shape[:3], np.nan, np.float32),
            sound=np.full_like(_silence(short.time), np.nan),
        ),
    }


def _heard(time: NDArray[np.float64]) -> NDArray[np.float32]:
    """Noise that swells and fades, as long as the frames' times ask for."""
    length = len(_silence(time))
    noise = np.random.default_rng(2).normal(0, 0.1, length)
    return np.asarray(noise * (1 + np.sin(np.arange(length) / RATE * 40)), np.float32)


def _silence(time: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.zeros(int(np.ptp(sample_bounds(time))), np.float32)


def _crossed(rng: np.random.Generator, frames: int, height: int, width: int) -> NDArray[np.uint8]:
    """A textured box that moves to the right, `BOX` pixels a frame, before a camera at rest."""
    ground, side = _texture(rng, height, width), min(height, width) // 2
    box = _texture(rng, side, side)[..., ::-1]
    image = np.repeat(ground[None], frames, axis=0)
    for t in range(frames):
        image[t, height // 4 : height // 4 + side, 6 + BOX * t : 6 + BOX * t + side] = box
    return image


def _texture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Blurred colour noise (height, width, 3) over the whole range."""
    noise = cv2.GaussianBlur(rng.random((height, width, 3)).astype(np.float32), (0, 0), 1.5)
    return np.asarray(255 * (noise - noise.min()) / max(float(np.ptp(noise)), 1e-6), np.uint8)
