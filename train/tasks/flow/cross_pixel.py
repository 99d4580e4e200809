"""What moves alike shall look alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import STRIDE, Shape, block
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Seen, Task, first
from freelabels.train.tasks.geometry.truth import Truth, shown


@dataclass(frozen=True)
class Motion:
    """Drawn places (B, n) of the map of stride 4, their flow (B, n, 2) over its spread, and the whole flow."""

    places: Tensor
    flow: Tensor
    truth: Truth


@dataclass(frozen=True)
class CrossPixel(Task):
    """An embedding of every pixel of one image, alike where stored flow is alike.

    Of `pixels` drawn places, the likeness of one to each other, by the embedding's cosines, shall be that of
    their flows. Only differences of flow count, so the camera's turn doesn't. Images where hardly anything moves
    against the rest (`least`, pixels) weigh nothing.
    Smaller than in the paper: the embedding is of the pyramid's feature.
    """

    pixels: int = 256
    least: float = 0.2

    name = "cross_pixel"
    system = "CrossPixel"
    family = FAMILIES[3]
    paper = (
        "Mahendran, Thewlis and Vedaldi, Cross pixel optical-flow similarity for "
        "self-supervised learning, 2018"
    )
    measure = Measure("of two, the one that moves more alike is nearer", "", True)
    needs = Needs(1, ("flow",))

    def head(self, shape: Shape) -> nn.Module:
        """16 numbers a place."""
        return nn.Sequential(block(shape.width, shape.width), nn.Conv2d(shape.width, 16, 1))

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image; target: flow at drawn places; weight: that of each place."""
        truth = Truth.of(batch, "flow")
        middle = slice(STRIDE // 2, None, STRIDE)
        flow, weight = (x[..., middle, middle].flatten(-2) for x in (truth.values, truth.weight))
        places = draw.integers(flow.shape[-1], self.pixels)
        drawn = flow.gather(2, places[:, None].expand(-1, 2, -1)).transpose(1, 2)
        weight = weight.gather(1, places)
        share = (weight / weight.sum(1, keepdim=True).clamp_min(1e-6))[..., None]
        spread = (share * (drawn - (share * drawn).sum(1, keepdim=True)).square()).sum((1, 2)).sqrt()
        scaled = drawn / spread.clamp_min(1e-3)[:, None, None]
        weight = weight * (spread > self.least)[:, None]
        return Asked(Motion(places, scaled, truth), weight, first(batch)[:, None], maps=True)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Cosines (B, n, n) between the embeddings of places."""
        embedding = head(seen.maps).flatten(2)
        some = embedding.gather(2, asked.target.places[:, None].expand(-1, embedding.shape[1], -1))
        unit = F.normalize(some, dim=1, eps=1e-6)
        return unit.transpose(1, 2) @ unit

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Cross-entropy of whom a place is like, by its embedding, against by its flow; without itself."""
        itself = torch.eye(answer.shape[1], dtype=torch.bool, device=answer.device)
        out = itself | (asked.weight <= 0)[:, None]
        near = torch.log_softmax((answer / 0.1).masked_fill(out, -1e4), 2)
        alike = torch.softmax((-4 * _gaps(asked.target.flow)).masked_fill(out, -1e4), 2)
        alike = alike.masked_fill(out, 0.0)
        entropy = (alike * alike.clamp_min(1e-9).log()).sum(2)
        return (asked.weight * (entropy - (alike * near).sum(2))).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """Of two places that clearly move more and less like a third: is the right one nearer? Half by chance."""
        gaps = _gaps(asked.target.flow)
        known = asked.weight > 0
        ways = [(roll, answer.shape[1] // 2 + roll) for roll in (1, 2, 3, 4)]
        right, told = [], []
        for one, other in ways:
            gap = _rolled(gaps, other) - _rolled(gaps, one)
            lead = _rolled(answer, one) - _rolled(answer, other)
            clear = (gap.abs() > 0.5) & known & known.roll(-one, 1) & known.roll(-other, 1)
            right.append((clear & (lead * gap > 0)).double().sum(1))
            told.append(clear.double().sum(1))
        share = sum(right) / sum(told).clamp_min(1)  # type: ignore[union-attr]
        return torch.stack([torch.as_tensor(share), torch.full_like(told[0], 0.5)], 1)

    def picture(self, answer: Tensor, asked: Asked, side: int) -> Array:
        """The image and its flow."""
        assert asked.images is not None
        truth = shown("flow", asked.target.truth.values, asked.target.truth.weight)
        return montage(torch.cat([asked.images.float(), truth], 1), side)


def _gaps(flow: Tensor) -> Tensor:
    """Squared distances (B, n, n) between vectors (B, n, 2)."""
    return (flow[:, :, None] - flow[:, None]).square().sum(3)


def _rolled(square: Tensor, by: int) -> Tensor:
    """(B, n): of each row of (B, n, n) the entry `by` places after the diagonal."""
    n = square.shape[1]
    row = torch.arange(n, device=square.device)
    return square[:, row, (row + by) % n]
