"""Parameters in groups for the optimiser: those that learn at a rate of their own apart from all others."""

from __future__ import annotations

from typing import Any

from timm.optim import param_groups_weight_decay
from torch import nn

from freelabels.train.objective.learner import Learner
from freelabels.train.tasks.contract.task import Rate


def groups(learner: Learner, weight_decay: float) -> list[dict[str, Any]]:
    """Groups of all parameters: first those without and with weight decay, then those of `Task.rates`, likewise.

    Without such rates they are timm's own groups, in their order. `lr_scale` is what timm's schedulers multiply
    the learning rate by; optimisers that have no betas leave these alone.
    """
    own = _own(learner)
    whole: list[dict[str, Any]] = param_groups_weight_decay(learner, weight_decay)
    if not own:
        return whole
    split = [{**group, "params": [p for p in group["params"] if p not in own]} for group in whole]
    for rate in dict.fromkeys(own.values()):
        facts: dict[str, Any] = {"lr_scale": rate.share}
        facts |= {} if rate.betas is None else {"betas": rate.betas}
        for group in whole:
            split.append({**group, **facts, "params": [p for p in group["params"] if own.get(p) == rate]})
    return [group for group in split if group["params"]]


def _own(learner: Learner) -> dict[nn.Parameter, Rate]:
    """The rate of every parameter that has one of its own."""
    return {
        parameter: rate
        for name, task in learner.tasks.items()
        for part, rate in task.rates.items()
        for parameter in learner.model.heads[name].get_submodule(part).parameters()
    }
