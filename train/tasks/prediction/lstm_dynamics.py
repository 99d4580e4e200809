"""How what is seen will move, step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.labels import WEIGHT_SUFFIX
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape, block
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Seen, Task, everyone
from freelabels.train.tasks.contract.views import by_view
from freelabels.train.tasks.geometry.matching import Correlation, mean_step, square
from freelabels.train.tasks.prediction.frames import ConvLSTM, level_of, stage_number

STRIDE = 8
RINGS = (1.0, 2.0, 4.0)  # pixels
DIRECTIONS = 8
AWAY = 0.02  # change of the logarithm of depth that is one
REACH = 4  # places of the finest stage each way in which one of the first frame is looked for in the second
KNOWN = 0.5  # share of a cell whose flow must be known


class Dynamics(nn.Module):
    """The trunk's maps of two frames → classes of motion, of this frame and the next ones, by a ConvLSTM."""

    def __init__(self, shape: Shape, steps: int, width: int = 48):
        super().__init__()
        self.shape, self.steps, self.ways = shape, steps, square(REACH)
        self.correlate = Correlation(shape.channels[0], self.ways)
        self.both = block(2 * shape.channels[stage_number(shape)] + len(self.ways) + 2, width)
        self.cell = ConvLSTM(width, width)
        self.shrink = nn.AdaptiveAvgPool2d(shape.size // STRIDE)
        self.out = nn.Conv2d(2 * width, len(centres()) + 3, 1)

    def forward(self, maps: Tensor, fine: Tensor) -> Tensor:
        """Logits (N, steps, classes + 3, h, w) of maps (N, 2, c, h', w') and the finest stage (N, 2, C, …)."""
        fits = self.correlate(*fine.float().unbind(1))
        went = self.shape.strides[0] * mean_step(fits, self.ways)  # pixels
        x = pair = self.both(torch.cat([self.shrink(part) for part in (maps.flatten(1, 2), fits, went)], 1))
        state, out = None, []
        for _ in range(self.steps):
            state = self.cell(x, state)
            x = state[0]
            out.append(self.out(torch.cat([x, pair], 1)))  # what went on says much of what comes
        return torch.stack(out, 1)


@dataclass(frozen=True)
class LSTMDynamics(Task):
    """How each place moves in the next `frames` - 1 steps, from the first two frames: one of 25 flows a step.

    Directions and lengths of the mean flow of cells of 8 pixels, and, where depth is known at both ends,
    whether the cell comes nearer, stays or goes away. Its score is the end-point error of the flow that it
    expects, beside that of no motion. Blocked: windows that stand still weigh nothing, cells whose flow is not
    known neither. Smaller than in the paper: fixed classes of flow, not centroids of quantised 3-D flows; places
    of the first frame are found again in the second by correlation.
    """

    frames: int = 5
    moving: float = 0.3

    name = "lstm_dynamics"
    system = "LSTMDynamics"
    family = FAMILIES[0]
    paper = "Luo et al., Unsupervised learning of long-term motion dynamics for videos, 2017"
    measure = Measure("end-point error", "px", False)
    trivial = "no motion"

    def __post_init__(self) -> None:
        if self.frames < 3:
            raise ValueError("frames is at least 3")

    @property
    def needs(self) -> Needs:
        """Neighbouring frames and their flow; depth where it is there."""
        return Needs(self.frames, ("flow",), moving=self.moving, uses=("depth",))

    def head(self, shape: Shape) -> nn.Module:
        """A ConvLSTM."""
        return Dynamics(shape, self.frames - 1)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The first two frames; target: flow of cells and which way they go (N, T, 3, h, w); weight: the known."""
        flow, known = _cells(batch["flow"][:, :-1], batch["flow" + WEIGHT_SUFFIX][:, :-1])
        depth, there = _cells(batch["depth"].clamp_min(1e-3).log(), batch["depth" + WEIGHT_SUFFIX])
        away = depth[:, 1:] - depth[:, :-1]
        way = (1 + (away > AWAY).long() - (away < -AWAY).long()).float()
        way = way.masked_fill(~(there[:, 1:] & there[:, :-1])[:, :, None], -1)
        weight = known * everyone(batch)[:, None, None, None]
        return Asked(torch.cat([flow, way], 2), weight, batch["image"][:, :2])

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """As `Dynamics`."""
        assert isinstance(head, Dynamics)
        out: Tensor = head(by_view(level_of(seen.stages, head.shape), 2), by_view(seen.stages[0], 2))
        return out

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Cross-entropies of the flow's class and, where it is known, of which way the cell goes."""
        flows = len(centres())
        told = answer.transpose(1, 2)  # (N, classes, T, h, w)
        flow, way = asked.target[:, :, :2], asked.target[:, :, 2].long()
        each = F.cross_entropy(told[:, :flows], nearest(flow), reduction="none")
        each = each + F.cross_entropy(told[:, flows:], way, reduction="none", ignore_index=-1)
        return (asked.weight * each).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """End-point errors, over the cells that are known."""
        share = answer[:, :, : len(centres())].softmax(2)
        expected = torch.einsum("ntchw,cd->ntdhw", share, centres().to(share))
        flow, weight = asked.target[:, :, :2], asked.weight
        errors = [(x - flow).square().sum(2).sqrt() for x in (expected, torch.zeros_like(flow))]
        count = weight.sum((1, 2, 3)).clamp_min(1)
        return torch.stack([(weight * e).sum((1, 2, 3)) / count for e in errors], 1).double()


def centres() -> Tensor:
    """(25, 2): no motion, and rings of directions; pixels."""
    turn = torch.arange(DIRECTIONS) * 2 * math.pi / DIRECTIONS
    ring = torch.stack([turn.cos(), turn.sin()], 1)
    return torch.cat([torch.zeros(1, 2), *(length * ring for length in RINGS)])


def nearest(flow: Tensor) -> Tensor:
    """int64 (N, T, h, w): the class of flows (N, T, 2, h, w)."""
    flat = flow.permute(0, 1, 3, 4, 2)
    return torch.cdist(flat.flatten(0, 3), centres().to(flat)).argmin(1).view(flat.shape[:-1])


def _cells(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Means (N, T, C, h, w) of maps over cells, of what is known, and whether enough is (N, T, h, w)."""
    n, t = values.shape[:2]
    here = (weight > 0).float().flatten(0, 1)[:, None]
    share = F.avg_pool2d(here, STRIDE)
    mean = F.avg_pool2d(values.flatten(0, 1) * here, STRIDE) / share.clamp_min(1e-6)
    return mean.view(n, t, *mean.shape[1:]), (share[:, 0] >= KNOWN).view(n, t, *share.shape[2:])
