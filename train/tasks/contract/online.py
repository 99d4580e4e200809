"""Tasks whose labels are made anew from the model itself, every so many steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.tasks.contract.task import Seen, Task

PREFIX = "label."  # in a batch, of the columns that a task's labels have


@dataclass(frozen=True)
class Clips:
    """What labels are made of: one frame of each of n clips, those that are held out too.

    features: float32 (n, d), what `Online.embed` or `describe` made of it. group: uint64 (n,), equal for clips
    that must not be taken for two (one source). learned: bool (n,), whether training sees the clip. words: what
    came with each clip, in small letters, each once.
    """

    features: NDArray[np.float32]
    group: NDArray[np.uint64]
    learned: NDArray[np.bool_]
    words: Sequence[tuple[str, ...]] = ()


@dataclass(frozen=True)
class Labels:
    """One version of a task's labels.

    version: counted from 0. clips: arrays with a row a clip, which join the batch as ``label.NAME``; of these,
    "label" is the number of the clip's cluster. whole: arrays that belong to no clip.
    """

    version: int
    clips: Mapping[str, NDArray[np.generic]]
    whole: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)


class Online(Task):
    """A task with a version of its labels for every `every` steps, the first before the first step.

    A version is made of one frame of each clip, which the averaged model sees in evaluation mode, or of what is
    stored beside it (`describe`); it is written to the run's book before it is used. Subclasses have a parameter
    `every`. One that `looks` at nothing makes its labels of the words that came with the clips; its features are
    empty.
    """

    every: int
    looks: bool = True

    def look(self, images: Tensor) -> Tensor:
        """Frames (N, 3, S, S), uint8, as the trunk is shown them; here as they are."""
        return images

    def embed(self, head: nn.Module, seen: Seen) -> Tensor:
        """What the labels are made of, float32 (N, d); here the deep feature."""
        return seen.deep[:, 0]

    def describe(self, batch: Batch) -> Tensor | None:
        """What the labels are made of, (N, d), where that is stored with the frames and not seen by the trunk."""
        return None

    def assign(self, clips: Clips, before: Labels | None, seed: int) -> Labels:
        """The version after `before`, a pure function of the arguments.

        Training sees nothing of held-out clips: they are given labels, but must not have a part in making them.
        Raises UserError where there are too few clips.
        """
        raise NotImplementedError(f"{self.name} makes no labels")

    def renew(self, head: nn.Module, labels: Labels) -> Iterable[nn.Parameter]:
        """Change the head for a new version; returns the parameters whose optimiser state starts anew."""
        return ()

    def at_least_one(self) -> None:
        """Raise ValueError unless `every` is a number of steps."""
        if self.every < 1:
            raise ValueError("every (steps from one version of the labels to the next) is at least 1")


def joined(batch: Batch, columns: Mapping[str, Tensor]) -> Batch:
    """A batch with its samples' rows of the columns of a task's labels."""
    rows = {f"{PREFIX}{name}": column[batch["clip"]] for name, column in columns.items()}
    return {**batch, **rows}
