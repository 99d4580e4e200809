"""A jigsaw puzzle in grey that lacks a tile: order it, fill it, colour it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.colour.lab import lab
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import Siamese, projector
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Seen, Task, everyone, first
from freelabels.train.tasks.contract.views import LEVEL, SPREAD, cells, crop, grey, level
from freelabels.train.tasks.space.orders import far_orders
from freelabels.train.tasks.space.tiles import GRID, PIECES, Puzzle, ordered, tile_side

CELLS = 4  # a side, of the missing tile and of each tile's colours
CHROMA = 30.0  # of Lab, against numbers around one


class Heads(nn.Module):
    """Order, missing tile, colours."""

    def __init__(self, shape: Shape, orders: int, shared: bool):
        super().__init__()
        self.order = Puzzle(shape, orders, shared)
        self.tile = Siamese(shape, PIECES, CELLS**2)
        self.colours = projector(shape, 256, 2 * CELLS**2)

    def forward(self, deep: Tensor, which: Tensor, orders: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (N, puzzles, orders), the missing tile (N, 16), colours (N, 9, 32).

        deep: the tiles' features (N, 9, C), in their places. which: (N, puzzles), of the orders (k, 9).
        """
        puzzles = ordered(self.order.alone(deep), orders[which])
        return self.order.orders(puzzles, orders), self.tile(deep), self.colours(deep)


@dataclass(frozen=True)
class DamagedJigsaw(Task):
    """Nine grey tiles, one of them missing: which order, what was in the hole, and which colours the tiles had.

    As with `jigsaw`, an image's tiles are laid in `puzzles` orders, and what each says by itself is added; hole
    and colours are asked once.
    Smaller than in the paper: 100 orders; hole and colours are answered at 4 × 4 cells a tile, by their mean.
    """

    orders: int = 100
    puzzles: int = 8
    fill: float = 0.5
    painting: float = 0.5
    shared: bool = True

    name = "damaged_jigsaw"
    system = "Damaged Jigsaw"
    family = FAMILIES[1]
    paper = "Kim et al., Learning image representations by completing damaged jigsaw puzzles, 2018"

    @property
    def classes(self) -> int:
        """How many orders there are."""
        return self.orders

    def head(self, shape: Shape) -> nn.Module:
        """Three heads on the tiles' features."""
        return Heads(shape, self.orders, self.shared)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Levelled grey tiles, one of them blank; target: the orders they are laid in, the hole, the colours."""
        image = first(batch)
        which, missing = draw.integers(self.orders, self.puzzles), draw.integers(PIECES)
        side = tile_side(image.shape[-1])
        whole = crop(image, cells(image.shape[-1], GRID, side, draw), side)
        shown = level(grey(whole).expand(-1, -1, 3, -1, -1))
        rows = torch.arange(len(image), device=image.device)
        hole = F.adaptive_avg_pool2d((shown[rows, missing, :1] - LEVEL) / SPREAD, CELLS).flatten(1)
        blank = torch.full_like(shown[:, 0], LEVEL)
        shown = shown.index_put((rows, missing), blank)
        colours = F.adaptive_avg_pool2d(lab(whole.flatten(0, 1))[:, 1:], CELLS) / CHROMA
        return Asked((which, hole, colours.view(len(image), PIECES, -1)), everyone(batch), shown)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> object:
        """Logits, hole, colours."""
        return head(seen.deep, asked.target[0], far_orders(self.orders, PIECES).to(seen.deep.device))

    def judge(self, answer: tuple[Tensor, Tensor, Tensor], asked: Asked) -> Tensor:
        """Cross-entropy of the order, and mean squared errors of hole and colours."""
        which, hole, colours = asked.target
        order = F.cross_entropy(answer[0].transpose(1, 2), which, reduction="none").mean(1)
        filled = (answer[1] - hole).square().mean(1)
        painted = (answer[2] - colours).square().mean((1, 2))
        each: Tensor = order + self.fill * filled + self.painting * painted
        return (asked.weight * each).sum()

    def score(self, answer: tuple[Tensor, Tensor, Tensor], asked: Asked) -> Tensor:
        """Of the order."""
        return super().score(answer[0], Asked(asked.target[0], asked.weight))
