"""Real or made, a frame and a clip: what is seen stays, how it moves is drawn step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Asked, Seen
from freelabels.train.tasks.generation.gan import Logits, Opponents, paired_loss, told
from freelabels.train.tasks.generation.generators import NOISE, Convolutional
from freelabels.train.tasks.generation.video_gan import LENGTH, VideoGAN

MOTION = 20  # of the 100 numbers that a frame is made of


class ContentAndMotion(nn.Module):
    """Noise (N, 8, 100) → clips (N, 8, 3, side, side): a frame of what stays and of a state that a GRU moves."""

    def __init__(self, side: int, width: int = 64):
        super().__init__()
        self.move = nn.GRU(MOTION, MOTION, batch_first=True)
        self.frame = Convolutional(side, width)

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Clips; nothing more for its loss."""
        states, _ = self.move(noise[..., :MOTION])
        content = noise[:, :1, MOTION:].expand(-1, LENGTH, -1)
        frames: Tensor = self.frame(torch.cat([states, content], 2).flatten(0, 1))
        return frames.view(len(noise), LENGTH, *frames.shape[1:]), noise.new_zeros(len(noise))


class TwoJudges(Opponents):
    """The generator, and the last layers of both judges: of a frame, and of the clip."""

    def __init__(self, generator: nn.Module, shape: Shape):
        frame = nn.Linear(sum(shape.channels), 1)
        super().__init__(generator, nn.Linear(sum(shape.clip_channels), 1))
        self.frame = frame


@dataclass(frozen=True)
class MocoGAN(VideoGAN):
    """Whether a frame is real or made, by the trunk for frames, and whether a clip is, by the trunk for clips.

    The generator joins what stays with a motion that a recurrent net draws step by step. The only task that
    trains both trunks. Smaller than in the paper: eight frames of 32 pixels; no categories of actions, which
    are human labels.
    """

    name = "moco_gan"
    system = "MocoGAN"
    paper = "Tulyakov et al., MoCoGAN: decomposing motion and content for video generation, 2018"

    def generator(self) -> nn.Module:
        """Noise → clips."""
        return ContentAndMotion(self.side)

    def head(self, shape: Shape) -> nn.Module:
        """Generator and last layers of both judges."""
        return TwoJudges(self.generator(), shape)

    def noise(self, draw: Draw) -> Tensor:
        """What stays, told with the first frame, and a motion for each."""
        return draw.normal(LENGTH, NOISE)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """As video_gan; target: also which frame is judged by itself."""
        asked = super().ask(batch, draw)
        return replace(asked, target=(*asked.target, draw.integers(LENGTH)))

    def paint(self, head: Opponents, asked: Asked) -> Asked:  # type: ignore[override]
        """Real and made, clip and frame; both again for the maker."""
        painted = super().paint(head, asked)
        both, which = painted.held_clips, asked.target[-1]
        assert both is not None
        frames = both[torch.arange(len(both), device=both.device), :, which]
        return replace(painted, images=frames.detach(), held=frames)

    def answer(self, head: TwoJudges, seen: Seen, asked: Asked) -> tuple[Logits, Logits]:  # type: ignore[override]
        """Logits of the frame, and of the clip."""
        assert seen.clips is not None
        return told(head.frame, seen), told(head.judge, seen.clips)

    def judge(self, answer: tuple[Logits, Logits], asked: Asked) -> Tensor:  # type: ignore[override]
        """All sides' losses."""
        frame, clip = (paired_loss(one, self.calm) for one in answer)
        total: Tensor = self.weight * (asked.weight * (frame + clip + asked.target[1])).sum()
        return total
