"""k-means, what it is run on, and how alike two clusterings are. NumPy alone, seeded, float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freelabels.ground.errors import UserError

Points = NDArray[np.float32]
ROUNDS = 25  # at most
ROWS = 1 << 14  # whose distances to all centres are held at a time
FEW, LEAST = 40, 16  # fitted rows to a component, components that are kept however few rows there are
EPSILON = 1e-6


def whitened(features: Points, fitted: NDArray[np.bool_], most: int = 256) -> Points:
    """Unit vectors (n, ≤ most): the principal components of the fitted rows, each scaled to spread 1.

    At most one for every `FEW` rows, since what few rows show beyond that is noise, which scaling makes loud.
    """
    some = features[fitted].astype(np.float64)
    mean = some.mean(0)
    values, vectors = np.linalg.eigh(
        np.cov(some - mean, rowvar=False, bias=True).reshape(2 * (some.shape[1],))
    )
    kept = np.argsort(-values)[: min(most, max(LEAST, len(some) // FEW), len(some) - 1)]
    kept = kept[values[kept] > EPSILON * max(float(values.max()), 1e-30)]
    turn = vectors[:, kept] / np.sqrt(values[kept])
    return unit(((features - mean) @ turn).astype(np.float32))


def unit(vectors: Points) -> Points:
    """Rows at length 1."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.float32(EPSILON)), np.float32)


def k_means(points: Points, k: int, rng: np.random.Generator) -> tuple[Points, NDArray[np.int64]]:
    """Centres (k, d) and the nearest one's number (n,); no cluster is empty.

    Lloyd's, begun at k of the points; an empty cluster takes the point that is farthest from its centre.
    """
    centres = points[rng.choice(len(points), k, replace=False)].copy()
    labels = np.full(len(points), -1)
    for _ in range(ROUNDS):
        found, distance = nearest(points, centres)
        for empty in np.flatnonzero(np.bincount(found, minlength=k) == 0):
            shared = np.bincount(found, minlength=k)[found] > 1
            lonely = int(np.argmax(np.where(shared, distance, -1.0)))
            found[lonely], distance[lonely] = empty, 0.0
        if np.array_equal(found, labels):
            break
        labels = found
        centres = means(points, labels, k)
    return centres, labels


def nearest(points: Points, centres: Points) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest centre of each point, and its squared distance."""
    found, distance = np.empty(len(points), np.int64), np.empty(len(points))
    squares = (centres.astype(np.float64) ** 2).sum(1)
    for start in range(0, len(points), ROWS):
        some = points[start : start + ROWS].astype(np.float64)
        gaps = squares - 2 * some @ centres.T.astype(np.float64)
        stop = start + len(some)
        found[start:stop] = gaps.argmin(1)
        distance[start:stop] = gaps.min(1) + (some**2).sum(1)
    return found, np.maximum(distance, 0.0)


def means(points: Points, labels: NDArray[np.int64], k: int) -> Points:
    """Mean (k, d) of the points with each label, 0 where there is none."""
    sums = np.zeros((k, points.shape[1]))
    np.add.at(sums, labels, points.astype(np.float64))
    return np.asarray(sums / np.maximum(np.bincount(labels, minlength=k), 1)[:, None], np.float32)


def agreement(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Normalised mutual information of two clusterings of the same points: 1 the same, 0 nothing in common."""
    table = np.zeros((int(a.max()) + 1, int(b.max()) + 1))
    np.add.at(table, (a, b), 1.0)
    joint = table / len(a)
    rows, columns = joint.sum(1), joint.sum(0)
    known = joint > 0
    mutual = float((joint[known] * np.log(joint[known] / np.outer(rows, columns)[known])).sum())
    entropy = [float(-(p[p > 0] * np.log(p[p > 0])).sum()) for p in (rows, columns)]
    mean = sum(entropy) / 2
    return mutual / mean if mean > 0 else 1.0


def enough(name: str, clips: int, parameter: str, wanted: int) -> None:
    """Raise UserError if there are fewer clips than a task wants clusters of."""
    if clips < wanted:
        raise UserError(
            f"the task {name} makes {wanted} clusters of the clips, but only {clips} are trained on; "
            f"give more data, or --set {name}.{parameter}=N with N up to {clips}"
        )
