"""Every image is pulled to a random direction of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.online import Clips, Labels, Online
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Seen, everyone, first
from freelabels.train.tasks.contract.views import grey

CHOICES = 64  # directions among which an image's own is looked for when it is scored


@dataclass(frozen=True)
class PredictNoise(Online):
    """The fixed random direction that an image is given, out of as many as there are clips.

    Each new version hands the directions of some clips round among them, so that all together lie as near as they
    can; those of held-out clips among these. Smaller than in the paper: 128 dimensions rather than 2048; handed
    round every so many steps in blocks of 256 clips, rather than in the batches of every third epoch; grey images
    in place of gradients, as the trunk is shared.
    """

    dimensions: int = 128
    block: int = 256
    every: int = 100

    name = "predict_noise"
    system = "PredictNoise"
    family = FAMILIES[1]
    paper = "Bojanowski and Joulin, Unsupervised learning by predicting noise, 2017"
    measure = Measure("finds its own of 64", "", True)
    classes = CHOICES

    def __post_init__(self) -> None:
        self.at_least_one()
        if self.dimensions < 2 or self.block < 2:
            raise ValueError("dimensions and block are at least 2")

    def head(self, shape: Shape) -> nn.Module:
        """A linear layer."""
        return nn.Linear(shape.channels[-1], self.dimensions)

    def look(self, images: Tensor) -> Tensor:
        """Grey."""
        return grey(images).expand_as(images)

    def embed(self, head: nn.Module, seen: Seen) -> Tensor:
        """Unit vectors."""
        return F.normalize(head(seen.deep[:, 0]), dim=1)

    def assign(self, clips: Clips, before: Labels | None, seed: int) -> Labels:
        """At first a clip's own number; then, in random blocks, the best one-to-one assignment."""
        if before is None:
            return Labels(0, {"direction": np.arange(len(clips.learned), dtype=np.int32)})
        version = before.version + 1
        direction = np.array(before.clips["direction"])
        for part, side in enumerate((clips.learned, ~clips.learned)):
            order = np.random.default_rng([seed, version, part]).permutation(np.flatnonzero(side))
            for start in range(0, len(order), self.block):
                some = order[start : start + self.block]
                near = clips.features[some] @ self._vectors(direction[some]).T
                _, column = linear_sum_assignment(near, maximize=True)
                direction[some] = direction[some][column]
        return Labels(version, {"direction": direction})

    def _vectors(self, direction: NDArray[np.int32]) -> NDArray[np.float32]:
        return np.asarray(directions(torch.from_numpy(direction), self.dimensions).numpy(), np.float32)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The grey image; its direction, then the others that it is scored against."""
        own = batch["label.direction"].long()[:, None]
        others = draw.integers(2**31 - 1, CHOICES - 1)
        target = directions(torch.cat([own, others], 1), self.dimensions)
        return Asked(target, everyone(batch), self.look(first(batch))[:, None])

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Cosines (N, 64) with all of them."""
        return torch.einsum("nd,nkd->nk", self.embed(head, seen), asked.target)

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """How far from its own."""
        return (asked.weight * (1 - answer[:, 0])).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """How often its own is the nearest; by chance 1 in 64."""
        hit = (answer.argmax(1) == 0).double()
        return torch.stack([hit, torch.full_like(hit, 1 / CHOICES)], 1)


def directions(numbers: Tensor, dimensions: int) -> Tensor:
    """Unit vectors (…, dimensions), evenly spread over all directions, each made from its number (…)."""
    normal = Draw(numbers.flatten(), "direction").normal(dimensions)
    return F.normalize(normal, dim=1).view(*numbers.shape, dimensions)
