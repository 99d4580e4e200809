"""Heads that several tasks use."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.model.network import Shape


class Siamese(nn.Module):
    """Deep features (…, k, C) of k views → numbers (…, classes): a layer for each view, then one over all.

    Where a sample's views are put together in several ways, `alone` is called once and `together` on each.
    """

    def __init__(self, shape: Shape, views: int, classes: int, width: int = 256):
        super().__init__()
        self.each = nn.Linear(shape.channels[-1], width)
        self.norm = nn.LayerNorm(width)
        self.both = nn.Linear(views * width, 2 * width)
        self.out = nn.Linear(2 * width, classes)

    def forward(self, deep: Tensor) -> Tensor:
        """Logits."""
        return self.together(self.alone(deep))

    def alone(self, deep: Tensor) -> Tensor:
        """Views one by one, (…, C) → (…, width)."""
        return F.relu(self.norm(self.each(deep)))

    def together(self, views: Tensor) -> Tensor:
        """Views (…, k, width) → logits (…, classes)."""
        out: Tensor = self.out(F.relu(self.both(views.flatten(-2))))
        return out


def projector(shape: Shape, hidden: int, out: int) -> nn.Sequential:
    """Deep features (…, C) → vectors (…, out), two layers, normalised by group so that no sample sees another."""
    return nn.Sequential(
        nn.Linear(shape.channels[-1], hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, out)
    )
