"""Fine-tuning: the whole backbone with a linear classifier, for a few epochs."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.model.network import Backbone
from freelabels.train.probing.classifiers import Fitted, quality

RATES = (1e-3, 1e-4)
BATCH = 32
SHIFT = 8  # an image is moved by up to 1/8 of its side


def finetune(
    backbone: Backbone,
    images: Tensor,
    truth: Tensor,
    test: Tensor,
    exclusive: bool,
    held_out: Tensor,
    epochs: int,
    seed: int,
    device: torch.device,
) -> Fitted:
    """Scores of test images after training on all of `images`, at the rate that was best on the held-out ones.

    images, test: uint8 (n, 3, S, S), (m, 3, S, S). truth: (n, classes), see `train.probing.classifiers`. held_out:
    (n,) bool, training images that a first fit at each rate leaves out. The backbone itself isn't changed.
    """
    scores = []
    for rate in RATES:
        fitted = _fit(backbone, images[~held_out], truth[~held_out], exclusive, rate, epochs, seed, device)
        scores.append(quality(truth[held_out], _predict(fitted, images[held_out], device), exclusive))
    best = max(range(len(RATES)), key=lambda k: (scores[k], -k))
    fitted = _fit(backbone, images, truth, exclusive, RATES[best], epochs, seed, device)
    return Fitted(_predict(fitted, test, device), RATES[best], scores[best])


class _Classifier(nn.Module):
    def __init__(self, backbone: Backbone, classes: int):
        super().__init__()
        self.backbone = copy.deepcopy(backbone)
        self.last = nn.Sequential(
            nn.BatchNorm1d(backbone.channels[-1]), nn.Linear(backbone.channels[-1], classes)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Logits (n, classes)."""
        logits: Tensor = self.last(self.backbone(image)[-1].mean((2, 3)))
        return logits


def _fit(
    backbone: Backbone,
    images: Tensor,
    truth: Tensor,
    exclusive: bool,
    rate: float,
    epochs: int,
    seed: int,
    device: torch.device,
) -> _Classifier:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model = _Classifier(backbone, truth.shape[1]).to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
        steps = epochs * math.ceil(len(images) / BATCH)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(steps, 2))
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(len(images)), BATCH):
                if len(rows) < 2:  # batch norm needs two
                    continue
                optimizer.zero_grad()
                _loss(model(_view(images[rows]).to(device)), truth[rows].to(device), exclusive).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                scheduler.step()
    return model


def _loss(logits: Tensor, truth: Tensor, exclusive: bool) -> Tensor:
    if exclusive:
        return F.cross_entropy(logits, truth.argmax(1))
    each = F.binary_cross_entropy_with_logits(logits, torch.nan_to_num(truth), reduction="none")
    return each[~truth.isnan()].mean()


def _view(images: Tensor) -> Tensor:
    """The batch moved a little and mirrored or not, uint8 (n, 3, S, S)."""
    side, most = images.shape[-1], images.shape[-1] // SHIFT
    padded = F.pad(images.float(), (most,) * 4, mode="reflect").to(images.dtype)
    x, y = torch.randint(0, 2 * most + 1, (2,)).tolist()
    view = padded[..., y : y + side, x : x + side]
    mirrored = (torch.rand(len(images)) < 0.5)[:, None, None, None]
    return torch.where(mirrored, view.flip(-1), view)


@torch.no_grad()
def _predict(model: _Classifier, images: Tensor, device: torch.device) -> Tensor:
    model.eval()
    return torch.cat([model(part.to(device)).cpu() for part in torch.split(images, 4 * BATCH)])
