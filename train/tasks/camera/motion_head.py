"""The head that tells how the camera moved between two frames."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.model.network import GlobalHead, Shape, resize
from freelabels.train.tasks.geometry.matching import Correlation, mean_step, square

RADIUS = 4  # steps of a stride each way that are looked at
CELLS = 4  # each way, over which what went where is averaged
SCALE = 0.002  # radians, and units of length, of a number of one: a step of the optimiser turns by little
LINEAR = 10.0  # times the scale: of what is linear in where places went, in pixels


class MotionHead(nn.Module):
    """Features of two frames → six numbers (N, 6): rotation vector and translation.

    Places are found again by the trunk's finest stage, which tells them apart from the start. Where they went, on
    average over what fits, tells a small motion nearly linearly; the rest is told by what fits and by the shared
    feature. scale: of a number of one. numbers: how many, where others than these are to be told.
    """

    def __init__(self, shape: Shape, scale: float = SCALE, numbers: int = 6):
        super().__init__()
        self.scale, self.stride, self.steps = scale, shape.strides[0], square(RADIUS)
        self.correlate = Correlation(shape.channels[0], self.steps)
        self.keep = nn.Conv2d(shape.width, 128 - len(self.steps), 1)
        self.rest = GlobalHead(128, numbers)
        self.linear = nn.Linear(2 * CELLS**2, numbers, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, fine: Tensor, shared: Tensor) -> Tensor:
        """Of points in the first frame's camera axes → in the second's.

        fine: the finest stage (N, 2, C, h, w) of both frames. shared: their shared feature (N, 2, width, h', w').
        """
        fits = self.correlate(*fine.float().unbind(1))
        went = self.stride * mean_step(fits, self.steps)  # pixels
        kept = F.relu(self.keep(shared[:, 0]))
        rest: Tensor = self.rest(torch.cat([resize(fits, (kept.shape[-2], kept.shape[-1])), kept], 1))
        linear: Tensor = self.linear(F.adaptive_avg_pool2d(went, CELLS).flatten(1))
        return self.scale * (rest.flatten(1) + LINEAR * linear)
