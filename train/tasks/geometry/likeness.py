"""How alike two images are, pixel by pixel: by what their light says, and by what it doesn't change."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from freelabels.train.tasks.contract.views import grey


def charbonnier(x: Tensor, exponent: float = 0.45, epsilon: float = 1e-3) -> Tensor:
    """(x² + ε²)^exponent: |x| at large, smooth at 0. Sun, Roth and Black, 2014, for 0.45."""
    return (x.square() + epsilon**2) ** exponent


def census(image: Tensor, radius: int = 3) -> Tensor:
    """Softened signs (N, (2 radius + 1)², H, W), -1 … 1, of each neighbour's grey less the pixel's own.

    image: (N, 3, H, W) in 0 … 255. What adds to or scales its light all over hardly changes it. Zabih and
    Woodfill, 1994; softened as by Meister, Hur and Roth, UnFlow, 2018.
    """
    light = grey(image)
    side = 2 * radius + 1
    around = F.unfold(F.pad(light, [radius] * 4, mode="replicate"), side)
    gap = around.view(len(image), side**2, *light.shape[2:]) - light
    return gap / (0.81 + gap.square()).sqrt()


def census_distance(a: Tensor, b: Tensor, radius: int = 3) -> Tensor:
    """(N, 1, H, W) in 0 … 1: which share of the neighbours lies on another side, softened."""
    gap = (census(a, radius) - census(b, radius)).square()
    return (gap / (0.1 + gap)).mean(1, keepdim=True)


def ssim_distance(a: Tensor, b: Tensor) -> Tensor:
    """(1 - SSIM) / 2, (N, C, H, W) in 0 … 1, over windows of 3 × 3; images in 0 … 1. Wang et al., 2004."""
    a, b = (F.pad(x, [1] * 4, mode="reflect") for x in (a, b))
    mean_a, mean_b = F.avg_pool2d(a, 3, 1), F.avg_pool2d(b, 3, 1)
    var_a = F.avg_pool2d(a * a, 3, 1) - mean_a.square()
    var_b = F.avg_pool2d(b * b, 3, 1) - mean_b.square()
    both = F.avg_pool2d(a * b, 3, 1) - mean_a * mean_b
    small, smaller = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + small) * (2 * both + smaller)
    bottom = (mean_a.square() + mean_b.square() + small) * (var_a + var_b + smaller)
    return ((1 - top / bottom) / 2).clamp(0, 1)


def photometric(a: Tensor, b: Tensor, share: float = 0.85) -> Tensor:
    """(N, 1, H, W): SSIM's distance and the absolute one of images in 0 … 255. Godard et al., 2017."""
    a, b = a / 255, b / 255
    each = share * ssim_distance(a, b) + (1 - share) * (a - b).abs()
    return each.mean(1, keepdim=True)


def local_contrast(image: Tensor, radius: int = 4, floor: float = 2.0) -> tuple[Tensor, Tensor]:
    """Greys (N, 1, H, W) less their mean around, over their deviation around + `floor`; and that deviation.

    image: (N, 3, H, W) in 0 … 255. Zhang et al., ActiveStereoNet, 2018, equation 1.
    """
    light = grey(image)
    side = 2 * radius + 1
    padded = F.pad(light, [radius] * 4, mode="reflect")
    mean = F.avg_pool2d(padded, side, 1)
    spread = (F.avg_pool2d(padded.square(), side, 1) - mean.square()).clamp_min(1e-4).sqrt()
    return (light - mean) / (spread + floor), spread
