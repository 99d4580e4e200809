"""An encoder and a generator that undo each other, as nobody can tell their pairs apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape, with_weights_held
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Rate, Seen, Task, everyone, first
from freelabels.train.tasks.contract.views import LEVEL, SPREAD
from freelabels.train.tasks.generation.frechet import by_a_new, compared, figures
from freelabels.train.tasks.generation.gan import BETAS
from freelabels.train.tasks.generation.generators import (
    HALF,
    NOISE,
    Convolutional,
    Judge,
    alike,
    made,
    real,
    shrunk,
    veil,
)


class Heads(nn.Module):
    """The encoder's last layer, the generator, and who judges pairs of image and code."""

    def __init__(self, channels: int, side: int):
        super().__init__()
        self.encoder = nn.Linear(channels, NOISE)
        self.generator = Convolutional(side)
        self.judge = Judge(beside=NOISE)


@dataclass(frozen=True)
class BiGAN(Task):
    """Pairs of an image and its code by the trunk against pairs of noise and the image made of it.

    The trunk is the encoder and not the judge: a small net of its own tells the pairs apart, and trunk and
    generator learn against it with its weights held. That G(E(x)) is x follows only where pairs can't be told
    apart at all, which no short training reaches; so it is asked for as well (`again`; Li et al., ALICE, 2017).
    The score is its mean absolute error, beside that of another image's. What hides them, rate, weight and two
    images that differ as in gan. Smaller than in the paper: images of 32 pixels.
    """

    side: int = 32
    apart: float = 0.3
    variety: float = 10.0
    grain: float = 30.0
    rate: float = 0.15
    again: float = 2.0
    weight: float = 0.1

    name = "bigan"
    system = "BiGAN"
    family = FAMILIES[0]
    paper = "Donahue, Krähenbühl and Darrell, Adversarial feature learning, 2017"
    measure = Measure("error of the reconstruction", "", False)
    trivial = "another image's reconstruction"

    def __post_init__(self) -> None:
        if self.side not in (32, 64, 128):
            raise ValueError("side is 32, 64 or 128")

    @property
    def rates(self) -> Mapping[str, Rate]:
        """The generator's."""
        return {"generator": Rate(self.rate, BETAS)}

    def head(self, shape: Shape) -> nn.Module:
        """Encoder's last layer, generator, judge."""
        return Heads(shape.channels[-1], self.side)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image at the generator's size; target: the noise, that of another image, what hides both."""
        images = shrunk(first(batch), self.side)[:, None]
        noises = draw.normal(NOISE), draw.normal(NOISE), veil(draw, self.grain, self.side)
        return Asked(noises, everyone(batch), images)

    def answer(self, head: Heads, seen: Seen, asked: Asked) -> dict[str, Tensor]:  # type: ignore[override]
        """Logits (N,) of both pairs, for the judge and for the others; in evaluation the reconstruction."""
        assert asked.images is not None
        code = head.encoder(seen.deep[:, 0])
        if not head.training:
            return {"again": head.generator(code), "made": head.generator(asked.target[0])}
        noise, another, hidden = asked.target
        images, again = head.generator(noise), head.generator(code)
        both = _around_zero(hidden(torch.stack([asked.images[:, 0], images], 1)))
        image, painted = both[:, 0], both[:, 1]
        return {
            "real": head.judge(image, code.detach()),
            "made": head.judge(painted.detach(), noise),
            "encoder": with_weights_held(head.judge, image, code),
            "generator": with_weights_held(head.judge, painted, noise),
            "alike": alike(images, head.generator(another), self.apart),
            "again": (again - asked.images[:, 0]).abs().mean((1, 2, 3)) / HALF,
        }

    def judge(self, answer: dict[str, Tensor], asked: Asked) -> Tensor:
        """The judge's loss, the others' for being taken for each other, for what is alike, for what is lost."""
        each = (
            real(answer["real"]) + made(answer["made"]) + made(answer["encoder"]) + real(answer["generator"])
        )
        each = each + self.variety * answer["alike"] + self.again * answer["again"]
        total: Tensor = self.weight * (asked.weight * each).sum()
        return total

    def score(self, answer: dict[str, Tensor], asked: Asked) -> Tensor:
        """Mean absolute errors."""
        assert asked.images is not None
        again = answer["again"]
        errors = [(one - asked.images[:, 0]).abs().mean((1, 2, 3)) for one in (again, again.roll(1, 0))]
        return torch.stack(errors, 1).double()

    def keep(self, answer: dict[str, Tensor], asked: Asked) -> tuple[Tensor, ...]:
        """The errors; what `compared` gives of images made of noise."""
        assert asked.images is not None
        made_anew = by_a_new(lambda: Convolutional(self.side), asked.target[0])
        ours = compared(asked.images[:, 0], answer["made"], made_anew)
        return self.score(answer, asked), *ours, (asked.weight > 0).double()

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """The mean errors."""
        return super().summary([columns[0], columns[-1]])

    def beside(self, columns: Sequence[Tensor]) -> dict[str, float]:
        """The distance of images made of noise, of a new generator's, and how many are distinct."""
        return figures([column[columns[-1] > 0] for column in columns[1:6]])

    def picture(self, answer: dict[str, Tensor], asked: Asked, side: int) -> Array:
        """The image and its reconstruction."""
        assert asked.images is not None
        return montage(torch.cat([asked.images, answer["again"][:, None]], 1), side)


def _around_zero(image: Tensor) -> Tensor:
    return (image - LEVEL) / SPREAD
