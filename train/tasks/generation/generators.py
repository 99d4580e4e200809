"""What makes images from noise, and what tells made ones from real ones."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.tasks.contract.draw import Draw

NOISE = 100
HALF = 127.5
CELLS = 8  # a side, of which images must differ


class Dense(nn.Module):
    """Noise (N, 100) → images (N, 3, side, side), 0 … 255, by two full layers. Goodfellow et al., 2014."""

    def __init__(self, side: int, width: int = 512):
        super().__init__()
        self.side = side
        self.body = nn.Sequential(nn.Linear(NOISE, width), nn.ReLU(), nn.Linear(width, 3 * side**2))

    def forward(self, noise: Tensor) -> Tensor:
        """Images, rounded as stored ones are."""
        return rounded(self.body(noise).view(-1, 3, self.side, self.side))


class Convolutional(nn.Module):
    """Noise (N, 100) → images (N, 3, side, side), 0 … 255, from 4 × 4, doubled by interpolation and convolved.

    Radford, Metz and Chintala, 2015, have transposed convolutions, which leave a checkerboard (Odena, Dumoulin and
    Olah, Deconvolution and checkerboard artifacts, 2016). Group norm for batch norm, so that a batch may be split.
    """

    def __init__(self, side: int, width: int = 128):
        super().__init__()
        doublings = (side // 4).bit_length() - 1
        widths = [max(16, width >> k) for k in range(doublings + 1)]
        self.start = nn.Linear(NOISE, widths[0] * 16)
        steps: list[nn.Module] = [nn.Unflatten(1, (widths[0], 4, 4)), nn.GroupNorm(8, widths[0]), nn.ReLU()]
        for k in range(doublings):
            steps.append(nn.Upsample(scale_factor=2, mode="bilinear"))
            steps.append(nn.Conv2d(widths[k], widths[k + 1], 3, padding=1, bias=False))
            steps += [nn.GroupNorm(8, widths[k + 1]), nn.ReLU()]
        self.body = nn.Sequential(*steps, nn.Conv2d(widths[-1], 3, 3, padding=1))

    def forward(self, noise: Tensor) -> Tensor:
        """Images, rounded as stored ones are."""
        return rounded(self.body(self.start(noise)))


def rounded(x: Tensor) -> Tensor:
    """Numbers → 0 … 255 by tanh, whole in value but not in gradient: what isn't whole would give them away."""
    image = HALF * (1 + torch.tanh(x.float()))
    return image + (image.round() - image).detach()


class Judge(nn.Module):
    """Images (N, c, h, w) around 0, and `beside` numbers beside them → a logit (N,) each, positive = real."""

    def __init__(self, channels: int = 3, beside: int = 0, width: int = 32):
        super().__init__()
        widths = [channels, width, 2 * width, 4 * width]
        steps: list[nn.Module] = []
        for k, (a, b) in enumerate(pairwise(widths)):
            steps += [nn.Conv2d(a, b, 4, 2, 1), *([nn.GroupNorm(8, b)] if k else []), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*steps, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.out = nn.Sequential(
            nn.Linear(4 * widths[-1] + beside, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1)
        )

    def forward(self, image: Tensor, beside: Tensor | None = None) -> Tensor:
        """Logits."""
        x = self.body(image)
        told: Tensor = self.out(x if beside is None else torch.cat([x, beside], 1))
        return told[:, 0]


def real(logits: Tensor) -> Tensor:
    """−log probability (N,) of being real."""
    return F.softplus(-logits)


def made(logits: Tensor) -> Tensor:
    """−log probability (N,) of being made."""
    return F.softplus(logits)


def alike(one: Tensor, other: Tensor, apart: float) -> Tensor:
    """How much less than `apart` images (N, 3, H, W) differ: mean difference of 8 × 8 cells, in halves of white.

    Mao et al., Mode seeking generative adversarial networks, 2019, as a hinge: enough is enough. Of single pixels
    noise would differ as much.
    """
    small = [F.adaptive_avg_pool2d(image / HALF, CELLS) for image in (one, other)]
    return F.relu(apart - (small[0] - small[1]).abs().flatten(1).mean(1))


def grain(draw: Draw, most: float, side: int) -> Tensor:
    """Noise (N, 1, 3, side, side), levels, of a strength between none and `most` for each sample.

    Added to real and to made images alike. Sønderby et al., Amortised MAP inference for image super-resolution,
    2017; at all strengths at once as in Wang et al., Diffusion-GAN, 2023.
    """
    return most * draw.uniform(1, 1, 1, 1) * draw.normal(1, 3, side, side)


def shrunk(image: Tensor, side: int) -> Tensor:
    """Images (N, 3, S, S) at another side, averaged, whole numbers in float32."""
    return F.interpolate(image.float(), (side, side), mode="area").round()
