"""Clusters that are merged, step by step, while the trunk learns to hold them together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.clusters.k_means import Points, enough, k_means, means, nearest, unit
from freelabels.train.tasks.clusters.neighbours import affinity, graph, neighbours
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import projector
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.online import Clips, Labels, Online
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Seen, everyone, first

DIMENSIONS = 64
RIVALS = 5  # clusters that an image is held away from
NEIGHBOURS = 20  # of a clip


class Places(nn.Module):
    """Deep features (…, C) → unit vectors (…, 64); centres of clusters among them, and each one's rivals."""

    centres: Tensor
    rivals: Tensor

    def __init__(self, shape: Shape, clusters: int):
        super().__init__()
        self.into = projector(shape, 256, DIMENSIONS)
        self.register_buffer("centres", torch.zeros(clusters, DIMENSIONS))
        self.register_buffer("rivals", torch.zeros(clusters, RIVALS, dtype=torch.long))

    def forward(self, deep: Tensor) -> Tensor:
        """Unit vectors."""
        return F.normalize(self.into(deep), dim=-1)


@dataclass(frozen=True)
class JointCluster(Online):
    """The cluster of an image, rather than its rivals, while ever more clusters are merged.

    A version merges a share of the clusters, those that hang together most (graph degree linkage); then images
    are drawn to their cluster and away from its five nearest rivals by a weighted triplet loss. Smaller than in
    the paper: begun by k-means, not by a graph's components; a version's merges are all made at once; and a
    cluster is represented by its centre in that version, since a batch holds few clips of one cluster.
    """

    clusters: int = 64
    least: int = 16
    merged: float = 0.1
    margin: float = 0.2
    every: int = 100

    name = "joint_cluster"
    system = "JointCluster"
    family = FAMILIES[1]
    paper = (
        "Yang, Parikh and Batra, Joint unsupervised learning of deep representations and image clusters, 2016"
    )
    measure = Measure("finds its cluster among its rivals", "", True)
    classes = 1 + RIVALS

    def __post_init__(self) -> None:
        self.at_least_one()
        if not RIVALS < self.least <= self.clusters or not 0 < self.merged < 1:
            raise ValueError(
                f"clusters ≥ least > {RIVALS}, and merged (share of a version) lies between 0 and 1"
            )

    def head(self, shape: Shape) -> nn.Module:
        """Two layers, and the centres."""
        return Places(shape, self.clusters)

    def embed(self, head: nn.Module, seen: Seen) -> Tensor:
        """Where the head places it."""
        placed: Tensor = head(seen.deep[:, 0])
        return placed

    def assign(self, clips: Clips, before: Labels | None, seed: int) -> Labels:
        """k-means at first; then the clusters there are, some of them merged. Held-out clips: the nearest."""
        learned = clips.features[clips.learned]
        if before is None:
            enough(self.name, len(learned), "clusters", self.clusters)
            _, label = k_means(learned, self.clusters, np.random.default_rng([seed, 0]))
        else:
            label = self._merge(learned, before.clips["label"][clips.learned].astype(np.int64))
        centres = unit(means(learned, label, self.clusters))
        alive = np.unique(label)
        every = alive[nearest(clips.features, centres[alive])[0]]
        every[clips.learned] = label
        near = centres @ centres[alive].T
        near[alive, np.arange(len(alive))] = -np.inf
        rivals = alive[np.argsort(-near, axis=1, kind="stable")[:, :RIVALS]]
        version = 0 if before is None else before.version + 1
        return Labels(version, {"label": every.astype(np.int32)}, {"centres": centres, "rivals": rivals})

    def _merge(self, points: Points, label: NDArray[np.int64]) -> NDArray[np.int64]:
        """Labels with the strongest of the pairs of clusters merged, each cluster in one pair at most."""
        there = len(np.unique(label))
        left = min(max(1, round(self.merged * there)), there - self.least)
        found, distance = neighbours(points, NEIGHBOURS)
        edges = graph(found, np.exp(-distance / max(float(distance.mean()), 1e-12)))
        strength = np.triu(affinity(edges, label, self.clusters), 1)
        merged, taken = label.copy(), set[int]()
        for place in np.argsort(-strength, axis=None, kind="stable"):
            a, b = divmod(int(place), self.clusters)
            if left <= 0 or strength[a, b] <= 0:
                break
            if not {a, b} & taken:
                merged[merged == b] = a
                taken |= {a, b}
                left -= 1
        return merged

    def renew(self, head: nn.Module, labels: Labels) -> list[nn.Parameter]:
        """New centres and rivals; the layers go on."""
        assert isinstance(head, Places)
        head.centres.copy_(torch.from_numpy(np.asarray(labels.whole["centres"])))
        head.rivals.copy_(torch.from_numpy(np.asarray(labels.whole["rivals"])))
        return []

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image, and its clip's cluster."""
        return Asked(batch["label.label"].long(), everyone(batch), first(batch)[:, None])

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Cosines (N, 6) with the centre of its own cluster and with those of its rivals."""
        assert isinstance(head, Places)
        own = asked.target[:, None]
        chosen = torch.cat([own, head.rivals[asked.target]], 1)
        return torch.einsum("nd,nkd->nk", head(seen.deep[:, 0]), head.centres[chosen])

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """How far each rival comes nearer than the margin allows, on average over the rivals."""
        return (asked.weight * F.relu(self.margin - answer[:, :1] + answer[:, 1:]).mean(1)).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """How often its own is nearest; by chance 1 in 6."""
        hit = (answer.argmax(1) == 0).double()
        return torch.stack([hit, torch.full_like(hit, 1 / self.classes)], 1)

    def picture(self, answer: Tensor, asked: Asked, side: int) -> Array | None:
        """The image, how near its cluster is and how near the nearest rival."""
        assert asked.images is not None
        pairs = zip(answer[:, 0].tolist(), answer[:, 1:].amax(1).tolist(), strict=True)
        return montage(asked.images, side, [f"{own:.2f} > {rival:.2f}?" for own, rival in pairs])
