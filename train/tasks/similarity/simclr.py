"""Two views of an image are alike, all others are not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.model.ranks import together
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.heads import projector
from freelabels.train.tasks.contract.task import Asked, Measure, Seen, Task, everyone, first
from freelabels.train.tasks.contract.views import grey


@dataclass(frozen=True)
class SimCLR(Task):
    """Each of two strongly changed views of an image finds the other among all views of the batch, on all ranks.

    Today's yardstick, not in the survey. Smaller than in the paper: no blur; batches are what they are.
    """

    temperature: float = 0.2
    least: float = 0.2

    name = "simclr"
    paper = "Chen et al., A simple framework for contrastive learning of visual representations, 2020"
    compares = True
    measure = Measure("finds its other view", "", True)

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 < self.least <= 1:
            raise ValueError("temperature is above 0, least (share of the image that a view shows) in (0, 1]")

    def head(self, shape: Shape) -> nn.Module:
        """Two layers to 128 numbers."""
        return projector(shape, 512, 128)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Two views."""
        image = first(batch)
        views = torch.stack([changed(random_crop(image, self.least, draw), draw) for _ in range(2)], 1)
        return Asked(None, everyone(batch), views)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Logits (N, 2, 1 + M) of each view: of its other view, then of the M of all ranks, those two at -inf."""
        mine = F.normalize(head(seen.deep), dim=-1)
        everything, begin = together(mine)
        logits = mine @ everything.flatten(0, 1).T / self.temperature  # (N, 2, 2 M')
        own = 2 * (begin + torch.arange(len(mine), device=mine.device))[:, None] + torch.arange(
            2, device=mine.device
        )
        logits = logits.scatter(2, own[:, :, None], float("-inf"))
        other = own.flip(1)[:, :, None]
        # The other view's first, so that 0 is the right answer for all.
        first_one = logits.gather(2, other)
        return torch.cat([first_one, logits.scatter(2, other, float("-inf"))], 2)

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Mean cross-entropy of both views."""
        return (asked.weight * -F.log_softmax(answer, 2)[:, :, 0].mean(1)).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """How often the other view is nearest; by chance one over the views there are."""
        hit = (answer.argmax(2) == 0).double().mean(1)
        return torch.stack([hit, torch.full_like(hit, 1 / max(1, answer.shape[2] - 2))], 1)


def random_crop(image: Tensor, least: float, draw: Draw) -> Tensor:
    """Square parts of images (N, 3, S, S), of `least` to all of the area, at their size; every other mirrored."""
    side = (least + (1 - least) * draw.uniform()).sqrt()
    shift = (2 * draw.uniform(2) - 1) * (1 - side)[:, None]
    flip = 1 - 2 * draw.integers(2).float()
    theta = torch.zeros(len(image), 2, 3, device=image.device)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = side * flip, side, shift
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    return F.grid_sample(image.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def changed(image: Tensor, draw: Draw) -> Tensor:
    """Images (N, 3, H, W) in another brightness, contrast, saturation and tint; every fifth without colour."""
    brightness, contrast, saturation = (0.4 + 1.2 * draw.uniform(3)).unbind(1)
    tint = 1 + 0.3 * (2 * draw.uniform(3) - 1)
    plain = draw.uniform() < 0.2
    x = image * (brightness[:, None] * tint)[:, :, None, None]
    mean = grey(x).mean((1, 2, 3), keepdim=True)
    x = mean + (x - mean) * contrast[:, None, None, None]
    luma = grey(x)
    colour = torch.where(plain, torch.zeros_like(saturation), saturation)
    return (luma + (x - luma) * colour[:, None, None, None]).clamp(0, 255)
