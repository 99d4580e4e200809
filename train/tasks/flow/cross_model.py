"""What a frame shows and how it moves, in one space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.model.ranks import next_of
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import projector
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Seen, Task, first
from freelabels.train.tasks.flow.flow_trunk import FlowTrunk, own_motion
from freelabels.train.tasks.geometry.truth import Truth, shown

DIMENSIONS = 64


@dataclass(frozen=True)
class CrossModel(Task):
    """A frame and its own flow lie near in one space, two frames and two flows of the batch apart.

    The trunk sees the frame, a small net of the task's own the flow, of which the camera's part (the median) is
    taken away. Frames in which hardly anything moves (less than a hundredth of what is seen by `least` pixels)
    weigh nothing. The other is the next of the batch, of all ranks.
    Smaller than in the paper: the flow of one frame, not of ten; the flow's net has four layers.
    """

    least: float = 0.3
    margin: float = 1.0

    name = "cross_model"
    system = "CrossModel"
    family = FAMILIES[3]
    paper = "Sayed, Brattoli and Ommer, Cross and learn: cross-modal self-supervision, 2018"
    compares = True
    measure = Measure("own flow nearer than another's", "", True)
    needs = Needs(1, ("flow",))

    def head(self, shape: Shape) -> nn.Module:
        """A flow trunk, and both sides' ways into the common space."""
        motion = nn.Sequential(FlowTrunk(1), nn.Linear(128, DIMENSIONS))
        return nn.ModuleDict({"look": projector(shape, 256, DIMENSIONS), "motion": motion})

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The frame; target: its flow, and what is drawn of it."""
        motion, moves = own_motion(batch, (0,), self.least)
        return Asked((motion, Truth.of(batch, "flow")), moves, first(batch)[:, None])

    def answer(self, head: nn.ModuleDict, seen: Seen, asked: Asked) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Unit vectors (B, 64) of frames and of flows."""
        look, motion = head["look"](seen.deep[:, 0]), head["motion"](asked.target[0])
        return F.normalize(look, dim=1, eps=1e-6), F.normalize(motion, dim=1, eps=1e-6)

    def judge(self, answer: tuple[Tensor, Tensor], asked: Asked) -> Tensor:
        """Cosine distance of what belongs together, and a margin for each side's own differences."""
        look, motion = answer
        apart = [F.relu(self.margin - _distance(x, next_of(x))) for x in answer]
        counts = asked.weight * next_of(asked.weight[:, None])[:, 0]
        return (asked.weight * _distance(look, motion)).sum() + (counts * (apart[0] + apart[1])).sum() / 2

    def score(self, answer: tuple[Tensor, Tensor], asked: Asked) -> Tensor:
        """Whether the own flow is nearer than the next sample's; one half by chance."""
        look, motion = answer
        own, other = _distance(look, motion), _distance(look, next_of(motion))
        nearer = (own < other).double() + 0.5 * (own == other).double()
        return torch.stack([nearer, torch.full_like(nearer, 0.5)], 1)

    def picture(self, answer: tuple[Tensor, Tensor], asked: Asked, side: int) -> Array:
        """The frame and its flow."""
        assert asked.images is not None
        truth = asked.target[1]
        return montage(torch.cat([asked.images.float(), shown("flow", truth.values, truth.weight)], 1), side)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return 1 - (a * b).sum(1)
