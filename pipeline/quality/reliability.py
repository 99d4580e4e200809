"""From counts of raw scores, and of how often these were right, to monotone maps and calibration errors.

Counts come from rendered clips, whose truth is exact, and from footage with truth. `benchmarks.labels` takes
these and writes them into a file, which stands for the footage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from freelabels.generators.contract.calibration import ConfidenceMap
from freelabels.generators.contract.fields import Array

LEVELS = 256  # scores and confidences are bytes
KNOTS = 32
RAISED = 4.0  # a map raises no score more than so many times: noise and black frames must stay distrusted
BINS = 10
EVEN = (
    6  # so many clips of footage weigh in a map as much as all renders, n of them n / (n + EVEN) of the whole
)
LEAST_CLIPS = 6  # of footage in a map: fewer can't be tried on each other


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


@dataclass(frozen=True)
class FootageCount:
    """How often raw scores were right on a piece of footage with truth, for one map of a detector.

    map: its name; label; data: "clip" or "clip, how it was seen"; clips: how many it holds, where they are counted
    together. versions: of the detector and of those whose labels it read, by name; read: digests of the maps of
    those whose confidence had a say.
    """

    map: str
    label: str
    data: str
    clips: int
    tally: Tally
    versions: Mapping[str, int]
    read: Mapping[str, str | None]

    @property
    def clip(self) -> str:
        """Which footage it is, however seen."""
        return self.data.partition(", ")[0]


def counts_as_json(counts: Sequence[FootageCount]) -> str:
    """Text of a file of counts: a row each, scores × 255 that occur, how many have them and how many are right."""
    rows = []
    for each in counts:
        seen = np.flatnonzero(each.tally.count)
        row = {"map": each.map, "label": each.label, "data": each.data, "clips": each.clips}
        row |= {"versions": dict(each.versions), "read": dict(each.read), "score": seen.tolist()}
        row |= {"count": each.tally.count[seen].astype(int).tolist()}
        row |= {"right": np.rint(each.tally.right[seen]).astype(int).tolist()}
        rows.append(json.dumps(row))
    return '{"counts": [\n' + ",\n".join(rows) + "\n]}\n"


def counts_from_json(text: str) -> list[FootageCount]:
    """The counts in the text of such a file. Raises ValueError if it is none."""
    try:
        return [
            FootageCount(
                row["map"], row["label"], row["data"], row["clips"], _tally(row), row["versions"], row["read"]
            )
            for row in json.loads(text)["counts"]
        ]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"no file of counts: {error!r}") from error


def _tally(row: Mapping[str, Any]) -> Tally:
    """Raises ValueError for numbers that can't have been counted."""
    score = np.asarray(row["score"], int)
    count, right = np.zeros(LEVELS), np.zeros(LEVELS)
    count[score], right[score] = row["count"], row["right"]
    if not (score > 0).all() or not (right >= 0).all() or not (right <= count).all() or not row["clips"] >= 1:
        raise ValueError(
            f"{row['map']} on {row['data']}: more right than there are, or a number below what can be"
        )
    return Tally(count, right)


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


def together(renders: Tally, footage: Sequence[FootageCount]) -> Tally:
    """Counts of renders, which weigh as `EVEN` clips, and of footage, every clip of it alike.

    Several counts of one clip share its weight. Where there is only one of the two, it is all.
    """
    clips = _by_clip(footage)
    if not clips:
        return renders
    seen = [_of_weight(each.tally, each.clips / len(its)) for its in clips.values() for each in its]
    return Tally.sum([*seen, _of_weight(renders, EVEN)] if renders.count.any() else seen)


def _by_clip(footage: Sequence[FootageCount]) -> dict[str, list[FootageCount]]:
    clips: dict[str, list[FootageCount]] = {}
    for each in footage:
        if each.tally.count.any():
            clips.setdefault(each.clip, []).append(each)
    return clips


def clips_in(footage: Sequence[FootageCount]) -> int:
    """How many clips there are, however often each was counted."""
    return sum(max(each.clips for each in its) for its in _by_clip(footage).values())


def _of_weight(tally: Tally, weight: float) -> Tally:
    """The same shares with another sum."""
    by = weight / tally.count.sum()
    return Tally(tally.count * by, tally.right * by)


def cross_validated(parts: Sequence[Tally], footage: Sequence[FootageCount] = (), folds: int = 4) -> Tally:
    """Labels of renders by confidence, each part's from a map fitted to footage and to the other folds."""
    judged = []
    for k in range(min(folds, len(parts))):
        others = together(Tally.sum([part for i, part in enumerate(parts) if i % folds != k]), footage)
        if others.count.any():
            judged += [part.mapped(fit_map(others)) for part in parts[k::folds]]
    return Tally.sum(judged)


def held_out(renders: Tally, footage: Sequence[FootageCount]) -> list[Tally]:
    """Labels of footage by confidence, in the order of `footage`: each clip's from a map that hasn't seen it.

    Maps are fitted to renders and to the other clips; empty where there are no others.
    """
    clips = list(_by_clip(footage))
    maps = {}
    for clip in clips:
        others = together(renders, [each for each in footage if each.clip != clip])
        maps[clip] = fit_map(others) if others.count.any() else None
    return [
        each.tally.mapped(known) if (known := maps.get(each.clip)) is not None else Tally.sum([])
        for each in footage
    ]


def footage_helps(renders: Tally, footage: Sequence[FootageCount]) -> bool:
    """Whether the other clips and renders calibrate a clip better than renders alone, in the mean of clips."""
    if not renders.count.any():
        return True
    alone = fit_map(renders)
    without = [each.tally.mapped(alone).calibration_error for each in footage]
    return float(np.mean([t.calibration_error for t in held_out(renders, footage)])) < float(np.mean(without))
