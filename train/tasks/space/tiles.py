"""The tiles of a jigsaw puzzle, with what would give their places away taken from them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import Siamese
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


class Puzzle(Siamese):
    """Tiles' deep features (…, 9, C) → an order: by a layer over all nine places, and one that tiles share.

    The first has to learn for each place anew what a tile of some look says, and for each order; what the second
    says of a tile, beside the mean of all, is the same wherever it lies. shared: whether there is the second.
    """

    def __init__(self, shape: Shape, classes: int, shared: bool = True, width: int = 256):
        super().__init__(shape, PIECES, classes, width)
        shares = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, PIECES))
        self.shares = shares if shared else None

    def cells(self, tiles: Tensor) -> Tensor | float:
        """Of tiles (…, 9, width) how well each suits each cell (…, 9, 9); 0 where they share nothing."""
        if self.shares is None:
            return 0.0
        mean = tiles.mean(-2, keepdim=True).expand_as(tiles)
        suits: Tensor = self.shares(torch.cat([tiles, mean], -1))
        return suits

    def orders(self, tiles: Tensor, orders: Tensor) -> Tensor:
        """Logits (…, k) that tiles (…, 9, width) lie in orders (k, 9): the whole's, and what suits each."""
        suits = self.cells(tiles)
        if isinstance(suits, Tensor):
            suits = torch.einsum("...pc,kpc->...k", suits, F.one_hot(orders, PIECES).to(suits))
        return self.together(tiles) + suits
