"""Guided filtering: a coarse map made to follow the edges of a colour image (He et al., ECCV 2010, PAMI 2013)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array, channel_sum

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
    guide = np.asarray(small / np.float32(255), np.float32)

    def mean(values: Array) -> Floats:
        return np.asarray(cv2.blur(values, window), np.float32)

    guide_mean, coarse_mean = mean(guide), mean(coarse)
    covariance = mean(guide * coarse[..., None]) - guide_mean * coarse_mean[..., None]
    products = mean(np.dstack([guide[..., i] * guide[..., j] for i, j in ((0, 0), (0, 1), (0, 2))]))
    rest = mean(np.dstack([guide[..., i] * guide[..., j] for i, j in ((1, 1), (1, 2), (2, 2))]))
    r, g, b = (guide_mean[..., channel] for channel in range(3))
    rr, rg, rb = products[..., 0] - r * r + smoothness, products[..., 1] - r * g, products[..., 2] - r * b
    gg, gb, bb = rest[..., 0] - g * g + smoothness, rest[..., 1] - g * b, rest[..., 2] - b * b + smoothness
    # the inverse of the symmetric 3 × 3 covariance of the guide, by cofactors
    c00, c01, c02 = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c11, c12, c22 = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    determinant = rr * c00 + rg * c01 + rb * c02
    x, y, z = (covariance[..., channel] for channel in range(3))
    slope = np.dstack([c00 * x + c01 * y + c02 * z, c01 * x + c11 * y + c12 * z, c02 * x + c12 * y + c22 * z])
    slope = slope / determinant[..., None]
    offset = coarse_mean - channel_sum(slope * guide_mean)
    linear = cv2.resize(mean(np.dstack([slope, offset])), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    values = channel_sum(linear[..., :3] * (image.astype(np.float32) / 255)) + linear[..., 3]
    return np.asarray(np.clip(values, 0, 1), np.float32)
