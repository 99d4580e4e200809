"""What tasks cut out of images and make of it. Images are (…, 3, H, W), uint8 or 0 … 255."""

from __future__ import annotations

import torch
from torch import Tensor

from freelabels.train.tasks.contract.draw import Draw

LEVEL, SPREAD = 128.0, 50.0  # that levelled views have
FLAT = 2.0  # of 255: what spreads by less is flat but for noise, and stays nearly so


def crop(images: Tensor, corners: Tensor, side: int) -> Tensor:
    """Squares (N, k, 3, side, side) of images (N, 3, H, W) at corners (N, k, 2), (y, x): copies of pixels."""
    _, channels, height, width = images.shape
    place = torch.arange(side, device=images.device)
    y = (corners[..., 0, None] + place)[..., :, None]  # (N, k, side, 1)
    x = (corners[..., 1, None] + place)[..., None, :]
    index = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).flatten(1)  # (N, k side²)
    flat = images.flatten(2).gather(2, index[:, None].expand(-1, channels, -1))
    return flat.view(len(images), channels, corners.shape[1], side, side).transpose(1, 2)


def cells(size: int, across: int, side: int, draw: Draw) -> Tensor:
    """Corners (B, across², 2) of squares, one somewhere in each cell of a grid over the image, row by row."""
    cell = size // across
    starts = torch.cartesian_prod(*[torch.arange(across) * cell] * 2)
    free = draw.integers(cell - side + 1, across**2, 2)
    return starts.to(free.device) + free


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Square images (N, k, 3, S, S) turned anticlockwise by `turns` (N, k) times 90°, by moving pixels alone."""
    ways = torch.stack([torch.rot90(images, quarter, (-2, -1)) for quarter in range(4)])
    rows = torch.arange(len(images), device=images.device)[:, None]
    columns = torch.arange(images.shape[1], device=images.device)[None]
    return ways[turns, rows, columns]


def one_channel(views: Tensor, draw: Draw) -> Tensor:
    """Views (N, k, 3, h, w) that show one colour channel of the sample, drawn for it, three times.

    So that a lens, which shifts the channels against each other, doesn't tell where a view was cut.
    """
    channel = draw.integers(3)[:, None, None, None, None].expand(-1, views.shape[1], 1, *views.shape[3:])
    return views.gather(2, channel).expand(-1, -1, 3, -1, -1)


def level(views: Tensor) -> Tensor:
    """Each view (…, 3, h, w) with the same mean and spread over all its values, float32; exactly, but if flat."""
    x = views.float()
    mean = x.mean((-3, -2, -1), keepdim=True)
    spread = (x - mean).square().mean((-3, -2, -1), keepdim=True).sqrt()
    return (x - mean) / spread.clamp_min(FLAT) * SPREAD + LEVEL


def by_view(rows: Tensor, views: int) -> Tensor:
    """Rows (N views, …), as the trunk gives them, by sample: (N, views, …)."""
    return rows.reshape(-1, views, *rows.shape[1:])


def grey(views: Tensor) -> Tensor:
    """Luma (…, 1, h, w) of views (…, 3, h, w), float32, Rec. 601."""
    x = views.float()
    return 0.299 * x[..., 0:1, :, :] + 0.587 * x[..., 1:2, :, :] + 0.114 * x[..., 2:3, :, :]
