"""Flow without a label: what it leads to must look like where it came from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape, resize
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Seen, Task, everyone
from freelabels.train.tasks.contract.views import by_view
from freelabels.train.tasks.flow.matcher import Matcher
from freelabels.train.tasks.geometry.likeness import census_distance, charbonnier
from freelabels.train.tasks.geometry.occlusion import inconsistent
from freelabels.train.tasks.geometry.smoothness import second_order
from freelabels.train.tasks.geometry.truth import END_POINT_ERROR, Truth, end_point_errors, shown
from freelabels.train.tasks.geometry.warp import centres, inside, warp

MOST = 0.5  # of a frame can be occluded
LIGHT = 0.1  # by which each frame's brightness and contrast is changed before it is seen


@dataclass(frozen=True)
class Pair:
    """Frames (B, 2, 3, H, W) as they are, float32, and the exact flow where there is one."""

    frames: Tensor
    truth: Truth


@dataclass(frozen=True)
class UnFlow(Task):
    """The flow both ways between two frames, from these alone: what it leads to has the same census.

    Places that the flows there and back don't agree on count as occluded; elsewhere they shall agree. The flow
    is smooth of second order. The net sees frames each in its own light, so that it can't match brightness.
    Smaller than in the paper: one network and not a stack; three sizes; smooth less across an image's edges.
    """

    smooth: float = 0.1
    agree: float = 0.01

    name = "un_flow"
    system = "UnFlow"
    family = FAMILIES[3]
    paper = (
        "Meister, Hur and Roth, UnFlow: "
        "unsupervised learning of optical flow with a bidirectional census loss, 2018"
    )
    trivial = "no flow"
    measure = END_POINT_ERROR
    needs = Needs(2, uses=("flow",))

    def head(self, shape: Shape) -> nn.Module:
        """What correlates, the same both ways."""
        return Matcher(shape.width)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Two frames, each in light of its own; target: them as they are."""
        frames = batch["image"][:, :2].float()
        return Asked(Pair(frames, Truth.of(batch, "flow")), everyone(batch), relit(frames, draw), maps=True)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> list[tuple[Tensor, Tensor]]:
        """Flows there and back, coarse to fine, the last ones at the image's size."""
        here, there = by_view(seen.maps, 2).unbind(1)
        both = head(torch.cat([here, there]), torch.cat([there, here]))
        size = (asked.target.frames.shape[-2], asked.target.frames.shape[-1])
        flows = [*both[:-1], resize(both[-1], size)]
        return [(flow[: len(here)], flow[len(here) :]) for flow in flows]

    def judge(self, answer: list[tuple[Tensor, Tensor]], asked: Asked) -> Tensor:
        """Mean over sizes and both ways."""
        first, second = asked.target.frames.unbind(1)
        losses = []
        for there, back in answer:
            losses += [
                self._one_way(*x) for x in ((first, second, there, back), (second, first, back, there))
            ]
        return (asked.weight * torch.stack(losses).mean(0)).sum()

    def _one_way(self, here: Tensor, there: Tensor, flow: Tensor, back: Tensor) -> Tensor:
        """(B,): how badly a flow leads from one image to another, at four times its size, or the image's."""
        size = [min(4 * flow.shape[-2], here.shape[-2]), min(4 * flow.shape[-1], here.shape[-1])]
        share = size[0] / here.shape[-2]
        here, there = (F.interpolate(x, size, mode="area") for x in (here, there))
        flow, back = (share * resize(x, (size[0], size[1])) for x in (flow, back))
        unseen = inconsistent(flow, back) | ~inside(centres(flow) + flow)
        # Where that is most of a frame, the flow is none yet: masked, it would never become one.
        unseen &= unseen.float().mean((1, 2, 3), keepdim=True) < MOST
        seen = (~unseen).float()
        unlike = charbonnier(census_distance(here, warp(there, flow)))
        apart = charbonnier(flow + warp(back, flow)).mean(1, keepdim=True)
        fits = (seen * (unlike + self.agree * apart) + unseen).mean((1, 2, 3))
        return fits + self.smooth * second_order(flow, here)

    def score(self, answer: list[tuple[Tensor, Tensor]], asked: Asked) -> Tensor:
        """The finest flow's error; that of no flow."""
        return end_point_errors(answer[-1][0], asked.target.truth)

    def keep(self, answer: list[tuple[Tensor, Tensor]], asked: Asked) -> tuple[Tensor, ...]:
        """Scores of those with an exact flow."""
        return self.score(answer, asked), asked.target.truth.counts

    def picture(self, answer: list[tuple[Tensor, Tensor]], asked: Asked, side: int) -> Array:
        """Both frames, the flow that was told and the exact one."""
        truth = asked.target.truth
        told = [shown("flow", answer[-1][0]), shown("flow", truth.values, truth.weight)]
        return montage(torch.cat([asked.target.frames, *told], 1), side)


def relit(frames: Tensor, draw: Draw) -> Tensor:
    """Frames (B, k, 3, H, W), 0 … 255, each with a contrast and a brightness of its own."""
    contrast, bright = (2 * draw.uniform(frames.shape[1], 2, 1, 1, 1) - 1).unbind(2)
    return ((frames - 128) * (1 + LIGHT * contrast) + 128 + 255 * LIGHT * bright).clamp(0, 255)
