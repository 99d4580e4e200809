"""Whether three frames came in this order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import Siamese
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Seen, Task, everyone
from freelabels.train.tasks.time.stills import at, either_way, stills

RIGHT, WRONG = (1, 2, 3), ((1, 0, 3), (1, 4, 3))  # of five frames; both begin and end with the same ones


@dataclass(frozen=True)
class ShuffleLearn(Task):
    """Whether the middle one of three frames was taken between the other two, or before or after both.

    Right and wrong triples begin and end with the same frames. Blocked: light that drifts, a camera that
    drifts, the pulse of compression, still clips (see `stills`, `moving`). Smaller than in the paper: half of
    the triples are right, not a quarter; and by default (`fused`) the three frames are the three channels of
    one image, since towers that see them one by one learn nothing at a small scale.
    """

    fused: bool = True
    span: float = 0.6
    moving: float = 0.3

    name = "shuffle_learn"
    system = "Shuffle & Learn"
    family = FAMILIES[1]
    paper = (
        "Misra, Zitnick and Hebert, Shuffle and learn: unsupervised learning using temporal order verification, "
        "2016"
    )
    classes = 2

    @property
    def needs(self) -> Needs:
        """Five frames."""
        return Needs(5, span=self.span, moving=self.moving)

    def head(self, shape: Shape) -> nn.Module:
        """A layer on one image, or one that frames share and one over all three."""
        return nn.Linear(shape.channels[-1], 2) if self.fused else Siamese(shape, 3, 2)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Three stills; target: 1 if they are in order."""
        right, side = draw.integers(2), draw.integers(2)
        triples = torch.tensor([RIGHT, *WRONG], device=right.device)
        index = either_way(triples[torch.where(right.bool(), 0, 1 + side)], draw)
        views = at(self.stills(batch["image"], draw), index)
        images = views.transpose(1, 2) if self.fused else views.expand(-1, -1, 3, -1, -1)
        return Asked(right, everyone(batch), images)

    def stills(self, frames: Tensor, draw: Draw) -> Tensor:
        """How frames are shown (N, T, 1, h, w)."""
        return stills(frames, draw)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logits (N, 2)."""
        out: Tensor = head(seen.deep[:, 0] if self.fused else seen.deep)
        return out
