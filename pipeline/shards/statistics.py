"""Per-field figures of a shard, kept in its record so that inspection needs no pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from freelabels.generators.contract.fields import Array, Kind, confidence_name, field, lengths

BINS = 16
SAMPLED_PIXELS = 50_000


def statistics(name: str, values: Array, confidence: Array | None) -> dict[str, Any]:
    """Coverage, value range and histogram of a label, and the histogram of its confidence.

    `coverage` is the share of pixels that hold a label with confidence above 0; value figures are over these,
    taken on a grid of pixels coarse enough that they cost little beside writing the shard. Of a table that has a
    confidence its frames are counted, and nothing is said of its values.
    """
    spec = field(name)
    if not (spec.is_label or spec.trusted) or spec.kind is Kind.BITS:
        return {}
    labelled = spec.valid(values)
    out: dict[str, Any] = {}
    if confidence is not None:
        labelled = labelled & (confidence > 0)
        counts = _byte_counts(confidence)
        out["confidence_histogram"] = counts.reshape(BINS, -1).sum(axis=1).tolist()
        out["confidence_mean"] = round(float(counts @ np.arange(256)) / max(confidence.size, 1) / 255, 6)
    out["pixels"] = int(labelled.size)
    out["coverage"] = round(np.count_nonzero(labelled) / max(labelled.size, 1), 6)
    if spec.trusted:
        return out
    step = max(1, math.isqrt(labelled.size // SAMPLED_PIXELS))
    values, labelled = values[:, ::step, ::step], labelled[:, ::step, ::step]
    if not labelled.any():
        return out
    if spec.kind is Kind.CATEGORY:
        out["counts"] = np.bincount(values[labelled].reshape(-1)).tolist()
    elif spec.kind is Kind.IDENTITY:
        out["ids"] = len(np.unique(values[labelled]))
    else:
        shown = values[labelled].astype(np.float32)
        if spec.kind is Kind.DISPLACEMENT:
            shown = lengths(shown)
        elif spec.kind is Kind.DIRECTION:
            shown = -shown[..., 2]
        low, high = (float(v) for v in np.quantile(shown, [0.01, 0.99]))
        least = max(1e-6, abs(low) * 2**-18)  # of a constant label; a bin below float32's spacing is refused
        span = (0.0, 255.0) if spec.kind is Kind.PROBABILITY else (low, max(high, low + least))
        out["mean"] = round(float(shown.mean(dtype=np.float64)), 6)
        out["histogram"] = np.histogram(shown, BINS, span)[0].tolist()
        out["range"] = [round(v, 6) for v in span]
    return out


def _byte_counts(values: Array) -> Array:
    """How often each byte occurs, (256,) int64; frame by frame, many times as fast as counting wide integers."""
    if values.ndim == 1:
        return np.bincount(values, minlength=256)
    counts = np.zeros(256, np.int64)
    for frame in values:
        counts += cv2.calcHist([frame], [0], None, [256], [0, 256]).reshape(-1).astype(np.int64)
    return counts


def confidence_of(name: str, columns: dict[str, Array]) -> Array | None:
    """The confidence column that belongs to a label, if it is there."""
    return columns.get(confidence_name(name))


@dataclass(frozen=True)
class Histogram:
    """How many values lie in each of some even bins from `low` to `high`."""

    counts: tuple[float, ...]
    low: float
    high: float

    def up_to(self, values: Array) -> Array:
        """The share of all counted values below each of `values`, taken as even within a bin."""
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        total = np.concatenate([[0], np.cumsum(self.counts)])
        return np.asarray(np.interp(values, edges, total / max(total[-1], 1e-12)))


def merged(parts: Sequence[Histogram]) -> Histogram:
    """One histogram of what several count, over all their ranges; the bins of each are taken as evenly filled.

    Bins are `BINS` of equal width. Raises ValueError without parts.
    """
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    counts = np.zeros(BINS)
    for part in parts:  # each may have a number of bins of its own
        one = np.array([part.counts], float)
        counts += spread_over(one, np.array([part.low]), np.array([part.high]), low, high)
    return Histogram(tuple(round(float(count), 2) for count in counts), low, high)


def spread_over(counts: Array, lows: Array, highs: Array, low: float, high: float) -> Array:
    """(`BINS`,) what several histograms count, in even bins from `low` to `high`, each of theirs evenly filled.

    counts: (histograms, bins) of even bins from `lows` to `highs`.
    """
    bins = counts.shape[1]
    edges = np.linspace(low, high, BINS + 1)
    at = np.clip((edges - lows[:, None]) / np.maximum(highs - lows, 1e-300)[:, None] * bins, 0, bins)
    bin_ = np.minimum(at.astype(np.int64), bins - 1)
    before = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(counts, axis=1)], axis=1)
    below = np.take_along_axis(before, bin_, 1) + (at - bin_) * np.take_along_axis(counts, bin_, 1)
    return np.asarray(np.diff(below, axis=1).sum(axis=0))


def gap(one: Histogram, other: Histogram) -> float:
    """How far two distributions lie apart: the largest difference of their cumulated shares, 0 same to 1 apart.

    Source: the statistic of Kolmogorov and Smirnov, on binned values.
    """
    edges = np.unique(np.concatenate([np.linspace(h.low, h.high, len(h.counts) + 1) for h in (one, other)]))
    return float(np.abs(one.up_to(edges) - other.up_to(edges)).max())
