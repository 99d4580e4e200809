"""Exact labels of held-out renders, by which what was learned without them is scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from freelabels.generators.contract.fields import as_stored, field
from freelabels.generators.contract.pictures import picture
from freelabels.train.data.labels import WEIGHT_SUFFIX
from freelabels.train.data.loader import Batch
from freelabels.train.tasks.contract.task import Measure

END_POINT_ERROR = Measure("end-point error", "px", False)
ABSOLUTE_RELATIVE = Measure("absolute relative error of depth, at each frame's best scale", "", False)


@dataclass(frozen=True)
class Truth:
    """A stored map of one frame, values (B, C, H, W), and how far each place counts, weight (B, H, W)."""

    values: Tensor
    weight: Tensor

    @staticmethod
    def of(batch: Batch, name: str, frame: int = 0) -> Truth:
        """Of a field; where the data have none, nothing counts."""
        if name in batch:
            return Truth(batch[name][:, frame], batch[name + WEIGHT_SUFFIX][:, frame])
        image = batch["image"][:, frame].float()
        channels = (field(name).sizes[2:] or (1,))[0] or 1
        return Truth(
            torch.zeros_like(image[:, :1]).expand(-1, channels, -1, -1), torch.zeros_like(image[:, 0])
        )

    @property
    def counts(self) -> Tensor:
        """float64 (B,): 1 where there is any."""
        return (self.weight > 0).flatten(1).any(1).double()


def end_point_errors(flow: Tensor, truth: Truth) -> Tensor:
    """(B, 2): the mean length of a flow's error (B, 2, H, W), pixels, and that of no flow at all."""
    share = _shares(truth.weight)
    errors = [(told - truth.values).norm(dim=1) for told in (flow, torch.zeros_like(flow))]
    return torch.stack([(share * error).sum((1, 2)) for error in errors], 1).double()


def depth_errors(depth: Tensor, truth: Truth) -> Tensor:
    """(B, 2): mean |depth - truth| / truth of depths (B, 1, H, W) and of a constant, each at its best scale."""
    rows = []
    for told, right, weight in zip(depth, truth.values, truth.weight, strict=True):
        some = (weight > 0) & (right[0] > 0)
        true, w = right[0][some].double(), weight[some].double()
        pair = (told[0][some].double().clamp_min(1e-9), torch.ones_like(true))
        rows.append(torch.stack([_at_best_scale(guess, true, w) for guess in pair]))
    return torch.stack(rows)


def _at_best_scale(guess: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """The least Σ weight |scale guess - true| / true, over Σ weight: the scale is a weighted median of ratios."""
    if not len(true):
        return weight.new_zeros(())
    ratio, pull = true / guess, weight * guess / true
    order = ratio.argsort()
    half = pull[order].cumsum(0) >= pull.sum() / 2
    scale = ratio[order][half.long().argmax()]
    return (weight * (scale * guess / true - 1).abs()).sum() / weight.sum()


def _shares(weight: Tensor) -> Tensor:
    return weight / weight.sum((1, 2), keepdim=True).clamp_min(1e-6)


def shown(name: str, values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Maps (B, C, H, W) of a field as pictures (B, 1, 3, H, W), 0 … 255; valid: (B, H, W), the rest is unknown."""
    spec = field(name)
    planes = values.detach().float().cpu()
    array = planes[:, 0].numpy() if len(spec.axes) == 2 else planes.permute(0, 2, 3, 1).numpy()
    array = as_stored(name, array)
    trusts = [None] * len(array) if valid is None else ((valid > 0).cpu().numpy() * np.uint8(255))
    drawn = [picture(name, one, trust) for one, trust in zip(array, trusts, strict=True)]
    colours = torch.from_numpy(np.stack(drawn))
    return colours.permute(0, 3, 1, 2)[:, None].to(values.device)
