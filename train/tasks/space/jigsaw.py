"""In which order the tiles of an image were laid."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Seen, Task, everyone, first
from freelabels.train.tasks.space.orders import far_orders
from freelabels.train.tasks.space.tiles import PIECES, Puzzle, ordered, tiles


@dataclass(frozen=True)
class Jigsaw(Task):
    """Which of some permutations, far apart, nine tiles of an image were laid in; tiles are seen one by one.

    Since the trunk sees tiles one by one, an image's tiles are laid in `puzzles` orders at the price of one.
    Beside the paper's layer over all nine places there is one that tiles share (`shared`): what a tile of some
    look says of its cell is the same wherever it lies, and without it a short run learns little.
    Smaller than in the paper: tiles of a quarter of the image, 100 orders instead of 1000, and every tile in one
    colour channel instead of two thirds of the images in colour with jittered channels.
    """

    orders: int = 100
    puzzles: int = 8
    shared: bool = True

    name = "jigsaw"
    system = "Jigsaw"
    family = FAMILIES[1]
    paper = (
        "Noroozi and Favaro, Unsupervised learning of visual representations by solving jigsaw puzzles, 2016"
    )

    def __post_init__(self) -> None:
        if not 2 <= self.orders <= 1000:
            raise ValueError("orders is 2 to 1000")
        if self.puzzles < 1:
            raise ValueError("puzzles (orders that an image's tiles are laid in) is at least 1")

    @property
    def classes(self) -> int:
        """How many orders there are."""
        return self.orders

    def head(self, shape: Shape) -> nn.Module:
        """A layer that tiles share, then one over all nine."""
        return Puzzle(shape, self.orders, self.shared)

    def tiles(self, image: Tensor, draw: Draw) -> Tensor:
        """(N, 9, 3, side, side), row by row."""
        return tiles(image, draw)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Nine levelled tiles; target (N, puzzles): in which orders they are laid."""
        which = draw.integers(self.orders, self.puzzles)
        weight = everyone(batch)[:, None].expand(-1, self.puzzles)
        return Asked(which, weight, self.tiles(first(batch), draw))

    def answer(self, head: Puzzle, seen: Seen, asked: Asked) -> Tensor:  # type: ignore[override]
        """Logits (N, puzzles, orders)."""
        orders = far_orders(self.orders, PIECES).to(asked.target.device)
        return head.orders(ordered(head.alone(seen.deep), orders[asked.target]), orders)

    def laid(self, which: Tensor) -> Tensor:
        """The orders (…, 9) with these numbers (…)."""
        return far_orders(self.orders, PIECES).to(which.device)[which]

    def picture(self, answer: Tensor, asked: Asked, side: int) -> Array:
        """The tiles in the first of the orders, and which was told."""
        assert asked.images is not None
        told, right = answer[:, 0].argmax(1).tolist(), asked.target[:, 0].tolist()
        captions = [f"{a} ({b})" for a, b in zip(told, right, strict=True)]
        return montage(ordered(asked.images, self.laid(asked.target[:, 0])), side, captions)
