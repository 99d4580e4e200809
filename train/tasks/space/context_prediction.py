"""Where a patch lies beside another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import Siamese
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Seen, Task, everyone, first
from freelabels.train.tasks.space.tiles import GRID, tiles

NEIGHBOURS = 8
AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))  # (y, x) of each class
# (patch, neighbour, class) of all ordered pairs that touch in a 3 × 3 grid.
PAIRS = tuple(
    (y * GRID + x, (y + dy) * GRID + x + dx, where)
    for y in range(GRID)
    for x in range(GRID)
    for where, (dy, dx) in enumerate(AROUND)
    if 0 <= y + dy < GRID and 0 <= x + dx < GRID
)


@dataclass(frozen=True)
class ContextPrediction(Task):
    """Which of the eight places around a patch another patch is from.

    Patches lie in a 3 × 3 grid over the image, with a gap and a jitter between them, so that no line goes on from
    one to the other; one colour channel, so that the lens tells nothing; levelled. All 40 ordered pairs of
    neighbours are asked, as each patch is seen by itself.
    Smaller than in the paper: patches of a quarter of the image.
    """

    name = "context"
    system = "Context Prediction"
    family = FAMILIES[1]
    paper = (
        "Doersch, Gupta and Efros, Unsupervised visual representation learning by context prediction, 2015"
    )
    classes = NEIGHBOURS

    def head(self, shape: Shape) -> nn.Module:
        """A layer that all patches share, then one over two of them."""
        return Siamese(shape, 2, NEIGHBOURS)

    def patches(self, image: Tensor, draw: Draw) -> Tensor:
        """(N, 9, 3, side, side), row by row."""
        return tiles(image, draw)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The patches of the grid; target (N, 40): the class of each pair."""
        patches = self.patches(first(batch), draw)
        weight = everyone(batch)[:, None].expand(-1, len(PAIRS))
        return Asked(_pairs(2, patches).expand(len(patches), -1), weight, patches)

    def answer(self, head: Siamese, seen: Seen, asked: Asked) -> Tensor:  # type: ignore[override]
        """Logits (N, 40, 8)."""
        alone = head.alone(seen.deep)
        return head.together(torch.stack([alone[:, _pairs(k, alone)] for k in range(2)], 2))


def _pairs(part: int, like: Tensor) -> Tensor:
    """Of all pairs the patch (0), its neighbour (1), or the class (2)."""
    return torch.tensor([pair[part] for pair in PAIRS], device=like.device)
