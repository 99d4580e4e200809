"""What detectors of edges, regions and foreground share: working lattice, catchment basins, region statistics."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]
Index = NDArray[np.int64]


def reduced(image: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """An sRGB image (h, w, 3), shrunk so that no side exceeds `longest` pixels."""
    scale = longest / max(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def working_lab(image: NDArray[np.uint8], longest: int) -> Floats:
    """CIE Lab (h, w, 3) of an sRGB image (H, W, 3), shrunk so that no side exceeds `longest` pixels."""
    scale = longest / max(image.shape[:2])
    rgb = cv2.GaussianBlur(image, (0, 0), 0.6).astype(np.float32) / 255  # takes compression noise off
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), np.float32)


def components(first: Index, second: Index, count: int) -> Index:
    """The connected component (count,), from 0, of each of `count` nodes with links between first and second (k,).

    Numbered by the least node of each, as scipy's are, but without its matrices: of two that are linked the higher
    points to the lower, and all take over what those they point to point to.
    """
    least, one, other = np.arange(count), first, second
    while len(one):
        lower = np.minimum(one, other)
        np.minimum.at(least, one, lower)
        np.minimum.at(least, other, lower)
        while not np.array_equal(least, further := least[least]):
            least = further
        one, other = least[one], least[other]
        apart = one != other
        one, other = one[apart], other[apart]
    return np.asarray((np.cumsum(least == np.arange(count)) - 1)[least], np.int64)


def basins(height: Floats) -> Ids:
    """The catchment basin (h, w), ids from 0, of each pixel of `height` (h, w): where a drop of water ends up.

    Each pixel drains into the lowest of its four neighbours (watershed by steepest descent; Cousty et al. 2009,
    Watershed cuts). Pixels of one height that touch and have none lower share a basin.
    """
    index = np.arange(height.size).reshape(height.shape)
    above, below, left, right = np.s_[:-1], np.s_[1:], np.s_[:, :-1], np.s_[:, 1:]
    lowest, into = height.copy(), index.copy()
    for here, there in ((below, above), (right, left), (left, right), (above, below)):
        np.copyto(into[here], index[there], where=height[there] < lowest[here])
        np.minimum(lowest[here], height[there], out=lowest[here])
    bottom, end = into == index, into.ravel()
    while not np.array_equal(end, further := end[end]):
        end = further

    number = np.cumsum(bottom).reshape(height.shape) - 1  # of each bottom pixel
    level = []
    for one, other in ((above, below), (left, right)):
        flat = bottom[one] & bottom[other] & (height[one] == height[other])
        level.append(np.stack([number[one][flat], number[other][flat]]))
    first, second = np.concatenate(level, axis=1)
    basin = components(first, second, int(number[-1, -1]) + 1).astype(np.int32)
    return np.asarray(basin[number.ravel()[end]].reshape(height.shape), np.int32)


def region_sums(values: Floats, labels: Ids, count: int | None = None) -> NDArray[np.float64]:
    """Sum (n, C) of values (h, w, C) over each region of labels (h, w); `count` regions, if not all appear."""
    shape = (labels.size, int(labels.max()) + 1 if count is None else count)
    inside = csr_array((np.ones(labels.size), labels.ravel(), np.arange(labels.size + 1)), shape=shape)
    return np.asarray(inside.T @ values.reshape(labels.size, -1).astype(np.float64))


def region_means(values: Floats, labels: Ids) -> NDArray[np.float64]:
    """Mean (n, C) of values (h, w, C) over each region of labels (h, w)."""
    return region_sums(values, labels) / np.maximum(np.bincount(labels.ravel()), 1)[:, None]


def soft_bins(features: Floats, count: int = 24, rounds: int = 6) -> Floats:
    """Soft membership (h, w, count) of each pixel in clusters of its own image's features (h, w, C).

    k-means on a regular sample, started evenly along the first feature; memberships sum to 1.
    """
    points = features.reshape(-1, features.shape[-1])
    sample = points[:: max(1, len(points) // 2500)]
    order = np.argsort(sample[:, 0], kind="stable")
    centres = sample[order[np.linspace(0, len(order) - 1, count).astype(int)]]
    for _ in range(rounds):
        nearest = (sample @ centres.T - 0.5 * (centres * centres).sum(axis=1)).argmax(axis=1)
        size = np.bincount(nearest, minlength=count)[:, None]
        sums = np.stack([np.bincount(nearest, axis, count) for axis in sample.T], axis=1)
        centres = np.where(size > 0, sums / np.maximum(size, 1), centres).astype(np.float32)
    member = centres @ points.T  # in place from here: this is large, and quicker by clusters than by pixels
    member -= 0.5 * (centres * centres).sum(axis=1)[:, None]
    member -= member.max(axis=0)
    np.exp(member, out=member)
    member /= member.sum(axis=0)
    return np.asarray(cv2.transpose(member), np.float32).reshape(*features.shape[:2], count)
