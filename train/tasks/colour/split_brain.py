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

    def __init__(self, width: int):
        super().__init__()
        self.colour = bins_head(width, chances())
        self.light = nn.Sequential(block(width, width), nn.Conv2d(width, LEVELS, 1))


@dataclass(frozen=True)
class SplitBrain(Task):
    """Each place's colour from a view without colour, and its brightness from a view without brightness.

    Smaller than in the paper: one trunk sees both views in turn, so this is cross-channel prediction on a shared
    trunk and not two halves that never see each other's channels.
    """

    name = "split_brain"
    system = "Split-Brain"
    family = FAMILIES[0]
    paper = "Zhang, Isola and Efros, Split-brain autoencoders, 2017"
    measure = Measure("ab error", "", False)
    trivial = "best constant colour"

    def head(self, shape: Shape) -> nn.Module:
        """One layer each on the pyramid."""
        return Heads(shape.width)

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
        """Both cross-entropies."""
        ab, light = asked.target
        index = nearest_bins(ab, 1, 1.0)[0][:, 0]
        level = (light * LEVELS / 100).long().clamp(0, LEVELS - 1)
        each = F.cross_entropy(answer[0], index, reduction="none")
        each = each + F.cross_entropy(answer[1], level, reduction="none")
        return (asked.weight * each).sum()

    def keep(self, answer: tuple[Tensor, Tensor], asked: Asked) -> tuple[Tensor, ...]:
        """Of the colours, as `colourful`."""
        return colour_figures(expected(answer[0]), asked.target[0], asked.weight)

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Root mean square errors."""
        return colour_summary(columns)

    def picture(self, answer: tuple[Tensor, Tensor], asked: Asked, side: int) -> Array:
        """The grey image, and it in the colours that were told."""
        return coloured_in(asked, expected(answer[0]), side)
