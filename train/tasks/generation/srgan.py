"""What a small image lost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import DenseHead, Shape, with_weights_held
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Seen, Task, everyone, first
from freelabels.train.tasks.contract.views import LEVEL, SPREAD
from freelabels.train.tasks.generation.generators import Judge, made, real

TIMES = 4
Told = tuple[Tensor, Tensor]  # images (N, 3, H, W), 0 … 255; the judge's part (N,)


class Heads(nn.Module):
    """What is added to the enlarged image, and who judges the sum."""

    def __init__(self, width: int):
        super().__init__()
        self.detail = DenseHead(width, 3)
        nn.init.zeros_(self.detail.out.weight)  # begins as the enlarged image
        self.judge = Judge()


@dataclass(frozen=True)
class SRGAN(Task):
    """The image from one of a quarter of its side: what the pyramid adds to the bicubic one, against a judge.

    Smaller than in the paper: without the loss on a net's features, since that net was made with human labels.
    """

    against: float = 1e-3

    name = "srgan"
    system = "SRGAN"
    family = FAMILIES[0]
    paper = (
        "Ledig et al., Photo-realistic single image super-resolution using a generative adversarial "
        "network, 2017"
    )
    measure = Measure("PSNR", "dB", True)
    trivial = "bicubic"

    def head(self, shape: Shape) -> nn.Module:
        """A dense head and a judge."""
        return Heads(shape.width)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image made small and bicubically large again; target: the image."""
        image = first(batch).float()
        small = F.interpolate(image, scale_factor=1 / TIMES, mode="area").round()
        large = F.interpolate(small, scale_factor=TIMES, mode="bicubic", align_corners=False)
        return Asked(image, everyone(batch), large.clamp(0, 255)[:, None], maps=True)

    def answer(self, head: Heads, seen: Seen, asked: Asked) -> Told:  # type: ignore[override]
        """The image, and in training both sides' adversarial losses."""
        assert asked.images is not None
        told = asked.images[:, 0] + SPREAD * head.detail(seen.maps)
        if not head.training:
            return told, torch.zeros_like(told[:, 0, 0, 0])
        ours, truth = ((x - LEVEL) / SPREAD for x in (told, asked.target))
        learning = real(head.judge(truth)) + made(head.judge(ours.detach()))
        return told, learning + self.against * real(with_weights_held(head.judge, ours))

    def judge(self, answer: Told, asked: Asked) -> Tensor:
        """Mean squared error, and the adversarial part."""
        error: Tensor = ((answer[0] - asked.target) / SPREAD).square().mean((1, 2, 3))
        return (asked.weight * (error + answer[1])).sum()

    def score(self, answer: Told, asked: Asked) -> Tensor:
        """Peak signal-to-noise ratios."""
        assert asked.images is not None
        errors = [
            (one.clamp(0, 255) - asked.target).square().mean((1, 2, 3))
            for one in (answer[0], asked.images[:, 0])
        ]
        decibel: Tensor = 10 * torch.log10(255**2 / torch.stack(errors, 1).double().clamp_min(1e-3))
        return decibel

    def picture(self, answer: Told, asked: Asked, side: int) -> Array:
        """The enlarged image, the answer, the truth."""
        assert asked.images is not None
        return montage(torch.cat([asked.images, answer[0][:, None], asked.target[:, None]], 1), side)
