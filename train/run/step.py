"""One optimiser step: the gradient of a whole batch, however it is split over parts and ranks, and its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from freelabels.ground.errors import UserError
from freelabels.train.data.loader import Batch, to_device
from freelabels.train.model import ranks
from freelabels.train.objective.inputs import Inputs, prepare
from freelabels.train.objective.learner import TEACHER_OFF, Learner
from freelabels.train.run.state import RunState


def step(state: RunState, batches: Sequence[Batch]) -> dict[str, Any]:
    """Take one optimiser step on its parts; returns its figures as tensors.

    Raises UserError if a loss or the gradient isn't finite; then no weight was changed.
    """
    config, learner = state.config, state.learner
    parts = [prepare(learner.tasks, to_device(batch, state.device), learner.labels) for batch in batches]
    learner.adversary.advance((state.step + 1) / config.steps)
    teacher = (lambda part: _teach(state, part)) if config.robust.choice == "bootstrap" else None
    losses, adversarial = backward(learner, state.wrapped, parts, teacher)
    norm = nn.utils.clip_grad_norm_(learner.parameters(), config.clip or float("inf"))
    if not bool(torch.isfinite(norm)):
        names = [name for name, x in zip(learner.tasks, losses, strict=True) if not bool(x.isfinite())]
        what = f"loss of {', '.join(names)}" if names else "gradient"
        raise UserError(
            f"step {state.step + 1}: the {what} is not finite; the last checkpoint stands. "
            "Lower --lr, or look at the labels with `freelabels verify`"
        )
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.ema.update(learner.model, step=state.step)
    state.step += 1
    state.scheduler.step(state.step)
    facts: dict[str, Any] = {"losses": dict(zip(learner.tasks, ranks.mean(losses), strict=True))}
    facts |= {"gradient_norm": norm, "lr": state.optimizer.param_groups[0]["lr"]}
    if config.adversary.name != "none":
        facts["adversary"] = {"loss": adversarial, "ramp": learner.adversary.ramp}
        if learner.adversary.seen is not None:
            facts["adversary"]["domain_accuracy"] = learner.adversary.seen
        if learner.measure:
            facts["adversary"]["gradient_ratio"] = learner.gradient_ratio
    if learner.lasso:
        facts["mix"] = learner.mix.shares()
    return facts


def backward(
    learner: Learner,
    wrapped: nn.Module,
    parts: Sequence[Inputs],
    teach: Callable[[Inputs], Mapping[str, Tensor]] | None = None,
) -> tuple[Tensor, Tensor]:
    """Leave the gradient of a whole step in `learner`, from this rank's parts of it.

    wrapped: the learner itself, or it in DistributedDataParallel. Returns this rank's summed losses (k,), whose
    mean over ranks is the step's, and the adversary's. However the batch is split, the gradient is the same.
    """
    counts = ranks.total(torch.stack([part.counts() for part in parts]).sum(0))
    losses, adversarial = [], []
    for k, part in enumerate(parts):
        last = k == len(parts) - 1
        hold = (
            wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) and not last else nullcontext()
        )
        with hold:
            objective = wrapped(part, counts, 1 / len(parts), teach(part) if teach else TEACHER_OFF)
            objective.backward()
        losses.append(learner.losses)
        adversarial.append(learner.adversarial)
    return torch.stack(losses).sum(0), torch.stack(adversarial).sum()


@torch.no_grad()
def _teach(state: RunState, inputs: Inputs) -> dict[str, Tensor]:
    """The averaged model's answers, of the tasks that can learn from them."""
    with state.averaged():
        answers = state.learner.predict(inputs).answers
    taught = {name: task.teach(answers[name]) for name, task in state.learner.tasks.items()}
    return {name: answer for name, answer in taught.items() if answer is not None}
