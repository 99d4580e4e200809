"""Arithmetic on arrays whose last axis is a few channels, several times as fast as NumPy's own along that axis."""

from __future__ import annotations

from functools import reduce
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def channel_sum(values: Array) -> Any:
    """Sums (…) over the channels of values (…, channel), several times as fast as numpy's for a few channels."""
    return reduce(np.add, np.moveaxis(values, -1, 0))


def converted(values: Array, dtype: Any) -> Array:
    """`values` (…) as `dtype`, contiguous; between float16 and float32 several times as fast as NumPy does it."""
    kind = {np.dtype(np.float16): cv2.CV_16F, np.dtype(np.float32): cv2.CV_32F}
    if values.dtype == dtype or values.dtype not in kind or np.dtype(dtype) not in kind or not values.size:
        return np.ascontiguousarray(values, dtype)
    flat = np.ascontiguousarray(values).reshape(1, -1)
    return np.asarray(cv2.multiply(flat, 1.0, dtype=kind[np.dtype(dtype)])).reshape(values.shape)  # type: ignore[call-overload]


def lengths(vectors: Array) -> NDArray[np.float32]:
    """Euclidean lengths (…) of vectors (…, channel), float32."""
    if vectors.dtype == np.float16:  # whose squares are exact in float32; NumPy takes six times as long
        flat = np.ascontiguousarray(vectors).reshape(1, -1)
        squares = np.asarray(cv2.multiply(flat, flat, dtype=cv2.CV_32F).reshape(vectors.shape))
    else:
        squares = np.square(vectors.astype(np.float32))
    return np.asarray(np.sqrt(channel_sum(squares)), np.float32)


def across(function: np.ufunc, values: Array) -> Array:
    """`function.reduce(values, axis=-1)`, several times as fast for the few channels of a pixel."""
    return np.asarray(reduce(function, np.moveaxis(values, -1, 0)))


def magnitudes(values: Array) -> Array:
    """The bits of floating-point numbers without their signs, as whole numbers of the same order, NaN last.

    NumPy compares float16 several times as slowly. Whole numbers stay as they are.
    """
    if values.dtype.kind != "f":
        return values
    whole = np.dtype(f"u{values.dtype.itemsize}")
    return np.asarray(values.view(whole) & whole.type(np.iinfo(whole).max >> 1))


def infinite(values: Array) -> Any:
    """What `magnitudes` makes of an infinite number of the type of `values`."""
    if values.dtype.kind != "f":
        return np.inf
    return magnitudes(np.asarray([np.inf], values.dtype))[0]
