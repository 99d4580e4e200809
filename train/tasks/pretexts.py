"""Labels made from the images alone: pretexts to compare dense tasks with and to combine them with."""

from __future__ import annotations

from functools import cache
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

GRID = 3
ORDERS = 32  # jigsaw classes
GAP = 1 / 8  # of a tile, cut off so that its border doesn't give its neighbour away


def rotate(image: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
    """Square images (N, 3, S, S) turned by 0, 90, 180 or 270 degrees, and which (N,).

    Gidaris, Singh and Komodakis, Unsupervised representation learning by predicting image rotations, 2018.
    """
    turns = seed % 4
    turned = [torch.rot90(one, k, (1, 2)) for one, k in zip(image, turns.tolist(), strict=True)]
    return torch.stack(turned), turns


@cache
def orders() -> Tensor:
    """(ORDERS, 9) permutations of the tiles, greedily far apart in Hamming distance; the first is the identity."""
    every = np.array(list(permutations(range(GRID * GRID)))[::97])
    chosen = [np.arange(GRID * GRID)]
    distance = np.full(len(every), GRID * GRID)
    while len(chosen) < ORDERS:
        distance = np.minimum(distance, (every != chosen[-1]).sum(1))
        chosen.append(every[int(distance.argmax())])
    return torch.from_numpy(np.stack(chosen))


def shuffle(image: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
    """Images (N, 3, S, S) cut in 3×3 tiles and laid in another order on mid-grey, and which order (N,).

    Noroozi and Favaro, Unsupervised learning of visual representations by solving jigsaw puzzles, 2016; the
    shuffled image is seen as a whole, as by Carlucci et al., Domain generalization by solving jigsaw
    puzzles, 2019.
    """
    which = (seed // 4) % ORDERS
    tile = image.shape[-1] // GRID
    gap = max(1, int(tile * GAP / 2))
    out = torch.full_like(image, 128)
    table = orders()
    for n, k in enumerate(which.tolist()):
        for place, source in enumerate(table[k].tolist()):
            (y, x), (v, u) = (divmod(place, GRID), divmod(source, GRID))
            out[n, :, y * tile + gap : (y + 1) * tile - gap, x * tile + gap : (x + 1) * tile - gap] = image[
                n, :, v * tile + gap : (v + 1) * tile - gap, u * tile + gap : (u + 1) * tile - gap
            ]
    return out, which
