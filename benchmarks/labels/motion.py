"""Motion benchmark: DAVIS region (J) and contour (F) scores, claims on static scenes, beside plain baselines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from benchmarks.labels.footage import Image, Mask, moving_clips, static_clips
from benchmarks.labels.metrics import Row, calibration_error
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import Array
from freelabels.generators.flow import DenseInverseSearch
from freelabels.generators.motion import IndependentMotion

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


def motion_rows(data: Path | None) -> Iterator[Row]:
    """One row per clip, method and metric: label, data, method, metric, value; ms is per frame, without flow."""
    for name, frames, truth in _clips(data):
        bare = Clip(frames, np.arange(len(frames)) / 25.0, np.eye(3))
        clip = bare.with_labels(DenseInverseSearch()(bare))
        for method, run in METHODS.items():
            start = time.process_time()
            moving, confidence = run(clip)
            spent = time.process_time() - start
            about: Row = {"label": "motion", "data": name, "method": method}
            yield {**about, "metric": "ms", "value": 1e3 * spent / len(frames)}
            if truth is None:
                yield {**about, "metric": "claimed moving", "value": float(moving.mean())}
                continue
            pairs = list(zip(moving, truth, strict=True))
            yield {**about, "metric": "J", "value": float(np.mean([region_score(*pair) for pair in pairs]))}
            yield {**about, "metric": "F", "value": float(np.mean([contour_score(*pair) for pair in pairs]))}
            if confidence is not None:
                said = confidence > 0
                error = calibration_error(confidence[said], (moving == truth)[said]) if said.any() else 0.0
                yield {**about, "metric": "ECE", "value": error}


def _clips(data: Path | None) -> Iterator[tuple[str, Image, Mask | None]]:
    yield from moving_clips(data)
    for name, frames in static_clips(data):
        yield name, frames, None
