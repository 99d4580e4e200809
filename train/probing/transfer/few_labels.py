"""Shares of the labels, each within the next larger, that keep the classes' proportions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def nested(
    groups: NDArray[np.intp], shares: Sequence[float], rng: np.random.Generator
) -> dict[float, Tensor]:
    """Numbers of images, sorted, by share: the nearest number to it of each group, at least one.

    groups: (n,) the class of each image, or all the same where images show several.
    """
    members = [rng.permutation(np.flatnonzero(groups == group)) for group in np.unique(groups)]
    return {
        share: torch.from_numpy(
            np.sort(np.concatenate([one[: max(1, round(share * len(one)))] for one in members]))
        )
        for share in shares
    }


def percent(share: float) -> str:
    """A share of the labels as tables call it."""
    return f"{100 * share:g} % of the labels"
