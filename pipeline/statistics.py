"""Per-field figures of a shard, kept in its record so that inspection needs no pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from generators.fields import Array, Kind, confidence_name, field, lengths

BINS = 16
SAMPLED_PIXELS = 200_000


def statistics(name: str, values: Array, confidence: Array | None) -> dict[str, Any]:
    """Coverage, value range and histogram of a label, and the histogram of its confidence.

    `coverage` is the share of pixels that hold a label with confidence above 0; value figures are over these,
    taken on a grid of pixels coarse enough that they cost little beside writing the shard.
    """
    spec = field(name)
    if not spec.is_label or spec.kind is Kind.BITS:
        return {}
    labelled = spec.valid(values)
    out: dict[str, Any] = {}
    if confidence is not None:
        labelled = labelled & (confidence > 0)
        counts = np.bincount(confidence.reshape(-1), minlength=256).reshape(BINS, -1).sum(axis=1)
        out["confidence_histogram"] = counts.tolist()
        out["confidence_mean"] = round(float(confidence.mean()) / 255, 6)
    out["pixels"] = int(labelled.size)
    out["coverage"] = round(float(labelled.mean()), 6)
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
        span = (0.0, 255.0) if spec.kind is Kind.PROBABILITY else (low, max(high, low + 1e-6))
        out["mean"] = round(float(shown.mean(dtype=np.float64)), 6)
        out["histogram"] = np.histogram(shown, BINS, span)[0].tolist()
        out["range"] = [round(v, 6) for v in span]
    return out


def confidence_of(name: str, columns: dict[str, Array]) -> Array | None:
    """The confidence column that belongs to a label, if it is there."""
    return columns.get(confidence_name(name))
