"""Real or made: the trunk judges what a generator makes of noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape, with_weights_held
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Rate, Seen, Task, everyone, first
from freelabels.train.tasks.generation.frechet import by_a_new, compared, figures, frechet, random_features
from freelabels.train.tasks.generation.generators import (
    NOISE,
    Convolutional,
    Dense,
    alike,
    real,
    shrunk,
    veil,
)

BETAS = 0.0, 0.99  # of a generator's Adam, which must not overshoot; Karras et al., 2018
# (N,) each: of the real one, of the made one, of the made one for its maker.
Logits = tuple[Tensor, Tensor, Tensor]


class Opponents(nn.Module):
    """A generator, and the judge's last layer."""

    def __init__(self, generator: nn.Module, judge: nn.Module):
        super().__init__()
        self.generator, self.judge = generator, judge


def means(seen: Seen) -> Tensor:
    """The means over places (and times) of all stages beside each other, (N, k, channels of all), float32."""
    pooled = torch.cat([stage.float().mean(tuple(range(2, stage.ndim))) for stage in seen.stages], 1)
    return pooled.view(-1, seen.views, pooled.shape[1])


def told(judge: nn.Module, seen: Seen) -> Logits:
    """Logits of a judge's last layer, positive = real; for the maker with its weights held."""
    assert seen.held is not None
    both = judge(means(seen))[..., 0]
    maker = with_weights_held(judge, means(seen.held))[..., 0]
    return both[:, 0], both[:, 1], maker[:, 1]


def paired_loss(logits: Logits, calm: float) -> Tensor:
    """Both sides' losses (N,): which of a pair is real; how sure the judge is of it counts `calm`."""
    genuine, ours, maker = logits
    apart = genuine - ours
    return real(apart) + calm * apart.square() + real(maker - genuine.detach())


@dataclass(frozen=True)
class GAN(Task):
    """Whether an image is real or made by a generator of two full layers, which learns not to be told apart.

    The judge is the trunk and a linear layer on the means of all its stages (the last one alone taught more
    slowly). It sees real and made images; the generator's gradient comes through the same trunk with its weights
    held, so one backward pass serves both. The non-saturating loss, of the logits of a real and a made image in
    pairs (Jolicoeur-Martineau, 2019), whose squared difference counts `calm`, so that the judge unlearns what no
    longer tells. Both are judged at one of four sharpnesses, drawn for each sample, in noise of up to `grain`
    levels: else the judge knows the made ones by their texture before a colour is right. The generator's steps are
    `rate` of the trunk's. Two made images must differ, up to `apart` (19 of 20 pairs of photos do): without that a
    short training ends with one image, whatever the noise. `weight` is that of all of it, with a share of `among`
    beside other tasks: at 1 dense ones that share the trunk lose much. Smaller than in the paper: one step of each
    in turn is one step of both; images of 32 pixels.
    """

    side: int = 32
    apart: float = 0.3
    variety: float = 10.0
    grain: float = 30.0
    rate: float = 0.5
    calm: float = 0.1
    weight: float = 0.1
    among: float = 0.3

    name = "gan"
    system = "GAN"
    family = FAMILIES[0]
    paper = "Goodfellow et al., Generative adversarial nets, 2014"
    measure = Measure("Fréchet distance on a random net", "", False)
    trivial = "the mean image"

    def __post_init__(self) -> None:
        if self.side not in (32, 64, 128):
            raise ValueError("side is 32, 64 or 128")

    @property
    def rates(self) -> Mapping[str, Rate]:
        """The generator's."""
        return {"generator": Rate(self.rate, BETAS)}

    def generator(self) -> nn.Module:
        """Noise → images."""
        return Dense(self.side)

    def head(self, shape: Shape) -> nn.Module:
        """Generator and last layer of the judge."""
        return Opponents(self.generator(), nn.Linear(sum(shape.channels), 1))

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image at the generator's size; target: the noise, that of another image, what hides both."""
        images = shrunk(first(batch), self.side)[:, None]
        noises = draw.normal(NOISE), draw.normal(NOISE), veil(draw, self.grain, self.side)
        return Asked(noises, everyone(batch), images)

    def paint(self, head: Opponents, asked: Asked) -> Asked:  # type: ignore[override]
        """The real image and the made one; both again for the maker. Target: noise, what is added to its loss.

        Batch norm must see there what it sees here: of made images alone it would take out what all of them share.
        """
        assert asked.images is not None
        noise, another, hidden, *more = asked.target
        images = head.generator(noise)
        both = torch.stack([asked.images[:, 0], images], 1)
        both = hidden(both) if head.training else both
        added = self.variety * alike(images, head.generator(another), self.apart)
        return replace(asked, images=both.detach(), held=both, target=(noise, added, *more))

    def answer(self, head: Opponents, seen: Seen, asked: Asked) -> Logits:  # type: ignore[override]
        """Logits, positive = real."""
        return told(head.judge, seen)

    def judge(self, answer: Logits, asked: Asked) -> Tensor:
        """Both sides' losses, and the maker's for what is alike."""
        each = paired_loss(answer, self.calm) + asked.target[1]
        total: Tensor = self.weight * (asked.weight * each).sum()
        return total

    def keep(self, answer: object, asked: Asked) -> tuple[Tensor, ...]:
        """What `compared` gives; the real image's pixels' mean."""
        assert asked.images is not None
        genuine, ours = asked.images[:, 0], asked.images[:, 1]
        columns = compared(genuine, ours, by_a_new(self.generator, asked.target[0]))
        return *columns, asked.images[:, 0].mean((2, 3)).double(), (asked.weight > 0).double()

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Fréchet distances: of what is made, and of the mean colour all over, from what is real."""
        genuine, ours, *_, mean = (column[columns[-1] > 0] for column in columns[:-1])
        if len(genuine) < 2:
            return math.nan, math.nan, math.nan
        constant = self.of_one_colour(mean.mean(0)).expand(len(genuine), -1).to(genuine.device)
        return frechet(genuine, ours), frechet(genuine, constant), math.nan

    def of_one_colour(self, colour: Tensor) -> Tensor:
        """Features (1, C) of what is of one colour (3,) all over."""
        return random_features(colour[None, :, None, None].expand(1, 3, self.side, self.side))

    def beside(self, columns: Sequence[Tensor]) -> dict[str, float]:
        """The distance of a new generator's images, and how many made ones are distinct."""
        found = figures([column[columns[-1] > 0] for column in columns[:5]])
        return {name: value for name, value in found.items() if name != "distance"}

    def picture(self, answer: object, asked: Asked, side: int) -> Array:
        """The real one and the made one."""
        assert asked.images is not None
        return montage(asked.images[:, :2], side)


@dataclass(frozen=True)
class DCGAN(GAN):
    """As gan, with a generator of convolutions that doubles the side from step to step.

    Smaller than in the paper: maps are doubled by interpolation, as transposed convolutions leave a checkerboard
    that takes long to unlearn (Odena et al., 2016); group norm for batch norm, so that a batch may be split; the
    judge is the trunk. Its generator takes smaller steps (`rate`), so that the judge keeps up.
    """

    rate: float = 0.15
    among: float = 1.0

    name = "dcgan"
    system = "DCGAN"
    paper = (
        "Radford, Metz and Chintala, Unsupervised representation learning with deep convolutional "
        "generative adversarial networks, 2015"
    )

    def generator(self) -> nn.Module:
        """Noise → images."""
        return Convolutional(self.side)
