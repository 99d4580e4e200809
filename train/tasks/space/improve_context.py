"""Where a patch lies beside another, made harder to answer without looking."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import Siamese
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Seen, Task, everyone, first
from freelabels.train.tasks.contract.views import LEVEL, crop, grey, level, turned
from freelabels.train.tasks.space.context_prediction import NEIGHBOURS, neighbours
from freelabels.train.tasks.space.tiles import tile_side


@dataclass(frozen=True)
class ImproveContext(Task):
    """In which of eight directions two patches lie around a third, opposite each other, and which way up all are.

    Beside context prediction: a third patch; colour kept but blurred until a lens's shift is gone; all patches
    mirrored alike (yoked), or all turned upside down, which is asked too (16 classes); a random aperture.
    Smaller than in the paper: one triple an image and step, half turns only.
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
        """Centre, a neighbour and the one opposite."""
        image, where, upside_down = first(batch), draw.integers(NEIGHBOURS), draw.integers(2)
        side = tile_side(image.shape[-1])
        both = torch.stack([where, NEIGHBOURS - 1 - where], 1)
        views = chroma_blurred(crop(image, neighbours(image.shape[-1], side, both, draw), side))
        views = turned(level(views), 2 * upside_down[:, None].expand(-1, 3))
        views = self._through_aperture(views, draw)
        return Asked(where + NEIGHBOURS * upside_down, everyone(batch), views)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> object:
        """Logits (N, 16)."""
        return head(seen.deep)

    def _through_aperture(self, views: Tensor, draw: Draw) -> Tensor:
        """The two outer patches of some samples seen through a window of three quarters, grey around it."""
        side = views.shape[-1]
        inner = side * 3 // 4
        corner = draw.integers(side - inner + 1, 2)
        place = torch.arange(side, device=views.device)
        inside = [(place >= c[:, None]) & (place < c[:, None] + inner) for c in corner.unbind(1)]
        window = inside[0][:, :, None] & inside[1][:, None, :]
        covers = (draw.uniform() < self.aperture)[:, None, None] & ~window
        outer = torch.where(covers[:, None, None], LEVEL, views[:, 1:])
        return torch.cat([views[:, :1], outer], 1)


def chroma_blurred(views: Tensor) -> Tensor:
    """Views (N, k, 3, h, w) whose colour, not whose brightness, is averaged over a quarter of the side."""
    luma = grey(views)
    chroma = (views.float() - luma).flatten(0, 1)
    width = views.shape[-1] // 4 | 1
    smooth = F.avg_pool2d(chroma, width, 1, width // 2, count_include_pad=False)
    return luma + smooth.view(views.shape)
