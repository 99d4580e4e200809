"""Clusters in a small embedding, sharpened towards what they are already sure of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.clusters.k_means import enough, k_means
from freelabels.train.tasks.contract.commonest import commonest
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.online import Clips, Labels, Online
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Seen, everyone, first

SMALL = 16  # side of the image that the embedding has to rebuild at first
Answer = tuple[Tensor, Tensor]
"""Shares of the clusters (N, k); the image rebuilt (N, 3, 16, 16), -1 … 1."""


class Embedding(nn.Module):
    """Deep features (N, C) → the embedding (N, d); centres of clusters in it; small images rebuilt from it."""

    def __init__(self, channels: int, dimensions: int, clusters: int):
        super().__init__()
        self.into = nn.Linear(channels, dimensions)
        self.back = nn.Linear(dimensions, 3 * SMALL * SMALL)
        self.centres = nn.Parameter(torch.zeros(clusters, dimensions))

    def forward(self, deep: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding, and the share of each cluster (N, k): Student's t with one degree of freedom."""
        z: Tensor = self.into(deep)
        near = 1 / (1 + (z[:, None] - self.centres[None]).square().sum(2))
        return z, near / near.sum(1, keepdim=True)


@dataclass(frozen=True)
class ClusterEmbedding(Online):
    """The cluster of an image in a small embedding, where sure shares of clusters are made surer.

    As in the paper it begins as an autoencoder, since from a random start all would fall into one cluster: until
    version 1 the embedding rebuilds the image; then k-means gives the centres, which are parameters. The target of
    a version is q² over the cluster's size, of all clips. Smaller than in the paper: one linear layer each way
    behind the shared trunk, rebuilding 16×16 pixels, instead of a stacked denoising autoencoder of raw pixels.
    """

    clusters: int = 16
    dimensions: int = 32
    every: int = 100

    name = "cluster_embedding"
    system = "ClusterEmbedding"
    family = FAMILIES[1]
    paper = "Xie, Girshick and Farhadi, Unsupervised deep embedding for clustering analysis, 2016"
    trivial = "commonest cluster"

    def __post_init__(self) -> None:
        self.at_least_one()
        if self.clusters < 2 or self.dimensions < 1:
            raise ValueError("clusters is at least 2, dimensions at least 1")

    def head(self, shape: Shape) -> nn.Module:
        """The embedding."""
        return Embedding(shape.channels[-1], self.dimensions, self.clusters)

    def embed(self, head: nn.Module, seen: Seen) -> Tensor:
        """The embedding and the shares of clusters, side by side."""
        return torch.cat(head(seen.deep[:, 0]), 1)

    def assign(self, clips: Clips, before: Labels | None, seed: int) -> Labels:
        """Version 0: no clusters. Version 1: k-means. Then: from the shares that the head gives."""
        z, share = np.split(clips.features.astype(np.float64), [self.dimensions], axis=1)
        if before is None:
            return Labels(0, {"share": np.zeros((len(z), self.clusters), np.float32)})
        version, whole = before.version + 1, {}
        if version == 1:
            enough(self.name, int(clips.learned.sum()), "clusters", self.clusters)
            rng = np.random.default_rng([seed, version])
            centres, _ = k_means(clips.features[clips.learned, : self.dimensions], self.clusters, rng)
            share = 1 / (1 + ((z[:, None] - centres[None]) ** 2).sum(2))
            share /= share.sum(1, keepdims=True)
            whole = {"centres": centres}
        target = share**2 / share[clips.learned].sum(0)
        target /= target.sum(1, keepdims=True)
        columns = {"share": target.astype(np.float32), "label": target.argmax(1).astype(np.int32)}
        return Labels(version, columns, whole)

    def renew(self, head: nn.Module, labels: Labels) -> list[nn.Parameter]:
        """With version 1 come the centres."""
        if "centres" not in labels.whole:
            return []
        assert isinstance(head, Embedding)
        with torch.no_grad():
            head.centres.copy_(torch.from_numpy(np.asarray(labels.whole["centres"])))
        return [head.centres]

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image; the shares to reach, and it in small."""
        image = first(batch)
        small = F.adaptive_avg_pool2d(image.float(), SMALL) / 127.5 - 1
        return Asked((batch["label.share"], small), everyone(batch), image[:, None])

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Answer:
        """Shares, and the rebuilt image."""
        assert isinstance(head, Embedding)
        z, share = head(seen.deep[:, 0])
        return share, head.back(z).view(-1, 3, SMALL, SMALL)

    def judge(self, answer: Answer, asked: Asked) -> Tensor:
        """Kullback and Leibler's divergence of shares, where there are any yet; else the squared error."""
        (share, rebuilt), (target, small) = answer, asked.target
        divergence = (torch.special.xlogy(target, target) - target * share.log()).sum(1)
        error = (rebuilt - small).square().mean((1, 2, 3))
        return (asked.weight * torch.where(_begun(asked), divergence, error)).sum()

    def keep(self, answer: Answer, asked: Asked) -> tuple[Tensor, ...]:
        """Whether the likeliest cluster is the target's, where there is one."""
        own = asked.target[0].argmax(1)
        return (answer[0].argmax(1) == own).double(), own, ((asked.weight > 0) & _begun(asked)).double()

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Accuracy beside that of the commonest cluster."""
        return commonest(columns)

    def picture(self, answer: Answer, asked: Asked, side: int) -> Array | None:
        """The image, it rebuilt, and its cluster."""
        assert asked.images is not None
        rebuilt = F.interpolate((answer[1] + 1) * 127.5, asked.images.shape[-2:])
        told, right = answer[0].argmax(1).tolist(), asked.target[0].argmax(1).tolist()
        captions = [f"{a} ({b})" for a, b in zip(told, right, strict=True)]
        return montage(torch.stack([asked.images[:, 0].float(), rebuilt], 1), side, captions)


def _begun(asked: Asked) -> Tensor:
    """Which samples have a target among clusters."""
    begun: Tensor = asked.target[0].sum(1) > 0
    return begun
