"""The nearest neighbours of clips, and how strongly clusters of them hang together."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from freelabels.train.tasks.clusters.k_means import ROWS, Points

Matrix: TypeAlias = Any  # scipy.sparse.csr_array, of which mypy knows nothing


def neighbours(
    points: Points, k: int, group: NDArray[np.uint64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Numbers and squared distances (n, ≤ k) of the k nearest other points, of other groups if these are given.

    Where there are fewer, the distance is infinite.
    """
    k = min(k, len(points) - 1)
    found, distances = np.empty((len(points), k), np.int64), np.empty((len(points), k))
    wide = points.astype(np.float64)
    squares = (wide**2).sum(1)
    step = max(1, ROWS * 64 // len(points))
    for start in range(0, len(points), step):
        rows = np.arange(start, min(start + step, len(points)))
        gaps = squares[rows, None] + squares - 2 * wide[rows] @ wide.T
        gaps[np.arange(len(rows)), rows] = np.inf
        if group is not None:
            gaps[group[rows, None] == group] = np.inf
        order = np.argsort(gaps, axis=1, kind="stable")[:, :k]
        found[rows], distances[rows] = order, np.maximum(np.take_along_axis(gaps, order, 1), 0)
    return found, distances


def graph(found: NDArray[np.int64], weights: NDArray[np.float64]) -> Matrix:
    """Directed edges (n, n) from each point to its neighbours, those of weight 0 left out."""
    n, k = found.shape
    made = sparse.csr_array((weights.ravel(), (np.repeat(np.arange(n), k), found.ravel())), shape=(n, n))
    made.eliminate_zeros()
    return made


def affinity(edges: Matrix, labels: NDArray[np.int64], clusters: int) -> NDArray[np.float64]:
    """How strongly two clusters hang together (clusters, clusters), by the edges both ways between them.

    Zhang et al., Graph degree linkage, 2012: of cluster b's points, what comes in from a times what goes out to a,
    over |a|², and the same the other way round.
    """
    n = len(labels)
    member = sparse.csr_array((np.ones(n), (np.arange(n), labels)), shape=(n, clusters))
    size = np.maximum(np.bincount(labels, minlength=clusters), 1).astype(np.float64)
    into, out = (member.T @ edges).tocsr(), (edges @ member).T.tocsr()  # (clusters, n)
    one_way = (into.multiply(out) @ member).toarray() / size[:, None] ** 2
    return np.asarray(one_way + one_way.T)
