"""Whether a clip and a sound go together in time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.model.ranks import together
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Seen, Task
from freelabels.train.tasks.sound.halves import halves
from freelabels.train.tasks.sound.hearing import Ear, audible
from freelabels.train.tasks.sound.others import another


class Both(nn.Module):
    """A clip's features and a sound → unit vectors that can be compared."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.ear = Ear()
        self.eye = nn.Sequential(nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, width))
        self.heard = nn.Sequential(nn.Linear(self.ear.summed, width), nn.ReLU(), nn.Linear(width, width))


@dataclass(frozen=True)
class AVTS(Task):
    """Whether a sound is heard with a clip: that of the same frames is near, another is far.

    A contrastive loss with a margin. Another sound is that of the clip's other half (hard, a share of them), or of
    another clip (easy). What is silent, cut off or unknown weighs nothing. The score is how often the sound of
    the same frames is nearer than that of the other half. Smaller than in the paper: eight neighbouring frames and
    as much sound as they last, and hard ones from the first step on instead of after half of training.
    """

    frames: int = 16
    hard: float = 0.25
    margin: float = 0.99
    width: int = 128

    name = "avts"
    system = "AVTS"
    family = FAMILIES[3]
    paper = (
        "Korbar, Tran and Torresani, Cooperative learning of audio and video models from self-supervised "
        "synchronization, 2018"
    )
    clips = True
    compares = True
    measure = Measure("sound in time nearer than another", "", True)

    def __post_init__(self) -> None:
        if self.frames < 4 or self.frames % 2:
            raise ValueError("frames (two halves of a clip) is even and at least 4")
        if not 0 <= self.hard <= 1:
            raise ValueError("hard (share of other sounds that are of the same clip) lies in 0..1")

    @property
    def needs(self) -> Needs:
        """Neighbouring frames, two halves of them."""
        return Needs(self.frames, ("sound",))

    def head(self, shape: Shape) -> nn.Module:
        """An ear, and layers for both."""
        return Both(shape.clip_channels[-1], self.width)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Half of a clip, its sound, the other half's, and of which sort the other sound shall be."""
        clip, own, other = halves(batch, draw)
        target = {"own": own, "other": other, "hard": draw.uniform() < self.hard, "clip": batch["clip"]}
        return Asked(target, audible(batch), clips=clip[:, None])

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Distances (N, 3) to the own sound, to the clip's other one, to another clip's; NaN: none."""
        assert isinstance(head, Both) and seen.clips is not None
        eye = F.normalize(head.eye(seen.clips.deep[:, 0]).float(), dim=1)
        own, other = (
            F.normalize(head.heard(head.ear.summary(asked.target[name])).float(), dim=1)
            for name in ("own", "other")
        )
        which, fair = another(asked.target["clip"], asked.weight)
        far = (eye - together(own)[0][which]).square().sum(1)
        near = [(eye - sound).square().sum(1) for sound in (own, other)]
        return torch.stack([*near, torch.where(fair, far, torch.nan)], 1)

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """d² of the own sound, max(0, margin - d)² of the other."""
        own, shifted, foreign = answer.unbind(1)
        hard = asked.target["hard"] | ~foreign.isfinite()
        other = torch.where(hard, shifted, torch.where(foreign.isfinite(), foreign, 0.0))
        apart = F.relu(self.margin - (other + 1e-8).sqrt()).square()
        return (asked.weight * (own + apart)).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """Whether the own sound is nearer than the other half's; one half by chance."""
        own, shifted = answer[:, 0], answer[:, 1]
        hit = (own < shifted).double() + 0.5 * (own == shifted).double()
        return torch.stack([hit, torch.full_like(hit, 0.5)], 1)
