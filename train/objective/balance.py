"""How several tasks share one trunk: each method gives the coefficient of every task's loss for this step.

All that they need of gradients is their Gram matrix at the feature that the heads share (k × k inner products,
summed over ranks), which costs a backward pass through the heads only.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest
from freelabels.train.config import BalanceConfig

TINY = 1e-12


class Balance(nn.Module):
    """Fixed: every task counts once. The base of the others."""

    wants_gram: ClassVar[bool] = False

    def __init__(self, config: BalanceConfig, tasks: int):
        super().__init__()
        self.config, self.tasks = config, tasks
        self.build()

    def build(self) -> None:
        """Make parameters and buffers."""

    def coefficients(self, losses: Tensor, gram: Tensor) -> Tensor:
        """Coefficients (k,), without a gradient, from this step's losses (k,) and Gram matrix (k, k)."""
        return torch.ones_like(losses)

    def forward(self, losses: Tensor, seen: Tensor, gram: Tensor, share: float) -> Tensor:
        """The scalar to minimise. losses: this part's, with a gradient; seen: their values over all ranks.

        share: this part's share of the step, 1 / number of accumulated parts.
        """
        return (self.coefficients(seen, gram).detach() * losses).sum()


class Uncertainty(Balance):
    """Learned log variances. Kendall, Gal and Cipolla, Multi-task learning using uncertainty, 2018."""

    def build(self) -> None:
        """A log variance a task."""
        self.log_variance = nn.Parameter(torch.zeros(self.tasks))

    def forward(self, losses: Tensor, seen: Tensor, gram: Tensor, share: float) -> Tensor:
        """Σ exp(−s) loss + s."""
        return (torch.exp(-self.log_variance) * losses + share * self.log_variance).sum()


class WeightAverage(Balance):
    """Tasks that fall more slowly count more. Liu, Johns and Davison, Dynamic weight average, 2019."""

    steps: Tensor
    sums: Tensor
    means: Tensor

    def build(self) -> None:
        """Mean losses of the last two windows, and the running sum of this one."""
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("sums", torch.zeros(self.tasks))
        self.register_buffer("means", torch.zeros(2, self.tasks))

    def coefficients(self, losses: Tensor, gram: Tensor) -> Tensor:
        """Task count × softmax(rate of the last window ÷ temperature)."""
        self.sums += losses
        self.steps += 1
        if int(self.steps) % self.config.every == 0:
            self.means = torch.stack([self.means[1], self.sums / self.config.every])
            self.sums = torch.zeros_like(self.sums)
        if int(self.steps) < 2 * self.config.every:
            return torch.ones_like(losses)
        rate = self.means[1] / self.means[0].clamp_min(TINY)
        return self.tasks * torch.softmax(rate / self.config.temperature, 0)


class GradNorm(Balance):
    """Equal gradient norms at the shared feature, slow tasks more. Chen et al., GradNorm, 2018, algorithm 1."""

    wants_gram = True
    weights: Tensor
    first: Tensor

    def build(self) -> None:
        """Weights and the losses of the first step."""
        self.register_buffer("weights", torch.ones(self.tasks))
        self.register_buffer("first", torch.zeros(self.tasks))

    def coefficients(self, losses: Tensor, gram: Tensor) -> Tensor:
        """The weights, after one step on the L1 distance between norms and their targets."""
        self.first = torch.where(self.first > 0, self.first, losses)
        norm = gram.diagonal().clamp_min(0).sqrt()
        present = (norm > 0) & (losses > 0)
        if not bool(present.any()):
            return self.weights.clone()
        now = self.weights * norm
        rate = losses / self.first.clamp_min(TINY)
        rate = rate / rate[present].mean().clamp_min(TINY)
        target = now[present].mean() * rate**self.config.strength
        slope = torch.sign(now - target) * norm / norm[present].mean()
        weights = torch.where(present, self.weights - self.config.rate * slope, self.weights).clamp_min(0.01)
        self.weights = weights * self.tasks / weights.sum()
        return self.weights.clone()


class Surgery(Balance):
    """Each gradient loses what points against the others. Yu et al., Gradient surgery (PCGrad), 2020.

    A projected gradient is a combination of the tasks' gradients, so the Gram matrix says all. Tasks are taken
    in turn, not in random order.
    """

    wants_gram = True

    def coefficients(self, losses: Tensor, gram: Tensor) -> Tensor:
        """The sum over tasks of their projected gradients' combinations."""
        gram = gram.double().cpu()  # many small decisions
        combination = torch.eye(self.tasks, dtype=gram.dtype)
        for i in range(self.tasks):
            for j in range(self.tasks):
                dot = combination[i] @ gram[:, j]
                if i != j and bool(dot < 0) and bool(gram[j, j] > 0):
                    combination[i, j] -= dot / gram[j, j]
        return combination.sum(0).to(losses)


class FastAdaptive(Balance):
    """All losses fall at an equal relative rate. Liu et al., FAMO: Fast adaptive multitask optimization, 2023.

    The fall of log losses that a step brings is taken to first order from the Gram matrix, not from another
    forward pass on the same batch.
    """

    wants_gram = True
    logits: Tensor

    def build(self) -> None:
        """Logits of the weights."""
        self.register_buffer("logits", torch.zeros(self.tasks))

    def coefficients(self, losses: Tensor, gram: Tensor) -> Tensor:
        """Task count × weight ÷ loss, normalised; then the logits move towards the tasks that fall least."""
        present = losses > TINY
        if not bool(present.any()):
            return torch.ones_like(losses)
        weight = torch.softmax(self.logits.masked_fill(~present, -torch.inf), 0)
        inverse = torch.where(present, 1 / losses.clamp_min(TINY), 0.0)
        coefficients = weight * inverse / (weight * inverse).sum()
        falls = inverse * (gram @ coefficients)  # of the log losses, up to the step size
        falls = falls / falls.abs().max().clamp_min(TINY)
        slope = weight * (falls - (weight * falls).sum())  # softmax's Jacobian times the falls
        self.logits = self.logits - self.config.rate * slope * self.tasks
        return coefficients * present.sum()


BALANCES: dict[str, type[Balance]] = {
    "fixed": Balance,
    "uncertainty": Uncertainty,
    "dwa": WeightAverage,
    "gradnorm": GradNorm,
    "pcgrad": Surgery,
    "famo": FastAdaptive,
}


def make_balance(config: BalanceConfig, tasks: int) -> Balance:
    """The method called `config.name`. Raises UserError if there is none."""
    if config.name not in BALANCES:
        raise UserError(f"--balance.name {config.name}: {nearest(config.name, BALANCES)}")
    return BALANCES[config.name](config, tasks)


def gram_matrix(losses: Tensor, shared: Tensor) -> Tensor:
    """(k, k) inner products of the losses' gradients at the shared feature, on this rank."""
    gradients = []
    for one in losses:
        (gradient,) = torch.autograd.grad(
            one, shared, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        gradients.append(gradient.float().flatten())
    stacked = torch.stack(gradients)
    return stacked @ stacked.T
