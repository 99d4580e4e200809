"""The flow between two frames, learned from exact flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape, resize
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Seen, Task, everyone
from freelabels.train.tasks.contract.views import by_view
from freelabels.train.tasks.flow.matcher import Matcher
from freelabels.train.tasks.geometry.truth import END_POINT_ERROR, Truth, end_point_errors, shown


@dataclass(frozen=True)
class FlowNet(Task):
    """The exact flow to the next frame, by correlating the features of both, at several sizes.

    That is FlowNetC; the task `flow`, which lays both features side by side, is FlowNetS.
    Smaller than in the paper: correlation on the shared feature of stride 4, within 16 pixels; three sizes of flow
    that count alike.
    """

    name = "flow_net"
    system = "FlowNet"
    family = FAMILIES[3]
    paper = "Dosovitskiy et al., FlowNet: learning optical flow with convolutional networks, 2015"
    trivial = "no flow"
    measure = END_POINT_ERROR
    needs = Needs(2, ("flow",))

    def head(self, shape: Shape) -> nn.Module:
        """What correlates."""
        return Matcher(shape.width)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Two frames; target: the first one's flow."""
        truth = Truth.of(batch, "flow")
        weight = truth.weight * everyone(batch)[:, None, None]
        return Asked(truth, weight, batch["image"][:, :2], maps=True)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Sequence[Tensor]:
        """Flows, the last one at the image's size."""
        here, there = by_view(seen.maps, 2).unbind(1)
        *coarse, last = head(here, there)
        return [*coarse, resize(last, (asked.weight.shape[-2], asked.weight.shape[-1]))]

    def judge(self, answer: Sequence[Tensor], asked: Asked) -> Tensor:
        """Mean over sizes of the error's length in tens of pixels, each flow brought to the image's size."""
        size = (asked.weight.shape[-2], asked.weight.shape[-1])
        gaps = [resize(flow, size) - asked.target.values for flow in answer]
        lengths = [(gap.square().sum(1) + 1e-4).sqrt() - 1e-2 for gap in gaps]  # smooth at 0
        return 0.1 * (asked.weight * torch.stack(lengths).mean(0)).sum()

    def score(self, answer: Sequence[Tensor], asked: Asked) -> Tensor:
        """The finest flow's error; that of no flow."""
        return end_point_errors(answer[-1], asked.target)

    def picture(self, answer: Sequence[Tensor], asked: Asked, side: int) -> Array:
        """Both frames, the flow that was told and the exact one."""
        assert asked.images is not None
        told, truth = shown("flow", answer[-1]), shown("flow", asked.target.values, asked.target.weight)
        return montage(torch.cat([asked.images.float(), told, truth], 1), side)
