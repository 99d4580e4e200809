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
HALVINGS = 12  # of the share in which views are blurred until they are equally sharp
UNEVEN = 0.05  # by which, of the softest's sharpness, a view is left softer than it


def stills(frames: Tensor, draw: Draw, jitter: int = JITTER) -> Tensor:
    """Frames (N, T, 3, S, S) as (N, T, 1, s, s), float32, each changed by itself.

    At a place drawn for it, so that a camera that drifts, or the same crop of all, doesn't tell their order; of
    one colour channel drawn for it, at the same mean and spread, so that light that changes doesn't; and
    blurred by as much as is drawn for it, then until all are about as sharp as the softest, so that the pulse of
    a compressed video, sharp at every key frame, doesn't.
    """
    n, t, _, height, _ = frames.shape
    side = height - 2 * jitter
    corners = draw.integers(2 * jitter + 1, t, 2)
    views = crop(frames.flatten(0, 1), corners.flatten(0, 1)[:, None], side).view(n, t, 3, side, side)
    channel = draw.integers(3, t)[:, :, None, None, None].expand(-1, -1, 1, side, side)
    x = views.gather(2, channel).float()
    x = x + SOFTER * draw.uniform(t, 1, 1, 1) * (_soft(x) - x)
    return level(equally_sharp(x, 1 - UNEVEN * draw.uniform(t)))


def equally_sharp(views: Tensor, share: Tensor) -> Tensor:
    """Views (N, T, 1, h, w), each with so much of itself blurred that all of a sample are as sharp as its softest.

    Sharpness is the mean square of neighbours' differences over the variance. share: (N, T), how sharp each is to
    be, of the softest. Where these are drawn, what blurring leaves (a thousandth or so, by which the softest
    could be told from those brought to it) can't be seen among them.
    """
    x = views - views.mean((2, 3, 4), keepdim=True)
    d = _soft(_soft(x)) - x
    d = d - d.mean((2, 3, 4), keepdim=True)
    # Variance and differences of x + w d are quadratic in w: (N, T, 3), of 1, w and w².
    spread, fine = (torch.stack([f(x, x), 2 * f(x, d), f(d, d)], 2) for f in (_product, _steps))
    aim = share * (fine[..., 0] / spread[..., 0].clamp_min(1e-6)).amin(1, keepdim=True)
    low, high = torch.zeros_like(spread[..., 0]), torch.ones_like(spread[..., 0])
    for _ in range(HALVINGS):
        w = (low + high) / 2
        powers = torch.stack([torch.ones_like(w), w, w * w], 2)
        sharper = (fine * powers).sum(2) > aim * (spread * powers).sum(2)
        low, high = torch.where(sharper, w, low), torch.where(sharper, high, w)
    return views + ((low + high) / 2)[..., None, None, None] * d


def _product(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).mean((2, 3, 4))


def _steps(a: Tensor, b: Tensor) -> Tensor:
    """Of neighbours' differences."""
    return _product(a.diff(dim=3), b.diff(dim=3)) + _product(a.diff(dim=4), b.diff(dim=4))


def _soft(views: Tensor) -> Tensor:
    """Views (N, T, 1, h, w), each pixel the mean of its surroundings."""
    return F.avg_pool2d(views.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(views)


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
