"""Flow benchmark: endpoint error, how well confidence orders it, and its calibration, beside OpenCV's DIS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.labels.footage import DISPARITY_SCALE, Image, flow_pairs
from benchmarks.labels.metrics import Row, calibration_error
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import Array
from freelabels.generators.flow import DenseInverseSearch

KEPT = 0.75  # the most confident share of pixels


def endpoint_error(flow: Array, truth: Array) -> NDArray[np.float64]:
    """(N,) distances in pixels between flow and truth (H, W, 2) where the truth is known (finite)."""
    miss = flow.astype(np.float64) - truth
    error = np.hypot(miss[..., 0], miss[..., 1])
    return np.asarray(error[np.isfinite(truth).all(axis=-1)])


def kept_error(error: Array, score: Array, kept: float = KEPT) -> tuple[float, float]:
    """Mean error of the share `kept` with the highest score, and of that with the lowest error (the oracle)."""
    count = max(1, int(kept * len(error)))
    chosen = np.argsort(-score.astype(np.float64), kind="stable")[:count]
    return float(error[chosen].mean()), float(np.sort(error)[:count].mean())


def opencv_default(first: Image, second: Image) -> tuple[Array, Array | None]:
    """Flow of OpenCV's DIS with its defaults; it has no confidence."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(search.calc(grey[0], grey[1], None)), None  # type: ignore[call-overload]


def ours(first: Image, second: Image) -> tuple[Array, Array | None]:
    """Flow and confidence of the first frame by the detector, which also computes the way back."""
    labels = DenseInverseSearch()(Clip(np.stack([first, second]), np.arange(2.0), np.eye(3)))
    return labels["flow"][0], labels["flow_confidence"][0] / 255


METHODS: dict[str, Callable[[Image, Image], tuple[Array, Array | None]]] = {
    DenseInverseSearch.name: ours,
    "OpenCV DIS": opencv_default,
}


def flow_rows(data: Path | None, half: str = "") -> Iterator[Row]:
    """One row per pair of frames, method and metric; all of them count among the chosen half."""
    if half == "other":
        return
    ratios = []
    for name, first, second, truth in flow_pairs(data):
        known = np.isfinite(truth).all(axis=-1)
        for method, run in METHODS.items():
            start = time.process_time()
            flow, confidence = run(first, second)
            spent = time.process_time() - start
            error = endpoint_error(flow, truth)
            about: Row = {"label": "flow", "data": name, "method": method}
            yield {**about, "metric": "EPE px", "value": float(error.mean())}
            yield {**about, "metric": "ms", "value": 1e3 * spent}
            if confidence is not None:
                score = confidence[known]
                mean, oracle = kept_error(error, score)
                yield {**about, "metric": "EPE of the surest 75 % / oracle's", "value": mean / oracle}
                yield {**about, "metric": "ECE", "value": calibration_error(score, error < 1)}
                if name in DISPARITY_SCALE:
                    ratios.append(mean / oracle)
    if ratios:
        yield {
            "label": "flow",
            "data": "stereo pairs",
            "method": DenseInverseSearch.name,
            "metric": "EPE of the surest 75 % / oracle's",
            "value": float(np.mean(ratios)),
        }
