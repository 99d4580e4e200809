"""A segmentation network on a backbone: trained on label maps, frozen or not."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.model.network import STRIDE, Backbone, Pyramid, block, resize
from freelabels.train.probing.transfer.tuning import Tuning, tune

WIDTH = 64
RATES = (3, 6)  # of the dilated convolutions, in pixels of the stride-4 map
SMALLEST_CROP = 0.5  # of an image's side that a training view shows
TINY = 1e-12


class Segmenter(nn.Module):
    """The feature pyramid at stride 4, read at several dilations and as a whole image, then a class a pixel.

    Chen et al., Rethinking atrous convolution for semantic image segmentation, 2017, on a pyramid.
    """

    def __init__(self, backbone: Backbone, classes: int):
        super().__init__()
        self.backbone = copy.deepcopy(backbone)
        self.pyramid = Pyramid(backbone.channels, WIDTH)
        self.near = block(WIDTH, WIDTH)
        self.far = nn.ModuleList(
            [nn.Conv2d(WIDTH, WIDTH, 3, padding=rate, dilation=rate, bias=False) for rate in RATES]
        )
        self.whole = nn.Conv2d(WIDTH, WIDTH, 1)
        self.joined = block(WIDTH * (2 + len(RATES)), WIDTH)
        self.out = nn.Conv2d(WIDTH, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (n, classes, S, S) of uint8 images (n, 3, S, S)."""
        side = image.shape[-2] // STRIDE, image.shape[-1] // STRIDE
        x = self.pyramid(self.backbone(image), side)
        whole = self.whole(x.mean((2, 3), keepdim=True)).expand_as(x)
        x = self.joined(torch.cat([self.near(x), *(F.relu(far(x)) for far in self.far), F.relu(whole)], 1))
        return resize(self.out(x), (image.shape[-2], image.shape[-1]))


def segment(
    backbone: Backbone,
    images: Tensor,
    target: Tensor,
    weight: Tensor,
    test: Tensor,
    classes: int,
    tuning: Tuning,
    seed: int,
    device: torch.device,
    state: Path | None = None,
) -> Tensor:
    """Class ids (m, 1, S, S) float32 of the test images after training on `images`.

    images, test: uint8 (n, 3, S, S), (m, 3, S, S). target: (n, 1, S, S) ids. weight: (n, S, S), 0 = no label.
    Training views are mirrored or not and show a random half to the whole of the side. state: see `tune`. The
    backbone itself isn't changed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Segmenter(backbone, classes).to(device)

    def loss(rows: Tensor) -> Tensor:
        seen, ids, known = (x.to(device) for x in _view(images[rows], target[rows], weight[rows]))
        each = F.cross_entropy(model(seen), ids[:, 0].long(), reduction="none")
        return (each * known).sum() / known.sum().clamp_min(TINY)

    tune(model, model.backbone, loss, len(images), tuning, seed, device, state)
    model.eval()
    with torch.no_grad():
        parts = torch.split(test, 2 * tuning.batch)
        return torch.cat([model(part.to(device)).argmax(1, keepdim=True).float().cpu() for part in parts])


def _view(images: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The batch cropped, enlarged to its size again, and mirrored or not: images 0…255, ids, weights."""
    size = images.shape[-1]
    side = int(size * (SMALLEST_CROP + (1 - SMALLEST_CROP) * float(torch.rand(()))))
    x, y = torch.randint(0, size - side + 1, (2,)).tolist()
    rows, columns = slice(y, y + side), slice(x, x + side)
    seen = resize(images[..., rows, columns].float(), (size, size))
    ids, known = (
        F.interpolate(m[..., rows, columns], size=(size, size), mode="nearest-exact")
        for m in (target, weight[:, None])
    )
    mirrored = (torch.rand(len(images)) < 0.5)[:, None, None, None]
    seen, ids, known = (torch.where(mirrored, m.flip(-1), m) for m in (seen, ids, known))
    return seen, ids, known[:, 0]
