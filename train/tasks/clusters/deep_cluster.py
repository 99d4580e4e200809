"""Which cluster of the trunk's own features an image lies in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.clusters.classes import reset
from freelabels.train.tasks.clusters.k_means import enough, k_means, nearest, whitened
from freelabels.train.tasks.contract.commonest import commonest, kept
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.online import Clips, Labels, Online
from freelabels.train.tasks.contract.task import FAMILIES, Asked, first
from freelabels.train.tasks.contract.views import grey


@dataclass(frozen=True)
class DeepCluster(Online):
    """The cluster, by k-means on the whitened features of all clips, that an image lies in.

    Frames of a clip are near copies, so one of each is clustered, and all of them get its label. A new version
    resets the head, its optimiser state too. Smaller than in the paper: 64 clusters rather than 10,000, as there
    are fewer images; grey images in place of two Sobel maps, as the trunk is shared with tasks that see colour; a
    sample weighs as much as its cluster is small, which is the paper's even sampling of clusters in expectation.
    """

    clusters: int = 64
    every: int = 100

    name = "deep_cluster"
    system = "DeepCluster"
    family = FAMILIES[1]
    paper = "Caron et al., Deep clustering for unsupervised learning of visual features, 2018"
    trivial = "commonest cluster"

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

    def look(self, images: Tensor) -> Tensor:
        """Grey: colour alone would cluster well and teach little."""
        return grey(images).expand_as(images)

    def assign(self, clips: Clips, before: Labels | None, seed: int) -> Labels:
        """k-means of the clips trained on; held-out ones lie where they are nearest."""
        enough(self.name, int(clips.learned.sum()), "clusters", self.clusters)
        version = 0 if before is None else before.version + 1
        points = whitened(clips.features, clips.learned)
        centres, _ = k_means(points[clips.learned], self.clusters, np.random.default_rng([seed, version]))
        label, _ = nearest(points, centres)
        size = np.bincount(label[clips.learned], minlength=self.clusters)
        weight = clips.learned.sum() / (self.clusters * np.maximum(size, 1))
        return Labels(version, {"label": label.astype(np.int32), "weight": weight[label].astype(np.float32)})

    def renew(self, head: nn.Module, labels: Labels) -> list[nn.Parameter]:
        """Clusters of two versions have nothing to do with each other, so the head begins again."""
        assert isinstance(head, nn.Linear)
        return reset(head, labels.version)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The grey image, and its clip's cluster."""
        images = self.look(first(batch))[:, None]
        return Asked(batch["label.label"].long(), batch["label.weight"], images)

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Cross-entropy, every cluster counting alike."""
        return (asked.weight * F.cross_entropy(answer, asked.target, reduction="none")).sum()

    def keep(self, answer: Tensor, asked: Asked) -> tuple[Tensor, ...]:
        """Hits and clusters."""
        return kept(answer, asked.target, asked)

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Accuracy beside that of the commonest cluster."""
        return commonest(columns)
