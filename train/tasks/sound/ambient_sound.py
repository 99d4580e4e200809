"""Which of some kinds of place a frame's sound is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.labels import WEIGHT_SUFFIX
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.clusters.k_means import enough, k_means, nearest
from freelabels.train.tasks.contract.commonest import commonest, kept
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.online import Clips, Labels, Online
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, first


@dataclass(frozen=True)
class AmbientSound(Online):
    """The cluster of its clip's sound texture, told from a single frame.

    The textures are a stored column; they are clustered once, by k-means, before the first step. Clips that are
    silent weigh nothing. Smaller than in the paper: textures of 509 numbers by spectra instead of 502 by cochlear
    filters; one texture a clip, that around its middle frame.
    """

    clusters: int = 30
    every: int = 1_000_000_000

    name = "ambient_sound"
    system = "AmbientSound"
    family = FAMILIES[3]
    paper = "Owens et al., Ambient sound provides supervision for visual learning, 2016"
    trivial = "commonest cluster"
    needs = Needs(fields=("sound_texture",))

    def __post_init__(self) -> None:
        self.at_least_one()
        if self.clusters < 2:
            raise ValueError("clusters is at least 2")

    @property
    def classes(self) -> int:
        """As many as there are clusters."""
        return self.clusters

    def head(self, shape: Shape) -> nn.Module:
        """A linear layer."""
        return nn.Linear(shape.channels[-1], self.clusters)

    def describe(self, batch: Batch) -> Tensor:
        """The first frame's texture, NaN where it is silent."""
        texture, trust = batch["sound_texture"][:, 0], batch["sound_texture" + WEIGHT_SUFFIX][:, 0]
        return texture.float().masked_fill((trust <= 0)[:, None], float("nan"))

    def assign(self, clips: Clips, before: Labels | None, seed: int) -> Labels:
        """k-means of the clips trained on; held-out ones lie where they are nearest, silent ones nowhere."""
        heard = np.asarray(np.isfinite(clips.features).all(axis=1))
        learned = clips.learned & heard
        enough(self.name, int(learned.sum()), "clusters", self.clusters)
        some = clips.features[learned].astype(np.float64)
        points = (clips.features - some.mean(0)) / np.maximum(some.std(0), 1e-6)
        points = np.where(heard[:, None], points, 0).astype(np.float32)
        centres, _ = k_means(points[learned], self.clusters, np.random.default_rng([seed, 0]))
        label, _ = nearest(points, centres)
        return Labels(
            0 if before is None else before.version + 1,
            {"label": np.where(heard, label, -1).astype(np.int32), "weight": heard.astype(np.float32)},
        )

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The frame, and its clip's cluster."""
        target = batch["label.label"].long().clamp(min=0)
        return Asked(target, batch["label.weight"], first(batch)[:, None])

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Cross-entropy."""
        return (asked.weight * F.cross_entropy(answer, asked.target, reduction="none")).sum()

    def keep(self, answer: Tensor, asked: Asked) -> tuple[Tensor, ...]:
        """Hits and clusters."""
        return kept(answer, asked.target, asked)

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Accuracy beside that of the commonest cluster."""
        return commonest(columns)
