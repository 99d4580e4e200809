"""Colour from brightness and brightness from colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import STRIDE, Shape, block
from freelabels.train.tasks.colour.colourful import (
    NEIGHBOURS,
    SPREAD,
    ColorfulColorization,
    bins_head,
    chances,
    colour_figures,
    colour_summary,
    coloured,
    coloured_in,
    colours,
    expected,
    without_colour,
)
from freelabels.train.tasks.colour.lab import lab, nearest_bins
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Seen, Task, first
from freelabels.train.tasks.contract.views import LEVEL

LEVELS = 50  # of L


class Heads(nn.Module):
    """Bins of colour from the grey view, levels of L from the coloured one."""

    def __init__(self, width: int, prior: Tensor):
        super().__init__()
        self.colour = bins_head(width, prior)
        self.light = nn.Sequential(block(width, width), nn.Conv2d(width, LEVELS, 1))


@dataclass(frozen=True)
class SplitBrain(Task):
    """Each place's colour from a view without colour, and its brightness from a view without brightness.

    Rare colours count more, as in colourful: else the many grey places leave a short training at the mean colour.
    Smaller than in the paper: one trunk sees both views in turn, so this is cross-channel prediction on a shared
    trunk and not two halves that never see each other's channels.
    """

    light: float = 0.2
    mix: float = 0.5

    name = "split_brain"
    system = "Split-Brain"
    family = FAMILIES[0]
    paper = "Zhang, Isola and Efros, Split-brain autoencoders, 2017"
    measure = Measure("ab error", "", False)
    trivial = "best constant colour"

    def head(self, shape: Shape) -> nn.Module:
        """One layer each on the pyramid."""
        return Heads(shape.width, chances() * self.rarity())

    def rarity(self) -> Tensor:
        """How much each bin of colour counts."""
        return ColorfulColorization(self.mix).rarity()

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Luma three times; a and b as two channels beside mid-grey."""
        image = first(batch)
        values = lab(image)
        chroma = torch.cat([values[:, 1:] + LEVEL, torch.full_like(values[:, :1], LEVEL)], 1)
        ab, light = colours(image), F.avg_pool2d(values[:, :1], STRIDE)[:, 0]
        weight = coloured(ab)[:, None, None].expand_as(light)
        views = torch.cat([without_colour(image), chroma[:, None].clamp(0, 255)], 1)
        return Asked((ab, light), weight, views, maps=True)

    def answer(self, head: Heads, seen: Seen, asked: Asked) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Logits (N, bins, h, w) and (N, 50, h, w)."""
        return head.colour(seen.maps[0::2]), head.light(seen.maps[1::2])

    def judge(self, answer: tuple[Tensor, Tensor], asked: Asked) -> Tensor:
        """Cross-entropy against the five nearest bins, weighed by rarity, and a share of that of brightness."""
        ab, light = asked.target
        index, share = nearest_bins(ab, NEIGHBOURS, SPREAD)  # the nearest first
        level = (light * LEVELS / 100).long().clamp(0, LEVELS - 1)
        each = -(share * F.log_softmax(answer[0], 1).gather(1, index)).sum(1)
        each = self.rarity().to(each)[index[:, 0]] * each
        each = each + self.light * F.cross_entropy(answer[1], level, reduction="none")
        return (asked.weight * each).sum()

    def keep(self, answer: tuple[Tensor, Tensor], asked: Asked) -> tuple[Tensor, ...]:
        """Of the colours, as `colourful`, whose taking back of rarity it shares."""
        return colour_figures(expected(self.fair(answer)), asked.target[0], asked.weight)

    def fair(self, answer: tuple[Tensor, Tensor]) -> Tensor:
        """Logits of colours as if rare ones had not counted more."""
        return answer[0] - self.rarity().to(answer[0]).log()[:, None, None]

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Root mean square errors."""
        return colour_summary(columns)

    def picture(self, answer: tuple[Tensor, Tensor], asked: Asked, side: int) -> Array:
        """The grey image, and it in the colours that were told."""
        return coloured_in(asked, expected(self.fair(answer)), side)
