"""What every domain adversary is, and how both domains are made to count alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from freelabels.train.config import AdversaryConfig
from freelabels.train.data.windows import SYNTHETIC
from freelabels.train.tasks.losses import EPSILON


class Adversary(nn.Module):
    """The base, which does nothing: the adversary called none.

    ramp: how far the adversary is turned up, 0 … 1; a buffer, so that a resumed run goes on with it.
    `seen` holds the domain accuracy of the last forward, where there is a discriminator.
    """

    ramp: Tensor
    needs_both_domains = True

    def __init__(self, config: AdversaryConfig, channels: Sequence[int], outputs: Mapping[str, int]):
        super().__init__()
        self.config = config
        self.register_buffer("ramp", torch.zeros(()))
        self.seen: Tensor | None = None
        self.build(channels, outputs)

    def build(self, channels: Sequence[int], outputs: Mapping[str, int]) -> None:
        """Make the modules; channels: of the backbone's maps; outputs: channels of the dense predictions."""

    def advance(self, progress: float) -> None:
        """Turn the ramp up for `progress` (0 … 1) of training. Ganin et al., 2016, section 5.2."""
        self.ramp.fill_(2 / (1 + math.exp(-10 * progress)) - 1)

    def images(self, image: Tensor, domain: Tensor) -> Tensor:
        """The images (N, 3, H, W), 0 … 255, that the network is shown."""
        return image

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """The adversary's loss; domain (N,) 0 real, 1 synthetic."""
        return stages[0].new_zeros(())


class NoAdversary(Adversary):
    """Tasks alone."""

    needs_both_domains = False


def discriminator(channels: int, width: int) -> nn.Sequential:
    """Patch discriminator: feature map (N, C, h, w) → a logit per place (N, 1, h, w); positive = synthetic.

    It sees every channel at unit spread, so that the domain can't hide in channels that vary little.
    """
    return nn.Sequential(
        nn.BatchNorm2d(channels, affine=False),
        nn.Conv2d(channels, width, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, width, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 1, 1),
    )


def labels_like(logits: Tensor, domain: Tensor) -> Tensor:
    """The domain (N,) spread over the places of `logits` (N, 1, h, w)."""
    return domain.to(logits.dtype).view(-1, 1, 1, 1).expand_as(logits)


def balanced(values: Tensor, domain: Tensor) -> Tensor:
    """Mean over (N, …) in which both domains count the same; of one domain alone, its half."""
    per_image = values.flatten(1).mean(1)
    synthetic = (domain == SYNTHETIC).to(per_image.dtype)
    means = [(per_image * side).sum() / side.sum().clamp_min(1) for side in (synthetic, 1 - synthetic)]
    return (means[0] + means[1]) / 2


def accuracy(logits: Tensor, domain: Tensor) -> Tensor:
    """How often the sign tells the domain, both domains counting the same."""
    return balanced(((logits > 0) == (labels_like(logits, domain) > 0.5)).float(), domain)


def pooled_statistics(feature: Tensor) -> Tensor:
    """Mean and standard deviation (N, 2 C) of a feature map (N, C, h, w) over its places, float32."""
    x = feature.float().flatten(2)
    return torch.cat([x.mean(2), (x.var(2, correction=0) + EPSILON).sqrt()], dim=1)
