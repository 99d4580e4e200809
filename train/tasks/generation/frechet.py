"""How far two sets of images lie apart, by a net that nobody trained."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTHS = (3, 16, 32)


@cache
def _kernels() -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(0)
    pairs = pairwise(WIDTHS)
    return tuple(torch.randn(b, a, 3, 3, generator=g) / (9 * a) ** 0.5 for a, b in pairs)


def random_features(image: Tensor) -> Tensor:
    """float64 (N, 48) of images (N, 3, H, W), 0 … 255: mean responses of two random layers, always the same."""
    x, means = image.float() / 127.5 - 1, []
    for kernel in _kernels():
        x = F.relu(F.conv2d(x, kernel.to(x.device), stride=2, padding=1))
        means.append(x.mean((2, 3)))
    return torch.cat(means, 1).double()


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of the normal distributions of two sets of features (N, C), float64.

    Heusel et al., GANs trained by a two time-scale update rule, 2017, on whatever features are given.
    """
    means = [x.mean(0) for x in (a, b)]
    spreads = [(x - m).T @ (x - m) / max(1, len(x) - 1) for x, m in zip((a, b), means, strict=True)]
    values, vectors = torch.linalg.eigh(spreads[0])
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    middle = torch.linalg.eigvalsh(root @ spreads[1] @ root).clamp_min(0).sqrt().sum()
    return float((means[0] - means[1]).square().sum() + sum(s.trace() for s in spreads) - 2 * middle)
