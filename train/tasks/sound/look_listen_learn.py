"""Whether what is seen and what is heard are of the same clip."""

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
from freelabels.train.tasks.sound.hearing import Ear, audible, levels, wave
from freelabels.train.tasks.sound.others import another


class Pair(nn.Module):
    """A frame's and a sound's features (N, C), (N, 1024) → logit (N,) that they belong together."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.ear = Ear()
        self.eye, self.heard = nn.Linear(channels, width), nn.Linear(self.ear.summed, width)
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])
        self.both = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, seen: Tensor, heard: Tensor) -> Tensor:
        """Logits of features that both have been through their first layer."""
        out: Tensor = self.both(torch.cat([seen, heard], 1))[:, 0]
        return out


@dataclass(frozen=True)
class LookListenLearn(Task):
    """Whether a frame and the sound around it are of one clip, or the sound is another clip's.

    What is silent, cut off or unknown weighs nothing. The other sound is that of the next sample of another clip.
    Every sound is made equally loud, so that the recording's level tells nothing. The score is how often a frame's
    own sound is the likelier of the two. Smaller than in the paper: as much sound as `frames` neighbouring frames
    last (a second at ten a second), an ear of four layers, 16 kHz.
    """

    frames: int = 10
    width: int = 128

    name = "look_listen_learn"
    system = "LookListenLearn"
    family = FAMILIES[3]
    paper = "Arandjelović and Zisserman, Look, listen and learn, 2017"
    compares = True
    measure = Measure("own sound likelier than another's", "", True)

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ValueError("frames (whose sound is heard) is at least 2")

    @property
    def needs(self) -> Needs:
        """Neighbouring frames, for as long as they last."""
        return Needs(self.frames, ("sound",))

    def head(self, shape: Shape) -> nn.Module:
        """An ear, and layers for both."""
        return Pair(shape.channels[-1], self.width)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The middle frame; the sound of all; and of which clip they are."""
        target = {"sound": levels(*wave(batch)), "clip": batch["clip"]}
        return Asked(target, audible(batch), batch["image"][:, self.frames // 2, None])

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logits (N, 2) of the own and another clip's sound; NaN where there is none."""
        assert isinstance(head, Pair)
        eye = F.relu(head.norms[0](head.eye(seen.deep[:, 0])))
        heard = F.relu(head.norms[1](head.heard(head.ear.summary(asked.target["sound"]).float())))
        which, fair = another(asked.target["clip"], asked.weight)
        own, other = head(eye, heard), head(eye, together(heard)[0][which])
        return torch.stack([own, torch.where(fair, other, torch.nan)], 1).float()

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Binary cross-entropy of both."""
        own, other = answer.unbind(1)
        fair = other.isfinite()
        wrong = torch.where(fair, F.softplus(torch.where(fair, other, 0.0)), 0.0)
        return (asked.weight * (F.softplus(-own) + wrong)).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """Whether the own sound is the likelier one; one half by chance."""
        own, other = answer.unbind(1)
        hit = (own > other).double() + 0.5 * (own == other).double()
        return torch.stack([hit, torch.full_like(hit, 0.5)], 1)

    def keep(self, answer: Tensor, asked: Asked) -> tuple[Tensor, ...]:
        """Only where there was another sound to compare with."""
        return self.score(answer, asked), ((asked.weight > 0) & answer[:, 1].isfinite()).double()
