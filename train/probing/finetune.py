"""Fine-tuning: the whole backbone with a linear classifier, for a few epochs; on images, or on clips of videos."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.model.clips import ClipBackbone
from freelabels.train.model.network import Backbone
from freelabels.train.model.statistics import measure_statistics
from freelabels.train.probing.classifiers import Fitted, quality
from freelabels.train.probing.splits import Split

RATES = (1e-3, 1e-4)
BATCH = 32
CLIPS = 16  # of a batch of clips
CROP = 7 / 8  # the side of one of ten crops
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
    below: str | None = None,
) -> Fitted:
    """Scores of test images after training on all of `images`, at the rate that was best on the held-out ones.

    images, test: uint8 (n, 3, S, S), (m, 3, S, S). truth: (n, classes), see `train.probing.classifiers`. held_out:
    (n,) bool, training images that a first fit at each rate leaves out. The backbone itself isn't changed.

    below: a module of the timm net up to which, it included, all stays frozen, "" for none; then training sees
    random scales and testing is the mean of ten crops, as the survey has it. None: all is trained, on small
    shifts.
    """
    scores = []
    for rate in RATES:
        fitted = _fit(
            backbone, images[~held_out], truth[~held_out], exclusive, rate, epochs, seed, device, below
        )
        scores.append(
            quality(truth[held_out], _predict(fitted, images[held_out], device, below is not None), exclusive)
        )
    best = max(range(len(RATES)), key=lambda k: (scores[k], -k))
    fitted = _fit(backbone, images, truth, exclusive, RATES[best], epochs, seed, device, below)
    return Fitted(_predict(fitted, test, device, below is not None), RATES[best], scores[best])


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
    below: str | None,
) -> _Classifier:
    view = _view if below is None else scaled
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model = _Classifier(backbone, truth.shape[1]).to(device).train()
        _freeze(model.backbone.net, below or "")
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(learned, lr=rate, weight_decay=0.05)
        steps = epochs * math.ceil(len(images) / BATCH)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(steps, 2))
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(len(images)), BATCH):
                if len(rows) < 2:  # batch norm needs two
                    continue
                optimizer.zero_grad()
                _loss(model(view(images[rows]).to(device)), truth[rows].to(device), exclusive).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                scheduler.step()
        measure_statistics(model, (view(part).to(device) for part in torch.split(images, BATCH)))
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


def _freeze(net: nn.Module, last: str) -> None:
    """Freeze weights and statistics of all modules up to `last`, it included, in the order they are made in."""
    if not last:
        return
    modules = dict(net.named_modules())
    names = list(modules)
    end = max(k for k, name in enumerate(names) if f"{name}.".startswith(f"{last}."))
    for name in names[: end + 1]:
        for parameter in modules[name].parameters(recurse=False):
            parameter.requires_grad_(False)
        if not last.startswith(f"{name}.") and name:  # what holds the last holds trained ones too
            modules[name].eval()


def scaled(images: Tensor) -> Tensor:
    """A square of each image at a random place, of a side of half to all of its own, mirrored or not; 0 … 255."""
    count = len(images)
    share = 0.5 + 0.5 * torch.rand(count)
    shift = (1 - share)[:, None] * (2 * torch.rand(count, 2) - 1)
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    zero = torch.zeros(count)
    rows = [torch.stack([share * mirror, zero, shift[:, 0]], 1), torch.stack([zero, share, shift[:, 1]], 1)]
    return _squares(images, torch.stack(rows, 1))


def ten_crops(images: Tensor) -> list[Tensor]:
    """The corners' and the centre's squares of 7/8 of an image's side, and their mirror images; 0 … 255."""
    spare = 1 - CROP
    places = [(x, y) for x in (-spare, spare) for y in (-spare, spare)] + [(0.0, 0.0)]
    moves = [[[side * CROP, 0, x], [0, CROP, y]] for x, y in places for side in (1, -1)]
    return [_squares(images, torch.tensor(move).expand(len(images), 2, 3)) for move in moves]


def _squares(images: Tensor, moves: Tensor) -> Tensor:
    """Float32 (n, 3, S, S): what affine maps (n, 2, 3) of [-1, 1]² show of each image."""
    grid = F.affine_grid(moves.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)


@torch.no_grad()
def _predict(model: _Classifier, images: Tensor, device: torch.device, ten: bool = False) -> Tensor:
    model.eval()
    found = []
    for part in torch.split(images.to(device), 4 * BATCH):
        views = ten_crops(part) if ten else [part]
        found.append(torch.stack([model(view) for view in views]).mean(0).cpu())
    return torch.cat(found)


def finetune_films(
    backbone: Backbone | ClipBackbone,
    clips: Tensor,
    truth: Tensor,
    split: Split,
    epochs: int,
    seed: int,
    device: torch.device,
) -> Fitted:
    """As `finetune`, on videos: logits (m, clips, classes) of test videos' clips.

    clips: uint8 (n, clips, T, 3, S, S), of videos of which each shows one class. An epoch sees one clip of each
    training video, drawn anew. A video is the mean of its clips' probabilities where the rate is chosen.
    """

    def tuned(train: Tensor, test: Tensor, rate: float) -> Tensor:
        model = _fit_films(backbone, clips, truth, train, rate, epochs, seed, device)
        return _predict_films(model, clips, test, device)

    kept, held = split.train[~split.held_out], split.train[split.held_out]
    scores = [quality(truth[held], tuned(kept, held, rate).softmax(2).mean(1), True) for rate in RATES]
    best = max(range(len(RATES)), key=lambda k: (scores[k], -k))
    return Fitted(tuned(split.train, split.test, RATES[best]), RATES[best], scores[best])


class _FilmClassifier(nn.Module):
    """Logits (N, classes) of clips (N, T, 3, S, S), from the mean over the last stage's places and times."""

    def __init__(self, backbone: Backbone | ClipBackbone, classes: int):
        super().__init__()
        self.backbone = copy.deepcopy(backbone)
        channels = backbone.channels[-1]
        self.last = nn.Sequential(nn.BatchNorm1d(channels), nn.Linear(channels, classes))

    def forward(self, clips: Tensor) -> Tensor:
        if isinstance(self.backbone, ClipBackbone):
            deep = self.backbone(clips)[-1].mean((2, 3, 4))
        else:
            deep = self.backbone(clips.flatten(0, 1))[-1].mean((2, 3)).view(*clips.shape[:2], -1).mean(1)
        logits: Tensor = self.last(deep)
        return logits


def _fit_films(
    backbone: Backbone | ClipBackbone,
    clips: Tensor,
    truth: Tensor,
    rows: Tensor,
    rate: float,
    epochs: int,
    seed: int,
    device: torch.device,
) -> _FilmClassifier:
    """Trained on one of a video's clips, drawn anew each epoch."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model = _FilmClassifier(backbone, truth.shape[1]).to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
        steps = epochs * math.ceil(len(rows) / CLIPS)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(steps, 2))
        for _ in range(epochs):
            for some in torch.split(rows[torch.randperm(len(rows))], CLIPS):
                if len(some) < 2:  # batch norm needs two
                    continue
                seen = _film_view(clips[some, torch.randint(clips.shape[1], (len(some),))])
                optimizer.zero_grad()
                F.cross_entropy(model(seen.to(device)), truth[some].argmax(1).to(device)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                scheduler.step()
        any_clip = torch.randint(clips.shape[1], (len(rows),))
        some_of = zip(torch.split(rows, CLIPS), torch.split(any_clip, CLIPS), strict=True)
        measure_statistics(model, (_film_view(clips[some, clip]).to(device) for some, clip in some_of))
    return model


def _film_view(clips: Tensor) -> Tensor:
    """Clips (N, T, 3, S, S) moved a little and mirrored or not, all frames of one alike."""
    side, most = clips.shape[-1], clips.shape[-1] // SHIFT
    padded = F.pad(clips.flatten(0, 1).float(), (most,) * 4, mode="reflect").to(clips.dtype)
    x, y = torch.randint(0, 2 * most + 1, (2,)).tolist()
    view = padded[..., y : y + side, x : x + side].view(clips.shape)
    mirrored = (torch.rand(len(clips)) < 0.5)[:, None, None, None, None]
    return torch.where(mirrored, view.flip(-1), view)


@torch.no_grad()
def _predict_films(model: _FilmClassifier, clips: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """Logits (videos, clips, classes)."""
    model.eval()
    return torch.stack([model(clips[row].to(device)).cpu() for row in rows.tolist()])
