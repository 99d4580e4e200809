"""Turning a detector's raw trust score into a probability that its label is right.

`calibration.json` holds one monotone map per detector, fitted on the project's own renders, whose truth is
exact and free (`freelabels calibrate`). A detector without a map keeps its raw score.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from generators.fields import Array, as_bytes


@cache
def _maps() -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    stored = files("generators").joinpath("calibration.json")
    if not stored.is_file():
        return {}
    maps = json.loads(stored.read_text())["maps"]
    return {
        name: (np.asarray(m["score"], float), np.asarray(m["confidence"], float)) for name, m in maps.items()
    }


def calibrated(detector: str, score: Array) -> NDArray[np.uint8]:
    """Confidence × 255 for raw scores in [0, 1] of the named detector; a score of 0 stays 0 (= ignore)."""
    score = np.nan_to_num(np.asarray(score, np.float32))
    knots = _maps().get(detector)
    mapped = score if knots is None else np.interp(score, *knots)
    return as_bytes(np.where(score > 0, mapped, 0))
