"""Depth and the camera's motion from three frames alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import DenseHead, Shape
from freelabels.train.tasks.camera.motion_head import MotionHead
from freelabels.train.tasks.camera.view_synthesis import (
    AROUND,
    MIDDLE,
    Window,
    inverse_depth,
    moving,
    parallax,
    rebuilt,
)
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Seen, Task
from freelabels.train.tasks.contract.views import by_view
from freelabels.train.tasks.geometry.poses import angle_between, motion_of
from freelabels.train.tasks.geometry.truth import ABSOLUTE_RELATIVE, depth_errors, shown

WAY = 10.0  # the unit of the camera's way, in mean depths, over that of its turn, in radians


@dataclass(frozen=True)
class Told:
    """Inverse depths (B, 3, 1, H, W) of the frames, and the camera's motions (B, 2, 4, 4) from the middle one.

    Of a mean inverse depth of 1 over the three frames, in whatever unit of length that makes it.

    flow: what else leads from the middle frame to the next, (B, 2, H, W) each: there and back.
    """

    inverse: Tensor
    motions: Tensor
    flow: Any = None


@dataclass(frozen=True)
class SfMLearner(Task):
    """Depth of a frame and the camera's motion to its neighbours, so that these, looked up by both, rebuild it.

    Needs intrinsics and no label. The three frames take `span` seconds, since neighbours of a fast video hardly
    differ. Windows that hardly move (`least`, pixels; by the stored flow), and those seen through a lens or
    shutter that bends lines, weigh nothing. The score is of depth on exact renders, each frame at its best
    scale, since frames alone don't tell it; beside it stands how far the camera's direction is off.
    Smaller than in the paper: what can't be explained is left to the
    minimum over both neighbours, instead of a mask that is learned; the camera's motion is read from a
    correlation of both frames; two sizes.
    """

    smooth: float = 0.02
    least: float = 0.5
    span: float = 0.4

    name = "sfm_learner"
    system = "EgoMotion"
    family = FAMILIES[3]
    paper = "Zhou, Brown, Snavely and Lowe, Unsupervised learning of depth and ego-motion from video, 2017"
    trivial = "best constant depth"
    measure = ABSOLUTE_RELATIVE

    @property
    def needs(self) -> Needs:
        """Three frames and the intrinsics."""
        uses = ("depth", "flow", "camera_pose", "camera_distortion", "camera_shutter")
        return Needs(3, ("camera_K",), span=self.span, uses=uses)

    def head(self, shape: Shape) -> nn.ModuleDict:
        """One of depth, one of motion."""
        return nn.ModuleDict({"depth": DenseHead(shape.width, 1), "motion": MotionHead(shape)})

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Three frames."""
        window = Window.of(batch)
        return Asked(window, moving(batch, self.least), batch["image"][:, :3], maps=True)

    def answer(self, head: nn.ModuleDict, seen: Seen, asked: Asked) -> Told:  # type: ignore[override]
        """Depths and motions.

        Depths are taken at their mean: else all move far off while motions are still wrong, where no way counts,
        and a turn and too strong a relief stand for it (Wang et al., Learning depth from monocular videos using
        direct methods, 2018).
        """
        inverse = by_view(inverse_depth(head["depth"](seen.maps)), 3)
        inverse = inverse / inverse.mean((1, 2, 3, 4), keepdim=True)
        both = [by_view(x, 3) for x in (seen.stages[0], seen.maps)]
        unit = inverse.new_tensor([1.0] * 3 + [WAY] * 3)
        told = [head["motion"](*(x[:, [MIDDLE, other]] for x in both)) for other in AROUND]
        return Told(inverse, torch.stack([motion_of(unit * numbers) for numbers in told], 1))

    def judge(self, answer: Told, asked: Asked) -> Tensor:
        """How well the neighbours rebuild the middle frame."""
        return (asked.weight * self.unlike(answer, asked.target)).sum()

    def unlike(self, answer: Told, window: Window) -> Tensor:
        """(B,)."""
        return rebuilt(window, answer.inverse[:, MIDDLE], answer.motions, self.smooth)

    def score(self, answer: Told, asked: Asked) -> Tensor:
        """Relative error of depth, and of the best constant."""
        return depth_errors(1 / answer.inverse[:, MIDDLE], asked.target.depth)

    def keep(self, answer: Told, asked: Asked) -> tuple[Tensor, ...]:
        """Scores of windows that move and have exact labels, and by how far the camera's direction is off."""
        off = directions(answer, asked.target, self.least)
        return self.score(answer, asked), off, self._counts(asked)

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Of the scores."""
        return super().summary([columns[0], columns[-1]])

    def beside(self, columns: Sequence[Tensor]) -> dict[str, float]:
        """The median of what directions are off, where the camera's way moves what is seen; 90 by chance."""
        off = columns[1][columns[-1] > 0]
        off = off[off.isfinite()]
        return {"degrees off the camera's direction": float(off.median())} if len(off) else {}

    def _counts(self, asked: Asked) -> Tensor:
        counts: Tensor = asked.target.depth.counts
        return counts * (asked.weight > 0)

    def picture(self, answer: Told, asked: Asked, side: int) -> Array:
        """The middle frame, the depth that was told, and the exact one."""
        depth = asked.target.depth
        told = [shown("disparity", answer.inverse[:, MIDDLE]), shown("depth", depth.values, depth.weight)]
        return montage(torch.cat([asked.target.frames[:, MIDDLE, None], *told], 1), side)


def directions(answer: Told, window: Window, least: float) -> Tensor:
    """Degrees (B,) between told and exact translation to the next frame.

    NaN where it moves what is seen by less than `least` pixels, or where that is not known.
    """
    off = angle_between(answer.motions[:, 1, :3, 3], window.motion[:, :3, 3])
    return torch.where(parallax(window) >= least, off, torch.nan)
