"""A judge solved for in closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from freelabels.train.objective.adversaries.base import Adversary, accuracy, pooled_statistics
from freelabels.train.tasks.losses import EPSILON


class Ridge(Adversary):
    """The best linear judge of an image's pooled statistics, solved for in closed form at every step.

    A judge that learns by gradient is always behind: the trunk turns the domain into another direction and the
    judge follows, in a circle. One that is solved for has no such lag, and its loss only has to fall.
    Sadeghi, Wang and Boddeti, Adversarial representation learning with closed-form solvers, 2021 (linear kernel).
    """

    pool: Tensor
    pooled_domain: Tensor
    written: Tensor

    def build(self, channels: Sequence[int], outputs: Mapping[str, int]) -> None:
        """An empty pool of past statistics, the oldest replaced first."""
        self.register_buffer("pool", torch.zeros(self.config.pool, 2 * channels[self.config.stage]))
        self.register_buffer("pooled_domain", torch.full((self.config.pool,), -1.0))
        self.register_buffer("written", torch.zeros((), dtype=torch.long))

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """−½ log(1 − R²), R² the share of the domain's variance that the judge explains."""
        now, told = pooled_statistics(stages[self.config.stage]), domain.float()
        filled = self.pooled_domain >= 0
        x, t = torch.cat([now, self.pool[filled]]), torch.cat([told, self.pooled_domain[filled]])
        if self.training:
            self._remember(now.detach(), told)
        share = t.mean()
        if not 0 < float(share) < 1:
            return now.new_zeros(())
        weight = torch.where(t > 0.5, 0.5 / share, 0.5 / (1 - share)) / len(t)
        centred = x - weight @ x
        spread = (weight @ centred.detach().square()).sqrt() + EPSILON
        rows = centred / spread * weight.sqrt()[:, None]
        sign = (2 * t - 1) * weight.sqrt()
        gram = rows @ rows.T
        judged = gram @ torch.linalg.solve(gram + self.config.penalty * torch.eye(len(t)).to(gram), sign)
        self.seen = accuracy(judged.detach()[: len(now), None, None, None], domain)
        explained = (judged @ sign).clamp(0, 1 - 1e-4)
        return -0.5 * self.ramp * self.config.weight * torch.log1p(-explained)

    def _remember(self, now: Tensor, told: Tensor) -> None:
        """Put the batch in the place of the oldest."""
        now, told = now[: len(self.pool)], told[: len(self.pool)]
        places = (self.written + torch.arange(len(now), device=now.device)) % len(self.pool)
        # New tensors: the graph of this step still needs the old ones.
        self.pool, self.pooled_domain = (
            self.pool.index_copy(0, places, now),
            self.pooled_domain.index_copy(0, places, told),
        )
        self.written = self.written + len(now)
