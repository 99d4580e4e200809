"""A jigsaw puzzle of any grid in any of all its orders, put together over and over."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Seen, Task, everyone, first
from freelabels.train.tasks.space.deep_perm_net import assigned
from freelabels.train.tasks.space.tiles import ordered, tiles

RELATIONS = 9  # the eight directions to a neighbour, and none


class Places(nn.Module):
    """Of tiles and where they lie now: each one's cell, and the relation of each pair."""

    def __init__(self, shape: Shape, pieces: int, width: int = 128):
        super().__init__()
        self.each = nn.Sequential(nn.Linear(shape.channels[-1], width), nn.LayerNorm(width), nn.ReLU())
        self.now = nn.Parameter(torch.zeros(pieces, width))
        self.cell = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, pieces))
        self.pair = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, RELATIONS))

    def forward(self, deep: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, n, n) of each tile's cell, and (N, n, n, 9) of pairs; places (N, n): where tiles lie."""
        x = self.each(deep)
        x_now = x + self.now[places]
        cell = self.cell(torch.cat([x_now, x_now.mean(1, keepdim=True).expand_as(x)], -1))
        count = x.shape[1]
        one, other = x[:, :, None].expand(-1, -1, count, -1), x[:, None].expand(-1, count, -1, -1)
        return cell, self.pair(torch.cat([one, other], -1))


@dataclass(frozen=True)
class ArbitraryJigsaw(Task):
    """Where each tile of a grid × grid puzzle belongs and how each pair lies, asked again once it is put together.

    Smaller than in the paper: the trunk sees tiles one by one and not their rearrangement as a whole, which only
    the head does; two rounds; images only.
    """

    grid: int = 3
    rounds: int = 2

    name = "arbitrary_jigsaw"
    system = "Arbitrary Jigsaw"
    family = FAMILIES[1]
    paper = (
        "Wei et al., Iterative reorganization with weak spatial constraints: solving arbitrary jigsaw "
        "puzzles for unsupervised representation learning, 2019"
    )
    measure = Measure("tiles in place", "", True)

    def __post_init__(self) -> None:
        if not 2 <= self.grid <= 5 or self.rounds < 1:
            raise ValueError("grid is 2 to 5, rounds at least 1")

    @property
    def classes(self) -> int:
        """How many cells there are."""
        return self.grid**2

    def head(self, shape: Shape) -> nn.Module:
        """Unary and pairwise logits."""
        return Places(shape, self.classes)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Levelled tiles in any order; target (N, n): the cell of the tile at each place."""
        order = draw.order(self.classes)
        return Asked(order, everyone(batch), ordered(tiles(first(batch), draw, self.grid), order))

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> list[tuple[Tensor, Tensor]]:
        """Of each round, the logits of `Places`."""
        places = torch.arange(self.classes, device=seen.deep.device).expand(len(seen.deep), -1)
        said = []
        for _ in range(self.rounds):
            said.append(head(seen.deep, places))
            places = assigned(said[-1][0]).to(places.device)
        return said

    def judge(self, answer: list[tuple[Tensor, Tensor]], asked: Asked) -> Tensor:
        """Mean cross-entropies of cells and of pairs, over rounds."""
        relation = self._relations(asked.target)
        each = torch.zeros_like(asked.weight)
        for cell, pair in answer:
            each = each + F.cross_entropy(cell.transpose(1, 2), asked.target, reduction="none").mean(1)
            beside = F.cross_entropy(pair.permute(0, 3, 1, 2), relation, reduction="none")
            each = each + beside.mean((1, 2))
        return (asked.weight * each).sum() / self.rounds

    def score(self, answer: list[tuple[Tensor, Tensor]], asked: Asked) -> Tensor:
        """The share of tiles that the last round puts right."""
        right = (assigned(answer[-1][0]) == asked.target.cpu()).double().mean(1)
        return torch.stack([right, torch.full_like(right, 1 / self.classes)], 1).to(asked.target.device)

    def _relations(self, cell: Tensor) -> Tensor:
        """(N, n, n): the direction 0 … 7 from one tile's cell to another's, 8 if they aren't neighbours."""
        y, x = cell // self.grid, cell % self.grid
        dy, dx = (v[:, None, :] - v[:, :, None] for v in (y, x))
        index = (dy + 1) * 3 + dx + 1
        index = torch.where(index > 4, index - 1, index)
        near = (dy.abs() <= 1) & (dx.abs() <= 1) & ((dy != 0) | (dx != 0))
        return torch.where(near, index, RELATIONS - 1)
