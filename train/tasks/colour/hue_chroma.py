"""Which hues and chromas were around each place of a grey image, as histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import STRIDE, Shape
from freelabels.train.tasks.colour.colourful import coloured, coloured_in, colours, without_colour
from freelabels.train.tasks.colour.lab import lab
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Seen, Task, first

BINS = 32
WINDOW = 7  # pixels around a place whose colours are its histogram
MOST_CHROMA = 110.0


@dataclass(frozen=True)
class Colorization(Task):
    """Histograms of hue and of chroma around each place of stride 4, from the pyramid's feature.

    Smaller than in the paper: hue and chroma are Lab's; the pyramid stands for the hypercolumn.
    """

    name = "colorization"
    system = "Colorization"
    family = FAMILIES[0]
    paper = "Larsson, Maire and Shakhnarovich, Colorization as a proxy task for visual understanding, 2017"
    measure = Measure("nats above the truth's entropy", "", False)
    trivial = "best constant histogram"

    def head(self, shape: Shape) -> nn.Module:
        """A hidden layer at each place."""
        return nn.Sequential(
            nn.Conv2d(shape.width, 128, 1), nn.ReLU(inplace=True), nn.Conv2d(128, 2 * BINS, 1)
        )

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image's luma; target (N, 2, bins, h, w): the histograms of hue and of chroma."""
        image = first(batch)
        ab = colours(image)
        known = coloured(ab)[:, None, None].expand(-1, *ab.shape[2:])
        return Asked(histograms(image), known * self.places(known, draw), without_colour(image), maps=True)

    def places(self, known: Tensor, draw: Draw) -> Tensor:
        """Which places (N, h, w) count: all."""
        return torch.ones_like(known)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logarithms (N, 2, bins, h, w)."""
        said = head(seen.maps)
        return F.log_softmax(said.view(len(said), 2, BINS, *said.shape[2:]), 2)

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Divergence of both histograms; hue counts as far as there is chroma."""
        return (asked.weight * divergence(asked.target, answer)).sum()

    def keep(self, answer: Tensor, asked: Asked) -> tuple[Tensor, ...]:
        """By image: mean divergence; mean histograms, mean entropy part and mean weight of hue."""
        hue, chroma = asked.target.unbind(1)
        share = _share(chroma)
        known = torch.xlogy(asked.target, asked.target).sum(2)
        entropy = (share * known[:, 0] + known[:, 1]).mean((1, 2))
        sums = torch.stack([(share[:, None] * hue).mean((2, 3)), chroma.mean((2, 3))], 1)
        counts = (asked.weight > 0).flatten(1).any(1).double()
        return divergence(asked.target, answer).mean((1, 2)).double(), entropy.double(), sums.double(), counts

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Mean divergence, and that from the mean histograms of these images."""
        each, entropy, sums = (column[columns[3] > 0] for column in columns[:3])
        if not len(each):
            return math.nan, math.nan, math.nan
        mean = sums.mean(0)
        log = (mean / mean.sum(1, keepdim=True)).clamp_min(1e-12).log()
        constant = entropy - (sums * log).sum((1, 2))
        error = float((each - constant).std(correction=0)) / len(each) ** 0.5
        return float(each.mean()), float(constant.mean()), error

    def picture(self, answer: Tensor, asked: Asked, side: int) -> Array:
        """The grey image, and it in the mean colours of the histograms that were told."""
        hue, chroma = answer.exp().unbind(1)
        centre = (torch.arange(BINS, device=hue.device) + 0.5) / BINS
        length = MOST_CHROMA * torch.einsum("nbhw,b->nhw", chroma, centre)
        ways = [
            torch.einsum("nbhw,b->nhw", hue, turn(2 * math.pi * centre)) for turn in (torch.cos, torch.sin)
        ]
        return coloured_in(asked, length[:, None] * torch.stack(ways, 1), side)


@dataclass(frozen=True)
class AutoColor(Colorization):
    """As colorization, learned at some places drawn in each image.

    Smaller than in the paper: as there; the paper samples the hypercolumn sparsely to save memory.
    """

    sampled: float = 0.25

    name = "auto_color"
    system = "AutoColor"
    paper = "Larsson, Maire and Shakhnarovich, Learning representations for automatic colorization, 2016"

    def places(self, known: Tensor, draw: Draw) -> Tensor:
        """Which places count: those drawn."""
        return (draw.uniform(*known.shape[1:]) < self.sampled).float()


def histograms(image: Tensor) -> Tensor:
    """(N, 2, bins, H / 4, W / 4): shares of hue and of chroma in a window around each place, sums of one."""
    a, b = lab(image)[:, 1:].unbind(1)
    chroma = (a.square() + b.square()).sqrt()
    hue = (torch.atan2(b, a) / (2 * math.pi)) % 1.0
    planes = []
    for value in (hue, chroma / MOST_CHROMA):
        index = (value * BINS).long().clamp(0, BINS - 1)
        planes.append(F.one_hot(index, BINS).permute(0, 3, 1, 2).float())
    both = torch.cat(planes, 1)
    around = F.avg_pool2d(both, WINDOW, STRIDE, WINDOW // 2, count_include_pad=False)
    return around.view(len(around), 2, BINS, *around.shape[2:])


def _share(chroma: Tensor) -> Tensor:
    """How far hue counts (N, h, w): mean chroma of the window, up to 1."""
    centre = (torch.arange(BINS, device=chroma.device) + 0.5) / BINS
    return (5 * torch.einsum("nbhw,b->nhw", chroma, centre)).clamp(0, 1)


def divergence(target: Tensor, log: Tensor) -> Tensor:
    """(N, h, w): Kullback–Leibler of hue, as far as it counts, and of chroma."""
    each = (torch.xlogy(target, target) - target * log).sum(2)
    return _share(target[:, 1]) * each[:, 0] + each[:, 1]
