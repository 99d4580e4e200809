"""How well each place of one frame's features fits places of another's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Steps = Sequence[tuple[int, int]]


def square(radius: int) -> list[tuple[int, int]]:
    """Steps (dy, dx) of up to `radius` each way, row by row; the one that stays is in the middle."""
    reach = range(-radius, radius + 1)
    return [(dy, dx) for dy in reach for dx in reach]


def along(first: int, last: int) -> list[tuple[int, int]]:
    """Steps (0, dx) for dx from `first` to `last`."""
    return [(0, dx) for dx in range(first, last + 1)]


def correlation(a: Tensor, b: Tensor, steps: Steps) -> Tensor:
    """Mean products (N, len(steps), h, w) of features a at a place and b a step (dy, dx) from it; 0 outside b.

    Dosovitskiy et al., FlowNet, 2015, section 3, for patches of one place.
    """
    height, width = a.shape[-2:]
    reach = max(max(abs(dy), abs(dx)) for dy, dx in steps)
    padded = F.pad(b, [reach] * 4)
    costs = [
        (a * padded[..., reach + dy : reach + dy + height, reach + dx : reach + dx + width]).mean(1)
        for dy, dx in steps
    ]
    return torch.stack(costs, 1)


class Correlation(nn.Module):
    """Features (N, width, h, w) of two frames → correlation (N, len(steps), h, w) of what a layer makes of them.

    Places' vectors are taken from their frame's mean, as what all places share fits everywhere, and brought to
    one length, so that the brightest don't either; `width` times a mean of products of such is a cosine.
    """

    def __init__(self, width: int, steps: Steps, channels: int = 32):
        super().__init__()
        self.steps = list(steps)
        self.match = nn.Conv2d(width, channels, 1)

    def forward(self, here: Tensor, there: Tensor) -> Tensor:
        """Cosines."""
        a, b = (unit_vectors(self.match(x)) for x in (here, there))
        return correlation(a, b, self.steps) * a.shape[1]


def mean_step(fits: Tensor, steps: Steps, sharp: float = 16.0) -> Tensor:
    """Mean steps (N, 2, h, w), (x, y), weighed by exp(sharp × how well they fit), fits (N, len(steps), h, w)."""
    ways = fits.new_tensor(steps).flip(1)
    return torch.einsum("nshw,sd->ndhw", torch.softmax(sharp * fits, 1), ways)


def unit_vectors(features: Tensor) -> Tensor:
    """Unit vectors of features (N, C, h, w) at each place, from the mean over places."""
    return F.normalize(features - features.mean((2, 3), keepdim=True), dim=1, eps=1e-6)
