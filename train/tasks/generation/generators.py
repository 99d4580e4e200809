"""What makes images from noise, and what tells made ones from real ones."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.tasks.contract.draw import Draw

NOISE = 100
HALF = 127.5
CELLS = 8  # a side, of which images must differ


class Dense(nn.Module):
    """Noise (N, 100) → images (N, 3, side, side), 0 … 255, by two full layers. Goodfellow et al., 2014.

    The second one answers for maps of 4, 8, … up to the side, which are enlarged and added up, the finer the
    weaker, as contrast is in photos: were each pixel on its own, Adam would take as large a step in the finest
    grain as in what a whole region shares, and the image would become grain before it has colours.
    """

    def __init__(self, side: int, width: int = 512):
        super().__init__()
        self.side, self.cells = side, [*cells_of(side), side]
        numbers = 3 * sum(cells**2 for cells in self.cells)
        self.body = nn.Sequential(nn.Linear(NOISE, width), nn.ReLU(), nn.Linear(width, numbers))

    def forward(self, noise: Tensor) -> Tensor:
        """Images, rounded as stored ones are."""
        maps = self.body(noise).split([3 * cells**2 for cells in self.cells], 1)
        image = noise.new_zeros(len(noise), 3, self.side, self.side)
        for cells, numbers in zip(self.cells, maps, strict=True):
            coarse = numbers.view(-1, 3, cells, cells)
            whole = F.interpolate(coarse, (self.side, self.side), mode="bilinear")
            image = image + (self.cells[0] / cells) ** 0.5 * whole
        return rounded(image)


class Convolutional(nn.Module):
    """Noise (N, 100) → images (N, 3, side, side), 0 … 255, doubled from 4 × 4 and convolved.

    Radford, Metz and Chintala, 2015, with group norm for batch norm, so that a batch may be split, and maps
    doubled by interpolation, which leaves no checkerboard (Odena, Dumoulin and Olah, Deconvolution and
    checkerboard artifacts, 2016).
    """

    def __init__(self, side: int, width: int = 128):
        super().__init__()
        doublings = (side // 4).bit_length() - 1
        widths = [max(16, width >> k) for k in range(doublings + 1)]
        self.start = nn.Linear(NOISE, widths[0] * 16)
        steps: list[nn.Module] = [nn.Unflatten(1, (widths[0], 4, 4)), nn.GroupNorm(8, widths[0]), nn.ReLU()]
        for one, other in pairwise(widths):
            steps.append(nn.Upsample(scale_factor=2, mode="bilinear"))
            steps.append(nn.Conv2d(one, other, 3, padding=1, bias=False))
            steps += [nn.GroupNorm(8, other), nn.ReLU()]
        self.body = nn.Sequential(*steps, nn.Conv2d(widths[-1], 3, 3, padding=1))

    def forward(self, noise: Tensor) -> Tensor:
        """Images, rounded as stored ones are."""
        return rounded(self.body(self.start(noise)))


def rounded(x: Tensor) -> Tensor:
    """Numbers → 0 … 255 by tanh, whole in value but not in gradient."""
    return whole(HALF * (1 + torch.tanh(x.float())))


def whole(image: Tensor) -> Tensor:
    """Whole in value but not in gradient: what isn't whole would give away what is made."""
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
    """How much less than `apart` images (N, c, H, W) differ: mean difference of 8 × 8 cells, in halves of white.

    Mao et al., Mode seeking generative adversarial networks, 2019, as a hinge: enough is enough. Of single pixels
    noise would differ as much.
    """
    small = [F.adaptive_avg_pool2d(image / HALF, CELLS) for image in (one, other)]
    return F.relu(apart - (small[0] - small[1]).abs().flatten(1).mean(1))


@dataclass(frozen=True)
class Veil:
    """What hides how images are made where they are judged: each sample's sharpness (N,), its noise, levels.

    level: on how many cells a side colours are left, doubled each time from 4; the last one leaves an image as it
    is. grain: float32 (N, 1, c, side, side), of a strength between none and the most for each sample.
    """

    level: Tensor
    grain: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, k, c, side, side) as they are judged, real and made ones of a sample alike."""
        side, flat = images.shape[-1], images.flatten(0, 1)
        coarse = [
            F.interpolate(F.adaptive_avg_pool2d(flat, cells), (side, side), mode="bilinear").view_as(images)
            for cells in cells_of(side)
        ]
        rows = torch.arange(len(images), device=images.device)
        return torch.stack([*coarse, images])[self.level, rows] + self.grain


def veil(draw: Draw, most: float, side: int, channels: int = 3) -> Veil:
    """Of any sharpness alike, and of noise up to `most` levels strong. channels: of an image or a whole clip.

    Noise: Sønderby et al., Amortised MAP inference for image super-resolution, 2017. All sharpnesses at once stand
    for one after the other in Karras et al., Progressive growing of GANs, 2018.
    """
    level = draw.integers(1 + len(cells_of(side)))
    return Veil(level, most * draw.uniform(1, 1, 1, 1) * draw.normal(1, channels, side, side))


def cells_of(side: int) -> list[int]:
    """4, 8, … below the side."""
    return [4 << k for k in range((side // 4).bit_length() - 1)]


def shrunk(image: Tensor, side: int) -> Tensor:
    """Images (N, 3, S, S) at another side, averaged, whole numbers in float32."""
    return F.interpolate(image.float(), (side, side), mode="area").round()
