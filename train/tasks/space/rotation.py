"""Which way up an image is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Seen, Task, everyone, first
from freelabels.train.tasks.contract.views import turned

TURNS = 4


@dataclass(frozen=True)
class Rotation(Task):
    """By which of four turns an image was turned; the head is a linear layer on the last stage, as in the paper.

    Smaller than in the paper: one turn an image and step, drawn for it. `views` = 4 shows all of them, as there.
    """

    views: int = 1

    name = "rotation"
    system = "RotNet"
    family = FAMILIES[1]
    paper = (
        "Gidaris, Singh and Komodakis, "
        "Unsupervised representation learning by predicting image rotations, 2018"
    )
    classes = TURNS

    def __post_init__(self) -> None:
        if self.views not in (1, TURNS):
            raise ValueError(f"views is 1 or {TURNS}")

    def head(self, shape: Shape) -> nn.Module:
        """A linear layer."""
        return nn.Linear(shape.channels[-1], TURNS)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image turned, by moving pixels alone: nothing is resampled."""
        turns = draw.integers(TURNS, 1) if self.views == 1 else draw.order(TURNS)
        images = turned(first(batch)[:, None].expand(-1, self.views, -1, -1, -1), turns)
        weight = everyone(batch)[:, None].expand(-1, self.views)
        return Asked(turns.flatten(), weight.flatten(), images)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> torch.Tensor:
        """Logits (N views, 4): each view by itself."""
        out: torch.Tensor = head(seen.deep.flatten(0, 1))
        return out
