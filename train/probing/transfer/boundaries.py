"""ODS, OIS and AP of edge maps against people's drawings, with one-to-one matching."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import skeletonize

Mask = NDArray[np.bool_]

TOLERANCE = 0.0075  # of the image's diagonal, as in BSDS
STEPS = 20


def offsets_within(radius: float) -> NDArray[np.int64]:
    """(K, 2) pixel steps (dy, dx) no longer than `radius`, nearest first."""
    reach = np.arange(-int(radius), int(radius) + 1)
    dy, dx = (grid.ravel() for grid in np.meshgrid(reach, reach, indexing="ij"))
    length = dy * dy + dx * dx
    order = np.argsort(length, kind="stable")
    order = order[length[order] <= radius * radius]
    return np.stack([dy[order], dx[order]], axis=1)


def match(prediction: Mask, truth: Mask, radius: float) -> tuple[Mask, Mask]:
    """Match boundary pixels (H, W) one to one within `radius` pixels: which of each have a partner.

    A matching of the greatest size: pairs are taken nearest first, which finds all but a few in a hundred,
    then augmenting paths are followed breadth-first from all free pixels at once (Hopcroft and Karp 1973).
    A tenth of a second at worst, where `scipy.sparse.csgraph.maximum_bipartite_matching` can take minutes.
    """
    if prediction.sum() < truth.sum():
        return match(truth, prediction, radius)[::-1]
    steps, margin = offsets_within(radius), int(radius)
    few, many = np.argwhere(truth), np.argwhere(prediction)
    ids = np.full((truth.shape[0] + 2 * margin, truth.shape[1] + 2 * margin), -1, np.int32)
    ids[many[:, 0] + margin, many[:, 1] + margin] = np.arange(len(many), dtype=np.int32)
    width = ids.shape[1]
    near = ids.ravel()[((few + margin) @ (width, 1))[:, None] + steps @ (width, 1)]
    mate = np.full(len(few), -1, np.int32)
    taken_by = np.full(len(many) + 1, -1, np.int32)
    taken_by[-1] = 0  # index -1 stands for "nobody near" and is never free
    for step in range(len(steps)):  # pairs with one step between them never share a pixel
        to = near[:, step]
        take = np.flatnonzero((mate < 0) & (taken_by[to] < 0))
        mate[take] = to[take]
        taken_by[to[take]] = take
    while _augment(near, mate, taken_by):
        pass
    matched_few, matched_many = np.zeros_like(truth), np.zeros_like(prediction)
    matched_few[tuple(few[mate >= 0].T)] = True
    matched_many[tuple(many[taken_by[:-1] >= 0].T)] = True
    return matched_many, matched_few


def _augment(near: NDArray[np.int32], mate: NDArray[np.int32], taken_by: NDArray[np.int32]) -> bool:
    """Enlarge the matching in place along disjoint shortest augmenting paths; False if there is none."""
    frontier: NDArray[np.int64] = np.flatnonzero((mate < 0) & (near >= 0).any(axis=1))
    root = np.full(len(mate), -1)
    root[frontier] = frontier
    parent = np.full(len(taken_by), -1)
    parent[-1] = 0
    while len(frontier):
        to = near[frontier]
        row, column = np.nonzero(parent[to] < 0)
        reached, first = np.unique(to[row, column], return_index=True)
        parent[reached] = frontier[row[first]]
        free = reached[taken_by[reached] < 0]
        if len(free):
            ends = free[np.unique(root[parent[free]], return_index=True)[1]]  # one path a tree
            while len(ends):
                before = parent[ends]
                onward = mate[before]
                mate[before], taken_by[ends] = ends, before
                ends = onward[onward >= 0]
            return True
        frontier = taken_by[reached].astype(np.int64)
        root[frontier] = root[parent[reached]]
    return False


@dataclass(frozen=True)
class Counts:
    """Matched and total boundary pixels of one image at each threshold: four (STEPS,) arrays."""

    hit_truth: NDArray[np.int64]
    all_truth: NDArray[np.int64]
    hit_edge: NDArray[np.int64]
    all_edge: NDArray[np.int64]


def count(maps: Iterable[Mask], truths: Sequence[Mask], least: float = 0.0) -> Counts:
    """Match thinned edge maps, one per threshold, with each person's boundaries, within `least` pixels or more."""
    rows = []
    for edges in maps:
        hit_truth, hit_edge = 0, np.zeros_like(edges)
        for truth in truths:
            radius = max(least, TOLERANCE * float(np.hypot(*truth.shape)))
            matched_edge, matched_truth = match(edges, truth, radius)
            hit_truth += int(matched_truth.sum())
            hit_edge |= matched_edge
        rows.append((hit_truth, sum(int(t.sum()) for t in truths), int(hit_edge.sum()), int(edges.sum())))
    return Counts(*np.array(rows, np.int64).T)


def _f(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(2 * recall * precision / np.maximum(recall + precision, 1e-12))


@dataclass(frozen=True)
class EdgeScore:
    """ODS, OIS: best F at one threshold for all images, and per image; AP: area under precision-recall."""

    ods: float
    ois: float
    ap: float


def score(counts: Sequence[Counts]) -> EdgeScore:
    """Sum over images and score, as the BSDS benchmark does."""
    total = [sum(getattr(c, k) for c in counts) for k in ("hit_truth", "all_truth", "hit_edge", "all_edge")]
    recall = total[0] / np.maximum(total[1], 1)
    precision = total[2] / np.maximum(total[3], 1)
    best = np.zeros(4)
    for c in counts:
        each = np.stack([c.hit_truth, c.all_truth, c.hit_edge, c.all_edge]).astype(float)
        f = _f(each[0] / np.maximum(each[1], 1), each[2] / np.maximum(each[3], 1))
        best += each[:, int(np.argmax(f))]
    ois = _f(np.array(best[0] / max(best[1], 1)), np.array(best[2] / max(best[3], 1)))
    distinct, first = np.unique(recall, return_index=True)
    at = np.arange(0, 1.0001, 0.01)
    ap = np.interp(at, distinct, precision[first], left=0.0, right=0.0).sum() * 0.01
    return EdgeScore(float(_f(recall, precision).max()), float(ois), float(ap))


def thresholded(edges: NDArray[np.uint8]) -> Iterator[Mask]:
    """A soft edge map cut at STEPS even thresholds and thinned to one pixel."""
    for low in np.linspace(0, 255, STEPS + 2)[1:-1]:
        yield np.asarray(skeletonize(edges >= max(low, 1)))
