"""Permutations that are easy to tell apart."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CANDIDATES = 5000


@cache
def far_orders(count: int, pieces: int) -> Tensor:
    """int64 (count, pieces): permutations chosen greedily far apart in Hamming distance, always the same ones.

    Each is the one farthest from those before it among some thousands drawn with a fixed seed. Raises ValueError
    for more than there can be.
    """
    rng = np.random.default_rng(0)
    drawn = np.unique(np.argsort(rng.random((CANDIDATES, pieces)), axis=1), axis=0)
    if count > len(drawn):
        raise ValueError(f"there are {len(drawn)} orders of {pieces} pieces to choose from")
    return apart(drawn, count, rng)


def apart(drawn: NDArray[np.int64], count: int, rng: np.random.Generator) -> Tensor:
    """Of orders (n, pieces) those that are far apart in Hamming distance, greedily, from a random one on."""
    distance = np.full(len(drawn), drawn.shape[1])
    chosen = [int(rng.integers(len(drawn)))]
    while len(chosen) < count:
        distance = np.minimum(distance, (drawn != drawn[chosen[-1]]).sum(1))
        distance[chosen] = -1
        chosen.append(int(distance.argmax()))
    return torch.from_numpy(drawn[chosen])
