"""Frozen features of a backbone, stage by stage: whole maps, and maps pooled to one vector an image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.train.model.network import Backbone

MOST_STAGES = 5
GRID_DIMENSIONS = 9216  # of a pooled map, at most: the survey's "about 9000"


@dataclass(frozen=True)
class Stage:
    """A feature map of a backbone: its number there, its size, and what tables call it."""

    name: str
    index: int
    channels: int
    stride: int


def stages(backbone: Backbone) -> tuple[Stage, ...]:
    """Up to five maps, finest first.

    Where strides double from map to map, they are called by them, conv1 (stride 2) to conv5 (stride 32), as in
    the literature; maps of equal stride (a plain transformer's) are called by timm's module names.
    """
    info = list(backbone.net.feature_info)
    levels = list(range(len(info)))
    if len(levels) > MOST_STAGES:  # equal steps that end at the last
        levels = [(len(info) * (i + 1)) // MOST_STAGES - 1 for i in range(MOST_STAGES)]
    strides = [int(info[k]["reduction"]) for k in levels]
    doubling = len(set(strides)) == len(strides) and all(math.log2(s).is_integer() and s > 1 for s in strides)
    return tuple(
        Stage(
            f"conv{int(math.log2(stride))}" if doubling else str(info[k]["module"]),
            k,
            int(info[k]["num_chs"]),
            stride,
        )
        for k, stride in zip(levels, strides, strict=True)
    )


@torch.no_grad()
def feature_maps(
    backbone: Backbone, images: Tensor, chosen: Sequence[Stage], batch: int, device: torch.device
) -> Iterator[list[Tensor]]:
    """Maps (n, C, h, w) float32 of each stage, on the device, for uint8 images (N, 3, S, S), batch by batch."""
    backbone.eval().to(device)
    for part in torch.split(images, batch):
        x = (part.to(device).float() - backbone.mean) / backbone.std
        yield backbone.net.forward_intermediates(
            x, indices=[stage.index for stage in chosen], output_fmt="NCHW", intermediates_only=True
        )


@dataclass(frozen=True)
class Pooled:
    """A stage's features of N images, float32.

    grid: averages over a small grid of cells, (N, C g²), at most 9216 dimensions. mean: averages over all
    places, (N, C).
    """

    grid: Tensor
    mean: Tensor


def pooled(
    backbone: Backbone, images: Tensor, chosen: Sequence[Stage], batch: int, device: torch.device
) -> list[Pooled]:
    """Pooled features of each stage, for uint8 images (N, 3, S, S)."""
    parts: list[list[Tensor]] = [[] for _ in range(2 * len(chosen))]
    for maps in feature_maps(backbone, images, chosen, batch, device):
        for k, values in enumerate(maps):
            parts[2 * k].append(F.adaptive_avg_pool2d(values, grid_side(values)).flatten(1))
            parts[2 * k + 1].append(values.mean((2, 3)))
    joined = [torch.cat(part) for part in parts]
    return [Pooled(joined[2 * k], joined[2 * k + 1]) for k in range(len(chosen))]


def grid_side(values: Tensor) -> int:
    """Cells along a side to which a map (N, C, h, w) is pooled."""
    channels, height, width = values.shape[1:]
    return max(1, min(math.isqrt(GRID_DIMENSIONS // channels), height, width))
