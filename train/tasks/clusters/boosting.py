"""The cluster that another run's features gave an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.commonest import commonest, kept
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Task, first

COLUMN = "cluster"


@dataclass(frozen=True)
class Boosting(Task):
    """The stored cluster of an image, which `freelabels assign` made of another run's features.

    So what a teacher has learned, of whatever architecture and by whatever task, goes over to a fresh trunk.
    Smaller than in the paper: as many clusters as were assigned, 64 by default, instead of 2000; the teacher is
    any run, not one trained on jigsaws with tiles of other images.
    """

    clusters: int = 0

    name = "boosting"
    system = "Boosting"
    family = FAMILIES[1]
    paper = "Noroozi et al., Boosting self-supervised learning via knowledge transfer, 2018"
    trivial = "commonest cluster"
    needs = Needs(fields=(COLUMN,))

    @property
    def classes(self) -> int:
        """As many as the data name."""
        return self.clusters

    def fitted(self, names: Mapping[str, tuple[str, ...]]) -> Boosting:
        """With as many clusters as the column has names of."""
        return self if self.clusters else replace(self, clusters=len(names.get(COLUMN, ())))

    def head(self, shape: Shape) -> nn.Module:
        """A linear layer."""
        return nn.Linear(shape.channels[-1], self.clusters)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image; clips that were assigned none weigh nothing."""
        cluster = batch[COLUMN][:, 0].long()
        return Asked(cluster.clamp_min(0), (cluster >= 0).float(), first(batch)[:, None])

    def keep(self, answer: Tensor, asked: Asked) -> tuple[Tensor, ...]:
        """Hits and clusters."""
        return kept(answer, asked.target, asked)

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Accuracy beside that of the commonest cluster."""
        return commonest(columns)
