"""Pretexts on whole images seen through the pyramid: the forms of rotation and jigsaw up to version 0.1.0.

Runs that were begun with them go on with them. The rotation head behind the pyramid learns the task and not the
features, so new runs have `space/rotation.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from freelabels.train.data.loader import Batch
from freelabels.train.tasks import losses, metrics
from freelabels.train.tasks.contract.commonest import commonest, kept
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, first
from freelabels.train.tasks.labelled import Labelled, Labels

GRID = 3
ORDERS = 32  # jigsaw classes
GAP = 1 / 8  # of a tile, cut off so that its border doesn't give its neighbour away


def rotate(image: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
    """Square images (N, 3, S, S) turned by 0, 90, 180 or 270 degrees, and which (N,).

    Gidaris, Singh and Komodakis, Unsupervised representation learning by predicting image rotations, 2018.
    """
    turns = seed % 4
    turned = [torch.rot90(one, k, (1, 2)) for one, k in zip(image, turns.tolist(), strict=True)]
    return torch.stack(turned), turns


@cache
def orders() -> Tensor:
    """(ORDERS, 9) permutations of the tiles, greedily far apart in Hamming distance; the first is the identity."""
    every = np.array(list(permutations(range(GRID * GRID)))[::97])
    chosen = [np.arange(GRID * GRID)]
    distance = np.full(len(every), GRID * GRID)
    while len(chosen) < ORDERS:
        distance = np.minimum(distance, (every != chosen[-1]).sum(1))
        chosen.append(every[int(distance.argmax())])
    return torch.from_numpy(np.stack(chosen))


def shuffle(image: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
    """Images (N, 3, S, S) cut in 3×3 tiles and laid in another order on mid-grey, and which order (N,).

    Noroozi and Favaro, Unsupervised learning of visual representations by solving jigsaw puzzles, 2016; the
    shuffled image is seen as a whole, as by Carlucci et al., Domain generalization by solving jigsaw
    puzzles, 2019.
    """
    which = (seed // 4) % ORDERS
    tile = image.shape[-1] // GRID
    gap = max(1, int(tile * GAP / 2))
    out = torch.full_like(image, 128)
    table = orders()
    for n, k in enumerate(which.tolist()):
        for place, source in enumerate(table[k].tolist()):
            (y, x), (v, u) = (divmod(place, GRID), divmod(source, GRID))
            out[n, :, y * tile + gap : (y + 1) * tile - gap, x * tile + gap : (x + 1) * tile - gap] = image[
                n, :, v * tile + gap : (v + 1) * tile - gap, u * tile + gap : (u + 1) * tile - gap
            ]
    return out, which


@dataclass(frozen=True)
class WholeImage(Labelled):
    """A task whose class ids are made from the images.

    pretext: images (N, 3, H, W) and seeds (N,) → changed images and class ids (N,).
    """

    pretext: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = rotate

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The first frames, changed."""
        images, classes = self.pretext(first(batch), batch["seed"])
        target = classes.to(images.device)[:, None, None, None].float()
        return Asked(target, torch.ones_like(target[:, 0]), images[:, None], maps=True)

    def teach(self, answer: Tensor) -> None:
        """Its labels are right, so there is nothing to learn from an average."""

    def keep(self, answer: Tensor, asked: Asked) -> tuple[Tensor, ...]:
        """Hits and classes: images are judged one by one, so there is a standard error."""
        one = replace(asked, weight=asked.weight.flatten())
        return kept(answer.flatten(1), asked.target.flatten().long(), one)

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Accuracy beside that of the commonest class."""
        return commonest(columns)


def _none(batch: Batch) -> Labels:
    raise AssertionError("a pretext makes its labels from the images")


def _most_likely(prediction: Tensor) -> Tensor:
    return prediction.argmax(1, keepdim=True).float()


def _pretext(
    name: str, classes: int, make: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], paper: str
) -> WholeImage:
    return WholeImage(
        name,
        (),
        classes,
        _none,
        losses.categorical,
        _most_likely,
        metrics.ACCURACY,
        generalised=losses.categorical_generalised,
        whole=True,
        family=FAMILIES[1],
        paper=paper,
        pretext=make,
    )


WHOLE_IMAGES = (
    _pretext("rotation_maps", 4, rotate, "Gidaris, Singh and Komodakis, 2018, on the pyramid's feature"),
    _pretext(
        "jigsaw_whole",
        ORDERS,
        shuffle,
        "Carlucci et al., Domain generalization by solving jigsaw puzzles, 2019",
    ),
)
