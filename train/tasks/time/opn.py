"""In which order four frames came."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Seen, Task, everyone
from freelabels.train.tasks.time.stills import at, either_way, orders_up_to_direction, stills

FRAMES = 4
PAIRS = tuple(combinations(range(FRAMES), 2))


class Pairs(nn.Module):
    """Deep features (N, 4, C) → logits (N, 12): a layer for each pair of frames, then one over all pairs."""

    def __init__(self, shape: Shape, classes: int, width: int = 128):
        super().__init__()
        self.pair = nn.Sequential(nn.Linear(2 * shape.channels[-1], width), nn.LayerNorm(width), nn.ReLU())
        self.out = nn.Linear(len(PAIRS) * width, classes)

    def forward(self, deep: Tensor) -> Tensor:
        """Logits."""
        pairs = [self.pair(torch.cat([deep[:, a], deep[:, b]], 1)) for a, b in PAIRS]
        out: Tensor = self.out(torch.cat(pairs, 1))
        return out


@dataclass(frozen=True)
class OPN(Task):
    """Which of the twelve orders four frames are in, forwards and backwards being one.

    Blocked as in shuffle_learn. Smaller than in the paper: by default (`fused`) the differences between neighbours
    are the three channels of one image; else frames are seen one by one and compared in pairs, as there.
    """

    fused: bool = True
    span: float = 0.6
    moving: float = 0.3

    name = "opn"
    system = "OPN"
    family = FAMILIES[1]
    paper = "Lee et al., Unsupervised representation learning by sorting sequences, 2017"
    classes = len(orders_up_to_direction(FRAMES))

    @property
    def needs(self) -> Needs:
        """Four frames."""
        return Needs(FRAMES, span=self.span, moving=self.moving)

    def head(self, shape: Shape) -> nn.Module:
        """A layer on one image, or one for pairs of frames and one over all of them."""
        return nn.Linear(shape.channels[-1], self.classes) if self.fused else Pairs(shape, self.classes)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Four stills in one of the orders, or that backwards."""
        which = draw.integers(self.classes)
        index = either_way(orders_up_to_direction(FRAMES).to(which.device)[which], draw)
        views = at(self.stills(batch["image"], draw), index)
        images = differences(views) if self.fused else views.expand(-1, -1, 3, -1, -1)
        return Asked(which, everyone(batch), images)

    def stills(self, frames: Tensor, draw: Draw) -> Tensor:
        """How frames are shown (N, T, 1, h, w)."""
        return stills(frames, draw)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logits (N, 12)."""
        out: Tensor = head(seen.deep[:, 0] if self.fused else seen.deep)
        return out


def differences(views: Tensor) -> Tensor:
    """Four stills (N, 4, 1, h, w) → their three differences as one image (N, 1, 3, h, w)."""
    return (128 + (views[:, 1:] - views[:, :-1]).transpose(1, 2)).clamp(0, 255)
