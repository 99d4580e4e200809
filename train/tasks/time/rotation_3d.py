"""Which way up a clip is."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Seen, Task, everyone
from freelabels.train.tasks.contract.views import turned


@dataclass(frozen=True)
class Rotation3D(Task):
    """By which of four turns a clip was turned; the head is a linear layer on the clip trunk's last stage.

    Smaller than in the paper: eight neighbouring frames, one turn a clip and step.
    """

    frames: int = 8
    moving: float = 0.0

    name = "rotation_3d"
    system = "3DRotNet"
    family = FAMILIES[1]
    paper = (
        "Jing, Yang, Liu and Tian, Self-supervised spatiotemporal feature learning via video rotation prediction, "
        "2018"
    )
    clips = True
    classes = 4

    @property
    def needs(self) -> Needs:
        """Neighbouring frames."""
        return Needs(self.frames, moving=self.moving)

    def head(self, shape: Shape) -> nn.Module:
        """A linear layer."""
        return nn.Linear(shape.clip_channels[-1], self.classes)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The clip turned, by moving pixels alone."""
        turns = draw.integers(self.classes)
        clip = turned(batch["image"], turns[:, None].expand(-1, self.frames))
        return Asked(turns, everyone(batch), clips=clip[:, None])

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logits (N, 4)."""
        assert seen.clips is not None
        out: Tensor = head(seen.clips.deep[:, 0])
        return out
