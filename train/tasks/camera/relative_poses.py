"""Relative camera motions of a batch, from stored poses."""

from __future__ import annotations

import torch
from torch import Tensor

from freelabels.train.data.loader import Batch
from freelabels.train.tasks.geometry.poses import filled, known


def between(batch: Batch, first: int, last: int) -> tuple[Tensor, Tensor]:
    """The camera of a later frame in an earlier one's axes (B, 4, 4), and whether both are known (B,), float32."""
    pose = batch["camera_pose"][:, [first, last]].double()
    both = known(pose).all(1)
    here, there = filled(pose).unbind(1)
    return torch.linalg.solve(here, there).float(), both.float()
