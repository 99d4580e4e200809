"""What a folder of labelled pictures holds, as paths and labels; frozen, and no picture is opened.

`test` is always (n,) bool, what the layout keeps for testing, or None where it doesn't say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Classified:
    """Images and which classes each shows.

    truth: (n, classes) float32: 1 shows it, 0 doesn't, NaN not said. exclusive: one class an image.
    """

    name: str
    files: tuple[Path, ...]
    truth: Tensor
    classes: tuple[str, ...]
    exclusive: bool
    test: NDArray[np.bool_] | None
    layout: str = ""


@dataclass(frozen=True)
class Listed:
    """Images of one class each, of which there may be millions: paths as text, labels (n,) int64 into classes."""

    name: str
    files: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    test: NDArray[np.bool_] | None
    layout: str = ""

    def take(self, rows: NDArray[np.intp]) -> Listed:
        """Some of the images."""
        files = tuple(self.files[k] for k in rows)
        return replace(
            self, files=files, labels=self.labels[rows], test=None if self.test is None else self.test[rows]
        )

    def classified(self) -> Classified:
        """The same with a column a class; (n, classes) must fit into memory."""
        truth = torch.nn.functional.one_hot(torch.from_numpy(self.labels), len(self.classes)).float()
        files = tuple(map(Path, self.files))
        return Classified(self.name, files, truth, self.classes, True, self.test, self.layout)


@dataclass(frozen=True)
class Segmented:
    """Images and a label map for each, a picture of class ids; VOC's 255 and what a user names are void."""

    name: str
    files: tuple[Path, ...]
    maps: tuple[Path, ...]
    test: NDArray[np.bool_] | None
    layout: str = ""


@dataclass(frozen=True)
class Boxed:
    """Images and the objects in each, k of them, none maybe.

    boxes: (k, 4) float32: left, top, right, bottom edge, pixels from the image's top left corner, so that right -
    left is the width (VOC's corners, counted from 1 and within the box, are shifted to this). labels: (k,) int64
    into classes. ignored: (k,) bool, VOC's difficult and COCO's crowds: neither learned nor scored. areas: (k,)
    float32 pixels², COCO's of the mask, else of the box.
    """

    name: str
    files: tuple[Path, ...]
    boxes: tuple[NDArray[np.float32], ...]
    labels: tuple[NDArray[np.int64], ...]
    ignored: tuple[NDArray[np.bool_], ...]
    areas: tuple[NDArray[np.float32], ...]
    classes: tuple[str, ...]
    test: NDArray[np.bool_] | None
    layout: str = ""
