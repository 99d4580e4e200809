"""Where each of shuffled tiles belongs, as a whole permutation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import Siamese
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Seen, Task, everyone, first
from freelabels.train.tasks.space.tiles import PIECES, ordered, tiles


@dataclass(frozen=True)
class DeepPermNet(Task):
    """The permutation of nine tiles as a matrix that Sinkhorn's iteration makes doubly stochastic.

    Smaller than in the paper: tiles as in `jigsaw`; judged by cross-entropy of rows.
    """

    rounds: int = 5

    name = "deep_perm_net"
    system = "DeepPermNet"
    family = FAMILIES[1]
    paper = "Santa Cruz et al., DeepPermNet: visual permutation learning, 2017"
    classes = PIECES
    measure = Measure("tiles in place", "", True)

    def head(self, shape: Shape) -> nn.Module:
        """As the jigsaw's, with a number for each pair of tile and place."""
        return Siamese(shape, PIECES, PIECES**2)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Nine levelled tiles in any order; target (N, 9): which tile lies at each place."""
        order = draw.order(PIECES)
        return Asked(order, everyone(batch), ordered(tiles(first(batch), draw), order))

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logarithms (N, 9, 9) of the share of place i's tile that belongs to each cell."""
        return sinkhorn(head(seen.deep).view(-1, PIECES, PIECES), self.rounds)

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Mean over places of the cross-entropy."""
        each = F.nll_loss(answer.transpose(1, 2), asked.target, reduction="none").mean(1)
        return (asked.weight * each).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """The share of tiles that the best permutation puts right."""
        told = assigned(answer)
        right = (told == asked.target.cpu()).double().mean(1)
        return torch.stack([right, torch.full_like(right, 1 / PIECES)], 1).to(answer.device)


def sinkhorn(logits: Tensor, rounds: int) -> Tensor:
    """Logits (N, n, n) with rows and columns normalised in turn, the rows last; logarithms."""
    for _ in range(rounds):
        logits = F.log_softmax(F.log_softmax(logits, 1), 2)
    return logits


def assigned(scores: Tensor) -> Tensor:
    """int64 (N, n): of scores (N, n, n), the column of each row in the best permutation (Hungarian method)."""
    told = [linear_sum_assignment(one, maximize=True)[1] for one in scores.detach().cpu().numpy()]
    return torch.tensor([one.tolist() for one in told])
