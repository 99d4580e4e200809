"""Real or made, a frame and a clip: what is seen stays, how it moves is drawn step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape, with_weights_held
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Asked, Seen
from freelabels.train.tasks.generation.gan import Logits
from freelabels.train.tasks.generation.generators import NOISE, Convolutional, made, real
from freelabels.train.tasks.generation.video_gan import LENGTH, SIDE, VideoGAN, frames_of

MOTION = 20  # of the 100 numbers that a frame is made of


class ContentAndMotion(nn.Module):
    """Noise (N, 8, 100) → clips (N, 8, 3, 32, 32): a frame of what stays and of a state that a GRU moves on."""

    def __init__(self) -> None:
        super().__init__()
        self.move = nn.GRU(MOTION, MOTION, batch_first=True)
        self.frame = Convolutional(SIDE, 64, transposed=True)

    def forward(self, noise: Tensor) -> Tensor:
        """Clips."""
        states, _ = self.move(noise[..., :MOTION])
        content = noise[:, :1, MOTION:].expand(-1, LENGTH, -1)
        frames = frames_of(self.frame, torch.cat([states, content], 2).flatten(0, 1))
        return frames.view(len(noise), LENGTH, *frames.shape[1:])


class Judges(nn.Module):
    """The generator, and the last layers of both judges."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.generator = ContentAndMotion()
        self.frame, self.clip = nn.Linear(shape.channels[-1], 1), nn.Linear(shape.clip_channels[-1], 1)


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

    def head(self, shape: Shape) -> nn.Module:
        """Generator and last layers."""
        return Judges(shape)

    def noise(self, draw: Draw) -> Tensor:
        """What stays, told with the first frame, and a motion for each."""
        return draw.normal(LENGTH, NOISE)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """As video_gan; target: the noise, and which frame is judged by itself."""
        asked = super().ask(batch, draw)
        return replace(asked, target=(asked.target, draw.integers(LENGTH)))

    def paint(self, head: Judges, asked: Asked) -> Asked:  # type: ignore[override]
        """Real and made, clip and frame; both again for the maker."""
        assert asked.clips is not None
        noise, which = asked.target
        both = torch.cat([asked.clips, head.generator(noise)[:, None]], 1)
        frames = both[torch.arange(len(both), device=both.device), :, which]
        target = torch.zeros_like(asked.weight)
        painted = replace(asked, clips=both.detach(), held_clips=both, target=target)
        return replace(painted, images=frames.detach(), held=frames)

    def answer(self, head: Judges, seen: Seen, asked: Asked) -> tuple[Logits, Logits]:  # type: ignore[override]
        """Logits of the frame, and of the clip."""
        assert seen.clips is not None and seen.clips.held is not None and seen.held is not None
        found = []
        for layer, one, held in (
            (head.frame, seen, seen.held),
            (head.clip, seen.clips, seen.clips.held),
        ):
            told, maker = layer(one.deep)[..., 0], with_weights_held(layer, held.deep)[..., 0]
            found.append((told[:, 0], told[:, 1], maker[:, 1]))
        return found[0], found[1]

    def judge(self, answer: tuple[Logits, Logits], asked: Asked) -> Tensor:  # type: ignore[override]
        """All sides' losses."""
        each = torch.stack([real(one[0]) + made(one[1]) + real(one[2]) for one in answer]).sum(0)
        return (asked.weight * each).sum()
