"""Clips that are seen for half of their frames and heard for the same half, or for the other one."""

from __future__ import annotations

import torch
from torch import Tensor

from freelabels.train.data.loader import Batch
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.sound.hearing import levels, wave


def halves(batch: Batch, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
    """One half of each clip (B, T / 2, 3, H, W), its sound's levels and the other half's, (B, 1, bands, t).

    Which half is drawn for each: so when it is heard in the clip tells nothing.
    """
    half = batch["image"].shape[1] // 2
    late = draw.integers(2).bool()
    images = [batch["image"][:, :half], batch["image"][:, half : 2 * half]]
    sounds = [levels(*wave(batch, part)) for part in (slice(0, half), slice(half, 2 * half))]

    def chosen(first: Tensor, second: Tensor) -> Tensor:
        return torch.where(late.view(-1, *[1] * (first.ndim - 1)), second, first)

    return chosen(*images), chosen(*sounds), chosen(sounds[1], sounds[0])
