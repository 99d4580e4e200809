"""From counts of raw scores, and of how often these were right, to monotone maps and calibration errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from freelabels.generators.contract.calibration import ConfidenceMap
from freelabels.generators.contract.fields import Array

LEVELS = 256  # scores and confidences are bytes
KNOTS = 32
RAISED = 4.0  # a map raises no score more than so many times: noise and black frames must stay distrusted
BINS = 10


@dataclass(frozen=True)
class Tally:
    """How many labels (256,) have each score × 255, and how many of them are right (256,)."""

    count: Array
    right: Array

    @classmethod
    def of(cls, score: Array, right: Array) -> Tally:
        """From scores × 255 (uint8), 0 no label, and how right each label is, in [0, 1], NaN unknown."""
        known = np.isfinite(right) & (score > 0)
        scores = score[known]
        count = np.bincount(scores, minlength=LEVELS).astype(np.float64)
        return cls(count, np.bincount(scores, right[known].astype(np.float64), minlength=LEVELS))

    @classmethod
    def sum(cls, tallies: Sequence[Tally]) -> Tally:
        """All of them together; nothing for none."""
        zero = np.zeros((2, LEVELS))
        count, right = sum((np.stack([t.count, t.right]) for t in tallies), zero)
        return cls(count, right)

    def mapped(self, confidence: ConfidenceMap) -> Tally:
        """The same labels by the confidences × 255 that a map gives to their scores."""
        to = np.rint(confidence(np.arange(LEVELS) / 255) * 255).astype(int)
        return Tally(
            np.bincount(to, self.count, minlength=LEVELS), np.bincount(to, self.right, minlength=LEVELS)
        )

    def bins(self, bins: int = BINS) -> tuple[Array, Array, Array]:
        """Number, mean confidence and share of right labels of each of `bins` even bins; NaN where empty."""
        which = np.minimum(np.arange(LEVELS) * bins // 255, bins - 1)
        count = np.bincount(which, self.count, minlength=bins)
        said = np.bincount(which, self.count * np.arange(LEVELS) / 255, minlength=bins)
        right = np.bincount(which, self.right, minlength=bins)
        some = np.where(count > 0, count, np.nan)
        return count, said / some, right / some

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean gap between confidence and share of right labels over even bins."""
        count, said, right = self.bins()
        return float(np.nansum(count * np.abs(said - right)) / max(count.sum(), 1))

    def risk(self, share: float) -> float:
        """The share of wrong labels among the `share` with the highest confidence (ties count in part)."""
        wanted = share * self.count.sum()
        above = np.cumsum(self.count[::-1])[::-1] - self.count
        taken = np.clip(wanted - above, 0, self.count)
        wrong = taken * (1 - self.right / np.maximum(self.count, 1e-9))
        return float(wrong.sum() / max(wanted, 1e-9))


def fit_map(tally: Tally) -> ConfidenceMap:
    """The monotone map from score to the share of right labels, by isotonic regression on at most `KNOTS` groups.

    Scores in each group are neighbours; no group but a single score holds more than its share of the labels.
    Confidence is at most `RAISED` times the score, and falls linearly to 0 below the lowest one seen. Raises
    ValueError without labels.
    """
    seen = np.flatnonzero(tally.count)
    if not len(seen):
        raise ValueError("there are no labels to fit a map to")
    count = tally.count[seen]
    group = ((np.cumsum(count) - count / 2) / count.sum() * KNOTS).astype(int)
    _, group = np.unique(group, return_inverse=True)
    number = np.bincount(group, count)
    score = np.bincount(group, count * seen) / number / 255
    confidence = isotonic_regression(np.bincount(group, tally.right[seen]) / number, weights=number).x
    score, confidence = np.append(0, score), np.append(0, np.minimum(confidence, RAISED * score))
    straight = np.zeros(len(score), bool)  # knots that change nothing
    straight[1:-1] = (confidence[:-2] == confidence[1:-1]) & (confidence[1:-1] == confidence[2:])
    knots = np.round(np.stack([score, confidence])[:, ~straight], 4)
    return ConfidenceMap(tuple(knots[0].tolist()), tuple(knots[1].tolist()))


def cross_validated(parts: Sequence[Tally], folds: int = 4) -> Tally:
    """Labels by confidence, each part's from a map fitted to the other folds: what to expect of new clips."""
    judged = []
    for k in range(min(folds, len(parts))):
        others = Tally.sum([part for i, part in enumerate(parts) if i % folds != k])
        if others.count.any():
            judged += [part.mapped(fit_map(others)) for part in parts[k::folds]]
    return Tally.sum(judged)
