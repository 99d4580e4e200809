"""Planes over colour segments: what matches say of a surface, continued to where it isn't matched.

Sources: H. Tao, H. Sawhney and R. Kumar, A global matching framework for stereo computation, ICCV 2001; the
segments from P. Felzenszwalb and D. Huttenlocher, Efficient graph-based image segmentation, IJCV 2004.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb

from freelabels.generators.tools.segmentation import region_sums

Map = NDArray[np.float32]

SCALES = (30.0, 100.0, 300.0)  # of the partitions, from fine to coarse: none suits all surfaces
LEAST_AREA = 40  # pixels of a segment
LEAST_WEIGHT = 15.0  # of a segment's matches, that it has a plane
LEVEL = 3.0  # pixels: matches that spread no wider than this say nothing of a slope
OUTLIER = 1.0  # pixels of disparity at which a match's weight halves
ROUNDS = 5  # of reweighting
PAIRS = np.array(
    [[0, 1, 2], [1, 3, 4], [2, 4, 5]]
)  # where a symmetric matrix's entries lie in its upper half


def continued_by_segments(disparity: Map, weight: Map, colour: NDArray[np.uint8]) -> Map:
    """Disparity (H, W) of the planes that the matches of each pixel's colour segment lie in, pixels.

    disparity, weight: (H, W) matches, weight 0 where there is none; colour: (H, W, 3) sRGB. A robust plane is
    fitted in each segment (weights 1 / (1 + r²), Cauchy's); a pixel gets the median over the partitions in
    which its segment has one, within [0, largest match], and NaN where none has.
    """
    height, width = disparity.shape
    found = weight > 0
    if not found.any():
        return np.full((height, width), np.nan, np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    at = np.stack([x / width - 0.5, y / width - 0.5, np.ones_like(x)], axis=-1)
    values = np.where(found, disparity, 0).astype(np.float32)
    each = []
    for scale in SCALES:
        labels = np.asarray(felzenszwalb(colour, scale=scale, sigma=0.7, min_size=LEAST_AREA), np.int32)
        each.append(_robust_planes(values, weight, at, labels))
    planes = np.sort(np.stack(each), axis=0)  # NaN last
    count = np.isfinite(planes).sum(axis=0)[None]
    low, high = (
        np.take_along_axis(planes, k.clip(0, len(SCALES) - 1), axis=0)[0]
        for k in ((count - 1) // 2, count // 2)
    )
    middle = np.where(count[0] > 0, (low + np.where(count[0] % 2, low, high)) / 2, np.nan)
    return np.asarray(np.clip(middle, 0, disparity[found].max()), np.float32)


def _robust_planes(values: Map, weight: Map, at: Map, labels: NDArray[np.int32]) -> Map:
    """The plane of each pixel's segment at the pixel; NaN where the segment has too few matches.

    at: (H, W, 3) the coordinates in units of the width, and 1.
    """
    level = np.diag([(LEVEL / values.shape[1]) ** 2] * 2 + [0.0])
    i, j = np.triu_indices(3)
    products = np.concatenate([at[..., i] * at[..., j], at * values[..., None]], axis=-1)
    kept = weight
    for _ in range(ROUNDS):
        sums = region_sums(products * kept[..., None], labels)
        normal, right = sums[:, PAIRS], sums[:, 6:]
        normal = normal + normal[:, 2:, 2:] * level + 1e-9 * np.eye(3)
        coefficients = np.linalg.solve(normal, right[..., None])[..., 0].astype(np.float32)
        plane = (at * coefficients[labels]).sum(axis=-1)
        kept = (weight / (1 + ((values - plane) / np.float32(OUTLIER)) ** 2)).astype(np.float32)
    enough = region_sums(weight[..., None], labels)[:, 0] > LEAST_WEIGHT
    return np.asarray(np.where(enough[labels], plane, np.nan), np.float32)
