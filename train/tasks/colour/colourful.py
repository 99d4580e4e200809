"""Which colours each place of a grey image had, as a choice among bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import STRIDE, Shape, block, resize
from freelabels.train.tasks.colour.lab import ab_bins, lab, nearest_bins, rgb
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Seen, Task, first
from freelabels.train.tasks.contract.views import grey

NEIGHBOURS, SPREAD = 5, 5.0  # of the soft encoding
TEMPERATURE = 0.38  # of the annealed mean
LEAST_CHROMA = 4.0  # mean over an image: what has less is a grey picture, which teaches no colour
SCALE = 12.0  # of the chroma of natural images, exponentially distributed


@dataclass(frozen=True)
class ColorfulColorization(Task):
    """Which of some 300 bins of (a, b) each place of stride 4 had; rare colours count more.

    Pictures without colour weigh nothing. Smaller than in the paper: the distribution of colours by which they are
    weighed is an exponential one of chroma, not a histogram of the data; the head is one layer on the pyramid.
    """

    mix: float = 0.5

    name = "colourful"
    system = "ColorfulColorization"
    family = FAMILIES[0]
    paper = "Zhang, Isola and Efros, Colorful image colorization, 2016"
    measure = Measure("ab error", "", False)
    trivial = "best constant colour"

    @property
    def classes(self) -> int:
        """How many bins there are."""
        return len(ab_bins())

    def head(self, shape: Shape) -> nn.Module:
        """One layer, and one number a bin, which begins at how often that colour will be asked."""
        return bins_head(shape.width, chances() * self.rarity())

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image's luma three times; target: its mean a and b at stride 4."""
        image = first(batch)
        ab = colours(image)
        rarity = self.rarity().to(ab.device)[nearest_bins(ab, 1, SPREAD)[0][:, 0]]
        return Asked(ab, rarity * coloured(ab)[:, None, None], without_colour(image), maps=True)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logits (N, bins, h, w)."""
        out: Tensor = head(seen.maps)
        return out

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Cross-entropy against the five nearest bins, weighed by rarity."""
        index, share = nearest_bins(asked.target, NEIGHBOURS, SPREAD)
        each = -(share * F.log_softmax(answer, 1).gather(1, index)).sum(1)
        return (asked.weight * each).sum()

    def keep(self, answer: Tensor, asked: Asked) -> tuple[Tensor, ...]:
        """Mean squared error of the expected colour, and the first two moments of the truth.

        Rare colours count more in training, so their chances come out too high; here that is taken back.
        """
        rarity = self.rarity().to(answer).log()[:, None, None]
        return colour_figures(expected(answer - rarity), asked.target, asked.weight)

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Root mean square errors."""
        return colour_summary(columns)

    def picture(self, answer: Tensor, asked: Asked, side: int) -> Array:
        """The grey image, and it in the colours that were told, annealed as in the paper."""
        return coloured_in(asked, expected(answer / TEMPERATURE), side)

    def rarity(self) -> Tensor:
        """(bins,) weights, 1 on average over the distribution of colours."""
        chance = chances()
        weight = 1 / ((1 - self.mix) * chance + self.mix / len(chance))
        return weight / (chance * weight).sum()


def chances() -> Tensor:
    """How often each bin (bins,) is taken to come in natural images."""
    return torch.softmax(-ab_bins().norm(dim=1) / SCALE, 0)


def bins_head(width: int, prior: Tensor) -> nn.Sequential:
    """One layer, and logits that begin near those of a distribution (bins,).

    From zero an optimiser that moves a number by the learning rate a step takes hundreds of them to get there.
    """
    last = nn.Conv2d(width, len(prior), 1)
    with torch.no_grad():
        last.bias.copy_(prior.log())  # type: ignore[union-attr]
    return nn.Sequential(block(width, width), last)


def expected(logits: Tensor) -> Tensor:
    """Mean a and b (N, 2, h, w) of logits (N, bins, h, w)."""
    return torch.einsum("nqhw,qc->nchw", torch.softmax(logits, 1), ab_bins().to(logits))


def coloured_in(asked: Asked, ab: Tensor, side: int) -> Array:
    """Pictures of grey views (N, k, 3, H, W), the first alone, in colours (N, 2, h, w)."""
    assert asked.images is not None
    shown = asked.images[:, 0].float()
    light = lab(shown)[:, :1]
    painted = rgb(torch.cat([light, resize(ab.to(light), (light.shape[-2], light.shape[-1]))], 1))
    return montage(torch.stack([shown, painted], 1), side)


def colours(image: Tensor) -> Tensor:
    """Mean a and b (N, 2, H / 4, W / 4) of images."""
    return F.avg_pool2d(lab(image)[:, 1:], STRIDE)


def coloured(ab: Tensor) -> Tensor:
    """1.0 (N,) for images with colour, else 0."""
    return (ab.square().sum(1).sqrt().mean((1, 2)) >= LEAST_CHROMA).float()


def without_colour(image: Tensor) -> Tensor:
    """Luma three times, as one view (N, 1, 3, H, W)."""
    return grey(image).expand(-1, 3, -1, -1)[:, None]


def colour_figures(told: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    """By image: mean squared error of a and b, their mean square, their means; whether it counts."""
    truth = target.double()
    error = (told.double() - truth).square().sum(1).mean((1, 2))
    square, mean = truth.square().sum(1).mean((1, 2)), truth.mean((2, 3))
    return error, square, mean, (weight > 0).flatten(1).any(1).double()


def colour_summary(columns: Sequence[Tensor]) -> tuple[float, float, float]:
    """Root mean square error, that of the best constant colour, standard error of the difference."""
    counts = columns[3] > 0
    error, square, mean = (column[counts] for column in columns[:3])
    if not len(error):
        return math.nan, math.nan, math.nan
    constant = mean.mean(0)
    trivial = square - 2 * mean @ constant + constant.square().sum()
    score, base = math.sqrt(float(error.mean())), math.sqrt(float(trivial.mean()))
    spread = float((error - trivial).std(correction=0)) / len(error) ** 0.5
    return score, base, spread / (score + base)
