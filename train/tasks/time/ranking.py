"""A patch and what it has become some frames later are alike, all others are not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.model.ranks import together
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import projector
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Seen, Task, everyone
from freelabels.train.tasks.contract.views import crop
from freelabels.train.tasks.time.stills import stills
from freelabels.train.tasks.time.tracks import elsewhere, followed, moving_corner

HARDEST = 4


@dataclass(frozen=True)
class Ranking(Task):
    """A patch that moves is nearer to itself `frames` - 1 frames later than to any other patch.

    The patch with the most motion of its own, followed by the stored flow. Others: a patch of the same frame
    elsewhere, so that the clip doesn't give the answer, and the hardest of the batch's followed ones, of all
    ranks, that are of other clips. Blocked: lenses and light (one channel each, levelled, see `stills`), still
    clips. Smaller than in the paper: patches of half the image, eight frames instead of thirty.
    """

    frames: int = 8
    margin: float = 0.5
    moving: float = 0.3

    name = "ranking"
    system = "Ranking"
    family = FAMILIES[1]
    paper = "Wang and Gupta, Unsupervised learning of visual representations using videos, 2015"
    compares = True
    measure = Measure("own track nearer than elsewhere", "", True)
    classes = 2

    def __post_init__(self) -> None:
        if self.frames < 2 or self.margin <= 0:
            raise ValueError("frames is at least 2, margin above 0")

    @property
    def needs(self) -> Needs:
        """Neighbouring frames and their flow."""
        return Needs(self.frames, ("flow",), moving=self.moving)

    def head(self, shape: Shape) -> nn.Module:
        """Two layers to 128 numbers."""
        return projector(shape, 256, 128)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The patch, itself later, and another place of the later frame; target: the clip."""
        return Asked(batch["clip"], everyone(batch), patches(batch, draw))

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> tuple[Tensor, Tensor]:
        """Cosines (N, 2) with itself later and elsewhere; (N, M) with the batch's, -1 of the same clip."""
        x = F.normalize(head(seen.deep), dim=2)
        own = torch.einsum("nd,nkd->nk", x[:, 0], x[:, 1:])
        later, _ = together(x[:, 1])
        clips, _ = together(asked.target.double())
        counted, _ = together(asked.weight)
        others = x[:, 0] @ later.T
        return own, others.masked_fill((clips == asked.target[:, None]) | (counted == 0), -1)

    def judge(self, answer: tuple[Tensor, Tensor], asked: Asked) -> Tensor:
        """Mean hinge of the margin against elsewhere and the hardest others."""
        own, others = answer
        worst = others.topk(min(HARDEST, others.shape[1]), 1).values
        near, wrong = own[:, :1], torch.cat([own[:, 1:], worst], 1)
        return (asked.weight * F.relu(self.margin - near + wrong).mean(1)).sum()

    def score(self, answer: tuple[Tensor, Tensor], asked: Asked) -> Tensor:
        """How often itself is nearer than elsewhere; by chance half the time."""
        hit = (answer[0][:, 0] > answer[0][:, 1]).double()
        return torch.stack([hit, torch.full_like(hit, 0.5)], 1)


def patches(batch: Batch, draw: Draw) -> Tensor:
    """Of each clip (N, 3, 3, s, s): a patch, itself in the last frame, and another place of the last frame."""
    frames = batch["image"]
    size = frames.shape[-1]
    side = size // 2
    corners = followed(batch, moving_corner(batch, side), side)
    last = torch.stack([corners[:, -1], elsewhere(corners[:, -1], size, side)], 1)
    views = torch.cat([crop(frames[:, 0], corners[:, :1], side), crop(frames[:, -1], last, side)], 1)
    return stills(views, draw, jitter=0).expand(-1, -1, 3, -1, -1)
