"""How real an image is: a critic whose slope is bounded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.train.data.loader import Batch
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Asked, Seen
from freelabels.train.tasks.generation.gan import DCGAN, Logits, Opponents, means
from freelabels.train.tasks.generation.generators import HALF


def between(both: Tensor, share: Tensor) -> Tensor:
    """Images or clips (N, …) between real and made ones (N, 2, …), at which a slope is to be taken."""
    with torch.enable_grad():
        return (both[:, 0] + share * (both[:, 1] - both[:, 0])).detach().requires_grad_()


def too_steep(said: Tensor, images: Tensor) -> Tensor:
    """How far the slope of what a critic says (N,) of images or clips (N, …) is above 1, squared (N,)."""
    (slope,) = torch.autograd.grad(said.sum(), images, create_graph=True)
    length = (slope * HALF).flatten(1).square().sum(1).add(1e-12).sqrt()  # per image in -1 … 1
    return F.relu(length - 1).square()


def critic_loss(logits: Logits, penalty: Tensor, calm: float, times: float) -> Tensor:
    """Both sides' losses (N,): the critic's gap, with calm and penalty, so many times; the generator's part."""
    genuine, ours, maker = logits
    apart = genuine - ours
    return times * (calm * apart.square() - apart + penalty) - maker


@dataclass(frozen=True)
class WGAN(DCGAN):
    """As dcgan, with a critic that widens the gap between its means of real and of made images.

    Its slope is held below 1 on images between a real and a made one (gradient penalty of Gulrajani et al., 2017,
    from one side as in Petzka et al., 2018): clipping weights, as the paper does, would clip the trunk that other
    tasks share, and a slope that must be 1 pushes on where both are alike. As in gan the squared difference of a
    real and a made image counts `calm` (drift, Karras et al., 2018): else both sides chase each other, and
    brightness swings without end. Critic and penalty pull at the trunk several times as hard as dense tasks do, so
    among other tasks all of it counts less (`among`). Smaller than in the paper: instead of five steps of the
    critic its part counts five times, and the generator's steps are small (`rate`).
    """

    penalty: float = 10.0
    critic: float = 5.0
    among: float = 0.05

    name = "wgan"
    system = "WGAN"
    paper = "Arjovsky, Chintala and Bottou, Wasserstein GAN, 2017"

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """As gan; target: the noise, and how far between the two images the slope is taken."""
        asked = super().ask(batch, draw)
        return replace(asked, target=(*asked.target, draw.uniform(1, 1, 1)))

    def paint(self, head: Opponents, asked: Asked) -> Asked:  # type: ignore[override]
        """As gan, and a third image between them."""
        painted = super().paint(head, asked)
        noise, added, share = painted.target
        assert painted.images is not None
        third = between(painted.images, share)
        images = torch.cat([painted.images, third[:, None]], 1)
        return replace(painted, images=images, target=(noise, added, third))

    def answer(self, head: Opponents, seen: Seen, asked: Asked) -> tuple[Logits, Tensor]:  # type: ignore[override]
        """What the critic says; (N,) how far its slope is above 1, squared."""
        assert seen.held is not None
        told = super().answer(head, seen, asked)
        if not torch.is_grad_enabled():
            return told, torch.zeros_like(told[0])
        return told, too_steep(head.judge(means(seen)[:, 2])[:, 0], asked.target[2])

    def judge(self, answer: tuple[Logits, Tensor], asked: Asked) -> Tensor:  # type: ignore[override]
        """The critic's gap, calm and penalty, five times, and the generator's part."""
        told, slope = answer
        each = critic_loss(told, self.penalty * slope, self.calm, self.critic) + asked.target[1]
        total: Tensor = self.weight * (asked.weight * each).sum()
        return total
