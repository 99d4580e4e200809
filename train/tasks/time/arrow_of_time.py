"""Whether time runs forwards."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.train.data.labels import WEIGHT_SUFFIX
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import Siamese
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Seen, Task, everyone

SCALE = 3.0  # times the root mean square of a window's flow, at which its picture saturates
SLOWEST = 0.1  # pixels that this counts as at least
GREY, HALF = 128.0, 127.0


@dataclass(frozen=True)
class ArrowOfTime(Task):
    """Whether the flow of a clip is seen as it ran, or backwards.

    Backwards is the stored flow of each frame to the one before it, last frame first: what a clip played
    backwards would have, and not forward flow negated. Blocked: pictures, whose compression runs forwards, are
    not seen at all; the median of the flow, the camera's part, is taken away; what has no flow, such as a black
    bar, is grey either way. Flow is measured by the window's own speed, so that small frames show it as well.
    Smaller than in the paper: `frames` = 6 flows joined by one layer, no map of class activations.
    """

    frames: int = 6
    moving: float = 0.3

    name = "arrow_of_time"
    system = "Arrow of Time"
    family = FAMILIES[1]
    paper = "Wei et al., Learning and using the arrow of time, 2018"
    classes = 2

    def __post_init__(self) -> None:
        if self.frames < 3:
            raise ValueError("frames is at least 3")

    @property
    def needs(self) -> Needs:
        """Neighbouring frames and their flow, both ways."""
        return Needs(self.frames, ("flow", "flow_backward"), moving=self.moving)

    def head(self, shape: Shape) -> nn.Module:
        """A layer that flows share, and one over all."""
        return Siamese(shape, self.frames - 1, 2)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Flows (N, frames - 1, 3, H, W) as pictures; target: 1 if time runs forwards."""
        forwards = draw.integers(2)
        ahead = _picture(batch, "flow", slice(None, -1))
        back = _picture(batch, "flow_backward", slice(1, None)).flip(1)
        images = torch.where(forwards[:, None, None, None, None].bool(), ahead, back)
        return Asked(forwards, everyone(batch), images)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logits (N, 2)."""
        out: Tensor = head(seen.deep)
        return out


def _picture(batch: Batch, name: str, some: slice) -> Tensor:
    """Flow (N, T, 3, H, W) of some frames, 0 … 255: x, y and length, its median taken away; grey if not known."""
    flow, known = batch[name][:, some], batch[name + WEIGHT_SUFFIX][:, some, None] > 0
    flat = torch.where(known, flow, torch.nan).flatten(3)
    flow = flow - flat.nanmedian(3).values.nan_to_num()[..., None, None]
    flow = torch.where(known, flow, 0)
    square = flow.square().sum(2, keepdim=True)
    speed = square.double().mean((1, 2, 3, 4), keepdim=True).sqrt().float().clamp_min(SLOWEST)
    return GREY + HALF * torch.tanh(torch.cat([flow, square.sqrt()], 2) / (SCALE * speed))
