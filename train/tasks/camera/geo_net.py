"""Depth, the camera's motion, and what moves besides."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.model.network import STRIDE, Shape, block, resize
from freelabels.train.tasks.camera.sfm_learner import SfMLearner, Told
from freelabels.train.tasks.camera.view_synthesis import MIDDLE, Window
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import Asked, Seen
from freelabels.train.tasks.contract.views import by_view
from freelabels.train.tasks.flow.matcher import nearly_no_flow
from freelabels.train.tasks.geometry.likeness import photometric
from freelabels.train.tasks.geometry.matching import Correlation, square
from freelabels.train.tasks.geometry.poses import inverse
from freelabels.train.tasks.geometry.smoothness import first_order
from freelabels.train.tasks.geometry.truth import END_POINT_ERROR, end_point_errors, shown
from freelabels.train.tasks.geometry.warp import rigid_flow, warp

NEXT = MIDDLE + 1


class Residual(nn.Module):
    """Features of two frames, and a flow in pixels of stride 4's places → what is to be added to it, pixels."""

    def __init__(self, width: int, hidden: int = 64):
        super().__init__()
        steps = square(2)
        self.correlate = Correlation(width, steps)
        self.keep = nn.Conv2d(width, 32, 1)
        self.body = nn.Sequential(block(len(steps) + 32 + 2, hidden), block(hidden, hidden))
        self.out = nearly_no_flow(hidden)

    def forward(self, here: Tensor, there: Tensor, flow: Tensor) -> Tensor:
        """More flow (N, 2, h, w)."""
        warped = warp(there, flow / STRIDE)
        x = torch.cat([self.correlate(here, warped), torch.relu(self.keep(here)), flow / STRIDE], 1)
        out: Tensor = self.out(self.body(x))
        return STRIDE * out


@dataclass(frozen=True)
class GeoNet(SfMLearner):
    """As sfm_learner, and a flow that adds to the rigid one what moves by itself.

    Flow there and back must agree where it nearly does already (3 pixels, or a twentieth of the flow); only
    there the frames are compared. Frames are neighbours by default, as the score is of the whole flow between
    such, on exact renders.
    Smaller than in the paper: both stages at once, the rigid flow held for the second; one small net for what is
    added.
    """

    agree: float = 0.05
    span: float = 0.0

    name = "geo_net"
    system = "GoNet"
    paper = "Yin and Shi, GeoNet: unsupervised learning of dense depth, optical flow and camera pose, 2018"
    trivial = "no flow"
    measure = END_POINT_ERROR

    def head(self, shape: Shape) -> nn.ModuleDict:
        """One more, of what is added."""
        heads = super().head(shape)
        heads["residual"] = Residual(shape.width)
        return heads

    def answer(self, head: nn.ModuleDict, seen: Seen, asked: Asked) -> Told:  # type: ignore[override]
        """Depths, motions, and the whole flow between the middle frame and the next, both ways."""
        told, window = super().answer(head, seen, asked), asked.target
        maps = by_view(seen.maps, 3)
        here, there = maps[:, MIDDLE], maps[:, NEXT]
        flows = []
        for rigid, (a, b) in zip(rigid_both(told, window), ((here, there), (there, here)), strict=True):
            held = rigid.detach()
            coarse = resize(held, (a.shape[-2], a.shape[-1]))
            flows.append(held + resize(head["residual"](a, b, coarse), (held.shape[-2], held.shape[-1])))
        return replace(told, flow=tuple(flows))

    def unlike(self, answer: Told, window: Window) -> Tensor:
        """Of the rigid flow, and of the whole one both ways."""
        total = super().unlike(answer, window)
        there, back = answer.flow
        frames = window.frames[:, MIDDLE], window.frames[:, NEXT]
        for flow, other, (a, b) in ((there, back, frames), (back, there, frames[::-1])):
            gap = (flow + warp(other, flow)).norm(dim=1, keepdim=True)
            limit = (0.05 * flow.detach().norm(dim=1, keepdim=True)).clamp_min(3.0)
            agrees = (gap.detach() < limit).float()
            each = agrees * (photometric(a, warp(b, flow)) + self.agree * gap)
            total = total + each.mean((1, 2, 3)) + self.smooth * first_order(flow, a)
        return total

    def score(self, answer: Told, asked: Asked) -> Tensor:
        """End-point error of the whole flow, and of none."""
        return end_point_errors(answer.flow[0], asked.target.flow)

    def _counts(self, asked: Asked) -> Tensor:
        counts: Tensor = asked.target.flow.counts
        return counts * (asked.weight > 0)

    def picture(self, answer: Told, asked: Asked, side: int) -> Array:
        """The middle frame, its depth as told, the flow as told and the exact one."""
        truth = asked.target.flow
        told = [shown("disparity", answer.inverse[:, MIDDLE]), shown("flow", answer.flow[0])]
        exact = shown("flow", truth.values, truth.weight)
        return montage(torch.cat([asked.target.frames[:, MIDDLE, None], *told, exact], 1), side)


def rigid_both(told: Told, window: Window) -> tuple[Tensor, Tensor]:
    """The flow of what stands still from the middle frame to the next, and back."""
    motion = told.motions[:, 1]
    return (
        rigid_flow(1 / told.inverse[:, MIDDLE], motion, window.K),
        rigid_flow(1 / told.inverse[:, NEXT], inverse(motion), window.K),
    )
