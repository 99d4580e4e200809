"""Which cluster of the network's own an image belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Task, first, label_of, labelled_by_book
from freelabels.train.tasks.contract.views import grey
from freelabels.train.tasks.similarity.kmeans import kmeans, renamed, whitened


@dataclass(frozen=True)
class DeepCluster(Task):
    """The k-means cluster of the image's features, found anew every so many steps; one frame a clip is clustered.

    The image is seen in grey, so that colour alone doesn't tell. Smaller than in the paper: `clusters` = 64;
    clusters keep the names of those before them and the head its weights, instead of a new head each time.
    """

    clusters: int = 64
    steps: int = 200

    name = "deep_cluster"
    system = "DeepCluster"
    family = FAMILIES[1]
    paper = "Caron et al., Deep clustering for unsupervised learning of visual features, 2018"
    trivial = "the largest cluster"

    def __post_init__(self) -> None:
        if self.clusters < 2 or self.steps < 1:
            raise ValueError("clusters is at least 2, steps (between versions) at least 1")

    @property
    def classes(self) -> int:
        """How many clusters there are."""
        return self.clusters

    @property
    def every(self) -> int:
        """Steps between versions."""
        return self.steps

    def head(self, shape: Shape) -> nn.Module:
        """A linear layer."""
        return nn.Linear(shape.channels[-1], self.clusters)

    def assign(self, head: nn.Module, features: Tensor, previous: Tensor | None, seed: int) -> Tensor:
        """int64 (n,)."""
        told = kmeans(whitened(features), self.clusters, seed)
        if previous is not None:
            told = renamed(told, previous.numpy(), self.clusters)
        return torch.from_numpy(told)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image in grey, and its cluster."""
        image = grey(first(batch)).expand(-1, 3, -1, -1)
        return Asked(batch[label_of(self.name)], labelled_by_book(batch), image[:, None])

    def keep(self, answer: Tensor, asked: Asked) -> tuple[Tensor, ...]:
        """Whether the answer is right, and the cluster."""
        return (answer.argmax(1) == asked.target).double(), asked.target, (asked.weight > 0).double()

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Accuracies, of the answers and of the largest cluster."""
        hit, target = (column[columns[2] > 0] for column in columns[:2])
        if not len(hit):
            return float("nan"), float("nan"), float("nan")
        largest = (target == torch.bincount(target).argmax()).double()
        error = float((hit - largest).std(correction=0)) / len(hit) ** 0.5
        return float(hit.mean()), float(largest.mean()), error
