"""Products of small matrices, added up in one order on every processor; BLAS picks another order for each."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

AnyFloats = TypeVar("AnyFloats", NDArray[np.float32], NDArray[np.float64])


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
    """Vectors (N, k) times one matrix (k, m), in the vectors' precision."""
    factor = np.asarray(matrix, vectors.dtype)
    columns = np.ascontiguousarray(vectors.T)  # NumPy is slow along short axes
    out: AnyFloats = np.empty((len(vectors), factor.shape[1]), vectors.dtype)
    total, part = np.empty((2, len(vectors)), vectors.dtype)
    for column in range(factor.shape[1]):
        np.multiply(columns[0], factor[0, column], out=total)
        for k in range(1, len(factor)):
            np.multiply(columns[k], factor[k, column], out=part)
            total += part
        out[:, column] = total
    return out
