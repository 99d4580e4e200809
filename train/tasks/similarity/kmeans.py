"""k-means, the same for the same seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

ROUNDS = 20


def whitened(features: Tensor, width: int = 64) -> NDArray[np.float64]:
    """Features (n, C) as principal components of unit variance, each row of length one. Caron et al., 2018."""
    x = features.double().cpu().numpy()
    x = x - x.mean(0)
    _, size, axes = np.linalg.svd(x, full_matrices=False)
    kept = min(width, int((size > size[0] * 1e-6).sum()) if len(size) else 0)
    x = x @ (axes[:kept].T / np.maximum(size[:kept], 1e-12))
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))


def kmeans(x: NDArray[np.float64], count: int, seed: int) -> NDArray[np.int64]:
    """The cluster (n,) of each row, of at most `count`; one that becomes empty takes half of the largest."""
    rng = np.random.default_rng(seed)
    count = min(count, len(x))
    centres = x[rng.permutation(len(x))[:count]]
    for _ in range(ROUNDS):
        told = _nearest(x, centres)
        sizes = np.bincount(told, minlength=count)
        for empty in np.flatnonzero(sizes == 0):
            members = np.flatnonzero(told == sizes.argmax())
            told[members[::2]] = empty
            sizes = np.bincount(told, minlength=count)
        sums = np.zeros_like(centres)
        np.add.at(sums, told, x)
        centres = sums / np.maximum(sizes, 1)[:, None]
    return told


def _nearest(x: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.asarray(((centres**2).sum(1) - 2 * x @ centres.T).argmin(1), np.int64)


def renamed(now: NDArray[np.int64], before: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Clusters with the numbers of those before that they share most with (Hungarian method)."""
    shared = np.zeros((count, count))
    np.add.at(shared, (now, before), 1)
    _, names = linear_sum_assignment(shared, maximize=True)
    return np.asarray(names[now], np.int64)
