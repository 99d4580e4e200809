"""Edges: where colour changes at several scales and segmentations agree that one region ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb

from generators.calibration import calibrated
from generators.clip import Clip
from generators.detector import register
from generators.fields import Array, as_bytes
from generators.segmentation import Ids, boundaries, working_lab

Floats = NDArray[np.float32]


@register
@dataclass(frozen=True)
class RegionEdges:
    """Boundary probability from multi-scale colour gradients and segmentations of several coarseness."""

    name: ClassVar[str] = "edges"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[str, ...]] = ("edges", "edges_confidence")
    needs: ClassVar[frozenset[str]] = frozenset()

    longest: int = 320
    scales: tuple[float, ...] = (1.0, 2.0, 4.0)

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        edges, score = zip(*(self.frame(image) for image in clip.image), strict=True)
        return {
            "edges": as_bytes(np.stack(edges)),
            "edges_confidence": calibrated(self.name, np.stack(score)),
        }

    def frame(self, image: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Boundary probability and trust, both (H, W) in [0, 1], of one frame (H, W, 3)."""
        lab = working_lab(cv2.GaussianBlur(image, (0, 0), 0.6), self.longest)
        tensor = sum(gradient_tensor(lab, scale) for scale in self.scales)
        strength, direction = strongest(np.asarray(tensor, np.float32))
        thin = ridges(strength, direction)
        cut = segment_votes(lab)
        local = thin / (thin + 16)
        edges = local * (0.4 + 0.6 * cut)
        score = np.where(edges > 0, np.maximum(cut, 1 - cut) * np.abs(2 * edges - 1), 1 - cut)
        size = image.shape[1::-1]
        return (
            np.asarray(cv2.resize(edges, size, interpolation=cv2.INTER_LINEAR), np.float32),
            np.asarray(cv2.resize(score, size, interpolation=cv2.INTER_LINEAR), np.float32),
        )


def gradient_tensor(channels: Floats, scale: float) -> Floats:
    """Scale-normalised structure (h, w, 3) = (xx, xy, yy) of the gradient of channels (h, w, C)."""
    smooth = cv2.GaussianBlur(channels, (0, 0), scale)
    smooth = cv2.copyMakeBorder(smooth, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    dx = (smooth[1:-1, 2:] - smooth[1:-1, :-2]) * (scale / 2)
    dy = (smooth[2:, 1:-1] - smooth[:-2, 1:-1]) * (scale / 2)
    return np.stack([(dx * dx).sum(-1), (dx * dy).sum(-1), (dy * dy).sum(-1)], axis=-1)


def strongest(tensor: Floats) -> tuple[Floats, Floats]:
    """The steepest slope of gradient structure (h, w, 3), and its direction in radians from x to y."""
    xx, xy, yy = (tensor[..., k] for k in range(3))
    root = np.sqrt(((xx - yy) / 2) ** 2 + xy * xy)
    return np.sqrt((xx + yy) / 2 + root), 0.5 * np.arctan2(2 * xy, xx - yy)


def ridges(strength: Floats, direction: Floats) -> Floats:
    """`strength` (h, w) where it is largest along `direction`, else 0."""
    height, width = strength.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    dx, dy = np.cos(direction).astype(np.float32), np.sin(direction).astype(np.float32)
    ahead, behind = (
        cv2.remap(strength, x + sign * dx, y + sign * dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for sign in (1, -1)
    )
    return np.where((strength >= ahead) & (strength >= behind), strength, 0)


def segment_votes(lab: Floats) -> Floats:
    """Share (h, w) of graph segmentations (Felzenszwalb 2004) of rising coarseness with a boundary within 1 px."""
    half = cv2.resize(lab, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    votes = np.zeros(lab.shape[:2], np.float32)
    coarseness = (60, 200, 600)
    for scale in coarseness:
        labels: Ids = felzenszwalb(half / 10, scale=scale, sigma=0.5, min_size=20).astype(np.int32)
        full = cv2.resize(labels, lab.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        votes += cv2.dilate(boundaries(full).astype(np.float32), np.ones((3, 3)))
    return votes / len(coarseness)
