"""What is counted in an image is counted in its parts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.model.ranks import next_of
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import projector
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Seen, Task, everyone, first
from freelabels.train.tasks.contract.views import one_channel

WAYS = ("bilinear", "bicubic", "area", "nearest")  # of shrinking, so that none leaves its trace


@dataclass(frozen=True)
class Counting(Task):
    """The counts of an image are the sum of its four quarters' counts, and differ from another image's.

    The other image is the next of the batch, of all ranks.
    Smaller than in the paper: `counts` = 128 instead of 1000.
    """

    counts: int = 128
    margin: float = 10.0

    name = "counting"
    system = "Learning2Count"
    family = FAMILIES[1]
    paper = "Noroozi, Pirsiavash and Favaro, Representation learning by learning to count, 2017"
    compares = True
    measure = Measure("own sum nearer than another's", "", True)

    def head(self, shape: Shape) -> nn.Module:
        """Counts are not negative."""
        return nn.Sequential(projector(shape, 256, self.counts), nn.ReLU())

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image at half its size, shrunk in a way drawn for it, and its four quarters."""
        image = first(batch)
        half = image.shape[-1] // 2
        ways = torch.stack([_shrunk(image.float(), half, way) for way in WAYS])
        small = ways[draw.integers(len(WAYS)), torch.arange(len(image), device=image.device)]
        quarters = image.unfold(2, half, half).unfold(3, half, half).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
        views = torch.cat([small[:, None].clamp(0, 255), quarters.float()], 1)
        return Asked(None, everyone(batch), one_channel(views, draw))

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Counts (N, 5, counts)."""
        out: Tensor = head(seen.deep)
        return out

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """|whole - Σ quarters|² + max(0, margin - |other whole - Σ quarters|²)."""
        whole, total = answer[:, 0], answer[:, 1:].sum(1)
        apart = F.relu(self.margin - (next_of(whole) - total).square().sum(1))
        return (asked.weight * ((whole - total).square().sum(1) + apart)).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """Whether the quarters' sum is nearer to the own whole than to another's; one half by chance."""
        whole, total = answer[:, 0], answer[:, 1:].sum(1)
        own, other = ((w - total).square().sum(1) for w in (whole, next_of(whole)))
        nearer = (own < other).double() + 0.5 * (own == other).double()
        return torch.stack([nearer, torch.full_like(nearer, 0.5)], 1)


def _shrunk(image: Tensor, side: int, way: str) -> Tensor:
    smooth = {"align_corners": False, "antialias": True} if way.startswith("bi") else {}
    return F.interpolate(image, (side, side), mode=way, **smooth)
