"""Frames of a clip as stills that don't tell when they were taken but by what has moved."""

from __future__ import annotations

import itertools
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.views import crop, level

JITTER = 2  # pixels by which each frame's crop may lie off the centre, either way
SOFTER = 0.7  # most of a frame that is replaced by itself blurred


def stills(frames: Tensor, draw: Draw, jitter: int = JITTER) -> Tensor:
    """Frames (N, T, 3, S, S) as (N, T, 1, s, s), float32, each changed by itself.

    At a place drawn for it, so that a camera that drifts, or the same crop of all, doesn't tell their order; of
    one colour channel drawn for it, at the same mean and spread, so that light that changes doesn't; and as
    sharp as is drawn for it, so that the pulse of a compressed video, sharp at every key frame, doesn't.
    """
    n, t, _, height, _ = frames.shape
    side = height - 2 * jitter
    corners = draw.integers(2 * jitter + 1, t, 2)
    views = crop(frames.flatten(0, 1), corners.flatten(0, 1)[:, None], side).view(n, t, 3, side, side)
    channel = draw.integers(3, t)[:, :, None, None, None].expand(-1, -1, 1, side, side)
    x = views.gather(2, channel).float()
    soft = F.avg_pool2d(x.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(x)
    return level(x + SOFTER * draw.uniform(t, 1, 1, 1) * (soft - x))


def at(frames: Tensor, index: Tensor) -> Tensor:
    """Of frames (N, T, …) those of numbers (N, k), in that order."""
    return frames[torch.arange(len(frames), device=frames.device)[:, None], index]


def either_way(index: Tensor, draw: Draw) -> Tensor:
    """Numbers (N, k) of frames as they are or, for every other sample, from the last to the first."""
    return torch.where(draw.integers(2)[:, None].bool(), index, index.flip(1))


@cache
def orders_up_to_direction(length: int) -> Tensor:
    """int64 (length! / 2, length): all orders, each for itself and backwards; the first is 0, 1, …"""
    return torch.tensor([p for p in itertools.permutations(range(length)) if p[0] < p[-1]])


def disorder(length: int, draw: Draw) -> Tensor:
    """int64 (N, length): an order drawn for each sample that is neither the right one nor that backwards."""
    wrong = orders_up_to_direction(length)[1:]
    chosen = wrong.to(draw.device)[draw.integers(len(wrong))]
    return either_way(chosen, draw)
