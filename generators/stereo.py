"""Disparity of a rectified stereo pair by semi-global matching, checked left against right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from generators.calibration import calibrated
from generators.clip import STEREO, Clip
from generators.detector import register
from generators.fields import Array, as_stored

Map = NDArray[np.float32]

MARGIN = 8  # columns added on both sides, so that no window leaves the image
RANGE_WIDTH = 320  # the range of disparities is found on an image of at most this width


@register
@dataclass(frozen=True)
class Stereo:
    """Disparity of the left view: semi-global matching, left-right check, background fill of what is hidden.

    Makes `disparity` (f16, pixels, larger is nearer, zero is infinitely far: the shift of the pair's
    principal points is taken as zero) and its confidence. A pair without texture or without any match gets
    NaN at confidence 0. Pixels seen by one camera only are filled from the farther side at low confidence.
    Source: H. Hirschmüller, Stereo processing by semi-global matching, PAMI 2008, as in OpenCV.

    largest: the largest disparity searched, as a share of the width. block: matching window in pixels.
    consistent: the largest left-right difference, in pixels, of a match that is trusted.
    """

    name: ClassVar[str] = "stereo"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[str, ...]] = ("disparity", "disparity_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({STEREO})

    largest: float = 0.3
    block: int = 3
    consistent: float = 1.0

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip of rectified pairs."""
        if clip.right is None or clip.right.shape != clip.image.shape:
            raise ValueError("stereo needs a right view of the left view's shape in every frame")
        pairs = [self._match(left, right) for left, right in zip(clip.image, clip.right, strict=True)]
        disparity = np.stack([d for d, _ in pairs])
        score = np.stack([s for _, s in pairs])
        return {
            "disparity": as_stored("disparity", disparity),
            "disparity_confidence": calibrated(self.name, np.where(np.isfinite(disparity), score, 0)),
        }

    def _match(self, left: Array, right: Array) -> tuple[Map, Map]:
        """Disparity (H, W) in pixels, NaN where there is none, and its raw score in [0, 1]."""
        left, right = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (left, right))
        levels = self._levels(left, right)
        disparity, other = both_ways(left, right, levels, self.block)
        difference = left_right_difference(disparity, other)
        matched = (difference <= self.consistent) & (disparity >= 0)
        if matched.mean() < 0.05:
            return np.full(left.shape, np.nan, np.float32), np.zeros(left.shape, np.float32)
        filled = fill_from_background(np.where(matched, disparity, np.nan).astype(np.float32))
        score = np.where(matched, 1 - 0.4 * difference / self.consistent, 0.3)
        return cv2.medianBlur(filled, 3), score.astype(np.float32)

    def _levels(self, left: Array, right: Array) -> int:
        """How many disparities to search: a multiple of 16 that covers the pair, found on a small copy."""
        width = left.shape[1]
        scale = min(1.0, RANGE_WIDTH / width)
        small = [cv2.resize(i, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for i in (left, right)]
        top = _multiple_of_16(self.largest * small[0].shape[1])
        disparity, other = both_ways(small[0], small[1], top, self.block)
        matched = (left_right_difference(disparity, other) <= self.consistent) & (disparity >= 0)
        largest = np.percentile(disparity[matched], 99.9) if matched.any() else 0.0
        return _multiple_of_16(min(largest * 1.1 / scale + 4, self.largest * width))


def _multiple_of_16(pixels: float) -> int:
    return max(16, int(np.ceil(pixels / 16)) * 16)


def match(left: NDArray[np.uint8], right: NDArray[np.uint8], levels: int, block: int) -> Map:
    """Disparities (H, W) of grey `left` in [-1, levels) pixels, also where the right view has ended."""
    matcher = cv2.StereoSGBM.create(
        minDisparity=0,
        numDisparities=levels,
        blockSize=block,
        P1=8 * block**2,
        P2=32 * block**2,
        disp12MaxDiff=-1,
        preFilterCap=31,
        mode=cv2.StereoSGBM_MODE_SGBM_3WAY,
    )
    # OpenCV leaves out the first `levels` columns: give it so many more.
    pad = levels + MARGIN
    padded = [cv2.copyMakeBorder(i, 0, 0, pad, MARGIN, cv2.BORDER_REPLICATE) for i in (left, right)]
    return matcher.compute(padded[0], padded[1])[:, pad:-MARGIN].astype(np.float32) / 16


def both_ways(left: Array, right: Array, levels: int, block: int) -> tuple[Map, Map]:
    """Disparities of the left and of the right view, each (H, W) in its own pixels."""
    mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in (right, left)]
    return match(left, right, levels, block), match(*mirrored, levels, block)[:, ::-1].copy()


def left_right_difference(disparity: Map, other: Map) -> Map:
    """How far, in pixels, the match of a left pixel's match lies from it; infinite outside the right view."""
    height, width = disparity.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    back = cv2.remap(
        other, x - disparity, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=np.inf
    )
    return np.abs(back - disparity)


def fill_from_background(disparity: Map) -> Map:
    """NaN runs of each row filled with the smaller of the values at their two ends."""
    height, width = disparity.shape
    known, column = np.isfinite(disparity), np.arange(width)[None]
    before = np.maximum.accumulate(np.where(known, column, -1), axis=1)
    after = np.minimum.accumulate(np.where(known, column, width)[:, ::-1], axis=1)[:, ::-1]
    row = np.arange(height)[:, None]
    left = np.where(before >= 0, disparity[row, before.clip(0)], np.inf)
    right = np.where(after < width, disparity[row, after.clip(None, width - 1)], np.inf)
    smaller = np.minimum(left, right)
    rows = np.isfinite(smaller).any(axis=1)
    if not rows.all():  # a row without a single match: the nearest row that has one
        nearest = np.flatnonzero(rows)[np.abs(np.flatnonzero(rows)[None] - row).argmin(axis=1)]
        smaller = smaller[nearest]
    return smaller.astype(np.float32)
