"""Depth and disparity of a clip whose camera measured depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np

from freelabels.generators.contract.calibration import calibrated
from freelabels.generators.contract.clip import SENSOR_DEPTH, Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_stored
from freelabels.generators.contract.ranges import Range

LEAST = 0.25  # raw score of a reading that its neighbours contradict: its order is mostly right all the same


@register
@dataclass(frozen=True)
class SensorDepth:
    """Measured depth as a label, distrusted where its neighbours disagree.

    Makes `depth` (f32, metres along the optical axis, NaN unknown), `disparity` (f16, 1 / metres) and their
    confidences: 1 on smooth surfaces, falling as the spread of depth within 5 × 5 pixels, beyond the slope
    of the surface, nears `spread` of the depth (flying pixels and rims), 0 where nothing was measured.

    spread: the spread, as a share of the depth, at which a reading is no longer trusted.
    """

    name: ClassVar[str] = "sensor_depth"
    version: ClassVar[int] = 2
    makes: ClassVar[tuple[str, ...]] = ("depth", "depth_confidence", "disparity", "disparity_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({SENSOR_DEPTH})

    spread: Annotated[float, Range(0.001, 1)] = 0.05

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one RGB-D clip."""
        if clip.sensor_depth is None or clip.sensor_depth.shape != clip.image.shape[:3]:
            raise ValueError("sensor_depth needs a depth map of the image's size in every frame")
        depth = np.asarray(clip.sensor_depth, np.float32)
        depth = np.where((depth > 0) & np.isfinite(depth), depth, np.float32(np.nan))
        score = np.stack([self._score(frame) for frame in depth])
        confidence = calibrated(self.name, score)
        believed = np.rint(confidence * np.clip(clip.depth_trust, 0, 1)).astype(confidence.dtype)
        return {
            "depth": as_stored("depth", depth),
            "depth_confidence": believed,  # of metres; the order of inverse depth needs no unit
            "disparity": as_stored("disparity", 1 / depth),
            "disparity_confidence": confidence.copy(),
        }

    def _score(self, depth: Array) -> Array:
        known = np.isfinite(depth)
        window = np.ones((5, 5), np.uint8)
        # Inverse depth is linear on a plane, so a pixel lies midway between the extremes around it.
        inverse = np.where(known, 1 / np.where(known, depth, 1), 0).astype(np.float32)
        high = cv2.dilate(inverse, window)
        low = cv2.erode(np.where(known, inverse, np.float32(1e6)), window)
        off_plane = np.abs(2 * inverse - high - low) + 0.25 * (high - low)
        share = cv2.boxFilter(known.astype(np.float32), -1, (5, 5))
        score = np.clip(1 - off_plane / (self.spread * np.maximum(inverse, 1e-6)), LEAST, 1) * share
        return np.where(known, score, 0)
