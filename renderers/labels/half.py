"""Numbers as float16."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SMALLEST = 2.0**-14  # below it float16 keeps ever fewer digits, and processors take a hundred times as long


def half(values: NDArray[np.floating]) -> NDArray[np.float16]:
    """Values as float16; what is too small for all its digits is 0. NaN stays."""
    small = np.abs(values) < SMALLEST
    return (np.where(small, 0, values) if small.any() else values).astype(np.float16)
