"""Renders made to look real before anything learns from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.windows import SYNTHETIC
from freelabels.train.model.network import with_weights_held
from freelabels.train.objective.adversaries.base import Adversary, accuracy, balanced, labels_like

LEVEL, SPREAD = 128.0, 64.0
SIDE = 2  # pixels that the refiner sees as one place, four times the channels


class Refiner(nn.Module):
    """Images around 0 → what is added to them: residual blocks at half the size, nothing at first."""

    def __init__(self, width: int, blocks: int = 2):
        super().__init__()
        self.start = nn.Conv2d(3 * SIDE**2, width, 3, padding=1)
        self.blocks = nn.ModuleList([Residual(width) for _ in range(blocks)])
        self.out = nn.Conv2d(width, 3 * SIDE**2, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(cast(Tensor, self.out.bias))

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W), even sides."""
        x = F.relu(self.start(F.pixel_unshuffle(image, SIDE)))
        for one in self.blocks:
            x = one(x)
        return F.pixel_shuffle(self.out(x), SIDE)


class Residual(nn.Module):
    """Two convolutions, added to what comes in."""

    def __init__(self, width: int):
        super().__init__()
        self.one, self.two = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return F.relu(x + self.two(F.relu(self.one(x))))


class Refined(Adversary):
    """Synthetic images are shown as a small net repaints them, so that a judge of patches takes them for real.

    Labels stay as they are, since an image is held to its render by the mean distance of pixels times `keep`.
    Tasks don't train the refiner. Shrivastava et al., Learning from simulated and unsupervised images through
    adversarial training, 2017. Smaller than in the paper: no history of refined images, a step of both at once.
    """

    def build(self, channels: Sequence[int], outputs: Mapping[str, int]) -> None:
        """The refiner and a judge of patches."""
        width = self.config.width
        self.refiner = Refiner(width)
        self.judge = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 4, 2, 1),
            nn.GroupNorm(8, width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 3, padding=1),
        )
        self._shown: tuple[Tensor, Tensor] | None = None  # of one step: images around 0, refined and before

    def images(self, image: Tensor, domain: Tensor) -> Tensor:
        """Real images untouched, synthetic ones refined; whole numbers, as stored ones are."""
        before = (image.float() - LEVEL) / SPREAD
        synthetic = (domain == SYNTHETIC).view(-1, 1, 1, 1)
        if not bool(synthetic.any()):
            self._shown = (before, before) if self.training else None
            return image
        refined = torch.where(synthetic, before + self.refiner(before), before)
        pixels = (refined * SPREAD + LEVEL).clamp(0, 255)
        pixels = pixels + (pixels.round() - pixels).detach()  # whole in value but not in gradient
        self._shown = ((pixels - LEVEL) / SPREAD, before) if self.training else None
        return pixels.detach()

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """The judge's loss, and the refiner's against it with its distance from the renders."""
        if self._shown is None:
            return stages[0].new_zeros(())
        shown, before = self._shown
        self._shown = None
        logits = self.judge(shown.detach()).float()
        self.seen = accuracy(logits.detach(), domain)
        truth = labels_like(logits, domain)
        told = balanced(F.binary_cross_entropy_with_logits(logits, truth, reduction="none"), domain)
        held = cast(Tensor, with_weights_held(self.judge, shown)).float()
        weight = (domain == SYNTHETIC).float()
        fooled = F.softplus(held).flatten(1).mean(1)
        moved = (shown - before).abs().flatten(1).mean(1)
        each = self.ramp * self.config.weight * fooled + self.config.keep * moved
        return told + (weight * each).sum() / weight.sum().clamp_min(1)
