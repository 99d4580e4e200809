"""What tasks share that answer with one of many clusters: a linear head that begins the same for a seed."""

from __future__ import annotations

import torch
from torch import nn


def reset(layer: nn.Linear, seed: int) -> list[nn.Parameter]:
    """Small random weights, the same for a seed; returns all parameters of the layer."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(0.01 * torch.randn(layer.weight.shape, generator=g))
        layer.bias.zero_()
    return list(layer.parameters())
