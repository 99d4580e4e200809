"""Edges: where colour changes, regions differ and the image falls apart, along closed contours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from freelabels.generators.contract.calibration import calibrated
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_bytes, as_stored
from freelabels.generators.contract.ranges import Range
from freelabels.generators.tools.contours import (
    Arcs,
    Floats,
    Hierarchy,
    Values,
    absorbed,
    coarsened,
    contrast,
    directed_strengths,
    find_arcs,
    normals,
    paint,
    rim_distance,
    spectral,
    ultrametric,
)
from freelabels.generators.tools.segmentation import basins, region_sums, soft_bins, working_lab

SCALES = (1.0, 2.0, 4.0)  # σ of the gradients, pixels of the working lattice
HALF_RESPONSE = 10.0  # gradient, in Lab units, as good as half an edge: a clear step seen through haze
CLUTTER_SIGMA = 10.0
HALF_GROUPING = 0.6
FRAGMENT = 10  # pixels; smaller basins hold too little to be compared by
RIGHT = 2.0  # pixels within which a boundary counts as found
RIM = 0.01  # of the longer side; a line along the rim is a scan's border or a letterbox's, no boundary
NOISE_LIMIT = 3.0  # σ of lightness noise at which contours are no longer to be trusted; good photos have 0.3
BIN_UNITS = (10.0, 6.0, 6.0, 1.0)  # distances in L, a, b and log texture that tell fillings apart


@register
@dataclass(frozen=True)
class ContourEdges:
    """Boundary probability on contours one pixel wide, from cues that look ever further.

    A frame, shrunk so that no side exceeds `longest`, is cut by watershed on its colour gradient into a few
    thousand regions. Each arc between two of them is weighed by (1) the gradient across it at three scales,
    in lightness and in chroma, each saturating, less among clutter of its own strength; (2) how differently
    its sides are filled with colour and texture after merging to `coarse` many regions along the ultrametric
    contour map of (1); (3) spectral grouping of the image on that hierarchy. The same is done on lattices
    smaller by each of `shrink`, where the cuts by chance run differently; their mean counts as much as the finest.
    Regions of less than `least` pixels go to the neighbour that they are least apart from, so that no boundary
    is drawn twice. `threshold` is the strength that counts as even odds.

    Arbeláez et al. 2011 is the model (oriented watershed, ultrametric contours, globalisation), with cues
    that need no learned weights. The confidence is high for contours all cues agree on, and for places that
    no contour comes near; on frames larger than `longest` it falls with how far off a lattice's line may be.
    """

    name: ClassVar[str] = "edges"
    version: ClassVar[int] = 6
    makes: ClassVar[tuple[str, ...]] = ("edges", "edges_confidence")
    needs: ClassVar[frozenset[str]] = frozenset()

    longest: Annotated[int, Range(64, 4096)] = 400
    shrink: tuple[float, ...] = (0.8, 0.6)
    coarse: tuple[int, int] = (400, 100)
    vectors: Annotated[int, Range(1, 64)] = 16
    decay: Annotated[float, Range(0.001, 1)] = 0.05
    least: Annotated[int, Range(1, 10000)] = 50
    threshold: Annotated[float, Range(0, 1)] = 0.46

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        edges, score = zip(*(self.frame(image) for image in clip.image), strict=True)
        label = as_bytes(np.stack(edges))
        confidence = calibrated(self.name, np.stack(score), label > 127)
        coarse = max(clip.size) / self.longest
        if coarse > 1:
            held = np.stack([lattice_trust(one, coarse) for one in edges])
            confidence = as_stored("edges_confidence", np.rint(confidence * held))
        return {"edges": label, "edges_confidence": confidence}

    def frame(self, image: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Boundary probability and trust, both (H, W) in [0, 1], of one frame (H, W, 3)."""
        lab = working_lab(image, self.longest)
        smaller = [max(1, round(max(lab.shape) * shrink)) for shrink in self.shrink]
        (arcs, fine, dispute), *coarser = self.strength(
            [lab, *(working_lab(image, side) for side in smaller)]
        )
        wider = []
        for others, theirs, _ in coarser:
            reach = cv2.dilate(paint(others, theirs, lab.shape[:2]), np.ones((5, 5))).ravel()
            wider.append(arcs.mean(np.maximum(reach[arcs.before], reach[arcs.after])))
        calm = 1 / (1 + (noise(lab) / NOISE_LIMIT) ** 4)
        both = calm * (fine + np.mean(wider, axis=0)) / 2
        region = absorbed(arcs, both, self.least)
        both[region[arcs.first] == region[arcs.second]] = 0

        probability = saturate(both**4, self.threshold**4)
        trust = np.maximum(probability, 1 - probability) * (1 - dispute)
        edges, sure = paint(arcs, np.stack([probability, trust]), image.shape[:2])
        nearby = cv2.dilate(edges, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
        score = calm * np.where(edges > 0, sure, 1 - nearby)
        return edges, score.astype(np.float32)

    def strength(self, lattices: Sequence[Floats]) -> list[tuple[Arcs, Values, Values]]:
        """Of each Lab (h, w, 3): its arcs, how strong each is (m,), and how far the cues disagree (m,)."""
        found = []
        for arcs, cues, alone in self.cues(lattices):
            # A line on a coarse lattice is off by up to half a pixel.
            inner = rim_distance(arcs) > RIM * max(arcs.labels.shape) + 0.5
            found.append((arcs, self.fused(cues) * alone * inner, np.std(cues, axis=0)))
        return found

    def fused(self, cues: Values) -> Values:
        """One strength (m,) of cues (4, m) in [0, 1]: a mean, weighted by how far each can be wrong."""
        return np.asarray((local_strength(*cues[:3]) + 0.3 * cues[3]) / 1.3)

    def cues(self, lattices: Sequence[Floats]) -> list[tuple[Arcs, Values, Values]]:
        """Of each Lab (h, w, 3): its arcs, four cues (4, m) and the weight of each arc in clutter (m,).

        The cues are the gradient, differences of filling near and far, and grouping.
        """
        slopes = [self.slopes(lab) for lab in lattices]
        hierarchies = ultrametric(
            [arcs for arcs, *_ in slopes],
            [gradient * alone for _, gradient, alone in slopes],
            min(self.coarse),
        )
        return [
            (arcs, self.regional(lab, arcs, gradient, hierarchy), alone)
            for lab, (arcs, gradient, alone), hierarchy in zip(lattices, slopes, hierarchies, strict=True)
        ]

    def slopes(self, lab: Floats) -> tuple[Arcs, Values, Values]:
        """The arcs of Lab (h, w, 3), the gradient across each (m,), and its weight in clutter (m,)."""
        tensors = gradient_tensors(lab)
        fine = np.asarray(sum(tensors[:4]), np.float32)
        slope = steepest(fine)
        fragments = find_arcs(basins(slope))
        flat = slope.ravel()
        height = fragments.mean(np.maximum(flat[fragments.before], flat[fragments.after]))
        arcs = coarsened(fragments, absorbed(fragments, height, FRAGMENT))
        normal = normals(arcs)
        surround = np.sqrt(cv2.GaussianBlur(slope * slope, (0, 0), CLUTTER_SIGMA)).ravel()
        steep, *each = directed_strengths([fine, *tensors], arcs, normal)
        alone = 1.25 - saturate(arcs.mean(surround[arcs.before]), 2 * steep + 2)
        return arcs, np.mean([saturate(one, HALF_RESPONSE) for one in each], axis=0), alone

    def regional(self, lab: Floats, arcs: Arcs, gradient: Values, hierarchy: Hierarchy) -> Values:
        """The four cues (4, m) of the arcs of Lab (h, w, 3), of which the gradient (m,) is the first."""
        merged = [hierarchy.cut(count) for count in self.coarse]
        half = np.s_[:, ::2]  # half of the pixels are enough to tell fillings apart
        filling = soft_bins((np.dstack([lab, texture(lab)])[half] / BIN_UNITS).astype(np.float32))
        content = region_sums(filling, arcs.labels[half], arcs.count)
        near, far = (contrast(arcs, regions, content) for regions in merged)
        split = spectral(arcs, merged[0], local_strength(gradient, near, far), self.vectors, self.decay)
        return np.stack([gradient, near, far, saturate(split, HALF_GROUPING)])


def lattice_trust(edges: Floats, coarse: float) -> Floats:
    """(H, W) chance that what `edges` (H, W) say holds within `RIGHT` pixels.

    They were found on a lattice whose pixels are `coarse` times as wide.
    Lines on the lattice are off by up to half of its pixel, evenly. A line that is off by more than `RIGHT` claims
    what isn't there, and misses what is, beside it.
    """
    off = 1 - float(erf(RIGHT / (coarse * np.sqrt(1 / 12) * np.sqrt(2))))
    reach = np.ones((2 * round(RIGHT + coarse) + 1,) * 2, np.uint8)
    beside = np.asarray(cv2.dilate(edges, reach), np.float32)
    return np.asarray(1 - off * np.where(edges > 0, 1, beside), np.float32)


def local_strength(gradient: Values, near: Values, far: Values) -> Values:
    """What a place's surroundings say of it (m,): weighted mean of the gradient and the contrasts of filling."""
    return np.asarray((gradient + 0.5 * near + 0.3 * far) / 1.8)


def saturate(value: Values, half: Values | float) -> Values:
    """Map [0, ∞) to [0, 1), `half` to one half."""
    return np.asarray(value / (value + half))


def gradient_tensors(lab: Floats) -> list[Floats]:
    """Scale-normalised structure (3, h, w) = (xx, xy, yy) of lightness and of chroma at each of `SCALES`."""
    tensors = []
    for scale in SCALES:
        smooth = cv2.GaussianBlur(lab, (0, 0), scale)
        dx, dy = (
            cv2.Sobel(smooth, cv2.CV_32F, *way, ksize=1, scale=scale / 2, borderType=cv2.BORDER_REPLICATE)
            for way in ((1, 0), (0, 1))
        )
        light, chroma = np.empty((2, 3, *lab.shape[:2]), np.float32)
        for k, product in enumerate((dx * dx, dx * dy, dy * dy)):
            light[k] = product[..., 0]
            np.add(product[..., 1], product[..., 2], out=chroma[k])
        tensors += [light, chroma]
    return tensors


def steepest(tensor: Floats) -> Floats:
    """The steepest slope (h, w) of gradient structure (3, h, w)."""
    xx, xy, yy = tensor
    return np.asarray(np.sqrt((xx + yy) / 2 + np.sqrt(((xx - yy) / 2) ** 2 + xy * xy)), np.float32)


def texture(lab: Floats) -> Floats:
    """How busy lightness is around each pixel: log(1 + local standard deviation), (h, w)."""
    light = lab[..., 0]
    mean = cv2.GaussianBlur(light, (0, 0), 2.0)
    variance = cv2.GaussianBlur(light * light, (0, 0), 2.0) - mean * mean
    return np.asarray(np.log1p(np.sqrt(np.maximum(variance, 0))), np.float32)


def noise(lab: Floats) -> float:
    """Standard deviation of the noise in lightness (Immerkær 1996, with a median against real structure)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    return float(np.median(np.abs(cv2.filter2D(lab[..., 0], -1, kernel)))) / 0.6745 / 6
