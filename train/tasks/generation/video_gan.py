"""Real or made: the trunk for clips judges what a generator makes of noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape, with_weights_held
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Seen, Task, everyone
from freelabels.train.tasks.generation.frechet import frechet, random_features
from freelabels.train.tasks.generation.gan import Logits, Opponents
from freelabels.train.tasks.generation.generators import HALF, NOISE, Convolutional, made, real, shrunk

SIDE, LENGTH = 32, 8
SPARSE = 0.1  # of the mask, as in the paper


class TwoStreams(nn.Module):
    """Noise (N, 100) → clips (N, 8, 3, 32, 32): what moves, masked, before what stands still (Vondrick et al.).

    Group norm for batch norm, so that a batch may be split.
    """

    def __init__(self, width: int = 64):
        super().__init__()
        widths = (width, width // 2, width // 4, 16)
        self.start = nn.Linear(NOISE, widths[0] * 16)
        steps: list[nn.Module] = []
        for k in range(3):
            steps.append(nn.ConvTranspose3d(widths[k], widths[k + 1], 4, 2, 1, bias=False))
            steps += [nn.GroupNorm(8, widths[k + 1]), nn.ReLU()]
        self.body = nn.Sequential(nn.Unflatten(1, (widths[0], 1, 4, 4)), *steps)
        self.moving, self.mask = (nn.Conv3d(widths[-1], c, 3, padding=1) for c in (3, 1))
        self.still = Convolutional(SIDE, width)

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Clips; the mean of the mask (N,)."""
        x = self.body(self.start(noise))
        mask = torch.sigmoid(self.mask(x))
        still = frames_of(self.still, noise)[:, :, None]
        clip = mask * HALF * (1 + torch.tanh(self.moving(x))) + (1 - mask) * still
        return clip.transpose(1, 2).float(), mask.flatten(1).mean(1)


def frames_of(net: Convolutional, code: Tensor) -> Tensor:
    """Frames (N, 3, side, side), 0 … 255, that a generator of images makes of codes (N, 100); not rounded."""
    return HALF * (1 + torch.tanh(net.body(net.start(code)).float()))


@dataclass(frozen=True)
class VideoGAN(Task):
    """Whether a clip is real or made by a generator of what moves and of what stands still behind it.

    The judge is the trunk for clips and a linear layer; it and the generator learn in one backward pass, as in
    gan. Smaller than in the paper: eight frames of 32 pixels; clips are not stabilised, so still cameras are
    best.
    """

    name = "video_gan"
    system = "VideoGAN"
    family = FAMILIES[0]
    paper = "Vondrick, Pirsiavash and Torralba, Generating videos with scene dynamics, 2016"
    clips = True
    needs = Needs(LENGTH)
    measure = Measure("Fréchet distance on a random net", "", False)
    trivial = "a still of the mean colour"

    def generator(self) -> nn.Module:
        """Noise → clips, and what is added to its loss (N,)."""
        return TwoStreams()

    def head(self, shape: Shape) -> nn.Module:
        """Generator and last layer of the judge."""
        return Opponents(self.generator(), nn.Linear(shape.clip_channels[-1], 1))

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The clip at the generator's size; target: the noise.

        Spread over the whole of each step of brightness, or that it is made of whole numbers would give it away.
        """
        frames = batch["image"]
        clip = shrunk(frames.flatten(0, 1), SIDE).view(len(frames), 1, LENGTH, 3, SIDE, SIDE)
        clip = clip + draw.uniform(1, LENGTH, 3, SIDE, SIDE) - 0.5
        return Asked(self.noise(draw), everyone(batch), clips=clip)

    def noise(self, draw: Draw) -> Tensor:
        """What the generator begins with."""
        return draw.normal(NOISE)

    def paint(self, head: Opponents, asked: Asked) -> Asked:  # type: ignore[override]
        """The real clip and the made one; both again for the maker. Target: what is added to the maker's loss."""
        assert asked.clips is not None
        clip, more = head.generator(asked.target)
        both = torch.cat([asked.clips, clip[:, None]], 1)
        return replace(asked, clips=both.detach(), held_clips=both, target=more)

    def answer(self, head: Opponents, seen: Seen, asked: Asked) -> Logits:  # type: ignore[override]
        """Logits, positive = real."""
        assert seen.clips is not None and seen.clips.held is not None
        told = head.judge(seen.clips.deep)[..., 0]
        maker = with_weights_held(head.judge, seen.clips.held.deep)[..., 0]
        return told[:, 0], told[:, 1], maker[:, 1]

    def judge(self, answer: Logits, asked: Asked) -> Tensor:
        """Both sides' losses, and a mask that is sparse."""
        each: Tensor = real(answer[0]) + made(answer[1]) + real(answer[2]) + SPARSE * asked.target
        return (asked.weight * each).sum()

    def keep(self, answer: object, asked: Asked) -> tuple[Tensor, ...]:
        """Features of a random net, of real clips and of made ones; the real one's pixels' mean."""
        assert asked.clips is not None
        pair = [clip_features(asked.clips[:, k]) for k in range(2)]
        mean = asked.clips[:, 0].mean((1, 3, 4)).double()
        return *pair, mean, (asked.weight > 0).double()

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Fréchet distances: of made clips, and of a still of the mean colour, from real ones."""
        counts = columns[3] > 0
        genuine, ours, mean = (column[counts] for column in columns[:3])
        if len(genuine) < 2:
            return math.nan, math.nan, math.nan
        flat = mean.mean(0)[None, None, :, None, None].expand(1, LENGTH, 3, SIDE, SIDE)
        constant = clip_features(flat).expand(len(genuine), -1).to(genuine.device)
        return frechet(genuine, ours), frechet(genuine, constant), math.nan

    def picture(self, answer: object, asked: Asked, side: int) -> Array:
        """First, middle and last frame: of the real clip, of the made one."""
        assert asked.clips is not None
        return montage(asked.clips[:, :2, [0, LENGTH // 2, LENGTH - 1]].flatten(1, 2), side)


def clip_features(clip: Tensor) -> Tensor:
    """float64 (N, 96) of clips (N, T, 3, H, W): `random_features` of a frame, and of what changes to the next."""
    change = (128 + clip[:, 1:] - clip[:, :-1]).clamp(0, 255)
    changes = random_features(change.flatten(0, 1)).view(len(clip), -1, 48).mean(1)
    return torch.cat([random_features(clip[:, 0]), changes], 1)
