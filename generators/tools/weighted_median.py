"""Weighted medians whose windows stop at edges, for all pixels at once.

Source: Z. Ma et al., Constant time weighted median filtering for stereo matching and beyond, ICCV 2013, with
geodesic in place of guided filtering of the histogram.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.tools.planes import geodesic_sums, link_weights, neighbour_steps

Map = NDArray[np.float32]

BINS = 48
LEAST_BIN = 0.5  # of the values' unit


def geodesic_median(values: Map, weight: Map, guide: Map, radius: float) -> tuple[Map, Map, float]:
    """Median (H, W) of `values` around each pixel, the share of the weight in its bin, and the width of a bin.

    weight: (H, W), 0 where there is no value; `guide` (H, W, C) and `radius` as in `tools.planes.links`.
    The median is the middle of its bin; where no weight reaches a pixel it is the smallest value.
    """
    known = weight > 0
    low, high = np.percentile(values[known], [0.1, 99.9]) if known.any() else (0.0, 0.0)
    step = max(float(high - low) / BINS, LEAST_BIN)
    bins = int((high - low) / step) + 1
    of = np.where(known, (values - low) / step, 0).clip(0, bins - 1).astype(np.int64)
    histogram = [np.where(of == k, weight, 0).astype(np.float32) for k in range(bins)]
    share = np.stack(geodesic_sums(histogram, *link_weights(neighbour_steps(guide), radius)))
    total = share.sum(axis=0)
    middle = (np.cumsum(share, axis=0) >= total / 2).argmax(axis=0)
    agreement = np.take_along_axis(share, middle[None], axis=0)[0] / np.maximum(total, np.float32(1e-20))
    return (low + (middle + 0.5) * step).astype(np.float32), agreement.astype(np.float32), step
