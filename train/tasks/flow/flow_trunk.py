"""A small net that sees motion: stored flow in, a vector out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.labels import WEIGHT_SUFFIX
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import block


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


def own_motion(batch: Batch, frames: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Flows (B, 2 k, H, W) of some frames less each frame's median, on their own scale, and how fast (B,).

    The median stands for the camera's part. Each sample is divided by its mean length, pixels, which is given
    too: 0 where no flow is known. Unknown places are 0.
    """
    flows, lengths = [], []
    for frame in frames:
        flow, weight = batch["flow"][:, frame], batch["flow" + WEIGHT_SUFFIX][:, frame, None]
        seen = torch.where(weight > 0, flow, torch.nan).flatten(2)
        moved = torch.where(weight > 0, flow - seen.nanmedian(2).values[..., None, None], 0.0)
        flows.append(moved)
        lengths.append(moved.norm(dim=1).mean((1, 2)))
    length = torch.stack(lengths, 1).mean(1)
    return torch.cat(flows, 1) / length.clamp_min(1e-3)[:, None, None, None], length
