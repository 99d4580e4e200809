"""Colours as CIE Lab, and the bins that they are told apart by."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

SPACING = 10.0  # of ab bins
# sRGB (D65) → XYZ, IEC 61966-2-1, each row divided by the white point's.
TO_XYZ = (
    (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)


def lab(image: Tensor) -> Tensor:
    """L (0 … 100), a and b, float32 (N, 3, H, W), of sRGB images 0 … 255."""
    x = image.float() / 255
    linear = torch.where(x > 0.04045, ((x.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4, x / 12.92)
    xyz = torch.einsum("rc,nchw->nrhw", torch.tensor(TO_XYZ, device=x.device), linear)
    f = torch.where(xyz > 0.008856, xyz.clamp_min(0.008856) ** (1 / 3), 7.787 * xyz + 16 / 116)
    X, Y, Z = f.unbind(1)
    return torch.stack([116 * Y - 16, 500 * (X - Y), 200 * (Y - Z)], 1)


def rgb(values: Tensor) -> Tensor:
    """SRGB images 0 … 255 of L, a and b (N, 3, H, W): the inverse of `lab`, what no screen shows cut off."""
    L, a, b = values.float().unbind(1)
    y = (L + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], 1)
    xyz = torch.where(f**3 > 0.008856, f**3, (f - 16 / 116) / 7.787)
    linear = torch.einsum("rc,nchw->nrhw", torch.linalg.inv(torch.tensor(TO_XYZ, device=f.device)), xyz)
    linear = linear.clamp(0, 1)
    curved = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return 255 * torch.where(linear > 0.0031308, curved, 12.92 * linear)


@cache
def ab_bins() -> Tensor:
    """(Q, 2) centres of the bins of a and b, `SPACING` apart, that some sRGB colour falls into."""
    steps = torch.arange(0, 256, 5.0)
    cube = torch.cartesian_prod(steps, steps, steps).T[None, :, None]  # (1, 3, 1, n)
    ab = lab(cube)[0, 1:, 0].T
    bins: Tensor = torch.unique((ab / SPACING).round(), dim=0)
    return bins * SPACING


def nearest_bins(ab: Tensor, count: int, spread: float) -> tuple[Tensor, Tensor]:
    """Indices and Gaussian weights of sum one, (N, count, h, w), of the bins nearest to ab (N, 2, h, w)."""
    flat = ab.permute(0, 2, 3, 1).flatten(0, 2)
    distance, index = torch.cdist(flat, ab_bins().to(ab.device)).topk(count, dim=1, largest=False)
    weight = torch.softmax(-distance.square() / (2 * spread**2), 1)
    shape = (len(ab), *ab.shape[2:], count)
    return index.view(shape).permute(0, 3, 1, 2), weight.view(shape).permute(0, 3, 1, 2)
