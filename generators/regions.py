"""Superpixels: each frame cut into compact regions that keep to the image's edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.calibration import calibrated
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_stored
from freelabels.generators.contract.ranges import Range
from freelabels.generators.tools.segmentation import reduced, region_means, working_lab
from freelabels.generators.tools.superpixels import waterpixels


@register
@dataclass(frozen=True)
class Superpixels:
    """About `count` superpixels a frame, by waterpixels; frames larger than `longest` are worked on shrunk.

    The confidence is high where a pixel's colour is close to its superpixel's mean.
    """

    name: ClassVar[str] = "superpixels"
    version: ClassVar[int] = 2
    makes: ClassVar[tuple[str, ...]] = ("regions", "regions_confidence")
    needs: ClassVar[frozenset[str]] = frozenset()

    count: Annotated[int, Range(1, 65535)] = 300
    longest: Annotated[int, Range(32, 4096)] = 320
    colour_tolerance: Annotated[float, Range(0.1, 200)] = 12.0
    """Distance in Lab from the region's mean at which the score has fallen to exp(-1/2)."""

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        ids, scores = zip(*(self.frame(image) for image in clip.image), strict=True)
        return {
            "regions": as_stored("regions", np.stack(ids)),
            "regions_confidence": calibrated(self.name, np.stack(scores)),
        }

    def frame(self, image: NDArray[np.uint8]) -> tuple[Array, Array]:
        """Region ids (H, W) int32 from 0, and scores (H, W) float32, of one frame (H, W, 3)."""
        lab = working_lab(image, self.longest)
        step = max(1, round(float(np.sqrt(lab.shape[0] * lab.shape[1] / self.count))))
        labels = waterpixels(reduced(image, self.longest), step)
        means = region_means(lab, labels)
        light, green, blue = (
            np.square(lab[..., channel] - means[:, channel][labels]) for channel in range(3)
        )
        off = np.sqrt(light + green + blue) / self.colour_tolerance
        score = np.exp(-0.5 * off * off).astype(np.float32)
        size = image.shape[1::-1]
        return (
            cv2.resize(labels.astype(np.uint16), size, interpolation=cv2.INTER_NEAREST_EXACT),
            cv2.resize(score, size, interpolation=cv2.INTER_LINEAR),
        )
