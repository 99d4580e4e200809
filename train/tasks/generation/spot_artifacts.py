"""Whether an image was damaged, and where, when both kinds went through the same autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape, with_weights_held
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Seen, Task, everyone, first
from freelabels.train.tasks.generation.generators import HALF, made, real, rounded

CELL = 8  # pixels a side of the image that one cell of the code stands for
WIDTH = 64  # channels of the code


class Encoder(nn.Sequential):
    """Images around 0 → codes (N, 64, H / 8, W / 8)."""

    def __init__(self) -> None:
        steps: list[nn.Module] = []
        for a, b in ((3, WIDTH // 4), (WIDTH // 4, WIDTH // 2), (WIDTH // 2, WIDTH)):
            steps += [nn.Conv2d(a, b, 4, 2, 1), nn.GroupNorm(8, b), nn.LeakyReLU(0.2)]
        super().__init__(*steps)


class Decoder(nn.Module):
    """Codes → images, 0 … 255, rounded as stored ones are."""

    def __init__(self) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for a, b in ((WIDTH, WIDTH // 2), (WIDTH // 2, WIDTH // 4), (WIDTH // 4, WIDTH // 4)):
            steps += [nn.ConvTranspose2d(a, b, 4, 2, 1), nn.GroupNorm(8, b), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*steps, nn.Conv2d(WIDTH // 4, 3, 3, padding=1))

    def forward(self, code: Tensor) -> Tensor:
        """Images."""
        return rounded(self.body(code))


class Repair(nn.Module):
    """A code with cells blanked, and which (N, 1, h, w), → what those cells held, from those around."""

    def __init__(self) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for width in (WIDTH + 1, WIDTH, WIDTH):
            steps += [nn.Conv2d(width, WIDTH, 3, padding=1), nn.GroupNorm(8, WIDTH), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*steps, nn.Conv2d(WIDTH, WIDTH, 1))

    def forward(self, code: Tensor, blank: Tensor) -> Tensor:
        """The code with its blanks filled."""
        told = self.body(torch.cat([code * (1 - blank), blank], 1))
        filled: Tensor = code * (1 - blank) + told * blank
        return filled


class Heads(nn.Module):
    """The autoencoder, who repairs codes, and the last layers that tell damaged images and where they are so."""

    def __init__(self, channels: int, cells: int):
        super().__init__()
        self.encoder, self.decoder, self.repair = Encoder(), Decoder(), Repair()
        self.whole = nn.Linear(channels, 1)
        self.where = nn.Conv2d(channels, cells**2, 1)  # of each place of the last stage, its cells


@dataclass(frozen=True)
class SpotArtifacts(Task):
    """Whether cells of an image's code were blanked before it was decoded, and which, though a net repairs them.

    Whole and damaged images come out of the same autoencoder, so that its blur tells nothing. The repairing net
    learns against the trunk, with the trunk's weights held. Smaller than in the paper: the autoencoder learns on
    the way and not beforehand; code is repaired once, before the decoder, not between its layers.
    """

    damage: float = 0.3

    name = "spot_artifacts"
    system = "SpotArtifacts"
    family = FAMILIES[0]
    paper = "Jenni and Favaro, Self-supervised feature learning by learning to spot artifacts, 2018"
    classes = 2

    def __post_init__(self) -> None:
        if not 0 < self.damage < 1:
            raise ValueError("damage, the share of an image's cells that are blanked, is between 0 and 1")

    def head(self, shape: Shape) -> nn.Module:
        """Autoencoder, repair, and linear layers on the last stage."""
        return Heads(shape.channels[-1], max(1, shape.strides[-1] // CELL))

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image; target (N, h, w): the cells to blank, at least one."""
        image = first(batch)[:, None]
        across = image.shape[-1] // CELL
        chance = draw.uniform(across**2)
        blank = (chance < self.damage) | (chance == chance.amin(1, keepdim=True))
        return Asked(blank.float().view(-1, across, across), everyone(batch), image)

    def paint(self, head: Heads, asked: Asked) -> Asked:  # type: ignore[override]
        """Whole and damaged image for the trunk; both for the repairing net; target: cells, and what is lost."""
        assert asked.images is not None
        image, blank = asked.images[:, 0].float(), asked.target[:, None]
        code = head.encoder(image / HALF - 1)
        whole = head.decoder(code)
        repaired = head.repair(code.detach(), blank)
        damaged = with_weights_held(head.decoder, repaired)
        lost = ((whole - image) / HALF).square().mean((1, 2, 3))
        lost = lost + (blank * (repaired - code.detach()).square()).mean((1, 2, 3))
        both = torch.stack([whole.detach(), damaged], 1)
        return replace(asked, images=both.detach(), held=both, target=(asked.target, lost.float()))

    def answer(self, head: Heads, seen: Seen, asked: Asked) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """Logits of being whole (N, 2) of both images; of cells (N, h, w) of the damaged one; for the repairer."""
        assert seen.held is not None
        told = head.whole(seen.deep)[..., 0]
        last = seen.stages[-1].float()
        damaged = last.view(-1, 2, *last.shape[1:])[:, 1]
        blank = asked.target[0]
        cells = F.pixel_shuffle(head.where(damaged), int(head.where.out_channels**0.5))[:, 0]
        if cells.shape != blank.shape:  # a trunk that takes one size alone
            cells = F.interpolate(cells[:, None], blank.shape[-2:])[:, 0]
        maker = with_weights_held(head.whole, seen.held.deep[:, 1])[:, 0]
        return told, cells, maker

    def judge(self, answer: tuple[Tensor, Tensor, Tensor], asked: Asked) -> Tensor:
        """Both sides' losses, that of the cells, and what autoencoder and repair lose."""
        told, cells, maker = answer
        blank, lost = asked.target
        where = F.binary_cross_entropy_with_logits(cells, blank, reduction="none").mean((1, 2))
        each: Tensor = real(told[:, 0]) + made(told[:, 1]) + where + real(maker) + lost
        return (asked.weight * each).sum()

    def score(self, answer: tuple[Tensor, Tensor, Tensor], asked: Asked) -> Tensor:
        """Which of both images are told right; one half by chance."""
        told = answer[0]
        right = torch.stack([told[:, 0] > 0, told[:, 1] < 0], 1).double().mean(1)
        return torch.stack([right, torch.full_like(right, 1 / self.classes)], 1)

    def picture(self, answer: tuple[Tensor, Tensor, Tensor], asked: Asked, side: int) -> Array:
        """The whole image, the damaged one, which cells were blanked, and which are told."""
        assert asked.images is not None
        maps = [
            F.interpolate(x[:, None], asked.images.shape[-2:]) for x in (asked.target[0], answer[1].sigmoid())
        ]
        planes = torch.stack([255 * x.expand(-1, 3, -1, -1) for x in maps], 1)
        return montage(torch.cat([asked.images.float(), planes], 1), side)
