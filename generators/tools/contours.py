"""Contours as arcs between regions, weighed by slope, by what lies either side, by spectral grouping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array, eye_array
from scipy.sparse.linalg import eigsh

from freelabels.generators.tools.segmentation import components

Floats = NDArray[np.float32]
Values = NDArray[np.float64]
Ids = NDArray[np.int32]
Index = NDArray[np.int64]
PIECE = 8  # pixels; a contour is straight over so short a way
CHECKED_EVERY = 4  # rounds of merging after which it is looked whether more are needed
EIGEN_TOLERANCE = 1e-5  # relative; of eigenvectors it leaves about 1e-6


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
    width = labels.shape[1]
    right, below = np.zeros(labels.shape, bool), np.zeros(labels.shape, bool)
    np.not_equal(labels[:, :-1], labels[:, 1:], out=right[:, :-1])
    np.not_equal(labels[:-1], labels[1:], out=below[:-1])
    across, down = np.flatnonzero(right), np.flatnonzero(below)
    return np.concatenate([across, down]), np.concatenate([across + 1, down + width])


def sorted_pairs(first: Index, second: Index, limit: int) -> tuple[Index, Index, Index, Index]:
    """The distinct pairs, first and second (m,), sorted; where all stood (k,) in that order; which each is (k,).

    first, second: (k,) ids < `limit`; equal pairs stay as they came. A number holds both ids and the place, as
    numpy sorts numbers several times as fast as it finds their order.
    """
    each, index = limit.bit_length(), len(first).bit_length()
    if 2 * each + index > 63:
        order = np.lexsort((second, first))
        pair = (first[order] << each) | second[order]
    else:
        packed = (((first << each) | second) << index) | np.arange(len(first))
        packed.sort()
        pair = packed >> index
        order = packed & ((1 << index) - 1)
    new = np.ones(len(pair), bool)
    np.not_equal(pair[1:], pair[:-1], out=new[1:])
    pairs = pair[new]
    return pairs >> each, pairs & ((1 << each) - 1), order, np.cumsum(new) - 1


def distinct(first: Index, second: Index, limit: int) -> tuple[Index, Index, Index]:
    """The distinct pairs, first and second (m,), sorted, and which of them each pair (k,) is; all < `limit`."""
    one, other, order, which = sorted_pairs(first, second, limit)
    of = np.empty(len(order), np.int64)
    of[order] = which
    return one, other, of


def find_arcs(labels: Ids) -> Arcs:
    """All arcs of a label map (h, w) with ids from 0."""
    before, after = cracks(labels)
    count = int(labels.max(initial=0)) + 1
    one, other = (labels.ravel()[side].astype(np.int64) for side in (before, after))
    first, second, of = distinct(np.minimum(one, other), np.maximum(one, other), count)
    length = np.bincount(of, minlength=len(first)).astype(float)
    return Arcs(labels, count, first, second, length, before, after, of)


def coarsened(arcs: Arcs, group: Index) -> Arcs:
    """The arcs left when region i of `arcs` has become region group[i] (n,), ids from 0."""
    count = int(group.max(initial=0)) + 1
    one, other = group[arcs.first], group[arcs.second]
    outer = one != other
    first, second, joined = distinct(np.minimum(one, other)[outer], np.maximum(one, other)[outer], count)
    now = np.full(len(outer), -1)
    now[outer] = joined
    of = now[arcs.of]
    left = of >= 0
    of = of[left]
    length = np.bincount(of, minlength=len(first)).astype(float)
    labels = group.astype(np.int32)[arcs.labels]
    return Arcs(labels, count, first, second, length, arcs.before[left], arcs.after[left], of)


def rim_distance(arcs: Arcs) -> Values:
    """How far from the rim of the frame, in pixels, straight on from its cracks, each arc is on average (m,)."""
    height, width = arcs.labels.shape
    y, x = np.divmod(arcs.before, width)
    along_x = np.minimum(x + 1, width - 1 - x)
    along_y = np.minimum(y + 1, height - 1 - y)
    return arcs.mean(np.where(arcs.after == arcs.before + 1, along_x, along_y).astype(np.float64))


def normals(arcs: Arcs) -> Floats:
    """Unit normal (2, k) = (x, y) of the contour at each crack, by its piece in a block of `PIECE` pixels."""
    flat = arcs.labels.ravel()
    sign = np.where(flat[arcs.before] < flat[arcs.after], 1.0, -1.0)
    across = arcs.after == arcs.before + 1
    row, column = np.divmod(arcs.before, arcs.labels.shape[1])
    block = (row // PIECE) * (arcs.labels.shape[1] // PIECE + 1) + column // PIECE
    piece = distinct(arcs.of, block, max(len(arcs.first), int(block.max(initial=0)) + 1))[2]
    normal = np.stack([np.bincount(piece, np.where(axis, sign, 0.0)) for axis in (across, ~across)])
    return np.asarray((normal / np.maximum(np.hypot(*normal), 1e-9)).astype(np.float32)[:, piece])


def directed_strengths(tensors: Sequence[Floats], arcs: Arcs, normal: Floats) -> Values:
    """How steep each of n gradient structures (3, h, w) = (xx, xy, yy) is across each arc, (n, m).

    Measured along the normal (2, k) of the contour, so that a strong edge does not leak into weak arcs that
    end on it (oriented watershed transform, Arbeláez et al. 2011, section 3.1).
    """
    x, y = normal
    weights = x * x, 2 * x * y, y * y
    out = np.empty((len(tensors), len(arcs.first)))
    for strength, tensor in zip(out, tensors, strict=True):
        before, after = (
            sum(part.ravel()[side] * weight for part, weight in zip(tensor, weights, strict=True))
            for side in (arcs.before, arcs.after)
        )
        strength[:] = arcs.mean(np.sqrt(np.maximum(np.maximum(before, after), 0)))
    return out


@dataclass(frozen=True)
class Hierarchy:
    """Merges of `count` regions: regions first and second (k,), or what they grew to, join at height (k,)."""

    count: int
    first: Index
    second: Index
    height: Values

    def cut(self, count: int) -> Index:
        """The coarser region, from 0, of each region (n,) when the lowest merges have left `count`."""
        low = np.argsort(self.height, kind="stable")[: max(self.count - count, 0)]
        return components(self.first[low], self.second[low], self.count)


@dataclass(frozen=True)
class Borders:
    """Borders between regions that grow: each between regions first < second, with its length and strength.

    All (m,); total is the sum of the strength along the border.
    """

    first: Index
    second: Index
    length: Values
    total: Values

    @staticmethod
    def of(arcs: Arcs, strength: Values) -> Borders:
        """The arcs, each as strong as `strength` (m,)."""
        return Borders(arcs.first, arcs.second, arcs.length, arcs.length * strength)

    def weakest(self, count: int, code: Index) -> tuple[Values, Values]:
        """The weakest border's mean strength of each of `count` regions, and that of each border; no two equal.

        code: (m,) a number of its own for each border; of equals it puts one first.
        """
        mean = self.total / self.length
        apart = ((code * 2654435761) & 0xFFFFFFFF) * 2.0**-32  # no long chains of equals
        mean += (1e-6 * mean + 1e-9) * apart
        weakest = np.full(count, np.inf)
        np.minimum.at(weakest, self.first, mean)
        np.minimum.at(weakest, self.second, mean)
        return weakest, mean

    def merged(self, now: Index) -> Borders:
        """The borders left when region i has become region now[i]; those that join add up."""
        one, other = now[self.first], now[self.second]
        outer = np.flatnonzero(one != other)
        one, other = one[outer], other[outer]
        first, second, order, which = sorted_pairs(np.minimum(one, other), np.maximum(one, other), len(now))
        order = outer[order]
        sums = (np.bincount(which, each[order]) for each in (self.length, self.total))
        length, total = (np.asarray(each, np.float64) for each in sums)
        return Borders(first, second, length, total)


def ultrametric(arcs: Sequence[Arcs], strength: Sequence[Values], least: int = 1) -> list[Hierarchy]:
    """Merge regions of label maps across the weakest mean border first (ultrametric contours, Arbeláez 2006).

    Borders that join add up, weighted by length. Pairs that are each other's weakest merge in the same round,
    which gives the same tree as one merge at a time, as merging makes no border weaker than the weakest. It
    ends when no merge to come could be among those that leave `least` regions. The maps' rounds are made together,
    as a round costs by its calls more than by its borders.
    """
    counts = np.array([each.count for each in arcs])
    begin = np.cumsum(counts) - counts
    of = np.repeat(np.arange(len(counts)), counts)  # which map each region is of
    parts = [Borders.of(*each) for each in zip(arcs, strength, strict=True)]
    borders = Borders(
        np.concatenate([part.first + by for part, by in zip(parts, begin, strict=True)]),
        np.concatenate([part.second + by for part, by in zip(parts, begin, strict=True)]),
        np.concatenate([part.length for part in parts]),
        np.concatenate([part.total for part in parts]),
    )
    times, back = counts[of], (begin * (counts + 1))[of]  # numbers of a border are those within its map
    now, height = np.arange(len(of)), np.zeros(len(of))  # what has been merged doesn't come again
    merges = [(now[:0], now[:0], height[:0])]
    made, needed, turn = 0, int(np.maximum(counts - least, 0).sum()), 0
    while len(borders.first):
        turn += 1
        if made >= needed and turn % CHECKED_EVERY == 0:
            low = np.full(len(counts), np.inf)
            np.minimum.at(low, of[borders.first], borders.total / borders.length)
            keeps, _, heights = (np.concatenate(each) for each in zip(*merges, strict=True))
            lower = np.bincount(of[keeps][heights <= low[of[keeps]]], minlength=len(counts))
            if (lower >= counts - least).all():
                break
        code = borders.first * times[borders.first] + borders.second - back[borders.first]
        weakest, mean = borders.weakest(len(of), code)
        join = np.flatnonzero(weakest[borders.first] == mean)
        join = join[weakest[borders.second[join]] == mean[join]]
        keep, drop = borders.first[join], borders.second[join]
        reached = np.maximum(mean[join], np.maximum(height[keep], height[drop]))
        height[keep] = reached
        merges.append((keep, drop, reached))
        made += len(keep)
        now[drop] = keep
        borders = borders.merged(now)
    keeps, drops, heights = (np.concatenate(each) for each in zip(*merges, strict=True))
    mine = [of[keeps] == number for number in range(len(counts))]
    return [
        Hierarchy(int(count), keeps[its] - by, drops[its] - by, heights[its])
        for count, by, its in zip(counts, begin, mine, strict=True)
    ]


def absorbed(arcs: Arcs, strength: Values, area: int) -> Index:
    """The region, from 0, that each region (n,) is part of when none is smaller than `area` pixels.

    Each that is too small goes to the neighbour across its weakest border, until all are large enough. So of
    two contours that run side by side, with a sliver between them, the stronger is left.
    """
    borders, group = Borders.of(arcs, strength), np.arange(arcs.count)
    size = np.bincount(arcs.labels.ravel(), minlength=arcs.count).astype(float)
    while len(borders.first):
        first, second = borders.first, borders.second
        weakest, mean = borders.weakest(len(size), first * len(size) + second)
        join = (weakest[first] == mean) & (size[first] < area)
        join |= (weakest[second] == mean) & (size[second] < area)
        if not join.any():
            break
        now = components(first[join], second[join], len(size))
        group, size, borders = now[group], np.bincount(now, size), borders.merged(now)
    return np.asarray(group)


def contrast(arcs: Arcs, merged: Index, content: Values) -> Values:
    """How differently both sides of each arc are filled, (m,) in [0, 1], after merging regions.

    merged: (n,) the coarse region of each region. content: (n, K) histogram counts of each region. The square
    root of the χ² distance between the coarse regions' histograms; 0 for arcs inside a coarse region.
    """
    parts = np.arange(len(merged) + 1)
    joined = (
        csr_array((np.ones(len(merged)), merged, parts), shape=(len(merged), merged.max() + 1)).T @ content
    )
    share = joined / np.maximum(joined.sum(axis=1, keepdims=True), 1e-9)
    one, other = merged[arcs.first], merged[arcs.second]
    outer = one != other
    first, second, of = distinct(np.minimum(one, other)[outer], np.maximum(one, other)[outer], len(share))
    apart = np.sqrt(
        0.5 * ((share[first] - share[second]) ** 2 / (share[first] + share[second] + 1e-9)).sum(axis=1)
    )
    out = np.zeros(len(outer))
    out[outer] = apart[of]
    return out


def spectral(arcs: Arcs, merged: Index, strength: Values, vectors: int, decay: float) -> Values:
    """How far the softest groupings of the whole image fall apart across each arc, (m,) ≥ 0.

    Normalised cuts (Shi and Malik 2000) over the `merged` regions (n,) with affinity border length ×
    exp(−strength / decay); the differences of the leading generalised eigenvectors across an arc, each scaled
    to a largest magnitude of 1 and divided by the root of its eigenvalue, are summed (as in gPb).
    """
    n = int(merged.max(initial=0)) + 1
    one, other = merged[arcs.first], merged[arcs.second]
    outer = one != other
    out = np.zeros(len(one))
    if n < 2:
        return out
    ends = one[outer], other[outer]
    row, column, of = distinct(np.minimum(*ends), np.maximum(*ends), n)
    length, total = (np.bincount(of, arcs.length[outer] * by) for by in (1.0, strength[outer]))
    affinity = length * np.exp(-total / np.maximum(length, 1) / decay)
    degree = np.bincount(row, affinity, n) + np.bincount(column, affinity, n)
    root = 1 / np.sqrt(np.maximum(degree, 1e-12))
    pull = coo_array((affinity * root[row] * root[column], (row, column)), shape=(n, n)).tocsc()
    value, vector = lowest(eye_array(n, format="csc") - pull - pull.T, min(vectors + 1, n))
    vector = vector[:, 1:] * root[:, None]
    vector /= np.maximum(np.abs(vector).max(axis=0), 1e-12) * np.sqrt(np.maximum(value[1:], 1e-6))
    out[outer] = np.abs(vector[ends[0]] - vector[ends[1]]).sum(axis=1)
    return out


def lowest(matrix: csc_array, count: int) -> tuple[Values, Values]:
    """The `count` lowest eigenvalues, ascending, and eigenvectors (n, count) of a positive semidefinite matrix."""
    n = matrix.shape[0]
    if n < 4 * count:  # Lanczos needs room
        value, vector = scipy.linalg.eigh(matrix.toarray(), subset_by_index=[0, count - 1])
        return value, vector
    start = np.cos(np.arange(n))  # anything that repeats
    # Shifted to below 0, so that it can be factorised.
    value, vector = eigsh(matrix, k=count, sigma=-1e-3, v0=start, tol=EIGEN_TOLERANCE)
    return value, vector


def paint(arcs: Arcs, values: Values, size: tuple[int, int]) -> Floats:
    """Values of arcs (..., m) drawn as contours one pixel wide on frames of `size` (height, width), else 0.

    Where contours meet, the greatest value is drawn.
    """
    before, of = (arcs.before, arcs.of) if size == arcs.labels.shape else _resized(arcs, size)
    out = np.zeros((*values.shape[:-1], *size), np.float32)
    for index in np.ndindex(values.shape[:-1]):
        np.maximum.at(out[index].ravel(), before, values[index].astype(np.float32)[of])
    return out


def _resized(arcs: Arcs, size: tuple[int, int]) -> tuple[Index, Index]:
    """Flat pixel index before each crack (k,), and its arc (k,), on a frame of `size` (height, width)."""
    labels = np.asarray(cv2.resize(arcs.labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.int32)
    before, after = cracks(labels)
    if not len(before) or not len(arcs.first):
        return before[:0], before[:0]
    ends = labels.ravel()[np.stack([before, after])].astype(np.int64)
    known = arcs.first * arcs.count + arcs.second
    code = ends.min(axis=0) * arcs.count + ends.max(axis=0)
    at = np.minimum(np.searchsorted(known, code), len(known) - 1)
    touching = known[at] == code  # regions may meet that didn't before
    return before[touching], at[touching]
