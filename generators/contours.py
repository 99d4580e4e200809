"""Contours as arcs between regions, weighed by slope, by what lies either side, by spectral grouping."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import cv2
import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from generators.segmentation import region_means

Floats = NDArray[np.float32]
Values = NDArray[np.float64]
Ids = NDArray[np.int32]
Index = NDArray[np.int64]
PIECE = 8  # pixels; a contour is straight over so short a way


@dataclass(frozen=True)
class Arcs:
    """The borders between touching regions of `labels` (h, w), one arc a pair of regions.

    first, second: (m,) region ids, first < second, sorted by (first, second). length: (m,) cracks in the arc,
    a crack being two 4-neighbour pixels of different regions. before, after: (k,) flat pixel indices either
    side of each crack (after is right of or below before), of: (k,) the arc each crack belongs to.
    """

    labels: Ids
    count: int
    first: Index
    second: Index
    length: Values
    before: Index
    after: Index
    of: Index

    def mean(self, crack_values: Values) -> Values:
        """The mean over each arc (m,) of values given per crack (k,)."""
        return np.asarray(np.bincount(self.of, crack_values, len(self.first)) / self.length)


def cracks(labels: Ids) -> tuple[Index, Index]:
    """Flat indices of the pixels left of or above, and right of or below, each step between two regions."""
    index = np.arange(labels.size).reshape(labels.shape)
    before = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    after = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    flat = labels.ravel()
    differs = flat[before] != flat[after]
    return before[differs], after[differs]


def find_arcs(labels: Ids) -> Arcs:
    """All arcs of a label map (h, w) with ids from 0."""
    before, after = cracks(labels)
    count = int(labels.max(initial=0)) + 1
    ends = labels.ravel()[np.stack([before, after])].astype(np.int64)
    code, of, length = np.unique(
        ends.min(axis=0) * count + ends.max(axis=0), return_inverse=True, return_counts=True
    )
    return Arcs(labels, count, code // count, code % count, length.astype(float), before, after, of)


def directed_strength(tensor: Floats, arcs: Arcs) -> Values:
    """How steep gradient structure (h, w, 3) = (xx, xy, yy) is across each arc, (m,).

    Measured along the arc's own normal, so that a strong edge does not leak into the weak arcs that end on it
    (oriented watershed transform, Arbeláez et al. 2011, section 3.1). The normal is that of the arc's piece
    in a block of `PIECE` pixels.
    """
    flat = arcs.labels.ravel()
    sign = np.where(flat[arcs.before] < flat[arcs.after], 1.0, -1.0)
    across = arcs.after == arcs.before + 1
    row, column = np.divmod(arcs.before, arcs.labels.shape[1])
    block = (row // PIECE) * (arcs.labels.shape[1] // PIECE + 1) + column // PIECE
    piece = np.unique(arcs.of * (int(block.max(initial=0)) + 1) + block, return_inverse=True)[1]
    normal = np.stack([np.bincount(piece, np.where(axis, sign, 0.0)) for axis in (across, ~across)])
    x, y = (normal / np.maximum(np.hypot(*normal), 1e-9))[:, piece]
    slopes = tensor.reshape(-1, 3)[np.stack([arcs.before, arcs.after])]
    steepest = (slopes[..., 0] * x * x + 2 * slopes[..., 1] * x * y + slopes[..., 2] * y * y).max(axis=0)
    return arcs.mean(np.sqrt(np.maximum(steepest, 0)))


def ultrametric(arcs: Arcs, strength: Values) -> Values:
    """The height (m,) at which each arc disappears when regions merge across the weakest mean border first.

    Ultrametric contour map (Arbeláez 2006) with length-weighted mean linkage; heights never fall on the way.
    """
    total, weight = (strength * arcs.length).tolist(), arcs.length.tolist()
    around: list[dict[int, int]] = [{} for _ in range(arcs.count)]
    queue = []
    for arc, (one, other) in enumerate(zip(arcs.first.tolist(), arcs.second.tolist(), strict=True)):
        around[one][other] = around[other][one] = arc
        queue.append((total[arc] / weight[arc], arc, one, other, 0))
    heapq.heapify(queue)
    height = 0.0
    gone = [0.0] * len(total)
    joined = list(range(len(total)))  # an arc swallowed by another disappears together with that one
    version = [0] * len(total)
    while queue:
        value, arc, keep, drop, made = heapq.heappop(queue)
        if version[arc] != made:
            continue
        height = gone[arc] = max(height, value)
        version[arc] = -1
        if len(around[keep]) < len(around[drop]):
            keep, drop = drop, keep
        kept = around[keep]
        del kept[drop]
        for other, side in around[drop].items():
            if other == keep:
                continue
            beyond = around[other]
            del beyond[drop]
            main = kept.get(other)
            if main is None:
                kept[other] = beyond[keep] = main = side
            else:
                total[main] += total[side]
                weight[main] += weight[side]
                joined[side] = main
                version[side] = -1
            version[main] += 1
            heapq.heappush(queue, (total[main] / weight[main], main, keep, other, version[main]))
        around[drop] = {}
    root = np.asarray(joined)
    while np.any(root != root[root]):
        root = root[root]
    return np.asarray(gone)[root]


def cut(arcs: Arcs, heights: Values, count: int) -> Index:
    """The coarser region (n,) of each region after merging to about `count` along ultrametric `heights`."""
    weakest = coo_array((heights + 1e-9, (arcs.first, arcs.second)), shape=(arcs.count,) * 2)
    tree = np.sort(minimum_spanning_tree(weakest.tocsr()).data) - 1e-9
    limit = tree[max(len(tree) - count, 0)] if len(tree) else 0.0
    open_ = heights < limit
    links = coo_array(
        (np.ones(open_.sum()), (arcs.first[open_], arcs.second[open_])), shape=(arcs.count,) * 2
    )
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def contrast(arcs: Arcs, heights: Values, count: int, histogram: Floats) -> Values:
    """How differently both sides of each arc are filled, (m,) in [0, 1], after merging to `count` regions.

    histogram: (h, w, K) soft bin memberships that sum to 1 per pixel. The square root of the χ² distance
    between the regions' mean histograms; 0 for arcs inside a region.
    """
    coarse = cut(arcs, heights, count)
    content = region_means(histogram, coarse[arcs.labels].astype(np.int32))
    one, other = content[coarse[arcs.first]], content[coarse[arcs.second]]
    return np.asarray(np.sqrt(0.5 * ((one - other) ** 2 / (one + other + 1e-9)).sum(axis=1)))


def spectral(arcs: Arcs, heights: Values, strength: Values, count: int, vectors: int, decay: float) -> Values:
    """How far the softest groupings of the whole image fall apart across each arc, (m,) ≥ 0.

    Normalised cuts (Shi and Malik 2000) over about `count` merged regions with affinity border length ×
    exp(−strength / decay); the differences of the leading generalised eigenvectors across an arc, each scaled
    to a largest magnitude of 1 and divided by the root of its eigenvalue, are summed (as in gPb).
    """
    coarse = cut(arcs, heights, count)
    n = int(coarse.max(initial=0)) + 1
    one, other = coarse[arcs.first], coarse[arcs.second]
    outer = one != other
    out = np.zeros(len(one))
    if n < 3:
        return out
    shape = (n, n)
    ends = (one[outer], other[outer])
    length = coo_array((arcs.length[outer], ends), shape=shape).toarray()
    total = coo_array(((arcs.length * strength)[outer], ends), shape=shape).toarray()
    length, total = length + length.T, total + total.T
    affinity = length * np.exp(-total / np.maximum(length, 1) / decay)
    root = 1 / np.sqrt(np.maximum(affinity.sum(axis=1), 1e-12))
    laplacian = np.eye(n) - affinity * np.outer(root, root)
    value, vector = scipy.linalg.eigh(laplacian, subset_by_index=[0, min(vectors, n - 1)])
    vector = vector[:, 1:] * root[:, None]
    vector /= np.maximum(np.abs(vector).max(axis=0), 1e-12) * np.sqrt(np.maximum(value[1:], 1e-6))
    out[outer] = np.abs(vector[ends[0]] - vector[ends[1]]).sum(axis=1)
    return out


def paint(arcs: Arcs, values: Values, size: tuple[int, int]) -> Floats:
    """Values of arcs (m,) drawn as contours one pixel wide on a frame of `size` (height, width), else 0."""
    labels = np.asarray(cv2.resize(arcs.labels, size[::-1], interpolation=cv2.INTER_NEAREST), np.int32)
    before, after = cracks(labels)
    out = np.zeros(labels.size, np.float32)
    if len(before) and len(values):
        ends = labels.ravel()[np.stack([before, after])].astype(np.int64)
        known = arcs.first * arcs.count + arcs.second
        code = ends.min(axis=0) * arcs.count + ends.max(axis=0)
        at = np.minimum(np.searchsorted(known, code), len(known) - 1)
        np.maximum.at(out, before, np.where(known[at] == code, values[at], 0).astype(np.float32))
    return out.reshape(size)
