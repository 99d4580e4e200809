"""Metric depth of a rectified stereo pair whose baseline and focal length are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np

from freelabels.generators.contract.clip import BASELINE, INTRINSICS, STEREO, Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_stored
from freelabels.generators.contract.ranges import Range
from freelabels.generators.depth.stereo import LEAST_LIKENESS, likeness

RIGHT = 0.05  # relative error within which depth counts as right


@register
@dataclass(frozen=True)
class StereoDepth:
    """Depth = focal length × baseline / disparity.

    Makes `depth` (f32, metres along the optical axis, NaN unknown) from `disparity`, which a pair has in pixels,
    and its confidence: that of the disparity, less where the error that a match leaves in depth nears `RIGHT`. A
    frame whose disparity doesn't match the pair (another detector made it, in another unit) gets none.

    least: pixels of disparity below which depth is left out. error: pixels by which a match may be off.
    """

    name: ClassVar[str] = "stereo_depth"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[str, ...]] = ("depth", "depth_confidence")
    needs: ClassVar[frozenset[str]] = frozenset(
        {STEREO, INTRINSICS, BASELINE, "disparity", "disparity_confidence"}
    )

    least: Annotated[float, Range(0.001, 100)] = 0.5
    error: Annotated[float, Range(0.001, 100)] = 0.25

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip of rectified pairs."""
        if clip.baseline is None or clip.baseline <= 0 or clip.right is None:
            raise ValueError("stereo_depth needs a pair and its baseline in metres")
        disparity = clip.labels["disparity"].astype(np.float32)
        known = np.isfinite(disparity) & (disparity >= self.least)
        pixels = np.where(known, disparity, np.float32(1))
        depth = np.where(known, np.float32(clip.camera_K[0, 0] * clip.baseline) / pixels, np.float32(np.nan))
        steady = 1 / (
            1 + (np.float32(self.error) / pixels / np.float32(0.05)) ** 2
        )  # depth counts as right within 5 %
        trust = np.where(known, clip.labels["disparity_confidence"] * steady, 0)
        for left, right, shift, weight in zip(
            clip.image, clip.right, pixels - clip.doffs, trust, strict=True
        ):
            weight *= _matched(left, right, shift, weight)
        return {
            "depth": as_stored("depth", depth),
            "depth_confidence": as_stored("depth_confidence", np.rint(trust)),
        }


def _matched(left: Array, right: Array, disparity: Array, trust: Array) -> bool:
    """Whether the windows of a pair are alike at these disparities, in the mean of what is trusted."""
    alike, contrast = likeness(_grey(left), _grey(right), disparity.astype(np.float32))
    weight = contrast * trust
    return bool(weight.any() and np.average(alike, weights=weight) >= LEAST_LIKENESS)


def _grey(image: Array) -> Array:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
