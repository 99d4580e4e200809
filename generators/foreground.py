"""Saliency, what the border of an image does not explain; and foreground, what belongs to a thing.

Of things, detectors have positive evidence alone: what moves by itself is one, and so is what stands out of a
photo. That something neither moves nor stands out says nothing, so the rest has no confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from freelabels.generators.contract.calibration import calibrated
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_bytes
from freelabels.generators.tools.segmentation import neighbours, region_means, working_lab
from freelabels.generators.tools.superpixels import slic_superpixels

BORDER_SIGMA = 1.0  # σ of the boundary connectivity; all three as in Zhu et al.
GEODESIC_SIGMA = 10.0  # σ of colour distances in Lab
SPATIAL_SIGMA = 0.25  # of the image's longer side
COLOUR_BIN = 10.0  # Lab units, of the histograms that tell how distinct the foreground is


@register
@dataclass(frozen=True)
class MotionForeground:
    """Foreground of clips: what moves by itself, as far as `motion` is trusted. What doesn't move is left open."""

    name: ClassVar[str] = "motion_foreground"
    version: ClassVar[int] = 2
    makes: ClassVar[tuple[str, ...]] = ("foreground", "foreground_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({"motion", "motion_confidence"})

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        return _things(self.name, clip.labels["motion"], clip.labels["motion_confidence"])


@register
@dataclass(frozen=True)
class SalientForeground:
    """Foreground of photos: what stands out, as far as `saliency` is trusted. What doesn't is left open."""

    name: ClassVar[str] = "salient_foreground"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[str, ...]] = ("foreground", "foreground_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({"saliency", "saliency_confidence"})

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        return _things(self.name, clip.labels["saliency"], clip.labels["saliency_confidence"])


def _things(detector: str, evidence: Array, trust: Array) -> dict[str, Array]:
    """Foreground where `evidence` × 255 (T, H, W) says so, trusted as that is; no confidence in the rest."""
    yes = evidence > 127
    score = np.where(yes, trust / np.float32(255), 0)
    return {"foreground": evidence.copy(), "foreground_confidence": calibrated(detector, score, yes)}


@register
@dataclass(frozen=True)
class BoundarySaliency:
    """Saliency of single frames by boundary connectivity (Zhu et al. 2014, sections 3 to 5).

    A superpixel whose like-coloured surroundings run along the image's border is background; contrast to
    background and smoothness give the rest, by one least-squares solve. The score grows with the distance
    from an undecided half and with how little of the colours of what stands out the rest of the frame has; 0
    where nothing stands out.
    """

    name: ClassVar[str] = "boundary_saliency"
    version: ClassVar[int] = 3
    makes: ClassVar[tuple[str, ...]] = ("saliency", "saliency_confidence")
    needs: ClassVar[frozenset[str]] = frozenset()

    count: int = 200
    longest: int = 192

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        found, distinct = zip(*(self.frame(image) for image in clip.image), strict=True)
        foreground = np.stack(found)
        score = np.abs(2 * foreground - 1) * np.array(distinct)[:, None, None]
        label = as_bytes(foreground)
        return {"saliency": label, "saliency_confidence": calibrated(self.name, score, label > 127)}

    def frame(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """Foreground probability (H, W) of one frame (H, W, 3), and how distinct in colour it is, of 1."""
        lab = working_lab(image, self.longest)
        labels = slic_superpixels(lab, self.count)
        value = saliency(lab, labels)[labels].astype(np.float32)
        whole = cv2.resize(value, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(whole, np.float32), distinctness(lab, value > 0.5)


def distinctness(lab: NDArray[np.float32], foreground: NDArray[np.bool_]) -> float:
    """1 less the overlap of the colours in and out of `foreground` (h, w), in [0, 1]: Bhattacharyya's coefficient.

    0 where all or nothing is foreground.
    """
    inside = int(foreground.sum())
    if inside in (0, foreground.size):
        return 0.0
    _, colour = np.unique(np.floor(lab / COLOUR_BIN).reshape(-1, 3), axis=0, return_inverse=True)
    of_inside = np.bincount(colour.ravel(), foreground.ravel()) / inside
    of_outside = np.bincount(colour.ravel(), ~foreground.ravel()) / (foreground.size - inside)
    return float(1 - np.sqrt(of_inside * of_outside).sum())


def saliency(lab: NDArray[np.float32], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Foreground probability (n,) of each superpixel: all zero where nothing stands out."""
    n = int(labels.max()) + 1
    colour = region_means(lab, labels)
    height, width = labels.shape
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    place = region_means(np.stack([y, x], axis=-1), labels)
    rim = np.zeros(n, bool)
    rim[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True

    pairs = neighbours(labels)
    edge = np.flatnonzero(rim)
    ring = np.stack(np.triu_indices(len(edge), 1), axis=1)
    linked = np.unique(np.sort(np.concatenate([pairs, edge[ring]]), axis=1), axis=0)
    step = np.linalg.norm(colour[linked[:, 0]] - colour[linked[:, 1]], axis=1)
    nearest = np.full(n, np.inf)  # smallest colour step of each region: noise, not distance
    np.minimum.at(nearest, pairs.ravel(), np.repeat(_steps(colour, pairs), 2))
    noise = float(nearest[np.isfinite(nearest)].mean()) if len(pairs) else 0.0
    step = np.maximum(step - noise, 0) + 1e-6
    geodesic = dijkstra(coo_array((step, (linked[:, 0], linked[:, 1])), shape=(n, n)).tocsr(), directed=False)
    like = np.exp(-((geodesic / GEODESIC_SIGMA) ** 2) / 2)
    connectivity = like[:, rim].sum(axis=1) / np.sqrt(like.sum(axis=1))
    background = 1 - np.exp(-(connectivity**2) / (2 * BORDER_SIGMA**2))

    apart = np.linalg.norm(colour[:, None] - colour[None], axis=-1)
    far = np.linalg.norm(place[:, None] - place[None], axis=-1)
    contrast = (apart * np.exp(-((far / SPATIAL_SIGMA) ** 2) / 2)) @ background
    strength = float(contrast.max(initial=0)) / max(float(background.sum()), 1.0)
    contrast /= max(float(contrast.max(initial=0)), 1e-9)

    weight = np.exp(-((_steps(colour, linked) / GEODESIC_SIGMA) ** 2) / 2) + 0.1
    smooth = np.zeros((n, n))
    smooth[linked[:, 0], linked[:, 1]] = smooth[linked[:, 1], linked[:, 0]] = weight
    laplacian = np.diag(smooth.sum(axis=1)) - smooth
    solved = np.linalg.solve(np.diag(5 * background + contrast) + laplacian + 1e-6 * np.eye(n), contrast)
    low, high = solved.min(), solved.max()
    visible = 1 - np.exp(-((strength / 2) ** 2))  # a flat frame has no foreground
    return np.asarray(visible * (solved - low) / max(high - low, 1e-9))


def _steps(colour: NDArray[np.float64], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(colour[pairs[:, 0]] - colour[pairs[:, 1]], axis=1))
