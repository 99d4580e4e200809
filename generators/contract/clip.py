"""A clip: frames in the order of time and what is known about the camera that took them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array

# What a source can give beyond single frames; a detector names what it needs of these, or field names.
CONSECUTIVE = "consecutive frames"
STEREO = "a rectified stereo pair"
SENSOR_DEPTH = "sensor depth"
INTRINSICS = "known intrinsics"
BASELINE = "a known baseline"  # of a stereo pair, with known intrinsics: then disparity is metric
SOUND = "a sound track"
BETWEEN = "the source's frames between"  # those stored; never needed, of use where a detector says so
SEED = "a seed"  # every clip has one; whoever draws random numbers names it, so that labels are traced to it


# Standard deviation of the logarithm of the focal length, by where the intrinsics came from. Lenses run from 35°
# to 85° across the longer side, about the 60° assumed; EXIF rounds, and says nothing of crops and stabilisation.
FOCAL_DOUBT = {"given": 0.0, "exif": 0.05, "assumed": 0.4}


@dataclass(frozen=True)
class Clip:
    """Frames of one clip, as a detector sees them.

    image: (T, H, W, 3) uint8 sRGB. time: (T,) float64 seconds. camera_K: (3, 3) float64 pixels, pixel centres
    at +0.5; `intrinsics` says where it came from: "given", "exif" or "assumed". right: the rectified right
    view of a stereo pair, like image; baseline in metres where known. sensor_depth: (T, H, W) float32 z-depth in
    metres, NaN unknown. camera_pose: (T, 4, 4) camera → world where known. seed: for detectors that draw random
    numbers. labels: fields made so far, by name, (T, …) each as its `Field` says. doffs: pixels that the right
    views' principal point lies further right than the left ones'. depth_trust: how far the unit of sensor_depth
    is to be believed, 0..1. between: what the source shows between each frame and the next, T - 1 times (n, H, W,
    3); () if it shows nothing there or it wasn't asked for. sound: (N,) float32, full scale 1, mono at
    `sounds.RATE`, from the first frame's time to the end of the last one's as `sounds.sample_bounds` tells; NaN
    where the source has none.
    """

    image: NDArray[np.uint8]
    time: NDArray[np.float64]
    camera_K: NDArray[np.float64]
    intrinsics: str = "assumed"
    right: NDArray[np.uint8] | None = None
    baseline: float | None = None
    sensor_depth: NDArray[np.float32] | None = None
    camera_pose: NDArray[np.float64] | None = None
    seed: int = 0
    labels: Mapping[str, Array] = field(default_factory=dict)
    doffs: float = 0.0
    depth_trust: float = 1.0
    between: tuple[NDArray[np.uint8], ...] = ()
    sound: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.image)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.image.shape[1], self.image.shape[2]

    def with_labels(self, made: Mapping[str, Array]) -> Clip:
        """This clip with more labels on it, of its T frames: (T, …) by name, each as its `Field` says."""
        return replace(self, labels={**self.labels, **made})
