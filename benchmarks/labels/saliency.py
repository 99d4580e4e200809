"""Saliency benchmark: single frames of clips against masks of what moves in them, beside the middle quarter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.labels.footage import Image, Mask, half_of, moving_clips
from benchmarks.labels.metrics import Row, calibration_error
from benchmarks.labels.motion import DEFAULTS, HARDLY, region_score, stored
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import Array
from freelabels.generators.edges import ContourEdges
from freelabels.generators.saliency import BoundarySaliency

STILLS = 8  # every so many frames of a clip are judged, each by itself


def ours(frames: Image) -> tuple[Mask, Array | None]:
    """What stands out, and confidence (T, H, W), by the detector."""
    clip = Clip(frames, np.arange(float(len(frames))), np.eye(3))
    made = BoundarySaliency()(clip.with_labels(ContourEdges()(clip)))
    return made["saliency"] > 127, made["saliency_confidence"] / 255


def middle_quarter(frames: Image) -> tuple[Mask, Array | None]:
    """The middle quarter of each frame, which needs no picture."""
    count, height, width = frames.shape[:3]
    mask = np.zeros((count, height, width), bool)
    mask[:, height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return mask, None


METHODS: dict[str, Callable[[Image], tuple[Mask, Array | None]]] = {
    BoundarySaliency.name: ours,
    "the middle quarter": middle_quarter,
}


def saliency_rows(data: Path | None, half: str = "") -> Iterator[Row]:
    """One row per clip, method and metric, then means of each half. What moves is taken for what stands out."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for setting, (name, frames, masks) in product(("native", DEFAULTS), moving_clips(data, half)):
        frames, masks = frames[::STILLS], masks[::STILLS]
        if setting == DEFAULTS:
            clip, reduced = stored(frames, masks, fps=None)
            assert reduced is not None
            frames, masks = clip.image, reduced
        for method, run in METHODS.items():
            start = time.process_time()
            mask, trust = run(frames)
            spent = 1e3 * (time.process_time() - start) / len(frames)
            pairs = list(zip(mask, masks, strict=True))
            figures = {"J": float(np.mean([region_score(*pair) for pair in pairs]))}
            if trust is not None:
                right = mask == masks
                figures["ECE"] = calibration_error(trust[trust > 0], right[trust > 0])
                yes = mask & (trust > 0)
                figures["ECE of yes"] = calibration_error(trust[yes], right[yes]) if yes.any() else 0.0
                sure = [float(t[m].mean()) if m.any() else 0.0 for t, m in zip(trust, mask, strict=True)]
                figures["frames hardly sure of"] = float(np.mean(np.array(sure) <= HARDLY))
                figures["ms"] = spent
            about: Row = {"label": "saliency", "data": f"{name}, {setting}", "method": method}
            for metric, value in figures.items():
                yield {**about, "metric": metric, "value": value}
                found.setdefault((f"{half_of(name)} half, {setting}", method, metric), []).append(value)
    for (which, method, metric), values in found.items():
        about = {"label": "saliency", "data": which, "method": method}
        yield {**about, "metric": f"{metric}, mean of clips", "value": float(np.mean(values))}
