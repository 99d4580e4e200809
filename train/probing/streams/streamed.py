"""Linear classifiers of all stages and networks in one pass over the pictures an epoch; no features are stored.

As published: stages pooled to about 9000 dimensions and standardised by batch normalisation without scale, SGD
with momentum whose rate drops by ten three times. Zhang et al., Colorful image colorization, 2016, section 3.2;
Goyal et al., Scaling and benchmarking self-supervised visual representation learning, 2019, section 6.1.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from freelabels.train.model.network import Backbone
from freelabels.train.probing.layouts.pixels import READERS, read_image
from freelabels.train.probing.layouts.sets import Listed

STREAMED = "linear, streamed"
LARGE = 50_000  # images, from which on features don't fit into memory and the schedule is the published one
EPOCHS = 28
RATE, RATE_BATCH, DIMENSIONS = 0.01, 256, 9216  # for so large a batch of so long features
MOMENTUM = 0.9
DROPS = (8 / 28, 16 / 28, 24 / 28)
DECAY = 5e-4  # as published, of standardised features
PENALTY = 1e-4  # for smaller sets, of features of unit mean square norm, as `classifiers` has it
STEPS = 16  # an epoch, at least
CROP = 7 / 8  # a view's side by the picture's: 224 of 256
AHEAD = 3  # batches that are decoded while one is learned


@dataclass(frozen=True)
class Schedule:
    """How long and how classifiers are trained. crops: random crops and mirroring, as published."""

    epochs: int
    batch: int
    crops: bool

    def decay(self, dimensions: int) -> float:
        """Weight decay of a classifier on so many standardised features."""
        return DECAY if self.crops else PENALTY * dimensions

    def rate(self, dimensions: int) -> float:
        """The first rate, which goes with the batch; in smaller sets long features and short ones learn alike."""
        return RATE * self.batch / RATE_BATCH * (1 if self.crops else DIMENSIONS / dimensions)


def schedule_for(images: int, epochs: int) -> Schedule:
    """The published schedule for large sets; for others the in-memory solver's minimum in smaller batches."""
    if images > LARGE:
        return Schedule(epochs, RATE_BATCH, True)
    return Schedule(epochs, max(2, min(RATE_BATCH, images // STEPS)), False)


def epochs_of(data: Listed, asked: int | None) -> int:
    """How many epochs a set is streamed for: as asked, else as published for large ones and none for others."""
    return (EPOCHS if len(data.files) > LARGE else 0) if asked is None else asked


@dataclass(frozen=True)
class StreamedImages:
    """Pictures of one class each that are read anew in every epoch, and how classifiers are trained on them."""

    about: Listed
    schedule: Schedule

    def chance(self, test: Tensor) -> float:
        """What the best constant answer scores on pictures of these numbers."""
        return float(np.bincount(self.about.labels[test.numpy()]).max() / len(test))


See = Callable[[Backbone, Tensor], list[Tensor]]
"""A network and uint8 pictures (n, 3, S, S) → its stages' features (n, d), pooled to a small grid."""


class _Head(nn.Module):
    """Standardise pooled features (n, d), by what all batches so far had; then classify."""

    def __init__(self, dimensions: int, classes: int):
        super().__init__()
        self.standardise = nn.BatchNorm1d(dimensions, affine=False, momentum=None)
        self.last = nn.Linear(dimensions, classes)
        nn.init.normal_(self.last.weight, std=0.01)
        nn.init.zeros_(self.last.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, classes)."""
        logits: Tensor = self.last(self.standardise(features))
        return logits


def streamed_accuracy(
    networks: Mapping[str, Backbone],
    see: See,
    one: StreamedImages,
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    size: int,
    seed: int,
    device: torch.device,
    say: Callable[[str], None] = lambda sentence: None,
) -> dict[str, list[float]]:
    """The share of test pictures that a classifier on each stage of each network tells right.

    train, test: numbers of pictures. The order of pictures and the crops are the same for all of
    them. Raises UserError, naming the file, for a picture that can't be read.
    """
    plan, files = one.schedule, one.about.files
    labels = torch.from_numpy(one.about.labels)
    side = math.ceil(size / CROP) if plan.crops else size
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(3,)))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        blank = torch.zeros(1, 3, size, size, dtype=torch.uint8)
        heads = {
            name: [
                _Head(features.shape[1], len(one.about.classes)).to(device)
                for features in see(backbone, blank)
            ]
            for name, backbone in networks.items()
        }
    every = [head for several in heads.values() for head in several]
    groups = []
    for head in every:
        weight, bias = head.last.weight, head.last.bias
        length = head.last.in_features
        groups += [
            {"params": [weight], "lr": plan.rate(length), "weight_decay": plan.decay(length)},
            {"params": [bias], "lr": plan.rate(DIMENSIONS)},
        ]
    optimizer = torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM, nesterov=True)
    drops = [round(plan.epochs * drop) for drop in DROPS]
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops)
    if not plan.crops:
        _standardise(heads, networks, see, files, train, side)
    for epoch in range(plan.epochs):
        say(f"{one.about.name}, streamed: epoch {epoch + 1} of {plan.epochs}")
        order = rng.permutation(train)
        batches = [order[k : k + plan.batch] for k in range(0, len(order), plan.batch)]
        if len(batches[-1]) < min(plan.batch, len(order)):  # of too few pictures to standardise by
            batches.pop()
        for rows, pictures in _read_ahead(files, batches, side):
            seen = _cropped(pictures, size, rng if plan.crops else None)
            target = labels[rows].to(device)
            optimizer.zero_grad(set_to_none=True)
            for name, backbone in networks.items():
                for head, features in zip(heads[name], see(backbone, seen), strict=True):
                    F.cross_entropy(head(features), target).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        scheduler.step()
    for head in every:
        head.eval()
    right = {name: torch.zeros(len(several)) for name, several in heads.items()}
    parts = [test[k : k + RATE_BATCH] for k in range(0, len(test), RATE_BATCH)]
    with torch.no_grad():
        for rows, pictures in _read_ahead(files, parts, side):
            seen = _cropped(pictures, size, None)
            for name, backbone in networks.items():
                for k, features in enumerate(see(backbone, seen)):
                    right[name][k] += (heads[name][k](features).argmax(1).cpu() == labels[rows]).sum()
    return {name: (counts / len(test)).tolist() for name, counts in right.items()}


@torch.no_grad()
def _standardise(
    heads: Mapping[str, Sequence[_Head]],
    networks: Mapping[str, Backbone],
    see: See,
    files: Sequence[str],
    train: NDArray[np.intp],
    side: int,
) -> None:
    """Measure what features are standardised by in a pass of its own: small batches would each have their own."""
    parts = [part for part in np.array_split(train, max(1, len(train) // RATE_BATCH)) if len(part) > 1]
    for _, seen in _read_ahead(files, parts, side):
        for name, backbone in networks.items():
            for head, features in zip(heads[name], see(backbone, seen), strict=True):
                head.standardise(features)
    for head in (head for several in heads.values() for head in several):
        head.standardise.eval()


def streamed_scores(
    loads: Mapping[str, Callable[[int], Backbone]],
    see: See,
    one: StreamedImages,
    sides: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
    size: int,
    first: int,
    device: torch.device,
    say: Callable[[str], None],
) -> dict[str, list[dict[str, list[tuple[float, float]]]]]:
    """`streamed_accuracy` of each seed, counted from `first`, as a measure with no setting to choose.

    loads: seed → network; sides: numbers of training and test pictures, a pair a seed.
    """
    found: dict[str, list[dict[str, list[tuple[float, float]]]]] = {name: [] for name in loads}
    for seed, (train, test) in enumerate(sides):
        networks = {name: load(seed) for name, load in loads.items()}
        shares = streamed_accuracy(networks, see, one, train, test, size, first + seed, device, say)
        for name, scores in shares.items():
            found[name].append({STREAMED: [(score, 0.0) for score in scores]})
    return found


def _read_ahead(
    files: Sequence[str], batches: Sequence[NDArray[np.intp]], side: int
) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
    """Numbers and pictures uint8 (n, 3, side, side) of each batch, decoded by threads while others are learned."""
    waiting: deque[tuple[NDArray[np.intp], list[Future[NDArray[np.uint8]]]]] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        for k in range(len(batches) + AHEAD):
            if k < len(batches):
                waiting.append(
                    (batches[k], [pool.submit(read_image, Path(files[row]), side) for row in batches[k]])
                )
            if k >= AHEAD:
                rows, pending = waiting.popleft()
                yield rows, torch.from_numpy(np.stack([one.result() for one in pending]))


def _cropped(pictures: Tensor, size: int, rng: np.random.Generator | None) -> Tensor:
    """Crops (n, 3, size, size), each at a place and mirrored or not by chance; without `rng`, the centre's."""
    spare = pictures.shape[-1] - size
    if rng is None:
        start = spare // 2
        return pictures[..., start : start + size, start : start + size]
    places, mirrored = rng.integers(0, spare + 1, (len(pictures), 2)), rng.random(len(pictures)) < 0.5
    views = [p[:, y : y + size, x : x + size] for p, (y, x) in zip(pictures, places.tolist(), strict=True)]
    return torch.stack(
        [view.flip(-1) if flip else view for view, flip in zip(views, mirrored.tolist(), strict=True)]
    )
