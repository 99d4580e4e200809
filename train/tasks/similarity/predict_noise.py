"""A random target for each image, exchanged until they fit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import projector
from freelabels.train.tasks.contract.task import (
    FAMILIES,
    Asked,
    Measure,
    Seen,
    Task,
    first,
    label_of,
    labelled_by_book,
)
from freelabels.train.tasks.contract.views import grey

BLOCK = 256  # images whose targets are exchanged among each other
OTHERS = 63  # targets beside the own one that a score chooses among


@dataclass(frozen=True)
class PredictNoise(Task):
    """A fixed random unit vector for each clip; every so many steps blocks of clips exchange theirs to fit better.

    The image is seen in grey. Smaller than in the paper: exchanged every `steps` steps in blocks of 256 of all
    clips, by the averaged network, instead of within each batch every third epoch.
    """

    width: int = 64
    steps: int = 100

    name = "predict_noise"
    system = "PredictNoise"
    family = FAMILIES[1]
    paper = "Bojanowski and Joulin, Unsupervised learning by predicting noise, 2017"
    measure = Measure("own target nearest of 64", "", True)

    def __post_init__(self) -> None:
        if self.width < 2 or self.steps < 1:
            raise ValueError("width is at least 2, steps (between versions) at least 1")

    @property
    def every(self) -> int:
        """Steps between versions."""
        return self.steps

    def head(self, shape: Shape) -> nn.Module:
        """Two layers."""
        return projector(shape, 256, self.width)

    def targets(self, numbers: Tensor) -> Tensor:
        """Unit vectors (n, width) of targets by number (n,)."""
        return F.normalize(Draw(numbers, "targets").normal(self.width), dim=1)

    def assign(self, head: nn.Module, features: Tensor, previous: Tensor | None, seed: int) -> Tensor:
        """int64 (n,): the number of each one's target."""
        number = torch.arange(len(features)) if previous is None else previous.clone()
        if previous is None:
            return number
        said = F.normalize(head(features).float(), dim=1).cpu()
        order = torch.randperm(len(said), generator=torch.Generator().manual_seed(seed))
        for block in torch.split(order, BLOCK):
            fit = said[block] @ self.targets(number[block]).T
            _, given = linear_sum_assignment(fit.numpy(), maximize=True)
            number[block] = number[block[torch.from_numpy(given)]]
        return number

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image in grey, and its target."""
        image = grey(first(batch)).expand(-1, 3, -1, -1)
        return Asked(self.targets(batch[label_of(self.name)]), labelled_by_book(batch), image[:, None])

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Unit vectors (N, width)."""
        return F.normalize(head(seen.deep[:, 0]), dim=1)

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """1 − cosine."""
        cosine: Tensor = (answer * asked.target).sum(1)
        return (asked.weight * (1 - cosine)).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """Whether the own target is nearer than 63 that are nobody's."""
        others = self.targets(-1 - torch.arange(OTHERS, device=answer.device))
        own = (answer * asked.target).sum(1)
        hit = (own > (answer @ others.T).amax(1)).double()
        return torch.stack([hit, torch.full_like(hit, 1 / (1 + OTHERS))], 1)
