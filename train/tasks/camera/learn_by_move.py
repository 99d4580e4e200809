"""By how much the camera moved, in steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.camera.motion_head import MotionHead
from freelabels.train.tasks.camera.relative_poses import between
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Seen, Task, everyone
from freelabels.train.tasks.contract.views import by_view
from freelabels.train.tasks.geometry.poses import numbers_of

AXES = 3  # sideways and forward in metres, and the turn about the upright axis


@dataclass(frozen=True)
class LearnByMove(Task):
    """Which of `bins` steps the camera moved sideways, forward, and turned to the side, between two frames.

    Bins are even between `-metres` and `metres`, `-degrees` and `degrees`; the outermost hold what is beyond. The
    trivial answer is each axis's most frequent bin.
    Smaller than in the paper: neighbouring frames; bins between fixed ends instead of the data's own; places are
    found again by correlation instead of by layers on both maps.
    """

    bins: int = 20
    metres: float = 0.1
    degrees: float = 4.0

    name = "learn_by_move"
    system = "LearnByMove"
    family = FAMILIES[3]
    paper = "Agrawal, Carreira and Malik, Learning to see by moving, 2015"
    trivial = "most frequent bin"
    measure = Measure("accuracy, mean of three axes", "", True)
    needs = Needs(2, ("camera_pose",))

    def __post_init__(self) -> None:
        if self.bins < 2 or self.metres <= 0 or self.degrees <= 0:
            raise ValueError("bins is at least 2, metres and degrees are above 0")

    def head(self, shape: Shape) -> nn.Module:
        """Logits of all axes' bins."""
        return MotionHead(shape, 0.1, AXES * self.bins)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Two frames; target: bins (B, 3)."""
        motion, known = between(batch, 0, 1)
        numbers = numbers_of(motion)
        ends = numbers.new_tensor([self.metres, self.metres, math.radians(self.degrees)])
        share = (numbers[:, [3, 5, 1]] / ends + 1) / 2
        target = (share * self.bins).floor().clamp(0, self.bins - 1).long()
        return Asked(target, known * everyone(batch), batch["image"][:, :2], maps=True)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logits (B, 3, bins)."""
        logits: Tensor = head(by_view(seen.stages[0], 2), by_view(seen.maps, 2))
        return logits.view(-1, AXES, self.bins)

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Mean cross-entropy of the axes."""
        each = F.cross_entropy(answer.transpose(1, 2), asked.target, reduction="none").mean(1)
        return (asked.weight * each).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """Share of axes that are right; by chance."""
        hit = (answer.argmax(2) == asked.target).double().mean(1)
        return torch.stack([hit, torch.full_like(hit, 1 / self.bins)], 1)

    def keep(self, answer: Tensor, asked: Asked) -> tuple[Tensor, ...]:
        """Scores and targets."""
        return self.score(answer, asked), asked.target, (asked.weight > 0).double()

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Beside the most frequent bin of each axis."""
        scores, target, counts = columns
        hit, target = scores[counts > 0, 0], target[counts > 0]
        if not len(hit):
            return math.nan, math.nan, math.nan
        common = (target == target.mode(0).values).double().mean(1)
        error = float((hit - common).std(correction=0)) / len(hit) ** 0.5
        return float(hit.mean()), float(common.mean()), error
