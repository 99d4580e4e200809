"""What comes next, from how things move and what they look like, seen apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Asked, Seen
from freelabels.train.tasks.prediction.frames import (
    AHEAD,
    SEEN,
    ConvLSTM,
    Decoder,
    Prediction,
    level_of,
    shrunk,
    stage_number,
)

STRIDE = 8


class MotionAndContent(nn.Module):
    """A ConvLSTM over the differences of frames, joined with the trunk's maps of the last one."""

    def __init__(self, shape: Shape, width: int = 48):
        super().__init__()
        self.shape = shape
        self.difference = nn.Sequential(
            nn.Conv2d(3, width, 5, 2, 2), nn.ReLU(), nn.Conv2d(width, width, 5, 2, 2), nn.ReLU()
        )
        self.motion = ConvLSTM(width)
        self.content = nn.Conv2d(shape.channels[stage_number(shape)], width, 1)
        self.shrink = nn.AdaptiveAvgPool2d(shape.size // STRIDE)
        self.decode = Decoder(2 * width, shape.size // 2)

    def forward(self, frames: Tensor, maps: Tensor) -> Tensor:
        """Frames to come (N, 4, 3, side, side) of those seen (N, T, 3, side, side) and maps (N, c, h, w)."""
        content, state = self.content(self.shrink(maps)), None
        for change in torch.diff(frames, dim=1).unbind(1):
            state = self.motion(self.difference(change), state)
        made = [frames[:, -1]]
        for _ in range(AHEAD):
            assert state is not None
            made.append(made[-1] + self.decode(torch.cat([state[0], content], 1), made[-1]))
            state = self.motion(self.difference(made[-1] - made[-2]), state)
        return torch.stack(made[1:], 1)


@dataclass(frozen=True)
class MCNet(Prediction):
    """The next four frames, from a ConvLSTM over differences of frames and the trunk's view of the last frame.

    Smaller than in the paper: without the adversarial part of its loss (a fiftieth of it) and the motion's skip
    connections.
    """

    name = "mcnet"
    system = "MCNet"
    paper = "Villegas et al., Decomposing motion and content for natural video sequence prediction, 2017"

    def head(self, shape: Shape) -> nn.Module:
        """Motion, content, decoder."""
        return MotionAndContent(shape)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The last frame seen, for the trunk; target: as `Prediction`, and all frames seen."""
        asked = super().ask(batch, draw)
        assert asked.images is not None
        seen = shrunk(batch["image"][:, :SEEN])
        return replace(asked, target=torch.cat([seen, asked.target[:, 1:]], 1), images=asked.images[:, -1:])

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Frames to come (N, 4, 3, h, w)."""
        assert isinstance(head, MotionAndContent)
        out: Tensor = head(asked.target[:, :SEEN], level_of(seen.stages, head.shape))
        return out

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """As `Prediction`."""
        return super().judge(answer, _without_seen(asked))

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """As `Prediction`."""
        return super().score(answer, _without_seen(asked))

    def picture(self, answer: Tensor, asked: Asked, side: int) -> Array | None:
        """As `Prediction`."""
        return super().picture(answer, _without_seen(asked), side)


def _without_seen(asked: Asked) -> Asked:
    """With a target that begins with the last frame seen."""
    return replace(asked, target=asked.target[:, SEEN - 1 :])
