"""Motion benchmark: DAVIS region (J) and contour (F) scores, claims on static scenes, beside plain baselines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from benchmarks.labels.footage import Image, Mask, half_of, moving_clips, static_clips
from benchmarks.labels.metrics import Row, calibration_error
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import Array
from freelabels.generators.flow import DenseInverseSearch
from freelabels.generators.motion import IndependentMotion
from freelabels.pipeline.sources.clip_specs import DEFAULT_FPS
from freelabels.pipeline.sources.decode import crop_resize
from freelabels.pipeline.sources.sampling import sample

RATE = 24.0  # frames a second of DAVIS, taken for that of all clips
SIDE = 256  # pixels that frames are stored at by default
DEFAULTS = f"{SIDE} px, {DEFAULT_FPS:g} fps"
HARDLY = 0.2  # mean confidence in what is claimed up to which the detector as good as abstains
CONTOUR_TOLERANCE = 0.008  # of the image's diagonal, as in DAVIS


def region_score(label: Mask, truth: Mask) -> float:
    """J: intersection over union of two masks (H, W); 1 where both are empty."""
    union = int((label | truth).sum())
    return float((label & truth).sum() / union) if union else 1.0


def contour_score(label: Mask, truth: Mask) -> float:
    """F: harmonic mean of how much of each mask's contour lies near the other's (Perazzi et al., CVPR 2016)."""
    reach = int(np.ceil(CONTOUR_TOLERANCE * np.hypot(*label.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    lines = [_contour(mask) for mask in (label, truth)]
    if not lines[0].any() or not lines[1].any():
        return float(not lines[0].any() and not lines[1].any())
    near = [cv2.dilate(line.astype(np.uint8), disc) > 0 for line in lines]
    precision, recall = float(near[1][lines[0]].mean()), float(near[0][lines[1]].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _contour(mask: Mask) -> Mask:
    """Pixels that differ from the one below, to the right or diagonally below."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    here = padded[:-1, :-1]
    return np.asarray((here != padded[1:, :-1]) | (here != padded[:-1, 1:]) | (here != padded[1:, 1:]))


def ours(clip: Clip) -> tuple[Mask, Array | None]:
    """Moving pixels and confidence (T, H, W) by the detector."""
    labels = IndependentMotion()(clip)
    confidence = labels["motion_confidence"]
    return (labels["motion"] > 127) & (confidence > 0), confidence / 255


def flow_magnitude(clip: Clip) -> tuple[Mask, Array | None]:
    """Moving pixels by Otsu's threshold on the length of the flow."""
    flow = np.nan_to_num(clip.labels["flow"].astype(np.float32))
    length = np.hypot(flow[..., 0], flow[..., 1])
    return np.stack([frame > (threshold_otsu(frame) if frame.any() else 0) for frame in length]), None


def background_subtraction(clip: Clip) -> tuple[Mask, Array | None]:
    """Moving pixels by OpenCV's MOG2 with its defaults."""
    subtractor = cv2.createBackgroundSubtractorMOG2(detectShadows=False)
    return np.stack([subtractor.apply(frame) > 0 for frame in clip.image]), None


METHODS: dict[str, Callable[[Clip], tuple[Mask, Array | None]]] = {
    IndependentMotion.name: ours,
    "flow magnitude": flow_magnitude,
    "OpenCV MOG2": background_subtraction,
}


def motion_rows(data: Path | None, half: str = "") -> Iterator[Row]:
    """One row per clip, setting, method and metric, then mean and least J of each half; ms is without flow.

    Settings: every frame as it is, and what the product stores by default, from flow at the source's rate.
    """
    found: dict[tuple[str, str, str], list[float]] = {}
    for name, frames, truth in _clips(data, half):
        for setting, bare, masks in (
            ("native", *_native(frames, truth)),
            (DEFAULTS, *stored(frames, truth)),
        ):
            clip = replace(bare.with_labels(DenseInverseSearch()(bare)), between=())
            for method, run in METHODS.items():
                about: Row = {"label": "motion", "data": f"{name}, {setting}", "method": method}
                start = time.process_time()
                moving, confidence = run(clip)
                spent = 1e3 * (time.process_time() - start) / len(moving)
                yield {**about, "metric": "ms", "value": spent}
                for metric, value in _figures(moving, confidence, masks).items():
                    yield {**about, "metric": metric, "value": value}
                    found.setdefault((f"{half_of(name)} half, {setting}", method, metric), []).append(value)
    for (which, method, metric), values in found.items():
        if metric in ("J", "ECE", "ECE of yes", "claimed moving", "hardly sure of what it claims"):
            about = {"label": "motion", "data": which, "method": method}
            yield {**about, "metric": f"{metric}, mean of clips", "value": float(np.mean(values))}
            worst = min if metric == "J" else max
            yield {**about, "metric": f"{metric}, worst clip", "value": worst(values)}


def _figures(moving: Mask, confidence: Array | None, truth: Mask | None) -> dict[str, float]:
    """What is said of one clip's moving pixels (T, H, W) and their confidence; truth None: nothing moves."""
    if truth is None:
        return {"claimed moving": float(moving.mean())}
    pairs = list(zip(moving, truth, strict=True))
    figures = {
        "J": float(np.mean([region_score(*pair) for pair in pairs])),
        "F": float(np.mean([contour_score(*pair) for pair in pairs])),
    }
    if confidence is not None:
        said = confidence > 0
        for metric, which in (("ECE", said), ("ECE of yes", said & moving)):
            right = (moving == truth)[which]
            figures[metric] = calibration_error(confidence[which], right) if which.any() else 0.0
        sure = float(confidence[moving].mean()) if moving.any() else 0.0
        figures["hardly sure of what it claims"] = float(sure <= HARDLY)
    return figures


def _native(frames: Image, masks: Mask | None) -> tuple[Clip, Mask | None]:
    return Clip(frames, np.arange(len(frames)) / RATE, np.eye(3)), masks


def stored(frames: Image, masks: Mask | None, fps: float | None = DEFAULT_FPS) -> tuple[Clip, Mask | None]:
    """The clip that `label` makes of such a video by default, and the masks of its frames; fps None: all."""
    times = [t / RATE for t in range(len(frames))]
    taken = sample(times, fps)
    shown = np.stack([crop_resize(frame, (SIDE, SIDE)) for frame in frames])
    between = tuple(shown[here + 1 : there] for here, there in pairwise(taken))
    clip = Clip(shown[taken], np.array(times)[taken], np.eye(3), between=between)
    if masks is None:
        return clip, None
    grey = [np.repeat(masks[t, ..., None], 3, axis=2).astype(np.uint8) * 255 for t in taken]
    return clip, np.stack([crop_resize(mask, (SIDE, SIDE))[..., 0] > 127 for mask in grey])


def _clips(data: Path | None, half: str) -> Iterator[tuple[str, Image, Mask | None]]:
    yield from moving_clips(data, half)
    for name, frames in static_clips(data, half):
        yield name, frames, None
