"""A small net that sees motion: stored flow in, a vector out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.labels import WEIGHT_SUFFIX
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import block

MOVES = 0.01  # share of what is known of a frame that must move of its own, or hardly anything moves


class FlowTrunk(nn.Module):
    """Flows (N, 2 k, H, W) → vectors (N, width): four layers, each at half the size of the one before."""

    def __init__(self, flows: int, width: int = 128):
        super().__init__()
        widths = [32, 64, 128, width]
        self.layers = nn.ModuleList(
            [block(before, after) for before, after in zip([2 * flows, *widths], widths, strict=False)]
        )

    def forward(self, flow: Tensor) -> Tensor:
        """Means over places."""
        x = F.avg_pool2d(flow, 2)
        for layer in self.layers:
            x = F.max_pool2d(layer(x), 2)
        return x.mean((2, 3))


def own_motion(batch: Batch, frames: Sequence[int], least: float) -> tuple[Tensor, Tensor]:
    """Flows (B, 2 k, H, W) of some frames less each one's median, on their own scale, and whether they move (B,).

    The median stands for the camera's part. Each sample is divided by the mean length of what moves in it, pixels:
    of all places, each weighed by its own length, so that one small thing is as fast as many. Unknown places are
    0. It moves, float32 1, where `MOVES` of what is known, weighed by how far it is trusted, moves by more than
    `least` pixels a frame, on average over the frames: a mean length would leave out small things however fast.
    """
    flows, shares = [], []
    for frame in frames:
        flow, weight = batch["flow"][:, frame], batch["flow" + WEIGHT_SUFFIX][:, frame]
        known = weight[:, None] > 0
        seen = torch.where(known, flow, torch.nan).flatten(2)
        moved = torch.where(known, flow - seen.nanmedian(2).values[..., None, None], 0.0)
        flows.append(moved)
        fast = weight * (moved.norm(dim=1) > least)
        shares.append(fast.sum((1, 2)) / weight.sum((1, 2)).clamp_min(1e-6))
    length = torch.stack(flows, 1).norm(dim=2).flatten(1)
    speed = length.square().sum(1) / length.sum(1).clamp_min(1e-6)
    moves = torch.stack(shares, 1).mean(1) >= MOVES
    return torch.cat(flows, 1) / speed.clamp_min(1e-3)[:, None, None, None], moves.float()
