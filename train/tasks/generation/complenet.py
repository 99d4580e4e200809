"""What was in a hole, so that neither the whole nor its place gives it away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import DenseHead, Shape, with_weights_held
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Asked, Seen
from freelabels.train.tasks.contract.views import LEVEL, SPREAD, crop
from freelabels.train.tasks.generation.context_encoder import ContextEncoder
from freelabels.train.tasks.generation.generators import Judge, made, real

Told = tuple[Tensor, Tensor]


class Heads(nn.Module):
    """What fills holes, and who judges the whole image and the place of the hole."""

    def __init__(self, width: int):
        super().__init__()
        self.fill = DenseHead(width, 3)
        self.whole, self.place = Judge(), Judge()


@dataclass(frozen=True)
class CompleNet(ContextEncoder):
    """As context encoder, from the pyramid, against one judge of the completed image and one of the hole's place.

    Smaller than in the paper: both judges from the first step on; their logits are added, not their features.
    """

    against: float = 4e-4

    name = "complenet"
    system = "CompleNet"
    paper = "Iizuka, Simo-Serra and Ishikawa, Globally and locally consistent image completion, 2017"

    def head(self, shape: Shape) -> nn.Module:
        """A dense head and two judges."""
        return Heads(shape.width)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """As context encoder, with the pyramid's feature and a rim that counts as the rest does."""
        asked = super().ask(batch, draw)
        return Asked(asked.target, (asked.weight > 0).float(), asked.images, maps=True)

    def answer(self, head: Heads, seen: Seen, asked: Asked) -> Told:  # type: ignore[override]
        """Pixels around 0, and in training the judges' loss of each sample and the filler's against them."""
        filled: Tensor = head.fill(seen.maps)
        if not head.training:
            return filled, torch.zeros_like(filled[:, 0, 0, 0])
        inside = asked.weight[:, None] > 0
        truth = (asked.target - LEVEL) / SPREAD
        completed = torch.where(inside, filled, truth)
        corner = torch.stack([inside[:, 0].any(axis).int().argmax(1) for axis in (2, 1)], 1)[:, None]
        side = asked.target.shape[-1] // 2

        def said(image: Tensor, judges: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
            return judges(head.whole, image) + judges(head.place, crop(image, corner, side)[:, 0])

        against = self.against * real(said(completed, with_weights_held))
        learning = real(said(truth, _called)) + made(said(completed.detach(), _called))
        return filled, learning + against

    def judge(self, answer: Told, asked: Asked) -> Tensor:  # type: ignore[override]
        """Squared error in the hole, and the judges' part, as if each pixel of the hole had it."""
        inside = asked.weight.sum((1, 2))
        return super().judge(answer[0], asked) + (inside * answer[1]).sum()

    def score(self, answer: Told, asked: Asked) -> Tensor:  # type: ignore[override]
        """As context encoder."""
        return super().score(answer[0], asked)

    def picture(self, answer: Told, asked: Asked, side: int) -> Array:  # type: ignore[override]
        """As context encoder."""
        return super().picture(answer[0], asked, side)


def _called(module: nn.Module, image: Tensor) -> Tensor:
    told: Tensor = module(image)
    return told
