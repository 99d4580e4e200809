"""Which labelled images are fitted to, which choose settings, and which are tested on: all by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from freelabels.ground.errors import UserError
from freelabels.train.probing.layouts.sets import Listed

HELD_OUT = 0.2  # of the training images, to choose settings on
FEWEST = 4  # images to fit to


@dataclass(frozen=True)
class Split:
    """Numbers of training and test images, (n,) and (m,); which of the training ones (n,) settings are chosen on.

    ratio: m / n if the seed drew the test images, else 0 (they are the same for every seed).
    """

    train: Tensor
    test: Tensor
    held_out: Tensor
    ratio: float


def random_split(
    truth: Tensor,
    classes: Sequence[str],
    exclusive: bool,
    test: NDArray[np.bool_] | None,
    share: float,
    rng: np.random.Generator,
) -> Split:
    """Images of each class in the same proportions, where each shows one class.

    Raises UserError for a class that has too few images.
    """
    groups = truth.argmax(1).numpy() if exclusive else np.zeros(len(truth), np.intp)
    if test is None:
        if exclusive and (few := [classes[k] for k in range(len(classes)) if (groups == k).sum() < 2]):
            raise UserError(f"the class {few[0]} has one image; give two or more, to fit to and to test on")
        tested = _draw(groups, share, rng, at_least=1)
    else:
        tested = test
    train = _enough(np.flatnonzero(~tested))
    held_out = _draw(groups[train], HELD_OUT, rng, at_least=0)
    if not held_out.any():
        held_out[rng.integers(len(train))] = True
    ratio = 0.0 if test is not None else float(tested.sum() / len(train))
    return _split(train, tested, held_out, ratio)


def listed_split(data: Listed, share: float, rng: np.random.Generator) -> Split:
    """The layout's own split, or one by the seed; nothing is held out where nothing is chosen."""
    if data.test is None:
        about = data.classified()
        return random_split(about.truth, about.classes, True, None, share, rng)
    none = np.zeros(int((~data.test).sum()), bool)
    return _split(_enough(np.flatnonzero(~data.test)), data.test, none, 0.0)


def group_split(
    truth: Tensor,
    classes: Sequence[str],
    groups: NDArray[np.int64],
    test: NDArray[np.bool_] | None,
    share: float,
    rng: np.random.Generator,
) -> Split:
    """As `random_split` of what shows one class each, but members of a group stay together.

    Raises UserError for a class that is of one group, where `test` doesn't say what is tested on.
    """
    label = truth.argmax(1).numpy()
    first = np.unique(groups, return_index=True)[1]  # a member of each group
    if test is None:
        for number, name in enumerate(classes):
            if (label[first] == number).sum() < 2:
                raise UserError(
                    f"all videos of {name} are of one recording; give two, to fit to and to test on"
                )
        tested = np.isin(groups, groups[first[_draw(label[first], share, rng, at_least=1)]])
    else:
        tested = test
    train = _enough(np.flatnonzero(~tested))
    _, index = np.unique(groups[train], return_index=True)
    chosen = _draw(label[train][index], HELD_OUT, rng, at_least=0)
    if not chosen.any():
        chosen[rng.integers(len(chosen))] = True
    held_out = np.isin(groups[train], groups[train][index[chosen]])
    ratio = 0.0 if test is not None else float(tested.sum() / len(train))
    return _split(train, tested, held_out, ratio)


def _enough(train: NDArray[np.intp]) -> NDArray[np.intp]:
    if len(train) < FEWEST:
        raise UserError(f"{len(train)} of the images are left to fit to; give {FEWEST} or more")
    return train


def _split(
    train: NDArray[np.intp], tested: NDArray[np.bool_], held_out: NDArray[np.bool_], ratio: float
) -> Split:
    if not tested.any():
        raise UserError("none of the images are left to test on; give more, or let more be used")
    return Split(
        torch.from_numpy(train), torch.from_numpy(np.flatnonzero(tested)), torch.from_numpy(held_out), ratio
    )


def block_split(count: int, test: NDArray[np.bool_] | None, share: float, rng: np.random.Generator) -> Split:
    """Unbroken runs of images for testing and for choosing settings: neighbours may be frames of one shot."""
    if test is None:
        tested = _block(count, share, rng)
        ratio = float(tested.sum() / (~tested).sum())
    else:
        tested, ratio = test, 0.0
    train = _enough(np.flatnonzero(~tested))
    return _split(train, tested, _block(len(train), HELD_OUT, rng), ratio)


def few_shots(truth: Tensor, k: int, rng: np.random.Generator) -> Tensor | None:
    """Numbers of images with k of each class (in sum, where images show several); None if a class has fewer."""
    chosen: set[int] = set()
    for column in truth.T:
        members = np.flatnonzero((column > 0).numpy())
        if len(members) < k:
            return None
        chosen |= set(rng.choice(members, k, replace=False).tolist())
    return torch.tensor(sorted(chosen))


def _draw(
    groups: NDArray[np.intp], share: float, rng: np.random.Generator, at_least: int
) -> NDArray[np.bool_]:
    """Mark about `share` of each group, of a group of two or more not all and `at_least` so many."""
    marked = np.zeros(len(groups), bool)
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        count = min(max(round(share * len(members)), at_least), len(members) - 1)
        marked[members[:count]] = True
    return marked


def _block(count: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mark a run of about `share` of the places, which may go on at the beginning."""
    length = min(max(1, round(share * count)), count - 1)
    marked = np.zeros(count, bool)
    marked[(rng.integers(count) + np.arange(length)) % count] = True
    return marked
