"""Where a patch lies beside another, made harder to answer without looking."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import Siamese
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Seen, Task, everyone, first
from freelabels.train.tasks.contract.views import LEVEL, cells, crop, level, one_channel, turned
from freelabels.train.tasks.space.context_prediction import NEIGHBOURS
from freelabels.train.tasks.space.tiles import GRID, PIECES, tile_side

CENTRE = PIECES // 2


@dataclass(frozen=True)
class ImproveContext(Task):
    """In which of eight directions two patches lie around a third, opposite each other, and which way up all are.

    Beside context prediction: a third patch; the mean colour of each patch is kept; all patches mirrored alike
    (yoked), or all turned upside down, which is asked too (16 classes); a random aperture. The patches of a 3 × 3
    grid are seen one by one, and all eight triples through its centre asked.
    Smaller than in the paper: half turns only; no colour but the mean, where the paper blurs it: blurred
    colour still tells a lens's shift, and so where a patch was.
    """

    aperture: float = 0.5

    name = "improve_context"
    system = "ImproveContext"
    family = FAMILIES[1]
    paper = "Mundhenk, Ho and Chen, Improvements to context based self-supervised learning, 2018"
    classes = 2 * NEIGHBOURS

    def __post_init__(self) -> None:
        if not 0 <= self.aperture <= 1:
            raise ValueError("aperture, the share of samples that have one, is 0 to 1")

    def head(self, shape: Shape) -> nn.Module:
        """A layer that the patches share, then one over all three."""
        return Siamese(shape, 3, self.classes)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Centre first, then the patches around it; target (N, 8): each direction, and which way up."""
        image, upside_down = first(batch), draw.integers(2)
        side = tile_side(image.shape[-1])
        order = torch.tensor([CENTRE, *(place for place in range(PIECES) if place != CENTRE)])
        corners = cells(image.shape[-1], GRID, side, draw)[:, order.to(image.device)]
        views = level(in_mean_colour(crop(image, corners, side), draw))
        views = turned(views, 2 * upside_down[:, None].expand(-1, PIECES))
        target = torch.arange(NEIGHBOURS, device=image.device) + NEIGHBOURS * upside_down[:, None]
        weight = everyone(batch)[:, None].expand(-1, NEIGHBOURS)
        return Asked(target, weight, self._through_aperture(views, draw))

    def answer(self, head: Siamese, seen: Seen, asked: Asked) -> Tensor:  # type: ignore[override]
        """Logits (N, 8, 16) of centre, each neighbour and the one opposite."""
        alone = head.alone(seen.deep)
        around = alone[:, 1:]
        return head.together(torch.stack([alone[:, :1].expand_as(around), around, around.flip(1)], 2))

    def _through_aperture(self, views: Tensor, draw: Draw) -> Tensor:
        """The outer patches of some samples seen through a window of three quarters, grey around it."""
        side = views.shape[-1]
        inner = side * 3 // 4
        corner = draw.integers(side - inner + 1, 2)
        place = torch.arange(side, device=views.device)
        inside = [(place >= c[:, None]) & (place < c[:, None] + inner) for c in corner.unbind(1)]
        window = inside[0][:, :, None] & inside[1][:, None, :]
        covers = (draw.uniform() < self.aperture)[:, None, None] & ~window
        outer = torch.where(covers[:, None, None], LEVEL, views[:, 1:])
        return torch.cat([views[:, :1], outer], 1)


def in_mean_colour(views: Tensor, draw: Draw) -> Tensor:
    """Views (N, k, 3, h, w) whose detail is of one channel, drawn for the sample; means stay."""
    detail = one_channel(views, draw).float()
    return detail - detail.mean((3, 4), keepdim=True) + views.float().mean((3, 4), keepdim=True)
