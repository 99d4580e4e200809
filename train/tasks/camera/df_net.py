"""Depth and the camera's motion, and flow by itself, that shall say the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from freelabels.train.model.network import Shape, resize
from freelabels.train.tasks.camera.geo_net import NEXT, rigid_both
from freelabels.train.tasks.camera.sfm_learner import SfMLearner, Told
from freelabels.train.tasks.camera.view_synthesis import MIDDLE, Window
from freelabels.train.tasks.contract.task import Asked, Seen
from freelabels.train.tasks.contract.views import by_view
from freelabels.train.tasks.flow.matcher import Matcher
from freelabels.train.tasks.geometry.likeness import census_distance, charbonnier
from freelabels.train.tasks.geometry.occlusion import inconsistent
from freelabels.train.tasks.geometry.smoothness import second_order
from freelabels.train.tasks.geometry.warp import centres, inside, warp


@dataclass(frozen=True)
class DFNet(SfMLearner):
    """As sfm_learner, beside a flow that is matched as in un_flow; where both are valid they shall agree.

    Valid is what lies in the image and leads back home.
    Smaller than in the paper: both are learned at once from a random start; flow of two frames of the three.
    """

    cross: float = 0.02
    agree: float = 0.01

    name = "df_net"
    system = "DepthFlow"
    paper = "Zou, Luo and Huang, DF-Net: unsupervised joint learning of depth and flow, 2018"

    def head(self, shape: Shape) -> nn.ModuleDict:
        """One more, of flow."""
        heads = super().head(shape)
        heads["flow"] = Matcher(shape.width)
        return heads

    def answer(self, head: nn.ModuleDict, seen: Seen, asked: Asked) -> Told:  # type: ignore[override]
        """Depths, motions, and flows between the middle frame and the next, both ways."""
        told = super().answer(head, seen, asked)
        maps = by_view(seen.maps, 3)
        here, there = maps[:, MIDDLE], maps[:, NEXT]
        both = head["flow"](torch.cat([here, there]), torch.cat([there, here]))[-1]
        flow = resize(both, (asked.target.frames.shape[-2], asked.target.frames.shape[-1]))
        return replace(told, flow=(flow[: len(here)], flow[len(here) :]))

    def unlike(self, answer: Told, window: Window) -> Tensor:
        """Of the rebuilt frame, of what flow leads to, and between flow and depth."""
        total = super().unlike(answer, window)
        frames = window.frames[:, MIDDLE], window.frames[:, NEXT]
        flows, rigid = answer.flow, rigid_both(answer, window)
        for k in (0, 1):
            flow, back, there, here_back = flows[k], flows[1 - k], rigid[k], rigid[1 - k]
            seen = (~inconsistent(flow, back) & inside(centres(flow) + flow)).float()
            unlike = charbonnier(census_distance(frames[k], warp(frames[1 - k], flow)))
            apart = charbonnier(flow + warp(back, flow)).mean(1, keepdim=True)
            each = seen * (unlike + self.agree * apart) + (1 - seen)
            valid = seen * (~inconsistent(there, here_back) & inside(centres(there) + there)).float()
            same = valid * (flow - there).abs().mean(1, keepdim=True)
            total = total + (each + self.cross * same).mean((1, 2, 3)) + 0.1 * second_order(flow, frames[k])
        return total
