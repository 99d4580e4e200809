"""A least-squares GAN on features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.train.objective.adversaries.base import (
    Adversary,
    accuracy,
    balanced,
    discriminator,
    labels_like,
)


class LeastSquares(Adversary):
    """A least-squares GAN on features, its discriminator also shown past ones.

    Mao et al., Least squares generative adversarial networks, 2017; Shrivastava et al. 2017, section 2.3
    (history). The trunk is asked to make both domains look half-way, which has no winner to fall for.
    """

    pool: Tensor
    pooled_domain: Tensor

    def build(self, channels: Sequence[int], outputs: Mapping[str, int]) -> None:
        """A discriminator and an empty pool, which takes its shape from the first features."""
        self.judge = discriminator(channels[self.config.stage], self.config.width)
        self.register_buffer("pool", torch.zeros(self.config.pool, channels[self.config.stage], 4, 4))
        self.register_buffer("pooled_domain", torch.full((self.config.pool,), -1.0))

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """Discriminator's loss on detached features and the pool, plus the trunk's against a fixed judge."""
        feature = stages[self.config.stage]
        logits = self.judge(feature.detach()).float()
        self.seen = accuracy(logits.detach() - 0.5, domain)
        judge_loss = balanced((logits - labels_like(logits, domain)).square(), domain)
        filled = self.pooled_domain >= 0
        if bool(filled.any()):
            past = self.judge(self.pool[filled].to(feature.dtype)).float()
            told = self.pooled_domain[filled]
            judge_loss = (judge_loss + balanced((past - labels_like(past, told)).square(), told)) / 2
        if self.training:
            self._remember(feature.detach(), domain)
        fixed = {name: p.detach() for name, p in self.judge.named_parameters()}
        fixed |= {name: b.clone() for name, b in self.judge.named_buffers()}  # the norm's running statistics
        shown = torch.func.functional_call(self.judge, fixed, (feature,)).float()
        trunk_loss = balanced((shown - 0.5).square(), domain)
        return judge_loss + self.ramp * self.config.weight * trunk_loss

    def _remember(self, feature: Tensor, domain: Tensor) -> None:
        """Put half of the batch into random places of the pool."""
        small = F.adaptive_avg_pool2d(feature.float(), 4)
        chosen = torch.randperm(len(small))[: max(1, len(small) // 2)]
        places = torch.randperm(len(self.pool))[: len(chosen)]
        chosen = chosen[: len(places)]
        # New tensors: the graph of this step still needs the old ones.
        pool, told = self.pool.clone(), self.pooled_domain.clone()
        pool[places], told[places] = small[chosen], domain[chosen].to(told.dtype)
        self.pool, self.pooled_domain = pool, told
