"""Patches that are followed through a clip by its stored flow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.train.data.labels import WEIGHT_SUFFIX
from freelabels.train.data.loader import Batch
from freelabels.train.tasks.contract.views import crop

COARSE = 4  # pixels; corners of patches are looked for at multiples of it


def moving_corner(batch: Batch, side: int) -> Tensor:
    """Corners (B, 2), (y, x), of the square of the first frame that moves most against the frame's median."""
    flow, known = batch["flow"][:, 0], batch["flow" + WEIGHT_SUFFIX][:, 0]
    known = (known > 0).float()
    median = torch.where(known[:, None] > 0, flow, torch.nan).flatten(2).nanmedian(2).values.nan_to_num()
    speed = (flow - median[:, :, None, None]).square().sum(1).sqrt() * known
    sums = F.avg_pool2d(speed[:, None], side, COARSE)[:, 0]
    best = sums.flatten(1).argmax(1)
    return COARSE * torch.stack([best // sums.shape[2], best % sums.shape[2]], 1)


def followed(batch: Batch, corner: Tensor, side: int) -> Tensor:
    """Corners (B, T, 2) of squares in each frame, moved from one to the next by the mean of the flow in them."""
    flow = torch.cat([batch["flow"], batch["flow" + WEIGHT_SUFFIX][:, :, None].gt(0).float()], 2)
    most = flow.shape[-1] - side
    place, corners = corner.float(), [corner]
    for frame in flow[:, :-1].unbind(1):
        patch = crop(frame, corners[-1][:, None], side)[:, 0]
        known = patch[:, 2:]
        moved = (patch[:, :2] * known).sum((2, 3)) / known.sum((2, 3)).clamp_min(1)
        place = (place + moved.flip(1)).clamp(0, most)
        corners.append(place.round().long())
    return torch.stack(corners, 1)


def elsewhere(corner: Tensor, size: int, side: int) -> Tensor:
    """Corners (B, 2) of the squares in a frame's corners that lie farthest from those given."""
    most = size - side
    return torch.where(corner * 2 < most, most, torch.zeros_like(corner))
