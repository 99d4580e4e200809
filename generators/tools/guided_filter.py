"""Guided filtering: a coarse map made to follow the edges of a colour image (He et al., ECCV 2010, PAMI 2013)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array

Floats = NDArray[np.float32]


def guided_upsampling(
    coarse: Floats,
    small: NDArray[np.uint8],
    image: NDArray[np.uint8],
    radius: int = 6,
    smoothness: float = 1e-4,
) -> Floats:
    """(H, W) values in [0, 1]: `coarse` (h, w) as a locally linear function of the colours of `image` (H, W, 3).

    small: the image at the size of `coarse`, where the linear functions are fitted in windows of 2 radius + 1
    pixels (the fast guided filter, He & Sun 2015). smoothness: colour variance, of 1, below which a window
    counts as flat.
    """
    window = (2 * radius + 1, 2 * radius + 1)
    guide = [np.asarray(channel / np.float32(255), np.float32) for channel in cv2.split(small)]

    def mean(values: Array) -> Floats:
        return np.asarray(cv2.blur(values, window), np.float32)

    r, g, b = means = [mean(channel) for channel in guide]
    coarse_mean = mean(coarse)
    x, y, z = (mean(channel * coarse) - at * coarse_mean for channel, at in zip(guide, means, strict=True))

    def product(i: int, j: int) -> Floats:
        return np.asarray(mean(guide[i] * guide[j]) - means[i] * means[j], np.float32)

    rr, gg, bb = (product(i, i) + np.float32(smoothness) for i in range(3))
    rg, rb, gb = product(0, 1), product(0, 2), product(1, 2)
    # the inverse of the symmetric 3 × 3 covariance of the guide, by cofactors
    c00, c01, c02 = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c11, c12, c22 = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    determinant = rr * c00 + rg * c01 + rb * c02
    slope = [c00 * x + c01 * y + c02 * z, c01 * x + c11 * y + c12 * z, c02 * x + c12 * y + c22 * z]
    for way in slope:
        way /= determinant
    offset = coarse_mean - (slope[0] * r + slope[1] * g + slope[2] * b)
    size = image.shape[1::-1]
    *linear, rest = (
        cv2.resize(mean(each), size, interpolation=cv2.INTER_LINEAR) for each in (*slope, offset)
    )
    colours = (channel.astype(np.float32) / np.float32(255) for channel in cv2.split(image))
    x, y, z = (way * colour for way, colour in zip(linear, colours, strict=True))
    return np.asarray(np.clip(x + y + z + rest, 0, 1), np.float32)
