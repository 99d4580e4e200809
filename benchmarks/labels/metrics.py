"""What the measures of all labels share: a row of the table, and the calibration error."""

from __future__ import annotations

from typing import Any

import numpy as np

from freelabels.generators.contract.fields import Array

Row = dict[str, Any]  # label, data, method, metric, value


def calibration_error(confidence: Array, right: Array, weight: Array | None = None, bins: int = 10) -> float:
    """Expected calibration error over even bins.

    confidence: in [0, 1] (N,); right: whether each was right (N,); weight: of each (N,), default 1.
    """
    each = np.ones(len(confidence)) if weight is None else weight
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(which, each * right, bins) - np.bincount(which, each * confidence, bins)
    return float(np.abs(gap).sum() / each.sum())
