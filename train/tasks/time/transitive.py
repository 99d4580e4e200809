"""What is alike to a patch is alike to what it becomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.ground.errors import UserError
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.clusters.k_means import nearest
from freelabels.train.tasks.clusters.neighbours import neighbours
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import projector
from freelabels.train.tasks.contract.online import Clips, Labels, Online
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Seen, everyone
from freelabels.train.tasks.contract.views import grey, level
from freelabels.train.tasks.time.ranking import patches

DIMENSIONS = 64
FEWEST = 4


class Placed(nn.Module):
    """Deep features (N, k, C) → unit vectors (N, k, 64)."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.body = projector(shape, 256, DIMENSIONS)

    def forward(self, deep: Tensor) -> Tensor:
        """Unit vectors."""
        return F.normalize(self.body(deep), dim=-1)


@dataclass(frozen=True)
class Transitive(Online):
    """A patch, itself later, and another source's clip that is alike: each pair is nearer than to what is unlike.

    The same thing later (tracked by the stored flow, as in ranking) and another thing that is alike (the
    nearest clip of another source, by features of the averaged model, anew every `every` steps) give a third
    pair: the thing later and the other one, which nobody has seen together. Unlike is a clip drawn from the
    farther half. Smaller than in the paper: neighbours by this run's own features, not by a first run on
    context prediction; the other of a pair is the whole middle frame of its clip, as it was seen when the
    version was made.
    """

    every: int = 200
    frames: int = 8
    margin: float = 0.5
    moving: float = 0.3

    name = "transitive"
    system = "Transitive"
    family = FAMILIES[1]
    paper = (
        "Wang, He and Gupta, Transitive invariance for self-supervised visual representation learning, 2017"
    )
    measure = Measure("later one nearer to what is alike", "", True)
    classes = 2

    def __post_init__(self) -> None:
        self.at_least_one()
        if self.frames < 2:
            raise ValueError("frames is at least 2")

    @property
    def needs(self) -> Needs:
        """Neighbouring frames and their flow."""
        return Needs(self.frames, ("flow",), moving=self.moving)

    def head(self, shape: Shape) -> nn.Module:
        """Two layers to 64 numbers."""
        return Placed(shape)

    def look(self, images: Tensor) -> Tensor:
        """Levelled brightness, as patches are shown."""
        return level(grey(images)).expand(-1, 3, -1, -1)

    def embed(self, head: nn.Module, seen: Seen) -> Tensor:
        """Deep features, by which neighbours are found, and where the head places them."""
        deep = seen.deep[:, 0]
        return torch.cat([F.normalize(deep, dim=1), head(deep)], 1)

    def assign(self, clips: Clips, before: Labels | None, seed: int) -> Labels:
        """For each clip where one that is alike lies and one that is not, both of those that are trained on."""
        version = 0 if before is None else before.version + 1
        known = np.flatnonzero(clips.learned)
        if len(known) < FEWEST:
            raise UserError(f"the task {self.name} needs {FEWEST} clips to train on, there are {len(known)}")
        deep, placed = np.split(clips.features, [clips.features.shape[1] - DIMENSIONS], axis=1)
        rng = np.random.default_rng([seed, version])
        found, distance = neighbours(deep[known], len(known) - 1, clips.group[known])
        there = np.isfinite(distance).sum(1)
        rows = np.arange(len(known))
        far = there // 2 + (rng.random(len(known)) * (there - there // 2)).astype(np.int64)
        alike, unlike = known[found[:, 0]], known[found[rows, np.minimum(far, found.shape[1] - 1)]]
        pairs = np.zeros((len(deep), 2), np.int64)
        weight = np.zeros(len(deep), np.float32)
        pairs[known], weight[known] = np.stack([alike, unlike], 1), there >= 2
        held = np.flatnonzero(~clips.learned)
        if len(held):
            twin = nearest(deep[held], deep[known])[0]
            pairs[held], weight[held] = pairs[known[twin]], weight[known[twin]]
        columns = {"alike": placed[pairs[:, 0]], "unlike": placed[pairs[:, 1]]}
        return Labels(version, {**{k: v.astype(np.float16) for k, v in columns.items()}, "weight": weight})

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """A patch, itself later, and another place; target: where its two others lay."""
        others = torch.stack([batch["label.alike"], batch["label.unlike"]], 1).float()
        return Asked(others, everyone(batch) * batch["label.weight"], patches(batch, draw))

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Cosines (N, 3, 2), near and wrong: patch and later, patch and alike, later and alike."""
        x = head(seen.deep)
        own = torch.einsum("nd,nkd->nk", x[:, 0], x[:, 1:])
        return torch.stack([own, *(torch.einsum("nd,nkd->nk", x[:, k], asked.target) for k in (0, 1))], 1)

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Mean hinge of the margin over the three pairs."""
        each = F.relu(self.margin - answer[..., 0] + answer[..., 1]).mean(1)
        return (asked.weight * each).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """How often the later one is nearer to what is alike; by chance half the time."""
        hit = (answer[:, 2, 0] > answer[:, 2, 1]).double()
        return torch.stack([hit, torch.full_like(hit, 0.5)], 1)
