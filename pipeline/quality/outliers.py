"""How odd a frame is among the others of its dataset: one simple, stated statistic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array

TO_SIGMA = 1.4826  # of a median absolute deviation to the standard deviation, if values are normal
LEAST = 8  # frames that must have a figure before any can be odd in it
FLOOR = 0.02  # spread below which a figure does not count as varying, as a share of its largest magnitude
MEANING = (
    "the largest number of (robust) standard deviations by which one of the frame's figures lies from the "
    "median of its dataset: brightness, contrast, and coverage, mean confidence and mean of each label"
)


@dataclass(frozen=True)
class Oddness:
    """score: (frames,) 0 and up, 0 where nothing is known. figure: (frames,) which figure it is, -1 none."""

    score: NDArray[np.float64]
    figure: NDArray[np.int64]


def oddness(figures: Array) -> Oddness:
    """From figures (frames, figures), NaN where unknown; see `MEANING`.

    A figure's score is |figure − median| / (1.4826 · median |figure − median|).
    """
    frames, count = figures.shape
    score, which = np.zeros(frames), np.full(frames, -1)
    for k in range(count):
        column = figures[:, k].astype(np.float64)
        there = np.isfinite(column)
        if there.sum() < LEAST:
            continue
        away = np.abs(column[there] - np.median(column[there]))
        spread = max(TO_SIGMA * float(np.median(away)), FLOOR * float(np.abs(column[there]).max()), 1e-9)
        found = np.zeros(frames)
        found[there] = away / spread
        more = found > score
        score[more], which[more] = found[more], k
    return Oddness(score, which)
