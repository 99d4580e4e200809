"""Statistics of both domains' features brought together: covariances, or kernel means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.train.data.windows import SYNTHETIC
from freelabels.train.objective.adversaries.base import Adversary
from freelabels.train.tasks.losses import EPSILON


class Coral(Adversary):
    """Equal covariances of the domains' features. Sun and Saenko, Deep CORAL, 2016 (means included)."""

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """Squared difference of means and covariances, per channel."""
        real, synthetic = by_domain(stages[self.config.stage], domain)
        if not len(real) or not len(synthetic):
            return stages[0].new_zeros(())
        means = real.mean(0) - synthetic.mean(0)
        covariances = _covariance(real) - _covariance(synthetic)
        width = real.shape[1]
        loss = means.square().sum() / width + covariances.square().sum() / (4 * width)
        return self.ramp * self.config.weight * loss


class MaximumMeanDiscrepancy(Adversary):
    """Equal distributions under a sum of Gaussian kernels. Long et al., Deep adaptation networks, 2015."""

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """Squared discrepancy; widths are multiples of the mean squared distance in the batch."""
        real, synthetic = by_domain(stages[self.config.stage], domain)
        if not len(real) or not len(synthetic):
            return stages[0].new_zeros(())
        x = torch.cat([real, synthetic])
        square = x.square().sum(1)
        distances = (square[:, None] + square[None] - 2 * x @ x.T).clamp_min(0)
        scale = distances.detach().mean().clamp_min(EPSILON)
        kernel = torch.stack(
            [torch.exp(-distances / (scale * width)) for width in (0.25, 0.5, 1, 2, 4)]
        ).mean(0)
        n = len(real)
        loss = kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()
        return self.ramp * self.config.weight * loss


def by_domain(feature: Tensor, domain: Tensor) -> tuple[Tensor, Tensor]:
    """Places of feature maps as vectors (n, C) in float32: real, synthetic; at most 16 places an image."""
    side = (min(4, feature.shape[-2]), min(4, feature.shape[-1]))
    x = F.adaptive_avg_pool2d(feature.float(), side).flatten(2).transpose(1, 2)  # (N, places, C)
    return x[domain != SYNTHETIC].flatten(0, 1), x[domain == SYNTHETIC].flatten(0, 1)


def _covariance(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred.T @ centred / max(len(x) - 1, 1)
