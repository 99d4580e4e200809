"""The head that finds where each place of a frame goes in the next."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.model.network import STRIDE, block, resize
from freelabels.train.tasks.geometry.matching import Correlation, square

RADIUS = 4  # steps of a stride each way that are looked at


def nearly_no_flow(channels: int) -> nn.Conv2d:
    """The last layer of a head of flow: it begins at next to none, from where what is alike can be found."""
    layer = nn.Conv2d(channels, 2, 3, padding=1)
    nn.init.normal_(layer.weight, std=1e-3)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class Matcher(nn.Module):
    """Features (N, width, h, w) of two frames → flows (N, 2, …) in the image's pixels, coarse to fine.

    What fits where (`Correlation`) goes with the first frame's features down to a quarter of their size and up
    again; each size adds to the flow of the one before. h and w are of stride 4; the last flow has that size.
    """

    def __init__(self, width: int, radius: int = RADIUS, hidden: int = 64):
        super().__init__()
        steps = square(radius)
        self.correlate = Correlation(width, steps)
        self.keep = nn.Conv2d(width, 32, 1)
        self.down = nn.ModuleList(
            [block(len(steps) + 32, hidden), block(hidden, hidden), block(hidden, hidden)]
        )
        self.up = nn.ModuleList([block(hidden, hidden), *(block(2 * hidden + 2, hidden) for _ in range(2))])
        self.flow = nn.ModuleList([nearly_no_flow(hidden) for _ in range(3)])

    def forward(self, here: Tensor, there: Tensor) -> list[Tensor]:
        """Flows."""
        x = torch.cat([self.correlate(here, there), F.relu(self.keep(here))], 1)
        levels = []
        for k, down in enumerate(self.down):
            x = down(x if k == 0 else F.avg_pool2d(x, 2, ceil_mode=True))
            levels.append(x)
        flows: list[Tensor] = []
        for level, up, out in zip(levels[::-1], self.up, self.flow, strict=True):
            if flows:
                size = (level.shape[-2], level.shape[-1])
                before = resize(flows[-1], size)
                x = up(torch.cat([level, resize(x, size), before / STRIDE], 1))
                flows.append(before + STRIDE * out(x))
            else:
                x = up(level)
                flows.append(STRIDE * out(x))
        return flows
