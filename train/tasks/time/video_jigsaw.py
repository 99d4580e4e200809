"""In which order the tiles of three frames were laid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import Siamese
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Seen, Task, everyone
from freelabels.train.tasks.contract.views import cells, crop, level, one_channel
from freelabels.train.tasks.space.orders import apart
from freelabels.train.tasks.space.tiles import ordered, tile_side

FRAMES, ACROSS = 3, 2
PIECES = FRAMES * ACROSS**2
CANDIDATES = 3000


@dataclass(frozen=True)
class VideoJigsaw(Task):
    """Which of some orders twelve tiles were laid in, four of each of three frames; tiles are seen one by one.

    The orders keep a frame's tiles together, as in the paper: frames change places, and tiles within each.
    Blocked: tiles lie somewhere in their cells, in one colour channel, levelled; still clips weigh nothing.
    Smaller than in the paper: 100 orders instead of 1000, tiles of three eighths of the image.
    """

    orders: int = 100
    span: float = 0.6
    moving: float = 0.3

    name = "video_jigsaw"
    system = "Video Jigsaw"
    family = FAMILIES[1]
    paper = (
        "Ahsan, Madhok and Essa, Video jigsaw: unsupervised learning of spatiotemporal context for video action "
        "recognition, 2019"
    )

    def __post_init__(self) -> None:
        if not 2 <= self.orders <= 1000:
            raise ValueError("orders is 2 to 1000")

    @property
    def classes(self) -> int:
        """How many orders there are."""
        return self.orders

    @property
    def needs(self) -> Needs:
        """Three frames."""
        return Needs(FRAMES, span=self.span, moving=self.moving)

    def head(self, shape: Shape) -> nn.Module:
        """A layer that tiles share, then one over all twelve."""
        return Siamese(shape, PIECES, self.orders)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Twelve levelled tiles in one of the orders."""
        which = draw.integers(self.orders)
        order = coherent_orders(self.orders).to(which.device)[which]
        size = batch["image"].shape[-1]
        side = tile_side(size, ACROSS)
        tiles = [crop(frame, cells(size, ACROSS, side, draw), side) for frame in batch["image"].unbind(1)]
        return Asked(which, everyone(batch), ordered(level(one_channel(torch.cat(tiles, 1), draw)), order))

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logits (N, orders)."""
        out: Tensor = head(seen.deep)
        return out


@cache
def coherent_orders(count: int) -> Tensor:
    """int64 (count, 12): orders far apart that keep the tiles of a frame together, always the same ones."""
    rng = np.random.default_rng(0)
    tiles = ACROSS**2
    frames = np.argsort(rng.random((CANDIDATES, FRAMES)), axis=1)
    within = np.argsort(rng.random((CANDIDATES, FRAMES, tiles)), axis=2)
    drawn = np.unique((frames[:, :, None] * tiles + within).reshape(CANDIDATES, PIECES), axis=0)
    return apart(drawn, count, rng)
