"""Which of two images is alike, as mined from a graph of neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.ground.errors import UserError
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.clusters.k_means import nearest
from freelabels.train.tasks.clusters.neighbours import graph, neighbours
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import projector
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.online import Clips, Labels, Online
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Seen, first

DIMENSIONS = 64
LANDMARKS = 64  # clips from which distances along the graph are taken
FEWEST = 8  # clips that make a graph


class Likeness(nn.Module):
    """Deep features (…, C) → unit vectors (…, 64), and how surely a cosine says that two are alike."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.into = projector(shape, 256, DIMENSIONS)
        self.scale = nn.Parameter(torch.tensor(5.0))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, deep: Tensor) -> Tensor:
        """Unit vectors."""
        return F.normalize(self.into(deep), dim=-1)


@dataclass(frozen=True)
class GraphConstraint(Online):
    """Whether another image is alike (opposite in a cycle of four neighbours) or unlike (far along the graph).

    Clips of one source are never neighbours, since they are copies. Smaller than in the paper: the first graph is
    of the untrained trunk's features, not of Fisher vectors; distances along the graph are taken from 64
    landmarks, and what is unlike is one of the farthest quarter; the other image of a pair is seen as the averaged
    model saw it when the version was made, so that a sample costs one image.
    """

    neighbours: int = 10
    every: int = 100

    name = "graph_constraint"
    system = "GraphConstraint"
    family = FAMILIES[1]
    paper = (
        "Li et al., Unsupervised visual representation learning by graph-based consistent constraints, 2016"
    )
    measure = Measure("alike nearer than unlike", "", True)
    classes = 2

    def __post_init__(self) -> None:
        self.at_least_one()
        if self.neighbours < 2:
            raise ValueError("neighbours is at least 2")

    def head(self, shape: Shape) -> nn.Module:
        """Two layers to 64 numbers."""
        return Likeness(shape)

    def embed(self, head: nn.Module, seen: Seen) -> Tensor:
        """Deep features, of which the graph is made, and where the head places them."""
        deep = seen.deep[:, 0]
        return torch.cat([F.normalize(deep, dim=1), head(deep)], 1)

    def assign(self, clips: Clips, before: Labels | None, seed: int) -> Labels:
        """Pairs of the clips trained on; a held-out clip has the pair of the one that is nearest to it."""
        version = 0 if before is None else before.version + 1
        known = np.flatnonzero(clips.learned)
        if len(known) < FEWEST:
            raise UserError(f"the task {self.name} needs {FEWEST} clips to train on, there are {len(known)}")
        deep, placed = np.split(clips.features, [clips.features.shape[1] - DIMENSIONS], axis=1)
        rng = np.random.default_rng([seed, version])
        like, unlike, found = mined(deep[known], clips.group[known], self.neighbours, rng)
        n = len(deep)
        alike, different, weight = np.empty(n, np.int64), np.empty(n, np.int64), np.zeros(n, np.float32)
        alike[known], different[known], weight[known] = known[like], known[unlike], found
        held = np.flatnonzero(~clips.learned)
        twin = nearest(deep[held], deep[known])[0]
        alike[held], different[held], weight[held] = known[twin], known[unlike[twin]], found[twin]
        columns = {"like": placed[alike], "unlike": placed[different]}
        return Labels(version, {**{k: v.astype(np.float16) for k, v in columns.items()}, "weight": weight})

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image; where its two others lay."""
        others = torch.stack([batch["label.like"], batch["label.unlike"]], 1).float()
        return Asked(others, batch["label.weight"], first(batch)[:, None])

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logits (N, 2) that it is alike to the one, to the other."""
        assert isinstance(head, Likeness)
        return head.scale * torch.einsum("nd,nkd->nk", head(seen.deep[:, 0]), asked.target) + head.bias

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Binary cross-entropy of both."""
        truth = torch.tensor([1.0, 0.0], device=answer.device).expand_as(answer)
        both = F.binary_cross_entropy_with_logits(answer, truth, reduction="none")
        return (asked.weight * both.mean(1)).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """How often the one that is alike is nearer; by chance half the time."""
        hit = (answer[:, 0] > answer[:, 1]).double()
        return torch.stack([hit, torch.full_like(hit, 0.5)], 1)

    def picture(self, answer: Tensor, asked: Asked, side: int) -> Array | None:
        """The image, and how likely it is alike to the one and to the other."""
        assert asked.images is not None
        captions = [f"{a:.2f} > {b:.2f}?" for a, b in answer.sigmoid().tolist()]
        return montage(asked.images, side, captions)


def mined(
    points: NDArray[np.float32], group: NDArray[np.uint64], k: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """For each point one that is alike and one that is unlike, and 1 where there are both, else 0.

    Alike: the opposite corner of the most cycles of four in the directed graph of k nearest neighbours. Unlike: a
    random one of the landmarks in the farthest quarter along the graph.
    """
    found, distance = neighbours(points, k, group)
    there = np.isfinite(distance)
    edges = graph(found, there.astype(np.float64))
    two = edges @ edges
    corners = two.multiply(two.T).tolil()  # ways there × ways back
    corners.setdiag(0)
    corners = corners.tocsr()
    corners.eliminate_zeros()
    rows = np.repeat(np.arange(len(points)), np.diff(corners.indptr))
    other = group[rows] != group[corners.indices]
    like, most = np.zeros(len(points), np.int64), np.zeros(len(points))
    order = np.lexsort((corners.indices, -corners.data, rows))
    order = order[other[order]]
    first_of, place = np.unique(rows[order], return_index=True)
    like[first_of], most[first_of] = corners.indices[order[place]], corners.data[order[place]]
    lengths = graph(found, np.where(there, np.sqrt(distance) + 1e-6, 0.0))
    landmarks = np.sort(rng.choice(len(points), min(LANDMARKS, len(points)), replace=False))
    along = dijkstra(lengths, directed=False, indices=landmarks).T  # (n, landmarks)
    along[group[:, None] == group[landmarks]] = -1.0
    far = np.argsort(-along, axis=1, kind="stable")[:, : max(1, len(landmarks) // 4)]
    chosen = far[np.arange(len(points)), rng.integers(far.shape[1], size=len(points))]
    apart = np.take_along_axis(along, chosen[:, None], 1)[:, 0] > 0
    return like, landmarks[chosen], ((most > 0) & apart).astype(np.float32)
