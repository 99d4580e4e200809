"""Real or made, and which way up."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape, with_weights_held
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Asked, Seen
from freelabels.train.tasks.contract.views import turned
from freelabels.train.tasks.generation.gan import DCGAN, Logits, Opponents

TURNS = 4


class TurnedOpponents(Opponents):
    """With a layer that tells turns."""

    def __init__(self, generator: nn.Module, judge: nn.Module, turn: nn.Module):
        super().__init__(generator, judge)
        self.turn = turn


@dataclass(frozen=True)
class SelfGAN(DCGAN):
    """As dcgan; the judge also tells which way real images were turned, the generator makes what it can tell.

    Smaller than in the paper: one turn a sample instead of all four.
    """

    judges: float = 1.0
    makers: float = 0.2

    name = "self_gan"
    system = "SelfGAN"
    paper = "Chen et al., Self-supervised GANs via auxiliary rotation loss, 2019"

    def head(self, shape: Shape) -> nn.Module:
        """As gan, and a linear layer that tells turns."""
        width = shape.channels[-1]
        return TurnedOpponents(self.generator(), nn.Linear(sum(shape.channels), 1), nn.Linear(width, TURNS))

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """As gan; target: the noise and the turns."""
        asked = super().ask(batch, draw)
        return replace(asked, target=(*asked.target, draw.integers(TURNS)))

    def paint(self, head: Opponents, asked: Asked) -> Asked:  # type: ignore[override]
        """As gan; then the real one turned, and the made one turned for its maker."""
        turns = asked.target[-1]
        painted = super().paint(head, asked)
        assert painted.images is not None and painted.held is not None
        return replace(
            painted,
            images=torch.cat([painted.images, turned(painted.images[:, :1], turns[:, None])], 1),
            held=torch.cat([painted.held, turned(painted.held[:, 1:], turns[:, None])], 1),
        )

    def answer(self, head: TurnedOpponents, seen: Seen, asked: Asked) -> tuple[Logits, Tensor, Tensor]:  # type: ignore[override]
        """As gan; then logits (N, 4) of the real one's turn and of the made one's."""
        assert seen.held is not None
        maker = with_weights_held(head.turn, seen.held.deep[:, 2])
        return super().answer(head, seen, asked), head.turn(seen.deep[:, 2]), maker

    def judge(self, answer: tuple[Logits, Tensor, Tensor], asked: Asked) -> Tensor:  # type: ignore[override]
        """Both sides' losses, each with its share of the turn's."""
        told, genuine, ours = answer
        turns = [F.cross_entropy(one, asked.target[2], reduction="none") for one in (genuine, ours)]
        each = self.judges * turns[0] + self.makers * turns[1]
        return super().judge(told, asked) + self.weight * (asked.weight * each).sum()
