"""What was in a hole."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape, resize
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Seen, Task, first
from freelabels.train.tasks.contract.views import LEVEL, SPREAD

BAND = 1 / 16  # of the hole's side: its rim, which must go on from what is around
RIM = 10.0  # times as much as the rest


class Decoder(nn.Module):
    """The last stage's map (N, C, h, w) → pixels (N, 3, 16 h, 16 w), doubled four times."""

    def __init__(self, channels: int, width: int = 128):
        super().__init__()
        widths = [channels, width, width // 2, width // 4, width // 4]
        self.steps = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(8, b), nn.ReLU())
                for a, b in pairwise(widths)
            ]
        )
        self.out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Pixels."""
        for step in self.steps:
            x = step(F.interpolate(x, scale_factor=2, mode="nearest"))
        out: Tensor = self.out(x)
        return out


@dataclass(frozen=True)
class ContextEncoder(Task):
    """The pixels of a square hole of half the side, somewhere in the image, from the last stage alone.

    The hole is filled with a constant; its rim counts ten times. Smaller than in the paper: without the
    adversarial part of its loss (a thousandth of it); one square instead of random regions.
    """

    name = "context_encoder"
    system = "Context Encoder"
    family = FAMILIES[0]
    paper = "Pathak et al., Context encoders: feature learning by inpainting, 2016"
    measure = Measure("root mean square error", "", False)
    trivial = "mean of what surrounds the hole"

    def head(self, shape: Shape) -> nn.Module:
        """A decoder."""
        return Decoder(shape.channels[-1])

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image with a hole; target: the image; weight: the hole's."""
        image = first(batch).float()
        size = image.shape[-1]
        hole = size // 2
        corner = draw.integers(size - hole + 1, 2)
        inside = self._square(size, corner, hole)
        band = max(1, round(hole * BAND))
        rim = inside & ~self._square(size, corner + band, hole - 2 * band)
        shown = torch.where(inside[:, None], LEVEL, image)
        return Asked(image, inside.float() + (RIM - 1) * rim, shown[:, None])

    @staticmethod
    def _square(size: int, corner: Tensor, side: int) -> Tensor:
        """(N, size, size): whether a pixel lies in the square at a corner (N, 2)."""
        place = torch.arange(size, device=corner.device)
        y, x = ((place >= c[:, None]) & (place < c[:, None] + side) for c in corner.unbind(1))
        return y[:, :, None] & x[:, None, :]

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Pixels (N, 3, H, W), around 0."""
        size = asked.target.shape[-1]
        return resize(head(seen.stages[-1].float()), (size, size))

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Squared error in the hole."""
        truth = (asked.target - LEVEL) / SPREAD
        each: Tensor = (answer - truth).square().mean(1)
        return (asked.weight * each).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """Root mean square error in the hole, on the scale 0 … 255; that of the mean colour around it."""
        inside = (asked.weight > 0).float()[:, None]
        around = (asked.target * (1 - inside)).sum((2, 3), keepdim=True) / (1 - inside).sum(
            (2, 3), keepdim=True
        )
        figures = []
        for told in (answer * SPREAD + LEVEL, around):
            square = (inside * (told - asked.target).square()).sum((1, 2, 3)) / (3 * inside.sum((1, 2, 3)))
            figures.append(square.sqrt())
        return torch.stack(figures, 1).double()

    def picture(self, answer: Tensor, asked: Asked, side: int) -> Array:
        """What was shown, and the image with the answer in its hole."""
        told = torch.where(asked.weight[:, None] > 0, answer * SPREAD + LEVEL, asked.target)
        assert asked.images is not None
        return montage(torch.cat([asked.images, told[:, None]], 1), side)
