"""Features that turn with the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.camera.relative_poses import between
from freelabels.train.tasks.contract.commonest import commonest
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Seen, Task, everyone
from freelabels.train.tasks.contract.views import by_view
from freelabels.train.tasks.geometry.poses import numbers_of

MOTIONS = 8  # right or left, forward or back, turning right or left
CHANNELS, CELLS = 4, 8  # of the embedding, and how many places it has each way
LEAST = 1e-4  # radians or metres; less is none


class Equivariant(nn.Module):
    """Features (2 N, width, h, w) of two frames → squared distances (N, 8) of the second from the first, moved."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.embed = nn.Conv2d(shape.width, CHANNELS, 1, bias=False)
        self.motion = nn.Parameter(torch.eye(CHANNELS * CELLS**2).repeat(MOTIONS, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """Distances."""
        places = F.adaptive_avg_pool2d(self.embed(maps), CELLS)
        # Less their mean: where things are, and not what all frames share, which would lie near every vector.
        vectors = (places - places.mean((2, 3), keepdim=True)).flatten(1)
        first, second = by_view(F.normalize(vectors, dim=1, eps=1e-6), 2).unbind(1)
        moved = torch.einsum("mij,nj->nmi", self.motion, first)
        return (moved - second[:, None]).square().sum(2)


@dataclass(frozen=True)
class TiedEgoMotion(Task):
    """An embedding in which each kind of camera motion is one matrix: it takes a frame to the next one.

    There are eight kinds: sideways, forward and turn, each to one side or the other. The right matrix brings the
    first frame's vector to the second's, the others leave it at a margin. Windows whose camera stands still weigh
    nothing. The trivial answer is the most frequent kind.
    Smaller than in the paper: kinds by signs and not by clusters of the data; neighbouring frames; the embedding
    is four numbers a place of a grid, without layers over all of it.
    """

    margin: float = 0.5

    name = "tied_ego_motion"
    system = "TiedEgoMotion"
    family = FAMILIES[3]
    paper = "Jayaraman and Grauman, Learning image representations tied to ego-motion, 2015"
    trivial = "most frequent kind"
    classes = MOTIONS
    measure = Measure("accuracy", "", True)
    needs = Needs(2, ("camera_pose",))

    def head(self, shape: Shape) -> nn.Module:
        """An embedding and a matrix a kind of motion."""
        return Equivariant(shape)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Two frames; target: the kind of motion."""
        motion, known = between(batch, 0, 1)
        numbers = numbers_of(motion)
        signs = (numbers[:, [3, 5, 1]] > LEAST).long()  # rounding gives what stays any sign
        moved = (numbers.abs().amax(1) > LEAST).float()
        target, weight = signs @ signs.new_tensor([4, 2, 1]), known * moved * everyone(batch)
        return Asked(target, weight, batch["image"][:, :2], maps=True)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Negative distances (B, 8)."""
        distances: Tensor = head(seen.maps)
        return -distances

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """The right kind's distance, and how much nearer than the margin the others' are, on average."""
        right = F.one_hot(asked.target, MOTIONS).bool()
        near = -answer
        apart = F.relu(self.margin - near).masked_fill(right, 0.0).sum(1) / (MOTIONS - 1)
        return (asked.weight * (near[right] + apart)).sum()

    def keep(self, answer: Tensor, asked: Asked) -> tuple[Tensor, ...]:
        """Scores and targets."""
        return self.score(answer, asked), asked.target, (asked.weight > 0).double()

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Beside the most frequent kind."""
        scores, *others = columns
        return commonest([scores[:, 0], *others])
