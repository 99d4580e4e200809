"""Which pixels of one image another one doesn't show. No gradient goes through an answer."""

from __future__ import annotations

import torch
from torch import Tensor

from freelabels.train.tasks.geometry.warp import centres, warp


@torch.no_grad()
def inconsistent(flow: Tensor, back: Tensor, share: float = 0.01, floor: float = 0.5) -> Tensor:
    """Where (N, 1, H, W) following a flow and then the other's flow back doesn't lead home.

    That is |flow + back|² > share (|flow|² + |back|²) + floor, pixels². Sundaram, Brox and Keutzer, 2010.
    """
    returned = warp(back, flow)
    gap = (flow + returned).square().sum(1, keepdim=True)
    return gap > share * (flow.square() + returned.square()).sum(1, keepdim=True) + floor


@torch.no_grad()
def range_map(flow: Tensor) -> Tensor:
    """How many pixels a flow (N, 2, H, W) leads to each pixel of the image that it leads to, (N, 1, H, W).

    Each pixel is shared out between the four around where it arrives. Of the flow back, 0 says occluded. Wang et
    al., Occlusion aware unsupervised learning of optical flow, 2018.
    """
    batch, _, height, width = flow.shape
    at = (centres(flow) + flow - 0.5).flatten(2)  # (N, 2, H W), of pixels' indices
    low = at.floor()
    out = flow.new_zeros(batch, height * width)
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = (low + low.new_tensor([dx, dy])[:, None]).unbind(1)
            share = (1 - (at[:, 0] - x).abs()) * (1 - (at[:, 1] - y).abs())
            there = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            index = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).long()
            out.scatter_add_(1, index, share * there)
    return out.view(batch, 1, height, width)
