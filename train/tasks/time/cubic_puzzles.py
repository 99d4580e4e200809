"""In which order the pieces of a clip were laid, in space or in time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import Siamese
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Seen, Task, everyone
from freelabels.train.tasks.contract.views import crop, level
from freelabels.train.tasks.space.tiles import ordered

PIECES, LENGTH = 4, 4  # pieces of a puzzle, frames of a piece
ORDERS = tuple(itertools.permutations(range(PIECES)))
FRAMES = PIECES * (LENGTH + 1)  # a piece in time lies somewhere in its five frames


@dataclass(frozen=True)
class CubicPuzzles(Task):
    """Which of 24 orders four pieces of a clip were laid in: quarters of its area, or four parts of its length.

    Every other sample is a puzzle in space, the others are in time; the head is told which. Blocked: pieces lie
    somewhere in their cells, in space and in time; one colour channel, three times, and levelled, each by itself.
    Smaller than in the paper: pieces of 4 frames instead of 16, half the side instead of 80 pixels of 224.
    """

    moving: float = 0.3

    name = "cubic_puzzles"
    system = "Cubic Puzzles"
    family = FAMILIES[1]
    paper = "Kim, Cho and Kweon, Self-supervised video representation learning with space-time cubic puzzles, 2019"
    clips = True
    classes = len(ORDERS)

    @property
    def needs(self) -> Needs:
        """Neighbouring frames."""
        return Needs(FRAMES, moving=self.moving)

    def head(self, shape: Shape) -> nn.Module:
        """A layer that pieces share, then one over all four, for either kind of puzzle."""
        clip_shape = Shape(shape.size, shape.clip_channels, shape.strides, shape.width)
        return Siamese(clip_shape, PIECES, 2 * self.classes)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Four pieces (N, 4, 4, 3, s, s); target: which order, and 24 more for a puzzle in time."""
        clip, in_time, which = batch["image"], draw.integers(2), draw.integers(self.classes)
        n, size = len(clip), clip.shape[-1]
        half = size // 2
        side = half - half // 8
        free = draw.integers(half - side + 1, PIECES, 2)
        quarters = torch.cartesian_prod(*[torch.arange(2) * half] * 2).to(free.device)
        middle = draw.integers(size - side + 1, 1, 2).expand(-1, PIECES, -1)
        corners = torch.where(in_time[:, None, None].bool(), middle, quarters + free)
        start = draw.integers(LENGTH // 2, PIECES)
        start = torch.where(
            in_time[:, None].bool(),
            start + (LENGTH + 1) * torch.arange(PIECES, device=start.device),
            draw.integers(FRAMES - LENGTH + 1, 1).expand(-1, PIECES),
        )
        rows = torch.arange(n, device=start.device)[:, None]
        frames = [crop_at(clip[rows, start + k], corners, side) for k in range(LENGTH)]
        pieces = torch.stack(frames, 2)
        channel = draw.integers(3, PIECES)[:, :, None, None, None, None]
        pieces = pieces.gather(3, channel.expand(-1, -1, LENGTH, 1, side, side)).float()
        pieces = level(pieces.transpose(2, 3).flatten(3, 4)).view(n, PIECES, 1, LENGTH, side, side)
        pieces = pieces.transpose(2, 3).expand(-1, -1, -1, 3, -1, -1)
        order = torch.tensor(ORDERS, device=which.device)[which]
        target = which + self.classes * in_time
        return Asked(target, everyone(batch), clips=ordered(pieces, order))

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logits (N, 48), of the kind of puzzle that it is not at −∞."""
        assert seen.clips is not None
        out: Tensor = head(seen.clips.deep)
        kind = torch.arange(2, device=out.device).repeat_interleave(self.classes)
        return out.masked_fill(kind != (asked.target // self.classes)[:, None], float("-inf"))


def crop_at(frames: Tensor, corners: Tensor, side: int) -> Tensor:
    """Of frames (N, k, 3, H, W) the squares at corners (N, k, 2), one of each."""
    flat = crop(frames.flatten(0, 1), corners.flatten(0, 1)[:, None], side)
    return flat.view(*frames.shape[:3], side, side)
