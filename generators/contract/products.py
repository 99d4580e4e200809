"""Products of small matrices, added up in one order on every processor; BLAS picks another order for each.

And what else is done to many short vectors, a column of all of them at a time: NumPy is slow along short axes.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

AnyFloats = TypeVar("AnyFloats", NDArray[np.float32], NDArray[np.float64])
Scalar = TypeVar("Scalar", bound=np.generic)


def product(*matrices: ArrayLike) -> NDArray[np.float64]:
    """The product of stacks of matrices (..., n, k), (..., k, m), …, in float64, from left to right."""
    whole = np.asarray(matrices[0], np.float64)
    for matrix in matrices[1:]:
        factor = np.asarray(matrix, np.float64)
        total = whole[..., :, :1] * factor[..., :1, :]
        for k in range(1, factor.shape[-2]):
            total = total + whole[..., :, k : k + 1] * factor[..., k : k + 1, :]
        whole = total
    return whole


def times(vectors: AnyFloats, matrix: ArrayLike) -> AnyFloats:
    """Vectors (N, k) times one matrix (k, m), in the vectors' precision; columns lie together in memory."""
    factor = np.asarray(matrix, vectors.dtype)
    columns = np.ascontiguousarray(vectors.T)
    out: AnyFloats = np.empty((factor.shape[1], len(vectors)), vectors.dtype)
    part = np.empty(len(vectors), vectors.dtype)
    for column, total in enumerate(out):
        np.multiply(columns[0], factor[0, column], out=total)
        for k in range(1, len(factor)):
            np.multiply(columns[k], factor[k, column], out=part)
            total += part
    return out.T


def picked(vectors: NDArray[Scalar], index: NDArray[np.integer]) -> NDArray[Scalar]:
    """Some of vectors (N, k), (M, k) by their index (M,); columns lie together in memory."""
    return np.take(vectors.T, index, axis=1).T


def put(vectors: NDArray[Any], index: NDArray[np.integer], values: NDArray[Any]) -> None:
    """Write vectors (M, k) into (N, k), where the index (M,) says."""
    for to, of in zip(vectors.T, values.T, strict=True):
        to[index] = of
