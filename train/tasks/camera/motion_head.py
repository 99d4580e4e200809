"""The head that tells how the camera moved between two frames."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.model.network import GlobalHead
from freelabels.train.tasks.geometry.matching import Correlation, square

RADIUS = 4  # steps of a stride each way that are looked at
SCALE = 0.002  # radians, and units of length, of a number of one: a step of the optimiser turns by little


class MotionHead(nn.Module):
    """Features (N, width, h, w) of two frames → six numbers (N, 6): rotation vector and translation.

    scale: of a number of one. numbers: how many, where other ones than these are to be told.
    """

    def __init__(self, width: int, scale: float = SCALE, numbers: int = 6):
        super().__init__()
        steps = square(RADIUS)
        self.scale = scale
        self.correlate = Correlation(width, steps)
        self.keep = nn.Conv2d(width, 128 - len(steps), 1)
        self.out = GlobalHead(128, numbers)

    def forward(self, here: Tensor, there: Tensor) -> Tensor:
        """Of points in the first frame's camera axes → in the second's."""
        x = torch.cat([self.correlate(here, there), F.relu(self.keep(here))], 1)
        numbers: Tensor = self.out(x)
        return self.scale * numbers.flatten(1)
