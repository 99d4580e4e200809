"""Real or made: the trunk for clips judges what a generator makes of noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import Asked, Needs, Seen, everyone
from freelabels.train.tasks.generation.frechet import (
    by_a_new,
    frechet,
    random_features,
    spread,
    thumbs,
)
from freelabels.train.tasks.generation.gan import GAN, Logits, Opponents, told
from freelabels.train.tasks.generation.generators import (
    NOISE,
    Convolutional,
    alike,
    rounded,
    shrunk,
    veil,
    whole,
)

LENGTH = 8
SPARSE = 0.1  # of the mask, as in the paper
NEW = 5  # generators that have learned nothing: some happen to begin near real clips


class TwoStreams(nn.Module):
    """Noise (N, 100) → clips (N, 8, 3, side, side): what moves, masked, before what stands still.

    Maps are doubled by interpolation and group norm stands for batch norm, as in `Convolutional`.
    """

    def __init__(self, side: int, width: int = 64):
        super().__init__()
        doublings = (side // 4).bit_length() - 1
        widths = [max(16, width >> k) for k in range(doublings + 1)]
        self.start = nn.Linear(NOISE, widths[0] * 16)
        steps: list[nn.Module] = [
            nn.Unflatten(1, (widths[0], 1, 4, 4)),
            nn.GroupNorm(8, widths[0]),
            nn.ReLU(),
        ]
        for k in range(doublings):
            steps.append(nn.Upsample(scale_factor=(2 if 2**k < LENGTH else 1, 2, 2), mode="trilinear"))
            steps.append(nn.Conv3d(widths[k], widths[k + 1], 3, padding=1, bias=False))
            steps += [nn.GroupNorm(8, widths[k + 1]), nn.ReLU()]
        self.body = nn.Sequential(*steps)
        self.moving, self.mask = (nn.Conv3d(widths[-1], c, 3, padding=1) for c in (3, 1))
        self.still = Convolutional(side, width)

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Clips; the mean of the mask (N,)."""
        x = self.body(self.start(noise))
        mask = torch.sigmoid(self.mask(x).float())
        still = self.still(noise)[:, :, None]
        clip = whole(mask * rounded(self.moving(x)) + (1 - mask) * still)
        return clip.transpose(1, 2), mask.flatten(1).mean(1)


@dataclass(frozen=True)
class VideoGAN(GAN):
    """Whether a clip is real or made by a generator of what moves and of what stands still behind it.

    The judge is the trunk for clips and a linear layer on the means of all its stages. Pairs, `calm`, sharpness,
    `grain`, `apart` and `weight` as in gan, with small steps of the generator (`rate`); noise is another in each
    frame. Smaller than in the paper: eight frames of 32 pixels; clips are not stabilised, so still cameras are
    best.
    """

    rate: float = 0.15
    among: float = 1.0

    name = "video_gan"
    system = "VideoGAN"
    paper = "Vondrick, Pirsiavash and Torralba, Generating videos with scene dynamics, 2016"
    clips = True
    needs = Needs(LENGTH)
    trivial = "a still of the mean colour"

    def generator(self) -> nn.Module:
        """Noise → clips, and what is added to its loss (N,)."""
        return TwoStreams(self.side)

    def head(self, shape: Shape) -> nn.Module:
        """Generator and last layer of the judge."""
        return Opponents(self.generator(), nn.Linear(sum(shape.clip_channels), 1))

    def noise(self, draw: Draw) -> Tensor:
        """What the generator begins with."""
        return draw.normal(NOISE)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The clip at the generator's size; target: the noise, that of another clip, what hides both."""
        frames = batch["image"]
        clip = shrunk(frames.flatten(0, 1), self.side).view(len(frames), 1, LENGTH, 3, self.side, self.side)
        noises = self.noise(draw), self.noise(draw), veil(draw, self.grain, self.side, 3 * LENGTH)
        return Asked(noises, everyone(batch), clips=clip)

    def paint(self, head: Opponents, asked: Asked) -> Asked:  # type: ignore[override]
        """The real clip and the made one; both again for the maker. Target: noise, what is added to its loss."""
        assert asked.clips is not None
        noise, another, hidden, *more = asked.target
        clip, own = head.generator(noise)
        both = torch.cat([asked.clips, clip[:, None]], 1)
        both = hidden(both.flatten(2, 3)).view_as(both) if head.training else both
        same = alike(clip.flatten(1, 2), head.generator(another)[0].flatten(1, 2), self.apart)
        added = self.variety * same + SPARSE * own
        return replace(asked, clips=both.detach(), held_clips=both, target=(noise, added, *more))

    def answer(self, head: Opponents, seen: Seen, asked: Asked) -> Logits:  # type: ignore[override]
        """Logits, positive = real."""
        assert seen.clips is not None
        return told(head.judge, seen.clips)

    def keep(self, answer: object, asked: Asked) -> tuple[Tensor, ...]:
        """Features of real clip, made one, those of new generators (N, 5, 96); two thumbs; the pixels' mean."""
        assert asked.clips is not None
        both = asked.clips[:, 0], asked.clips[:, 1]
        new = [clip_features(by_a_new(self.generator, asked.target[0], seed)[0]) for seed in range(NEW)]
        small = [thumbs(clip.flatten(1, 2)) for clip in both]
        features, mean = [clip_features(clip) for clip in both], both[0].mean((1, 3, 4)).double()
        return *features, torch.stack(new, 1), *small, mean, (asked.weight > 0).double()

    def of_one_colour(self, colour: Tensor) -> Tensor:
        """Features (1, 96) of a still of one colour (3,)."""
        return clip_features(colour[None, None, :, None, None].expand(1, LENGTH, 3, self.side, self.side))

    def beside(self, columns: Sequence[Tensor]) -> dict[str, float]:
        """Mean distance of new generators' clips; how far apart made ones lie, as a share of real ones."""
        genuine, _, new, *small = (column[columns[-1] > 0] for column in columns[:5])
        if len(genuine) < 2:
            return {}
        distances, apart = [frechet(genuine, one) for one in new.unbind(1)], [spread(x) for x in small]
        return {
            "of a new generator": sum(distances) / NEW,
            "share of real clips' spread": apart[1] / max(apart[0], 1e-9),
        }

    def picture(self, answer: object, asked: Asked, side: int) -> Array:
        """First, middle and last frame: of the real clip, of the made one."""
        assert asked.clips is not None
        return montage(asked.clips[:, :2, [0, LENGTH // 2, LENGTH - 1]].flatten(1, 2), side)


def clip_features(clip: Tensor) -> Tensor:
    """float64 (N, 96) of clips (N, T, 3, H, W): `random_features` of a frame, and of what changes to the next."""
    change = (128 + clip[:, 1:] - clip[:, :-1]).clamp(0, 255)
    changes = random_features(change.flatten(0, 1)).view(len(clip), -1, 48).mean(1)
    return torch.cat([random_features(clip[:, 0]), changes], 1)
