"""In which order the tiles of an image were laid."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import Siamese
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Seen, Task, everyone, first
from freelabels.train.tasks.space.orders import far_orders
from freelabels.train.tasks.space.tiles import PIECES, ordered, tiles


@dataclass(frozen=True)
class Jigsaw(Task):
    """Which of some permutations, far apart, nine tiles of an image were laid in; tiles are seen one by one.

    Smaller than in the paper: tiles of a quarter of the image, 100 orders instead of 1000, and every tile in one
    colour channel instead of two thirds of the images in colour with jittered channels.
    """

    orders: int = 100

    name = "jigsaw"
    system = "Jigsaw"
    family = FAMILIES[1]
    paper = (
        "Noroozi and Favaro, Unsupervised learning of visual representations by solving jigsaw puzzles, 2016"
    )

    def __post_init__(self) -> None:
        if not 2 <= self.orders <= 1000:
            raise ValueError("orders is 2 to 1000")

    @property
    def classes(self) -> int:
        """How many orders there are."""
        return self.orders

    def head(self, shape: Shape) -> nn.Module:
        """A layer that tiles share, then one over all nine."""
        return Siamese(shape, PIECES, self.orders)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Nine levelled tiles in one of the orders."""
        which = draw.integers(self.orders)
        order = far_orders(self.orders, PIECES).to(which.device)[which]
        return Asked(which, everyone(batch), ordered(tiles(first(batch), draw), order))

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> object:
        """Logits (N, orders)."""
        return head(seen.deep)
