"""Discriminators behind a gradient reversal: on one stage, on all, and on features times predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.objective.adversaries.base import (
    Adversary,
    accuracy,
    balanced,
    discriminator,
    labels_like,
)


class Reverse(torch.autograd.Function):
    """Identity forward, gradient times −`factor` backward. Ganin and Lempitsky, 2015."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
        """`x` itself."""
        ctx.save_for_backward(factor)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The gradient turned round."""
        (factor,) = ctx.saved_tensors
        return -factor * gradient, None


def reverse(x: Tensor, factor: Tensor) -> Tensor:
    """Reverse the gradient through `x`."""
    return cast(Tensor, Reverse.apply(x, factor))


class Reversal(Adversary):
    """A patch discriminator behind a gradient reversal. Ganin et al., Domain-adversarial training, 2016."""

    def build(self, channels: Sequence[int], outputs: Mapping[str, int]) -> None:
        """One discriminator."""
        self.judge = discriminator(channels[self.config.stage], self.config.width)

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """Cross-entropy of the discriminator; its gradient reaches the trunk reversed, times ramp and weight."""
        logits = self.judge(reverse(stages[self.config.stage], self.ramp * self.config.weight)).float()
        return self.judged(logits, domain)

    def judged(self, logits: Tensor, domain: Tensor) -> Tensor:
        """Cross-entropy over places and images."""
        self.seen = accuracy(logits.detach(), domain)
        each = F.binary_cross_entropy_with_logits(logits, labels_like(logits, domain), reduction="none")
        return balanced(each, domain)


class MultiLevel(Reversal):
    """Patch discriminators on every stage. Tsai et al., Learning to adapt structured output space, 2018."""

    def build(self, channels: Sequence[int], outputs: Mapping[str, int]) -> None:
        """One discriminator a stage."""
        self.judges = nn.ModuleList([discriminator(c, self.config.width) for c in channels])

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """Mean cross-entropy over the stages."""
        factor = self.ramp * self.config.weight
        losses, seen = [], []
        for judge, stage in zip(self.judges, stages, strict=True):
            losses.append(self.judged(judge(reverse(stage, factor)).float(), domain))
            seen.append(cast(Tensor, self.seen))
        self.seen = torch.stack(seen).mean()
        return torch.stack(losses).mean()


class Conditional(Reversal):
    """The discriminator sees the products of features and predictions. Long et al., CDAN, 2018."""

    def build(self, channels: Sequence[int], outputs: Mapping[str, int]) -> None:
        """A projection of the feature, and a discriminator of its products."""
        self.narrow = nn.Conv2d(channels[self.config.stage], 32, 1)
        self.judge = discriminator(32 * (1 + sum(outputs.values())), self.config.width)

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """As Reversal, on features ⊗ (1, predictions); predictions condition, they aren't adapted."""
        feature = self.narrow(reverse(stages[self.config.stage], self.ramp * self.config.weight)).float()
        size = (feature.shape[-2], feature.shape[-1])
        shrunk = [F.adaptive_avg_pool2d(torch.tanh(p.detach().float()), size) for p in predictions.values()]
        condition = torch.cat([torch.ones_like(feature[:, :1]), *shrunk], dim=1)
        product = torch.einsum("nchw,nkhw->nckhw", feature, condition).flatten(1, 2)
        return self.judged(self.judge(product).float(), domain)
