"""One image → superpixels, by watershed from a regular grid."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def waterpixels(image: NDArray[np.uint8], step: int) -> NDArray[np.int32]:
    """(H, W) ids 0, 1, … of superpixels grown from a grid `step` pixels apart on sRGB `image` (H, W, 3).

    Source: V. Machairas et al., Waterpixels, TIP 2015.
    """
    height, width = image.shape[:2]
    rows, columns = grid(height, step), grid(width, step)
    markers = np.zeros((height, width), np.float32)
    markers[np.ix_(rows, columns)] = np.arange(1, len(rows) * len(columns) + 1).reshape(len(rows), -1)
    grown = cv2.dilate(markers, np.ones((3, 3)))
    # the watershed leaves lines between its basins, and the frame's rim, without an id
    framed = np.pad(cv2.GaussianBlur(image, (0, 0), 0.7), ((1, 1), (1, 1), (0, 0)), mode="edge")
    flooded = cv2.watershed(framed, np.pad(grown.astype(np.int32), 1))[1:-1, 1:-1]
    ids = np.maximum(flooded, 0).astype(np.float32)
    while (ids == 0).any():
        ids = np.where(ids > 0, ids, cv2.dilate(ids, np.ones((3, 3))))
    return ids.astype(np.int32) - 1


def grid(length: int, step: int) -> NDArray[np.intp]:
    """Positions along a side of `length` pixels at which superpixels `step` pixels apart begin."""
    return np.arange(min(step // 2, length - 1), length, step)
