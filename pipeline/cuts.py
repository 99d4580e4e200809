"""Where one shot ends and the next begins, decided while frames stream by."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

THUMB = (72, 128)  # (height, width) frames are compared at
HISTORY = 24  # frames the running baseline looks back
JUMP = 2.5  # how many times the baseline a difference must be to be looked into
FLOOR = 6.0  # grey levels; smaller differences are never a cut
CONNECTED = 0.35  # share of the picture that must be found again in the other frame

RGB = NDArray[np.uint8]


def thumb(image: RGB) -> RGB:
    """`image` (h, w, 3) as compared: (72, 128, 3), area-filtered, the aspect ratio let go."""
    return np.asarray(cv2.resize(image, THUMB[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def connection(before: RGB, after: RGB) -> float:
    """Share of the picture that dense flow there and back finds again, 0..1 (two thumbs)."""
    first, second = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before, after))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setFinestScale(0)
    there, back = flow.calc(first, second, None), flow.calc(second, first, None)
    rows, columns = np.indices(first.shape, dtype=np.float32)
    x, y = columns + there[..., 0], rows + there[..., 1]
    returned = cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=1e3)
    error = np.linalg.norm(there + returned, axis=-1)
    return float(np.mean(error < 0.5 + 0.05 * np.linalg.norm(there, axis=-1)))


class CutFinder:
    """Feed thumbs in order with `is_cut`, which tells whether a new shot begins with this one."""

    def __init__(self) -> None:
        self._differences: deque[float] = deque(maxlen=HISTORY)
        self._last: RGB | None = None

    def is_cut(self, image: RGB) -> bool:
        last, self._last = self._last, image
        if last is None:
            return False
        difference = float(np.mean(cv2.absdiff(last, image)))
        usual = float(np.median(self._differences)) if self._differences else 0.0
        self._differences.append(difference)
        if difference < max(FLOOR, JUMP * usual) or connection(last, image) >= CONNECTED:
            return False
        self._differences.clear()
        return True
