"""What a batch is before the trunk sees it: frames, what each task asks of them, and which domain they are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from freelabels.train.data.loader import Batch
from freelabels.train.data.reach import own
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.online import joined
from freelabels.train.tasks.contract.task import Asked, Task

Columns = Mapping[str, Tensor]
"""Labels that a task has made, a row a clip."""
NO_LABELS: Mapping[str, Columns] = {}


@dataclass(frozen=True)
class Inputs:
    """A batch as the learner takes it: frames (B, T, 3, H, W), what each task asks, and the domain (B,)."""

    frames: Tensor
    asked: dict[str, Asked]
    domain: Tensor

    def counts(self) -> Tensor:
        """How many places count (k,) for each task, float64."""
        return torch.stack([asked.count() for asked in self.asked.values()])

    def frame_domain(self) -> Tensor:
        """The domain of each frame (B T,)."""
        return self.domain.repeat_interleave(self.frames.shape[1])


def prepare(tasks: Mapping[str, Task], batch: Batch, labels: Mapping[str, Columns] = NO_LABELS) -> Inputs:
    """Ask every task what it wants of a batch. labels: as `Learner.labels`."""
    asked = {
        name: task.ask(joined(_own(batch, task), labels.get(name, {})), Draw(batch["seed"], name))
        for name, task in tasks.items()
    }
    return Inputs(batch["image"], asked, batch["domain"])


def _own(batch: Batch, task: Task) -> Batch:
    """A batch with the frames that are the task's own, if it has such."""
    reach = task.needs.reach
    return batch if reach is None else own(batch, reach)
