"""For each sample another one whose sound is of another clip and can be heard."""

from __future__ import annotations

import torch
from torch import Tensor

from freelabels.train.model.ranks import together


def another(clip: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) places, in the batches of all ranks, of the next sample of another clip that weighs something.

    And whether there is one, (N,). Neighbours in a batch may be of one clip, as held-out windows are.
    """
    clips, begin = together(clip)
    weights, _ = together(weight)
    here = torch.arange(begin, begin + len(clip), device=clip.device)
    ahead = (torch.arange(len(clips), device=clip.device) - here[:, None]) % len(clips)
    fair = (clips != clip[:, None]) & (weights > 0)
    nearest = torch.where(fair, ahead, len(clips)).min(1)
    return nearest.indices, nearest.values < len(clips)
