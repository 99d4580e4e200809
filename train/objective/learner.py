"""One module for all that learns: the network, the adversary and the tasks' balance; a batch in, a scalar out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from freelabels.train.config import TrainConfig
from freelabels.train.model import ranks
from freelabels.train.model.mix import Mix
from freelabels.train.model.network import Features, Model, with_weights_held
from freelabels.train.objective.adversary import make_adversary
from freelabels.train.objective.balance import gram_matrix, make_balance
from freelabels.train.objective.inputs import Columns, Inputs
from freelabels.train.objective.seeing import FRAMES, Stream, see_all
from freelabels.train.tasks.contract.task import Asked, Seen, Task
from freelabels.train.tasks.labelled import Labelled

TEACHER_OFF: Mapping[str, Tensor] = {}


@dataclass(frozen=True)
class Predicted:
    """Answers by task, and what was asked; the trunk's features by size, frames first; how many frames."""

    answers: dict[str, Any]
    asked: dict[str, Asked]
    groups: list[Features]
    frames: int


class Learner(nn.Module):
    """Everything with parameters.

    After `forward`: `losses` (k,) of this rank's part, `adversarial` its adversary's loss, `gradient_ratio`
    the adversary's gradient over the tasks' at the adapted stage, if `measure` was set. `labels`: what tasks have
    made, by task; the run's book holds them.
    """

    def __init__(self, tasks: Mapping[str, Task], config: TrainConfig):
        super().__init__()
        self.tasks, self.size = dict(tasks), config.loader.size
        heads = {name: task.head for name, task in tasks.items()}
        self.model = Model(config.model, self.size, heads, any(task.clips for task in tasks.values()))
        self.lasso, self.grey = config.model.mix, config.model.grey
        if self.lasso:
            self.model.mix = Mix(self.model.shape, tasks)
        self.dense = {n: t.channels or 0 for n, t in tasks.items() if isinstance(t, Labelled) and t.dense}
        self.adversary = make_adversary(config.adversary, self.model.backbone.channels, self.dense)
        self.balance = make_balance(config.balance, len(tasks))
        self.precision: torch.dtype | None = None
        self.measure = False
        self.labels: dict[str, Columns] = {}
        self.losses = self.adversarial = self.gradient_ratio = torch.zeros(())

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The precision in which the network runs."""
        return torch.autocast(device.type, self.precision) if self.precision else nullcontext()

    def predict(self, inputs: Inputs) -> Predicted:
        """What all heads answer.

        The trunk and the bodies of heads on stored labels run in the learner's precision; what they answer, and
        all other heads, are float32, as bfloat16 has eight bits for an answer.
        Frames that neither a task nor the adversary looks at are left out.
        """
        with self.autocast(inputs.domain.device):
            asked = {n: task.paint(self.model.heads[n], inputs.asked[n]) for n, task in self.tasks.items()}
        frames = None
        if self.adversary.needs_both_domains or any(one.shared for one in asked.values()):
            images = self.adversary.images(inputs.frames.flatten(0, 1), inputs.frame_domain())
            frames = Stream(images, inputs.frames.shape[1], True)
        with self.autocast(inputs.domain.device):
            seen, groups = see_all(self.model, self.size, frames, asked, self.grey)
        answers = {}
        device = inputs.domain.device
        for name, task in self.tasks.items():
            mine = self._mixed(name, seen.get(name) or seen[FRAMES])
            stored = isinstance(task, Labelled)  # their heads see to it that what is answered is float32
            with self.autocast(device) if stored else torch.autocast(device.type, enabled=False):
                answers[name] = task.answer(self.model.heads[name], mine, asked[name])
        return Predicted(answers, asked, groups, len(frames.images) if frames else 0)

    @property
    def mix(self) -> Mix:
        """The tasks' mixes of stages, where there is a lasso."""
        return cast(Mix, self.model.mix)

    def _mixed(self, name: str, seen: Seen) -> Seen:
        """What a task sees, in its own mix of the stages if there are mixes."""
        if not self.lasso or not seen.stages:  # it sees clips alone
            return seen
        held = seen.held
        last, shared = self.mix(name, seen.stages, seen.shared)
        if held is not None:
            stage, maps = with_weights_held(self.mix, name, held.stages, held.shared)
            held = replace(held, stages=[*held.stages[:-1], stage], shared=maps)
        return replace(seen, stages=[*seen.stages[:-1], last], shared=shared, held=held)

    def forward(
        self,
        inputs: Inputs,
        counts: Tensor,
        share: float = 1.0,
        teacher: Mapping[str, Tensor] = TEACHER_OFF,
    ) -> Tensor:
        """This rank's part of the step's objective; gradients averaged over ranks and summed over parts are whole.

        counts: places that count (k,) in the whole step, all ranks and parts. share: 1 / number of parts.
        teacher: answers of the averaged model, by task.
        """
        predicted = self.predict(inputs)
        world = ranks.world()
        with torch.autocast(inputs.domain.device.type, enabled=False):
            divisors = counts.clamp_min(1).to(torch.float32)
            asked = {n: replace(a, teacher=teacher.get(n)) for n, a in predicted.asked.items()}
            sums = [task.judge(predicted.answers[name], asked[name]) for name, task in self.tasks.items()]
            if len(sums) > 1:
                sums = [task.among * one for task, one in zip(self.tasks.values(), sums, strict=True)]
            losses = torch.stack(sums) * world / divisors
            seen = ranks.mean(losses.detach())
            gram = losses.new_zeros(len(losses), len(losses))
            if self.balance.wants_gram:
                # At the last feature that all losses pass through.
                mapped = not self.lasso and all(one.maps for one in asked.values())
                meet = [group.shared if mapped else group.stages[-1] for group in predicted.groups]
                gram = ranks.mean(sum((gram_matrix(losses, feature) for feature in meet), gram)) / world
            total = self.balance(losses, seen, gram, share)
            dense = {name: predicted.answers[name] for name in self.dense}
            group = predicted.groups[0]
            stages = [stage[: predicted.frames].float() for stage in group.stages]
            domain = inputs.frame_domain()[: predicted.frames]
            adversarial = self.adversary(stages, dense, domain) * share
        if self.measure:
            self.gradient_ratio = _ratio(adversarial, total, group.stages[self.adversary.config.stage])
        self.losses, self.adversarial = losses.detach(), adversarial.detach()
        objective: Tensor = total + adversarial
        return objective + self.lasso * share * self.mix.lasso() if self.lasso else objective


def _ratio(adversarial: Tensor, total: Tensor, stage: Tensor) -> Tensor:
    """Norm of the adversary's gradient over the tasks' at a feature map."""
    if not adversarial.requires_grad:
        return torch.zeros(())
    norms = []
    for scalar in (adversarial, total):
        (gradient,) = torch.autograd.grad(
            scalar, stage, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        norms.append(gradient.detach().float().norm())
    ratio: Tensor = norms[0] / norms[1].clamp_min(1e-12)
    return ratio
