"""What is near in time is near in the feature."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import projector
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Seen, Task, everyone
from freelabels.train.tasks.time.stills import at, stills

FRAMES = 6


@dataclass(frozen=True)
class TemporalCoherence(Task):
    """A frame lies nearer to its neighbour in time than to one from the other end of the clip.

    A contrastive loss: neighbours are drawn together, the far frame is pushed `margin` away. That a clip stands
    still or that all features are one is no answer, as the far frame must be told from the near one. Blocked as
    in shuffle_learn. Smaller than in the paper: pairs within one clip, whole frames.
    """

    margin: float = 1.0
    span: float = 1.2
    moving: float = 0.3

    name = "temporal_coherence"
    system = "Temporal Coherence"
    family = FAMILIES[1]
    paper = (
        "Redondo-Cabrera and López-Sastre, Unsupervised learning from videos using temporal coherency deep "
        "networks, 2018"
    )
    measure = Measure("near one nearer than far one", "", True)
    classes = 2

    @property
    def needs(self) -> Needs:
        """Six frames."""
        return Needs(FRAMES, span=self.span, moving=self.moving)

    def head(self, shape: Shape) -> nn.Module:
        """Two layers to 64 numbers."""
        return projector(shape, 256, 64)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """A frame, its neighbour and a far one; either end of the clip is the beginning."""
        ways = torch.tensor([[0, 1, FRAMES - 1], [FRAMES - 1, FRAMES - 2, 0]], device=draw.device)
        views = at(stills(batch["image"], draw), ways[draw.integers(2)])
        return Asked(None, everyone(batch), views.expand(-1, -1, 3, -1, -1))

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Distances (N, 2) to the near frame and to the far one, of unit vectors."""
        x = F.normalize(head(seen.deep), dim=2)
        return (x[:, :1] - x[:, 1:]).square().sum(2).add(1e-8).sqrt()

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """near² + max(0, margin − far)²."""
        each = answer[:, 0].square() + F.relu(self.margin - answer[:, 1]).square()
        return (asked.weight * each).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """How often the near one is nearer; by chance half the time."""
        hit = (answer[:, 0] < answer[:, 1]).double()
        return torch.stack([hit, torch.full_like(hit, 0.5)], 1)
