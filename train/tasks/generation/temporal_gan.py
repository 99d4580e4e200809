"""How real a clip is: a critic whose slope is bounded, and a generator of the frames' codes before the frames."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Asked, Seen
from freelabels.train.tasks.generation.gan import Logits, Opponents, means
from freelabels.train.tasks.generation.generators import NOISE, Convolutional
from freelabels.train.tasks.generation.video_gan import LENGTH, VideoGAN
from freelabels.train.tasks.generation.wgan import between, critic_loss, too_steep


class CodesThenFrames(nn.Module):
    """Noise (N, 100) → codes of eight frames by 1-D transposed convolutions → clips (N, 8, 3, side, side)."""

    def __init__(self, side: int, width: int = 64):
        super().__init__()
        half = NOISE // 2
        steps: list[nn.Module] = [nn.Unflatten(1, (NOISE, 1))]
        for a, b in ((NOISE, width), (width, width), (width, half)):
            steps += [nn.ConvTranspose1d(a, b, 4, 2, 1), nn.ReLU() if b == width else nn.Tanh()]
        self.codes = nn.Sequential(*steps)
        self.whole = nn.Linear(NOISE, NOISE - half)
        self.frame = Convolutional(side, width)

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Clips; nothing more for its loss."""
        codes = self.codes(noise).transpose(1, 2)
        whole = self.whole(noise)[:, None].expand(-1, LENGTH, -1)
        frames: Tensor = self.frame(torch.cat([whole, codes], 2).flatten(0, 1))
        return frames.view(len(noise), LENGTH, *frames.shape[1:]), noise.new_zeros(len(noise))


@dataclass(frozen=True)
class TemporalGAN(VideoGAN):
    """As video_gan, with a critic that widens the gap between its means of real and of made clips.

    A generator of codes, one for each frame, and one that makes a frame of a code. The critic's slope is held
    below 1 on clips between a real and a made one, as in wgan: the paper clips the singular values of the
    critic's weights, which are the trunk's here and shared with other tasks. Smaller than in the paper: eight
    frames of 32 pixels; the critic's part counts five times instead of taking five steps.
    """

    penalty: float = 10.0
    critic: float = 5.0
    among: float = 0.05

    name = "temporal_gan"
    system = "TemporalGAN"
    paper = (
        "Saito, Matsumoto and Saito, Temporal generative adversarial nets with singular value clipping, 2017"
    )

    def generator(self) -> nn.Module:
        """Noise → clips."""
        return CodesThenFrames(self.side)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """As video_gan; target: also how far between the two clips the slope is taken."""
        asked = super().ask(batch, draw)
        return replace(asked, target=(*asked.target, draw.uniform(1, 1, 1, 1)))

    def paint(self, head: Opponents, asked: Asked) -> Asked:  # type: ignore[override]
        """As video_gan, and a third clip between them."""
        painted = super().paint(head, asked)
        noise, added, share = painted.target
        assert painted.clips is not None
        third = between(painted.clips, share)
        clips = torch.cat([painted.clips, third[:, None]], 1)
        return replace(painted, clips=clips, target=(noise, added, third))

    def answer(self, head: Opponents, seen: Seen, asked: Asked) -> tuple[Logits, Tensor]:  # type: ignore[override]
        """What the critic says; (N,) how far its slope is above 1, squared."""
        assert seen.clips is not None
        told = super().answer(head, seen, asked)
        if not torch.is_grad_enabled():
            return told, torch.zeros_like(told[0])
        return told, too_steep(head.judge(means(seen.clips)[:, 2])[:, 0], asked.target[2])

    def judge(self, answer: tuple[Logits, Tensor], asked: Asked) -> Tensor:  # type: ignore[override]
        """As wgan."""
        told, slope = answer
        each = critic_loss(told, self.penalty * slope, self.calm, self.critic) + asked.target[1]
        total: Tensor = self.weight * (asked.weight * each).sum()
        return total
