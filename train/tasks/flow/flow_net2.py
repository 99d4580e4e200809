"""Flow, made better by looking again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.train.model.network import STRIDE, Shape, block
from freelabels.train.tasks.flow.flow_net import FlowNet
from freelabels.train.tasks.flow.matcher import Matcher, nearly_no_flow
from freelabels.train.tasks.geometry.matching import Correlation, square
from freelabels.train.tasks.geometry.warp import warp


class Refiner(nn.Module):
    """A first flow by `Matcher`, then rounds of one small net that sees how well the warped features fit."""

    def __init__(self, width: int, rounds: int, hidden: int = 64):
        super().__init__()
        self.first, self.rounds = Matcher(width), rounds
        steps = square(1)
        self.correlate = Correlation(width, steps)
        self.keep = nn.Conv2d(width, 32, 1)
        self.body = nn.Sequential(block(len(steps) + 32 + 3, hidden), block(hidden, hidden))
        self.more = nearly_no_flow(hidden)

    def forward(self, here: Tensor, there: Tensor) -> list[Tensor]:
        """Flows, coarse to fine, then round by round."""
        flows: list[Tensor] = self.first(here, there)
        for _ in range(self.rounds):
            now = flows[-1].detach()  # each round mends what it finds, as a stack of trained nets does
            warped = warp(there, now / STRIDE)
            left = (here - warped).abs().mean(1, keepdim=True)
            fits = [self.correlate(here, warped), torch.relu(self.keep(here)), left, now / STRIDE]
            flows.append(now + STRIDE * self.more(self.body(torch.cat(fits, 1))))
        return flows


@dataclass(frozen=True)
class FlowNet2(FlowNet):
    """As flow_net, then refined: the second frame's features are warped by the flow, and what is left is added.

    Smaller than in the paper: `rounds` of one small shared net instead of a stack of trained networks; all at
    once, without a curriculum of data; features are warped, not images.
    """

    rounds: int = 2

    name = "flow_net2"
    system = "FlowNet2"
    paper = "Ilg et al., FlowNet 2.0: evolution of optical flow estimation with deep networks, 2017"

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError("rounds (of refinement) is at least 1")

    def head(self, shape: Shape) -> nn.Module:
        """A matcher and a refiner."""
        return Refiner(shape.width, self.rounds)
