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
from freelabels.train.tasks.contract.views import crop, level, one_channel
from freelabels.train.tasks.space.tiles import tile_side

NEIGHBOURS = 8
AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))  # (y, x) of each class


@dataclass(frozen=True)
class ContextPrediction(Task):
    """Which of the eight places around a patch another patch is from.

    Patches lie in a 3 × 3 grid a third of the image wide, with a gap and a jitter between them, so that no line
    goes on from one to the other; one colour channel, so that the lens tells nothing; levelled.
    Smaller than in the paper: one pair an image and step, patches of a quarter of the image.
    """

    name = "context"
    system = "Context Prediction"
    family = FAMILIES[1]
    paper = (
        "Doersch, Gupta and Efros, Unsupervised visual representation learning by context prediction, 2015"
    )
    classes = NEIGHBOURS

    def head(self, shape: Shape) -> nn.Module:
        """A layer that both patches share, then one over both."""
        return Siamese(shape, 2, NEIGHBOURS)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The centre patch and one of its neighbours."""
        image, where = first(batch), draw.integers(NEIGHBOURS)
        side = tile_side(image.shape[-1])
        corners = neighbours(image.shape[-1], side, where[:, None], draw)
        return Asked(where, everyone(batch), level(one_channel(crop(image, corners, side), draw)))

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> object:
        """Logits (N, 8)."""
        return head(seen.deep)


def neighbours(size: int, side: int, where: Tensor, draw: Draw) -> Tensor:
    """Corners (N, 1 + k, 2) of the centre patch of a 3 × 3 grid and of the places `where` (N, k) around it.

    Each somewhere in its cell.
    """
    cell = size // 3
    steps = torch.tensor(((0, 0), *AROUND), device=where.device)
    places = torch.cat([torch.zeros_like(where[:, :1]), where + 1], 1)
    return (steps[places] + 1) * cell + draw.integers(cell - side + 1, places.shape[1], 2)
