"""One module for all that learns: the network, the adversary and the tasks' balance; a batch in, a scalar out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from freelabels.train.config import TrainConfig
from freelabels.train.data.loader import Batch
from freelabels.train.model import ranks
from freelabels.train.model.network import Features, Model, resize
from freelabels.train.objective.adversary import make_adversary
from freelabels.train.objective.balance import gram_matrix, make_balance
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Asked, Seen, Task
from freelabels.train.tasks.labelled import Labelled

TEACHER_OFF: Mapping[str, Tensor] = {}
FRAMES = "frames"  # the stream of images as they are


@dataclass(frozen=True)
class Inputs:
    """A batch as the learner takes it: frames (B, T, 3, H, W), what each task asks, and the domain (B,)."""

    frames: Tensor
    asked: dict[str, Asked]
    domain: Tensor

    def counts(self) -> Tensor:
        """How many places count (k,) for each task, float64."""
        return torch.stack([asked.count() for asked in self.asked.values()])

    def frame_domain(self) -> Tensor:
        """The domain of each frame (B T,)."""
        return self.domain.repeat_interleave(self.frames.shape[1])


def prepare(tasks: Mapping[str, Task], batch: Batch) -> Inputs:
    """Ask every task what it wants of a batch."""
    asked = {name: task.ask(batch, Draw(batch["seed"], name)) for name, task in tasks.items()}
    return Inputs(batch["image"], asked, batch["domain"])


@dataclass(frozen=True)
class Predicted:
    """Answers by task; the trunk's features, a group for each size of image, the frames first; their number."""

    answers: dict[str, Any]
    groups: list[Features]
    frames: int


class Learner(nn.Module):
    """Everything with parameters.

    After `forward`: `losses` (k,) of this rank's part, `adversarial` its adversary's loss, `gradient_ratio`
    the adversary's gradient over the tasks' at the adapted stage, if `measure` was set.
    """

    def __init__(self, tasks: Mapping[str, Task], config: TrainConfig):
        super().__init__()
        self.tasks, self.size = dict(tasks), config.loader.size
        self.model = Model(config.model, self.size, {name: task.head for name, task in tasks.items()})
        self.dense = {n: t.channels or 0 for n, t in tasks.items() if isinstance(t, Labelled) and t.dense}
        self.adversary = make_adversary(config.adversary, self.model.backbone.channels, self.dense)
        self.balance = make_balance(config.balance, len(tasks))
        self.precision: torch.dtype | None = None
        self.measure = False
        self.losses = self.adversarial = self.gradient_ratio = torch.zeros(())

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The precision in which the network runs."""
        return torch.autocast(device.type, self.precision) if self.precision else nullcontext()

    def see(self, inputs: Inputs) -> tuple[dict[str, Seen], list[Features], int]:
        """What each task sees, the trunk's features by group, and how many images of the first are frames.

        Images of one size are a group and go through the trunk in one call, whoever asked for them. Frames that
        neither a task nor the adversary looks at are left out.
        """
        streams: dict[str, tuple[Tensor, int, bool]] = {}  # by who asked: images (N, …), views a sample, maps
        if self.adversary.needs_both_domains or any(a.images is None for a in inputs.asked.values()):
            frames = self.adversary.images(inputs.frames.flatten(0, 1), inputs.frame_domain())
            streams[FRAMES] = (frames, inputs.frames.shape[1], True)
        for name, asked in inputs.asked.items():
            if asked.images is not None:
                images = asked.images.flatten(0, 1)
                if hasattr(self.model.backbone.net, "set_input_size"):  # takes this one size only
                    images = resize(images.float(), (self.size, self.size)) if len(images) else images
                streams[name] = (images, asked.images.shape[1], asked.maps)
        groups: dict[int, list[str]] = {}
        for name in sorted(streams, key=lambda name: not streams[name][2]):  # those with maps first
            groups.setdefault(streams[name][0].shape[-1], []).append(name)
        seen: dict[str, Seen] = {}
        features = []
        for members in groups.values():
            parts = [streams[name][0] for name in members]
            dtype = torch.float32 if any(part.is_floating_point() for part in parts) else torch.uint8
            mapped = [len(streams[name][0]) for name in members if streams[name][2]]
            with self.autocast(inputs.domain.device):
                made = self.model.features(torch.cat([part.to(dtype) for part in parts]), sum(mapped))
            made = Features(made.stages, made.shared.float())
            features.append(made)
            stages = [_split(stage, [len(part) for part in parts]) for stage in made.stages]
            shared = [*_split(made.shared, mapped), *[None] * (len(members) - len(mapped))]
            for k, name in enumerate(members):
                seen[name] = Seen([stage[k] for stage in stages], shared[k], streams[name][1])
        return seen, features, len(streams[FRAMES][0]) if FRAMES in streams else 0

    def predict(self, inputs: Inputs) -> Predicted:
        """What all heads answer.

        The trunk runs in the learner's precision; heads in float32, as bfloat16 has eight bits for an answer.
        """
        seen, features, frames = self.see(inputs)
        with torch.autocast(inputs.domain.device.type, enabled=False):
            answers = {
                name: task.answer(self.model.heads[name], seen.get(name) or seen[FRAMES], inputs.asked[name])
                for name, task in self.tasks.items()
            }
        return Predicted(answers, features, frames)

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
            asked = {n: replace(a, teacher=teacher.get(n)) for n, a in inputs.asked.items()}
            sums = [task.judge(predicted.answers[name], asked[name]) for name, task in self.tasks.items()]
            losses = torch.stack(sums) * world / divisors
            seen = ranks.mean(losses.detach())
            gram = losses.new_zeros(len(losses), len(losses))
            if self.balance.wants_gram:
                # At the last feature that all losses pass through.
                mapped = all(one.maps for one in asked.values())
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
        return objective


def _split(x: Tensor, sizes: list[int]) -> list[Tensor]:
    """Consecutive parts of a tensor; of one part itself."""
    return [x] if len(sizes) == 1 else list(torch.split(x, sizes)) if sizes else []


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
