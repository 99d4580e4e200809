"""Which of several sequences is out of order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Seen, Task, everyone
from freelabels.train.tasks.time.opn import differences
from freelabels.train.tasks.time.stills import at, disorder, either_way, stills

FRAMES, PICKED = 6, 4


class OddOneOut(nn.Module):
    """Deep features (N, k, C) → logits (N, k): each beside the mean of all."""

    def __init__(self, shape: Shape, width: int = 128):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2 * shape.channels[-1], width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, deep: Tensor) -> Tensor:
        """Logits of being the odd one."""
        mean = deep.mean(1, keepdim=True)
        out: Tensor = self.body(torch.cat([deep, deep - mean], 2))[..., 0]
        return out


@dataclass(frozen=True)
class O3N(Task):
    """Which of `questions` sequences of four frames of one clip, each picked of six, is out of order.

    A sequence is seen as one image, whose channels are the differences of its frames. Blocked as in shuffle_learn;
    odd and even sequences are picked from the same six frames. Smaller than in the paper: four frames a sequence.
    """

    questions: int = 6
    span: float = 0.8
    moving: float = 0.3

    name = "o3n"
    system = "O3N"
    family = FAMILIES[1]
    paper = "Fernando et al., Self-supervised video representation learning with odd-one-out networks, 2017"

    def __post_init__(self) -> None:
        if self.questions < 2:
            raise ValueError("questions is at least 2")

    @property
    def classes(self) -> int:
        """How many sequences there are."""
        return self.questions

    @property
    def needs(self) -> Needs:
        """Six frames."""
        return Needs(FRAMES, span=self.span, moving=self.moving)

    def head(self, shape: Shape) -> nn.Module:
        """Each beside the mean of all."""
        return OddOneOut(shape)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Sequences as images (N, questions, 3, h, w), all run the same way or backwards."""
        odd = draw.integers(self.questions)
        images = []
        for number in range(self.questions):
            picked = draw.order(FRAMES)[:, :PICKED].sort(1).values
            wrong = picked.gather(1, disorder(PICKED, draw))
            index = torch.where((odd == number)[:, None], wrong, either_way(picked, draw))
            images.append(differences(stills(at(batch["image"], index), draw)))
        return Asked(odd, everyone(batch), torch.cat(images, 1))

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logits (N, questions)."""
        out: Tensor = head(seen.deep)
        return out
