"""Whether a sequence of frames was permuted, read by a recurrent net."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Seen, Task, everyone
from freelabels.train.tasks.time.stills import at, disorder, either_way, stills


class Recurrent(nn.Module):
    """Deep features (N, T, C) → numbers (N, classes) of the whole sequence, by an LSTM."""

    def __init__(self, shape: Shape, classes: int, width: int = 128):
        super().__init__()
        self.each = nn.Sequential(nn.Linear(shape.channels[-1], width), nn.LayerNorm(width), nn.ReLU())
        self.over = nn.LSTM(width, width, batch_first=True)
        self.out = nn.Linear(width, classes)

    def forward(self, deep: Tensor) -> Tensor:
        """Logits, of the state after the last frame."""
        states, _ = self.over(self.each(deep))
        out: Tensor = self.out(states[:, -1])
        return out


@dataclass(frozen=True)
class LSTMPermute(Task):
    """Whether six frames are in their order (either way) or permuted, by an LSTM over what is seen in each.

    Blocked as in shuffle_learn. Smaller than in the paper: whole frames, not crops of a tracked body; no second
    stage that fits the trunk to the body's parts.
    """

    length: int = 6
    span: float = 0.6
    moving: float = 0.3

    name = "lstm_permute"
    system = "LSTMPermute"
    family = FAMILIES[1]
    paper = "Brattoli et al., LSTM self-supervision for detailed behavior analysis, 2017"
    classes = 2

    def __post_init__(self) -> None:
        if not 3 <= self.length <= 6:
            raise ValueError("length is 3 to 6")

    @property
    def needs(self) -> Needs:
        """As many frames as it orders."""
        return Needs(self.length, span=self.span, moving=self.moving)

    def head(self, shape: Shape) -> nn.Module:
        """The LSTM and a layer."""
        return Recurrent(shape, 2)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Stills in one order or another; target: 1 if it is the right one."""
        right = draw.integers(2)
        ordered = torch.arange(self.length, device=right.device).expand(len(right), -1)
        wrong = disorder(self.length, draw)
        index = torch.where(right[:, None].bool(), either_way(ordered, draw), wrong)
        views = at(stills(batch["image"], draw), index)
        return Asked(right, everyone(batch), views.expand(-1, -1, 3, -1, -1))

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logits (N, 2)."""
        out: Tensor = head(seen.deep)
        return out
