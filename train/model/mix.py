"""Each task's own sparse mix of the trunk's stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.model.network import Shape, block, resize


class Mix(nn.Module):
    """In place of the last stage and of the shared feature a task sees Σ α of all stages, with α of its own.

    The layers that bring the stages to one width are the same for all tasks; a lasso on α lets a task leave out
    what it doesn't need. Doersch and Zisserman, Multi-task self-supervised visual learning, 2017.
    """

    def __init__(self, shape: Shape, tasks: Iterable[str]):
        super().__init__()
        self.deep = nn.ModuleList([nn.Conv2d(c, shape.channels[-1], 1) for c in shape.channels])
        self.maps = nn.ModuleList([nn.Conv2d(c, shape.width, 1) for c in shape.channels])
        self.smooth = block(shape.width, shape.width)
        count = len(shape.channels)
        self.share = nn.ParameterDict({name: torch.full((count,), 1 / count) for name in tasks})

    def forward(
        self, task: str, stages: Sequence[Tensor], shared: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """What a task sees as the last stage, and as the shared feature where it wants one; float32."""
        share, some = self.share[task], [stage.float() for stage in stages]
        size = (some[-1].shape[-2], some[-1].shape[-1])
        parts = [layer(F.adaptive_avg_pool2d(x, size)) for layer, x in zip(self.deep, some, strict=True)]
        deep = F.relu(torch.einsum("s,snchw->nchw", share, torch.stack(parts)))
        if shared is None:
            return deep, None
        size = (shared.shape[-2], shared.shape[-1])
        some = [stage[: len(shared)] for stage in some]
        parts = [resize(layer(x), size) for layer, x in zip(self.maps, some, strict=True)]
        maps: Tensor = self.smooth(torch.einsum("s,snchw->nchw", share, torch.stack(parts)))
        return deep, maps

    def lasso(self) -> Tensor:
        """Σ |α| over all tasks and stages."""
        return torch.stack([share.abs().sum() for share in self.share.values()]).sum()

    def shares(self) -> dict[str, dict[str, Tensor]]:
        """|α| by task and stage, as shares of one."""
        out = {}
        for name, share in self.share.items():
            part = share.detach().abs() / share.detach().abs().sum().clamp_min(1e-12)
            out[name] = {f"stage{k + 1}": one for k, one in enumerate(part)}
        return out
