"""What tasks that predict frames share: which they are, how they are made and judged, and the trivial answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Task, everyone

SEEN, AHEAD = 4, 4
HALF = 127.5
WIDTH = 48


@dataclass(frozen=True)
class Prediction(Task):
    """Frames that come next, as changes of the last one seen: what a subclass answers is added to it.

    So that the last frame, copied, is where the answer begins and what its score is printed beside.
    """

    span: float = 0.7
    moving: float = 0.3

    family = FAMILIES[0]
    measure = Measure("squared error", "", False)
    trivial = "the last frame copied"

    @property
    def needs(self) -> Needs:
        """Frames that are seen, and those to come."""
        return Needs(SEEN + AHEAD, span=self.span, moving=self.moving)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The frames seen (N, 4, 3, H, W); target: those to come and the last one seen, around 0."""
        frames = batch["image"]
        small = shrunk(frames[:, SEEN - 1 :])
        return Asked(small, everyone(batch), frames[:, :SEEN])

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Mean squared error, of the frame and of its slopes (Mathieu et al., 2016)."""
        wrong = answer - asked.target[:, 1:]
        slopes = [torch.diff(wrong, dim=d).square().flatten(1).mean(1) for d in (-1, -2)]
        each = torch.stack([wrong.square().flatten(1).mean(1), *slopes]).sum(0)
        total: Tensor = (asked.weight * each).sum()
        return total

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """Mean squared errors of frames in −1 … 1: of the answer, of the last frame copied."""
        last, ahead = asked.target[:, :1], asked.target[:, 1:]
        errors = [(x - ahead).square().flatten(1).mean(1) for x in (answer, last)]
        return torch.stack(errors, 1).double()

    def picture(self, answer: Tensor, asked: Asked, side: int) -> Array | None:
        """Frames that came, and below them what was predicted."""
        both = torch.cat([asked.target[:, 1:], answer], 1)
        return montage((both + 1) * HALF, side)


def shrunk(frames: Tensor) -> Tensor:
    """Frames (N, T, 3, H, W), 0 … 255, at half their size around 0."""
    n, t = frames.shape[:2]
    small = F.avg_pool2d(frames.flatten(0, 1).float(), 2)
    return (small / HALF - 1).view(n, t, *small.shape[1:])


class Decoder(nn.Module):
    """Features (N, c, h, w) → changes (N, 3, side, side) of a frame, doubled up by convolutions.

    Beside the features it is told the frame that it changes, from which edges come.
    """

    def __init__(self, channels: int, side: int, width: int = WIDTH):
        super().__init__()
        self.side = side
        self.before = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(8, width), nn.ReLU()
        )
        self.frame = nn.Conv2d(3, width, 5, padding=2)
        self.after = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.out = nn.Conv2d(width, 3, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, frame: Tensor) -> Tensor:
        """Changes."""
        x = F.interpolate(self.before(x), (self.side, self.side), mode="bilinear", align_corners=False)
        out: Tensor = self.out(self.after(torch.cat([x, F.relu(self.frame(frame))], 1)))
        return out


class ConvLSTM(nn.Module):
    """One layer: inputs (N, c, h, w) and state → state. Shi et al., Convolutional LSTM network, 2015."""

    def __init__(self, channels: int, width: int = WIDTH):
        super().__init__()
        self.width = width
        self.gates = nn.Conv2d(channels + width, 4 * width, 3, padding=1)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """The next state: what it shows, and what it keeps."""
        if state is None:
            zero = x.new_zeros(len(x), self.width, *x.shape[2:])
            state = zero, zero
        shown, kept = state
        entry, forget, out, new = self.gates(torch.cat([x, shown], 1)).chunk(4, 1)
        kept = torch.sigmoid(forget + 1) * kept + torch.sigmoid(entry) * torch.tanh(new)
        return torch.sigmoid(out) * torch.tanh(kept), kept


def level_of(stages: Any, shape: Shape) -> Tensor:
    """The stage (N k, C, h, w) at stride 8, or the nearest there is, float32."""
    return stages[stage_number(shape)].float()  # type: ignore[no-any-return]


def stage_number(shape: Shape) -> int:
    """Which stage has stride 8, or the nearest to it."""
    return min(range(len(shape.strides)), key=lambda k: abs(shape.strides[k] - 8))
