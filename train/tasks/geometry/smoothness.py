"""How rough a map is, less where the image has an edge. Each gives a mean a sample, (N,)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from freelabels.train.tasks.geometry.likeness import charbonnier


def first_order(values: Tensor, image: Tensor, edge: float = 10.0) -> Tensor:
    """|differences of neighbours| of maps (N, C, H, W), times exp(-edge |the image's|); image in 0 … 255."""
    return _mean(_steps(values, dim).abs() * _even(image, dim, edge) for dim in (2, 3))


def second_order(values: Tensor, image: Tensor, edge: float = 10.0) -> Tensor:
    """As `first_order`, of differences of differences, so that a slope costs nothing; Charbonnier's for |x|."""
    parts = []
    for dim in (2, 3):
        even = _even(image, dim, edge)
        both = torch.minimum(
            even.narrow(dim, 0, even.shape[dim] - 1), even.narrow(dim, 1, even.shape[dim] - 1)
        )
        parts.append(charbonnier(_steps(_steps(values, dim), dim)) * both)
    return _mean(parts)


def relative(inverse_depth: Tensor) -> Tensor:
    """Inverse depths (N, 1, H, W) over their mean, so that shrinking them all makes nothing smoother."""
    return inverse_depth / inverse_depth.mean((2, 3), keepdim=True).clamp_min(1e-6)


def _steps(x: Tensor, dim: int) -> Tensor:
    return x.diff(dim=dim)


def _even(image: Tensor, dim: int, edge: float) -> Tensor:
    """(N, 1, …): 1 between neighbours of one colour, towards 0 across an edge."""
    return torch.exp(-edge * _steps(image / 255, dim).abs().mean(1, keepdim=True))


def _mean(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack([part.mean((1, 2, 3)) for part in parts]).sum(0)
