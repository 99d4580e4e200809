"""Where each of shuffled tiles belongs, as a whole permutation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Seen, Task, everyone, first
from freelabels.train.tasks.space.tiles import PIECES, Puzzle, ordered, tiles


@dataclass(frozen=True)
class DeepPermNet(Task):
    """The permutation of nine tiles as a matrix that Sinkhorn's iteration makes doubly stochastic.

    As with `jigsaw`, an image's tiles are laid in `puzzles` orders, and what each says by itself is added.
    Smaller than in the paper: tiles as in `jigsaw`; judged by cross-entropy of rows.
    """

    rounds: int = 5
    puzzles: int = 8
    shared: bool = True

    name = "deep_perm_net"
    system = "DeepPermNet"
    family = FAMILIES[1]
    paper = "Santa Cruz et al., DeepPermNet: visual permutation learning, 2017"
    classes = PIECES
    measure = Measure("tiles in place", "", True)

    def head(self, shape: Shape) -> nn.Module:
        """As the jigsaw's, with a number for each pair of tile and place."""
        return Puzzle(shape, PIECES**2, self.shared)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Nine levelled tiles; target (N, puzzles, 9): which of them lies at each place."""
        order = draw.order(PIECES, self.puzzles)
        return Asked(order, everyone(batch), tiles(first(batch), draw))

    def answer(self, head: Puzzle, seen: Seen, asked: Asked) -> Tensor:  # type: ignore[override]
        """Logarithms (N, puzzles, 9, 9) of the share of place i's tile that belongs to each cell."""
        laid = ordered(head.alone(seen.deep), asked.target)
        said = head.together(laid).view(*laid.shape[:2], PIECES, PIECES)
        return sinkhorn(said + head.cells(laid), self.rounds)

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Mean over puzzles and places of the cross-entropy."""
        each = -answer.gather(3, asked.target[..., None]).mean((1, 2, 3))
        return (asked.weight * each).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """The share of the first puzzle's tiles that the best permutation puts right."""
        right = (assigned(answer[:, 0]) == asked.target[:, 0].cpu()).double().mean(1)
        return torch.stack([right, torch.full_like(right, 1 / PIECES)], 1).to(answer.device)

    def picture(self, answer: Tensor, asked: Asked, side: int) -> Array:
        """The tiles of the first puzzle as they lie, and as the answer lays them."""
        assert asked.images is not None
        shown = ordered(asked.images, asked.target[:, 0])
        laid = ordered(shown, assigned(answer[:, 0]).argsort(1).to(shown.device))
        return np.concatenate([montage(shown, side), montage(laid, side)], 2)


def sinkhorn(logits: Tensor, rounds: int) -> Tensor:
    """Logits (…, n, n) with rows and columns normalised in turn, the rows last; logarithms."""
    for _ in range(rounds):
        logits = F.log_softmax(F.log_softmax(logits, -2), -1)
    return logits


def assigned(scores: Tensor) -> Tensor:
    """int64 (N, n): of scores (N, n, n), the column of each row in the best permutation (Hungarian method)."""
    told = [linear_sum_assignment(one, maximize=True)[1] for one in scores.detach().cpu().numpy()]
    return torch.tensor([one.tolist() for one in told])
