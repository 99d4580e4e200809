"""The commonest answer as the bar, for tasks that name one of several classes of uneven size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from freelabels.train.tasks.contract.task import Asked


def kept(logits: Tensor, target: Tensor, asked: Asked) -> tuple[Tensor, ...]:
    """For `commonest`: whether each answer is right, what the right one is, and whether it counts."""
    return (logits.argmax(1) == target).double(), target, (asked.weight > 0).double()


def commonest(columns: Sequence[Tensor]) -> tuple[float, float, float]:
    """Accuracy, that of always naming the cluster most samples have, and their difference's standard error."""
    counts = columns[2] > 0
    hit, target = columns[0][counts], columns[1][counts].long()
    if not len(hit):
        return math.nan, math.nan, math.nan
    most = int(torch.bincount(target).argmax())
    trivial = (target == most).double()
    gap = hit - trivial
    return float(hit.mean()), float(trivial.mean()), float(gap.std(correction=0)) / len(gap) ** 0.5
