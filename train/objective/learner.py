"""One module for all that learns: the network, the adversary and the tasks' balance; a batch in, a scalar out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.train.config import TrainConfig
from freelabels.train.data.loader import Batch
from freelabels.train.model import ranks
from freelabels.train.model.network import Features, Model
from freelabels.train.objective.adversary import make_adversary
from freelabels.train.objective.balance import gram_matrix, make_balance
from freelabels.train.tasks.task import Labels, Task, loss

TEACHER_OFF: Mapping[str, Tensor] = {}


FRAMES = "frames"  # the stream of images as they are


@dataclass(frozen=True)
class Inputs:
    """A batch as the learner takes it: labels made, streams of images named.

    images: by stream, (N, 3, H, W): `FRAMES` first, and one for each pretext. labels: by task. domain: (B,).
    """

    images: dict[str, Tensor]
    labels: dict[str, Labels]
    domain: Tensor
    frames: int

    def counts(self) -> Tensor:
        """Number of valid labels (k,) of each task, float64."""
        return torch.stack([(weight > 0).sum().double() for _, weight in self.labels.values()])


def prepare(tasks: Mapping[str, Task], batch: Batch) -> Inputs:
    """Make the tasks' labels, and the images that pretexts change, from a batch."""
    images = {FRAMES: batch["image"].flatten(0, 1)}
    labels: dict[str, Labels] = {}
    for name, task in tasks.items():
        if task.pretext is None:
            labels[name] = task.labels(batch)
        else:
            images[name], classes = task.pretext(batch["image"][:, 0], batch["seed"])
            target = classes.to(batch["image"].device)[:, None, None, None].float()
            labels[name] = (target, torch.ones_like(target[:, 0]))
    return Inputs(images, labels, batch["domain"], batch["image"].shape[1])


class Learner(nn.Module):
    """Everything with parameters.

    After `forward`: `losses` (k,) of this rank's part, `adversarial` its adversary's loss, `gradient_ratio`
    the adversary's gradient over the tasks' at the adapted stage, if `measure` was set.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        config: TrainConfig,
    ):
        super().__init__()
        self.tasks, self.robust = dict(tasks), config.robust
        outputs = {
            name: (task.channels or 0, 1 + bool(task.pair), task.whole) for name, task in tasks.items()
        }
        self.model = Model(config.model, config.loader.size, outputs)
        dense = {n: t.channels or 0 for n, t in tasks.items() if not t.whole and not t.pair}
        self.adversary = make_adversary(config.adversary, self.model.backbone.channels, dense)
        self.balance = make_balance(config.balance, len(tasks))
        self.precision: torch.dtype | None = None
        self.measure = False
        self.losses = self.adversarial = self.gradient_ratio = torch.zeros(())

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The precision in which the network runs."""
        return torch.autocast(device.type, self.precision) if self.precision else nullcontext()

    def predict(self, inputs: Inputs) -> tuple[dict[str, Tensor], Features, int]:
        """Heads' outputs by task; the trunk's features of all streams; how many of their images are frames.

        The trunk runs in the learner's precision; heads in float32, as bfloat16 has eight bits for an answer.
        Frames that neither a task nor the adversary looks at are left out.
        """
        wanted = self.adversary.needs_both_domains or not all(task.pretext for task in self.tasks.values())
        images = {name: image for name, image in inputs.images.items() if wanted or name != FRAMES}
        if wanted:
            domain = inputs.domain.repeat_interleave(len(images[FRAMES]) // len(inputs.domain))
            images[FRAMES] = self.adversary.images(images[FRAMES], domain)
        sizes = [len(image) for image in images.values()]
        dtype = torch.float32 if any(image.is_floating_point() for image in images.values()) else torch.uint8
        image = torch.cat([image.to(dtype) for image in images.values()])
        with self.autocast(image.device):
            features = self.model.features(image)
        with torch.autocast(image.device.type, enabled=False):
            features = Features(features.stages, features.shared.float())
            shared = dict(zip(images, torch.split(features.shared, sizes), strict=True))
            outputs = {}
            for name, task in self.tasks.items():
                seen = shared[name] if task.pretext else shared[FRAMES]
                outputs[name] = self.model.heads[name](paired(seen, inputs.frames, task.pair))
        return outputs, features, sizes[0] if wanted else 0

    def forward(
        self,
        inputs: Inputs,
        counts: Tensor,
        share: float = 1.0,
        teacher: Mapping[str, Tensor] = TEACHER_OFF,
    ) -> Tensor:
        """This rank's part of the step's objective; gradients averaged over ranks and summed over parts are whole.

        counts: valid labels (k,) in the whole step, all ranks and parts. share: 1 / number of parts.
        """
        outputs, features, frames = self.predict(inputs)
        world = ranks.world()
        with torch.autocast(inputs.domain.device.type, enabled=False):
            divisors = counts.clamp_min(1).to(torch.float32)
            sums = [
                loss(task, self.robust, outputs[name], *inputs.labels[name], teacher.get(name))
                for name, task in self.tasks.items()
            ]
            losses = torch.stack(sums) * world / divisors
            seen = ranks.mean(losses.detach())
            gram = losses.new_zeros(len(losses), len(losses))
            if self.balance.wants_gram:
                gram = ranks.mean(gram_matrix(losses, features.shared)) / world
            total = self.balance(losses, seen, gram, share)
            domain = inputs.domain.repeat_interleave(frames // len(inputs.domain))
            dense = {name: outputs[name] for name, t in self.tasks.items() if not t.whole and not t.pair}
            stages = [stage[:frames].float() for stage in features.stages]
            adversarial = self.adversary(stages, dense, domain) * share
        if self.measure:
            self.gradient_ratio = _ratio(adversarial, total, features.stages[self.adversary.config.stage])
        self.losses, self.adversarial = losses.detach(), adversarial.detach()
        objective: Tensor = total + adversarial
        return objective


def paired(shared: Tensor, frames: int, pair: int) -> Tensor:
    """Features (B T, C, h, w) as they are, or each frame's beside its next (1) or previous (-1) one's."""
    if not pair:
        return shared
    clips = shared.view(-1, frames, *shared.shape[1:])
    here, there = (clips[:, :-1], clips[:, 1:]) if pair > 0 else (clips[:, 1:], clips[:, :-1])
    return torch.cat([here, there], dim=2).flatten(0, 1)


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
