"""Motions over several frames are those between neighbours, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.camera.motion_head import MotionHead
from freelabels.train.tasks.camera.relative_poses import between
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Seen, Task, everyone
from freelabels.train.tasks.contract.views import by_view
from freelabels.train.tasks.geometry.poses import motion_of, numbers_of

UNIT = 0.1  # radians and metres that cost one
SCALE = 0.005  # radians and metres of a number of one: labels tell how large it is, so steps can be larger


@dataclass(frozen=True)
class VisualOdometry(Task):
    """The camera's motion between any two of `frames` frames; only that between neighbours has a stored label.

    What is told of a longer span shall be the product of what is told of its steps. The score is of the whole
    span, for which there was no label: the length of the error of its rotation vector (rad) and translation (m).
    Smaller than in the paper: one network on pairs instead of a recurrent one on a sequence; the label is the
    stored pose, exact or tracked.
    """

    frames: int = 3
    composite: float = 1.0

    name = "visual_odometry"
    system = "VisualOdometry"
    family = FAMILIES[3]
    paper = "Iyer et al., Geometric consistency for self-supervised end-to-end visual odometry, 2018"
    trivial = "no motion"
    measure = Measure("mean distance of (rad, m)", "", False)

    def __post_init__(self) -> None:
        if self.frames < 3:
            raise ValueError("frames (of a span) is at least 3")

    @property
    def needs(self) -> Needs:
        """Its frames and their poses."""
        return Needs(self.frames, ("camera_pose",))

    def head(self, shape: Shape) -> nn.Module:
        """One of motion."""
        return MotionHead(shape, SCALE)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The frames; target: motions (B, frames - 1, 6) between neighbours and over all (B, 6)."""
        last = self.frames - 1
        steps = [between(batch, k, k + 1) for k in range(last)]
        whole, known = between(batch, 0, last)
        for _, both in steps:
            known = known * both
        target = torch.stack([numbers_of(motion) for motion, _ in steps], 1), numbers_of(whole)
        return Asked(target, known * everyone(batch), batch["image"][:, : self.frames], maps=True)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Numbers (B, pairs, 6): of neighbours, then of longer spans, in the order of `_pairs`."""
        pairs = self._pairs()
        both = [by_view(x, self.frames)[:, pairs].flatten(0, 1) for x in (seen.stages[0], seen.maps)]
        told: Tensor = head(*both)
        return by_view(told, len(pairs))

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """What neighbours lack of their labels, and longer spans of the product of their steps."""
        last = self.frames - 1
        total = (answer[:, :last] - asked.target[0]).norm(dim=2).mean(1)
        steps = [motion_of(answer[:, k]) for k in range(last)]
        gaps = []
        for k, (first, end) in enumerate(self._pairs()):
            if k >= last:
                product = steps[first]
                for step in steps[first + 1 : end]:
                    product = product @ step
                gaps.append((numbers_of(product) - answer[:, k]).norm(dim=1))
        total = total + self.composite * torch.stack(gaps, 1).mean(1)
        each: Tensor = asked.weight * total / UNIT
        return each.sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """Of the whole span: the error, and that of no motion."""
        truth = asked.target[1]
        whole = self._pairs().index((0, self.frames - 1))
        return torch.stack([(answer[:, whole] - truth).norm(dim=1), truth.norm(dim=1)], 1).double()

    def _pairs(self) -> list[tuple[int, int]]:
        """Neighbours first."""
        last = self.frames - 1
        longer = [(a, b) for a in range(last) for b in range(a + 2, self.frames)]
        return [(k, k + 1) for k in range(last)] + longer
