"""Which place of the frames before a place's colour comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.labels import WEIGHT_SUFFIX
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.colour.lab import lab
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Seen, Task, everyone
from freelabels.train.tasks.contract.views import grey
from freelabels.train.tasks.prediction.frames import level_of, stage_number

REFERENCES = 3
STRIDE = 8
HUES, CHROMAS = 5, (12.0, 30.0, 55.0)  # with grey, sixteen colours
TEMPERATURE = 0.1


class Places(nn.Module):
    """The trunk's maps at stride 8 → unit vectors (N, k, 64, h, w) by which places are compared."""

    def __init__(self, shape: Shape, width: int = 64):
        super().__init__()
        self.shape = shape
        self.shrink = nn.AdaptiveAvgPool2d(shape.size // STRIDE)
        self.out = nn.Conv2d(shape.channels[stage_number(shape)], width, 1)

    def forward(self, maps: Tensor, views: int) -> Tensor:
        """Vectors."""
        x = F.normalize(self.out(self.shrink(maps)), dim=1)
        return x.view(-1, views, *x.shape[1:])


@dataclass(frozen=True)
class VideoColorization(Task):
    """The colours of a grey frame, each copied from the places of three frames before that look alike.

    Colours are sixteen classes of a and b in cells of 8 pixels. Blocked: the trunk sees brightness alone, with
    a gain of its own for each frame; windows that stand still weigh nothing. Where things in a frame are told
    (`instance`, exact in renders), `carried` says how well their masks are carried over, which nobody trained
    for. Smaller than in the paper: fixed classes of colour, not clusters of the data; a 2-D trunk and one
    layer.
    """

    span: float = 0.6
    moving: float = 0.3

    name = "video_colorization"
    system = "Video Colorization"
    family = FAMILIES[0]
    paper = "Vondrick et al., Tracking emerges by colorizing videos, 2018"
    measure = Measure("cells of the right colour", "", True)
    trivial = "the colour that was there"

    @property
    def needs(self) -> Needs:
        """Three frames and the one that is coloured."""
        return Needs(REFERENCES + 1, span=self.span, moving=self.moving, uses=("instance",))

    def head(self, shape: Shape) -> nn.Module:
        """One layer."""
        return Places(shape)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Four grey frames; target: classes of colour, and ids of things, of cells (N, 4, h, w)."""
        frames = batch["image"]
        gain = 0.8 + 0.4 * draw.uniform(REFERENCES + 1, 1, 1, 1)
        images = (grey(frames) * gain).clamp(0, 255).expand(-1, -1, 3, -1, -1)
        colours = colour_classes(frames.flatten(0, 1)).view(len(frames), REFERENCES + 1, -1)
        middle = (..., slice(STRIDE // 2, None, STRIDE), slice(STRIDE // 2, None, STRIDE))
        ids = batch["instance"][:, :, 0][middle].long().flatten(2)
        known = (batch["instance" + WEIGHT_SUFFIX][middle] > 0).flatten(2)
        return Asked((colours, ids.masked_fill(~known, -1)), everyone(batch), images)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Shares (N, cells, 3 cells) of the places of the frames before in each place of the last."""
        assert isinstance(head, Places)
        x = head(level_of(seen.stages, head.shape), seen.views).flatten(3)  # (N, 4, 64, cells)
        before = x[:, :-1].transpose(1, 2).flatten(2)
        shares: Tensor = (torch.einsum("ncp,ncq->npq", x[:, -1], before) / TEMPERATURE).softmax(2)
        return shares

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """−log of the share of places that have the right colour, a mean over cells whose colour was there."""
        colours, _ = asked.target
        right = colours[:, -1, :, None] == colours[:, :-1].flatten(1)[:, None]
        there = right.any(2)
        each = -((answer * right).sum(2) + 1e-4).log() * there
        total: Tensor = (asked.weight * each.sum(1) / there.sum(1).clamp_min(1)).sum()
        return total

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """The share of cells that get the right colour: as copied, and as it was at the same place."""
        colours, _ = asked.target
        told = torch.einsum(
            "npq,nqc->npc", answer, F.one_hot(colours[:, :-1].flatten(1), classes()).to(answer)
        )
        hits = [told.argmax(2) == colours[:, -1], colours[:, -2] == colours[:, -1]]
        return torch.stack([hit.double().mean(1) for hit in hits], 1)

    def carried(self, answer: Tensor, asked: Asked) -> Tensor:
        """(N, 2): IoU of the things' masks carried over, and left where they were; NaN where nothing is told."""
        _, ids = asked.target
        whole = ids.clamp_min(0)
        told = torch.einsum("npq,nqc->npc", answer, F.one_hot(whole[:, :-1].flatten(1)).to(answer)).argmax(2)
        known = ids[:, -1] >= 0
        return torch.stack([_iou(x, whole[:, -1], known) for x in (told, whole[:, -2])], 1)


def _iou(told: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean over things of a sample, (N,), of intersection over union of cells (N, p)."""
    things = torch.arange(1, int(truth.max()) + 2, device=truth.device)
    a, b = ((x[:, None] == things[:, None]) & known[:, None] for x in (told, truth))
    there = b.any(2)
    each = (a & b).sum(2) / (a | b).sum(2).clamp_min(1)
    return torch.where(there, each.double(), 0).sum(1) / torch.where(there.any(1), there.sum(1), torch.nan)


def classes() -> int:
    """How many colours are told apart."""
    return 1 + HUES * len(CHROMAS)


def colour_classes(image: Tensor) -> Tensor:
    """int64 (N, h, w): the colour of each cell of images (N, 3, H, W), 0 … 255."""
    ab = F.avg_pool2d(lab(image)[:, 1:], STRIDE)
    turn = torch.arange(HUES) * 2 * math.pi / HUES
    ring = torch.stack([turn.cos(), turn.sin()], 1)
    table = torch.cat([torch.zeros(1, 2), *(chroma * ring for chroma in CHROMAS)]).to(ab)
    flat = ab.permute(0, 2, 3, 1)
    return torch.cdist(flat.flatten(0, 2), table).argmin(1).view(flat.shape[:-1])
