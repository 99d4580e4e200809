"""Whether the sound of a clip was shifted, by a net in which both meet early."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Seen, Task
from freelabels.train.tasks.sound.halves import halves
from freelabels.train.tasks.sound.hearing import Ear, audible

STAGE = 1  # of the clip trunk, on whose maps sound is laid


class Fused(nn.Module):
    """Maps of a clip and of sounds, each laid over them in time → logits that it is the clip's own."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.ear = Ear()
        self.eye, self.heard = nn.Conv3d(channels, width, 1), nn.Conv1d(self.ear.width, width, 1)
        self.both = nn.Sequential(
            nn.Conv3d(3 * width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.ReLU(),
            nn.Conv3d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.ReLU(),
        )
        self.out = nn.Linear(width, 1)

    def forward(self, maps: Tensor, sounds: Tensor) -> Tensor:
        """Logits (N, k) of maps (N, C, T, h, w) and k levels each, (N, k, 1, bands, times)."""
        seen = self.eye(maps).repeat_interleave(sounds.shape[1], 0)
        heard = F.adaptive_avg_pool1d(self.heard(self.ear(sounds.flatten(0, 1)).amax(2)), seen.shape[2])
        laid = heard[..., None, None].expand(-1, -1, -1, *seen.shape[3:])
        out: Tensor = self.out(self.both(torch.cat([seen, laid, seen * laid], 1)).amax((2, 3, 4)))
        return out.view(sounds.shape[:2])


@dataclass(frozen=True)
class AudioVisual(Task):
    """Whether a clip's sound is its own, or that of the other half of its frames.

    Sound and picture meet on the clip trunk's second maps, where each time has its own sound. Each clip is asked
    with both sounds, so that neither picture nor sound alone is worth a guess: asked with one of them, drawn,
    training takes longer to get beyond such guesses. What is silent, cut off or unknown weighs nothing. Smaller
    than in the paper: levels in place of the wave, eight neighbouring frames and as much sound as they last,
    shifted by that; two convolutions after they meet.
    """

    frames: int = 16
    width: int = 64

    name = "audio_visual"
    system = "AudioVisual"
    family = FAMILIES[3]
    paper = "Owens and Efros, Audio-visual scene analysis with self-supervised multisensory features, 2018"
    clips = True

    def __post_init__(self) -> None:
        if self.frames < 4 or self.frames % 2:
            raise ValueError("frames (two halves of a clip) is even and at least 4")

    @property
    def needs(self) -> Needs:
        """Neighbouring frames, two halves of them."""
        return Needs(self.frames, ("sound",))

    def head(self, shape: Shape) -> nn.Module:
        """Where they meet."""
        return Fused(shape.clip_channels[STAGE], self.width)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Half of a clip, its own sound, and the other half's."""
        clip, own, other = halves(batch, draw)
        return Asked(torch.stack([own, other], 1), audible(batch), clips=clip[:, None])

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logits (N, 2) that the own sound is the clip's own, and that the other one is."""
        assert seen.clips is not None
        out: Tensor = head(seen.clips.stages[STAGE].float(), asked.target)
        return out

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Binary cross-entropy, the mean of both."""
        own, other = answer.unbind(1)
        return (asked.weight * (F.softplus(-own) + F.softplus(other)) / 2).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """How many of the two are told; one half by chance."""
        own, other = answer.unbind(1)
        hit = ((own > 0).double() + (other <= 0).double()) / 2
        return torch.stack([hit, torch.full_like(hit, 0.5)], 1)
