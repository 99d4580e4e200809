"""What hidden patches show."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import DenseHead, Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import Asked, Measure, Seen, Task, first
from freelabels.train.tasks.contract.views import LEVEL


@dataclass(frozen=True)
class Masked(Task):
    """The pixels of hidden patches, each patch at its own mean and spread; the score is what is left unexplained.

    Today's yardstick, not in the survey. Smaller than in the paper: hidden patches are grey, so that any trunk can
    see the rest (SimMIM's form), not left out of a transformer's sequence.
    """

    hidden: float = 0.6
    patch: int = 16

    name = "masked"
    paper = "He et al., Masked autoencoders are scalable vision learners, 2022; Xie et al., SimMIM, 2022"
    measure = Measure("unexplained variance", "", False)
    trivial = "the patch's own mean"

    def __post_init__(self) -> None:
        if not 0 < self.hidden < 1 or self.patch < 4 or 32 % self.patch:
            raise ValueError("hidden is a share between 0 and 1, patch one of 4, 8, 16, 32 pixels")

    def head(self, shape: Shape) -> nn.Module:
        """A colour a pixel."""
        return DenseHead(shape.width, 3)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image with patches in grey; target: the image; weight: the hidden pixels'."""
        image = first(batch).float()
        across = image.shape[-1] // self.patch
        hidden = (draw.order(across**2) < round(self.hidden * across**2)).float().view(-1, across, across)
        covers = hidden.repeat_interleave(self.patch, 1).repeat_interleave(self.patch, 2)
        shown = torch.where(covers[:, None] > 0, LEVEL, image)
        return Asked(image, covers, shown[:, None], maps=True)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Normalised pixels (N, 3, H, W)."""
        out: Tensor = head(seen.maps)
        return out

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Squared error of normalised pixels, hidden ones only."""
        return (asked.weight * self._error(answer, asked)).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """Mean of that over hidden pixels; the mean of each patch leaves 1."""
        weight = asked.weight.flatten(1)
        each = (weight * self._error(answer, asked).flatten(1)).sum(1) / weight.sum(1).clamp_min(1)
        told = (weight * self._truth(asked).square().mean(1).flatten(1)).sum(1) / weight.sum(1).clamp_min(1)
        return torch.stack([each, told], 1).double()

    def picture(self, answer: Tensor, asked: Asked, side: int) -> Array:
        """What was shown, and what was answered in its place, at the patch's true mean and spread."""
        mean, spread = self._statistics(asked.target)
        told = torch.where(asked.weight[:, None] > 0, answer * spread + mean, asked.target)
        assert asked.images is not None
        return montage(torch.cat([asked.images, told[:, None], asked.target[:, None]], 1), side)

    def _statistics(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean = F.avg_pool2d(image.mean(1, keepdim=True), self.patch)
        square = F.avg_pool2d(image.square().mean(1, keepdim=True), self.patch)
        spread = (square - mean.square()).clamp_min(0).sqrt() + 4.0  # + 4: noise of flat patches is no signal
        return tuple(F.interpolate(x, scale_factor=self.patch, mode="nearest") for x in (mean, spread))  # type: ignore[return-value]

    def _truth(self, asked: Asked) -> Tensor:
        mean, spread = self._statistics(asked.target)
        truth: Tensor = (asked.target - mean) / spread
        return truth

    def _error(self, answer: Tensor, asked: Asked) -> Tensor:
        return (answer - self._truth(asked)).square().mean(1)
