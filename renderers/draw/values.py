"""Single values of a scene: one of several by weight, and numbers as JSON shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from freelabels.renderers.surfaces.appearance import Vector


def choose(rng: np.random.Generator, weights: Mapping[str, float]) -> Any:
    """One of the names, as probable as its weight says."""
    shares = np.array(list(weights.values()), float)
    return list(weights)[int(rng.choice(len(shares), p=shares / shares.sum()))]


def rounded(value: ArrayLike, digits: int) -> float:
    """A number to so many significant digits: what is drawn is what JSON shows."""
    return float(f"{float(np.asarray(value)):.{digits}g}")


def rounded_vector(values: ArrayLike, digits: int) -> Vector:
    """As `rounded`, of three numbers."""
    x, y, z = (rounded(value, digits) for value in np.asarray(values, float))
    return x, y, z
