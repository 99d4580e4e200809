"""The tiles of a jigsaw puzzle, with what would give their places away taken from them."""

from __future__ import annotations

import torch
from torch import Tensor

from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.views import cells, crop, level, one_channel

GRID = 3
PIECES = GRID**2


def tile_side(size: int, across: int = GRID) -> int:
    """Side of a tile in images of that side: about three quarters of its cell, a multiple of four."""
    return max(4, 4 * round(size // across * 3 / 16))


def tiles(image: Tensor, draw: Draw, across: int = GRID) -> Tensor:
    """Tiles (N, across², 3, side, side) of images (N, 3, S, S), row by row.

    Somewhere in their cells, so that no border goes on in the next one; of one colour channel, so that a lens's
    shift of channels tells nothing; each at the same mean and spread.
    """
    side = tile_side(image.shape[-1], across)
    corners = cells(image.shape[-1], across, side, draw)
    return level(one_channel(crop(image, corners, side), draw))


def ordered(tiles: Tensor, order: Tensor) -> Tensor:
    """Tiles (N, k, …) of which place i gets number order[:, …, i]: (N, …, k, …) for orders (N, …, k)."""
    rows = torch.arange(len(tiles), device=tiles.device).view(-1, *[1] * (order.ndim - 1))
    return tiles[rows, order]
