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

PIXELS = 127.5  # a slope is per image in -1 … 1


def too_steep(slope: Tensor) -> Tensor:
    """How far a critic's slope at images or clips (N, …, H, W) is above 1, squared (N,)."""
    length = (slope * PIXELS).flatten(1).square().sum(1).add(1e-12).sqrt()
    return F.relu(length - 1).square()


def critics(logits: Logits, penalty: Tensor, calm: float, times: float) -> Tensor:
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
        noise, same, share = painted.target
        assert painted.images is not None
        with torch.enable_grad():
            between = (painted.images[:, 0] + share * (painted.images[:, 1] - painted.images[:, 0])).detach()
            between = between.requires_grad_()
        images = torch.cat([painted.images, between[:, None]], 1)
        return replace(painted, images=images, target=(noise, same, between))

    def answer(self, head: Opponents, seen: Seen, asked: Asked) -> tuple[Logits, Tensor]:  # type: ignore[override]
        """What the critic says; (N,) how far its slope is above 1, squared."""
        assert seen.held is not None
        told = super().answer(head, seen, asked)
        if not torch.is_grad_enabled():
            return told, torch.zeros_like(told[0])
        between = head.judge(means(seen)[:, 2])[:, 0]
        (slope,) = torch.autograd.grad(between.sum(), asked.target[2], create_graph=True)
        return told, too_steep(slope)

    def judge(self, answer: tuple[Logits, Tensor], asked: Asked) -> Tensor:  # type: ignore[override]
        """The critic's gap, calm and penalty, five times, and the generator's part."""
        told, slope = answer
        each = critics(told, self.penalty * slope, self.calm, self.critic) + asked.target[1]
        total: Tensor = self.weight * (asked.weight * each).sum()
        return total
