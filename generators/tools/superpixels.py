"""One image → superpixels, by watershed from a regular grid, and which of them touch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from freelabels.generators.contract.fields import Array
from freelabels.generators.tools.contours import find_arcs

Index = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Mesh:
    """The superpixels of one frame: ids (H, W) from 0, and pairs that touch: first < second (m,), sorted.

    border: (m,) steps from a pixel of one to a pixel of the other. rim: those that reach the frame's border,
    sorted. size: (n,) pixels.
    """

    ids: NDArray[np.int32]
    first: Index
    second: Index
    border: Values
    rim: NDArray[np.int32]
    size: Values

    @classmethod
    def of(cls, ids: NDArray[np.int32], count: int | None = None) -> Mesh:
        """From ids (H, W); `count` of them, if not all appear. Those that no pixel has are of size 0."""
        arcs = find_arcs(ids)
        rim = np.unique(np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]]))
        size = np.bincount(ids.ravel(), minlength=count or arcs.count).astype(np.float64)
        return cls(ids, arcs.first, arcs.second, arcs.length, rim, size)

    @cached_property
    def flat(self) -> Index:
        """(H × W,) ids, of the kind that numpy counts by."""
        return self.ids.ravel().astype(np.int64)

    @cached_property
    def links(self) -> tuple[Index, Index, Index]:
        """Links both ways of those that touch, and of those at the rim with a node n beyond it: a sparse matrix.

        Its data (k,) as indices into the pairs, followed by the rim; its column indices (k,) and row pointers.
        """
        n, number = len(self.size), len(self.first) + len(self.rim)
        row = np.concatenate([self.first, np.full(len(self.rim), n)])
        column = np.concatenate([self.second, self.rim])
        both = np.concatenate([row, column]), np.concatenate([column, row])
        which = np.tile(np.arange(number), 2)
        matrix = coo_array((which, both), shape=(n + 1, n + 1)).tocsr()
        return matrix.data, matrix.indices, matrix.indptr

    def mean(self, values: Array) -> Values:
        """(n,) mean of `values` (H, W) over each superpixel."""
        total = np.bincount(self.flat, values.ravel(), len(self.size))
        return np.asarray(total / np.maximum(self.size, 1))


def waterpixels(image: NDArray[np.uint8], step: int) -> NDArray[np.int32]:
    """(H, W) ids 0, 1, … of superpixels grown from a grid `step` pixels apart on sRGB `image` (H, W, 3).

    Source: V. Machairas et al., Waterpixels, TIP 2015.
    """
    height, width = image.shape[:2]
    rows, columns = grid(height, step), grid(width, step)
    count = len(rows) * len(columns)
    kind = np.uint16 if count < np.iinfo(np.uint16).max else np.float32  # which OpenCV dilates
    markers: Array = np.zeros((height, width), kind)
    markers[np.ix_(rows, columns)] = np.arange(1, count + 1).reshape(len(rows), -1)
    grown = cv2.dilate(markers, np.ones((3, 3)))
    # the watershed leaves lines between its basins, and the frame's rim, without an id
    framed = cv2.copyMakeBorder(cv2.GaussianBlur(image, (0, 0), 0.7), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    flooded = cv2.watershed(framed, np.pad(grown.astype(np.int32), 1))[1:-1, 1:-1]
    ids: Array = np.maximum(flooded, 0).astype(kind)
    while (bare := ids == 0).any():
        np.copyto(ids, cv2.dilate(ids, np.ones((3, 3))), where=bare)
    return ids.astype(np.int32) - 1


def grid(length: int, step: int) -> NDArray[np.intp]:
    """Positions along a side of `length` pixels at which superpixels `step` pixels apart begin."""
    return np.arange(min(step // 2, length - 1), length, step)
