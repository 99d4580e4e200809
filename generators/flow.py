"""Optical flow to the next and to the previous frame: dense inverse search at full resolution.

Where the source shows frames between two that are stored, flow is followed through them: small steps are found
where a large one is lost, or mistaken for another in what repeats itself.

Dense inverse search finds displacements, variational refinement smooths them (Kroeger et al., Fast Optical Flow
using Dense Inverse Search, ECCV 2016; OpenCV's presets stop at half resolution): with large patches over the whole
frame first, which follow motion of many pixels, then with small ones at full resolution from there. Trust
comes from running it both ways: where forward and backward flow undo each other, and the warped next frame
looks like this one, the flow is right. Where it can't be (what gets covered, or leaves), flow is that of
the trusted surroundings of like colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.calibration import calibrated
from freelabels.generators.contract.clip import BETWEEN, CONSECUTIVE, Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_stored, channel_sum
from freelabels.generators.contract.ranges import Range
from freelabels.generators.tools.planes import geodesic_sums, link_weights, neighbour_steps

Floats = NDArray[np.float32]

COVERING = 0.5  # a pair of frames of which less than this share agrees both ways is not one scene moving
OUT_OF_VIEW_RISK = 9.0  # px; what lies outside the other frame was extrapolated
CLEARLY = 0.2  # trust by which flow between two frames must be better than that through those between
SMALLEST_SIDE = 64  # px; smaller frames are padded, the search has no pyramid level for them
COARSE = 2  # octave from which small patches start, where large ones end
ASTRAY = 8.0  # px from its start at which the search by small patches found what repeats itself, or nothing
DOUBTFUL = 0.2  # trust up to which flow is taken from the surroundings
FILLED_AT = 4  # px of a lattice on which it is carried there
FILLED_FROM = 24.0  # px, over which it is carried
COLOUR_STEP = 25.0  # of LAB in 8-bit units: a step over which it isn't


def warp(values: Array, flow: Floats) -> Any:
    """`values` (H, W[, C]) of the other frame seen from this one: sampled bilinearly at x + flow (H, W, 2).

    Outside, the nearest border pixel is taken.
    """
    at = _places(*flow.shape[:2]) + flow
    return cv2.remap(values, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]


@lru_cache(maxsize=4)
def _places(height: int, width: int) -> Floats:
    """(H, W, 2) column and row of each pixel; not to be written to."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], axis=-1)


def chained(steps: Sequence[Floats]) -> Floats:
    """(H, W, 2) displacement over all the steps (H, W, 2), each from where the one before it leads."""
    whole = steps[0]
    for step in steps[1:]:
        whole = whole + warp(step, whole)
    return np.asarray(whole, np.float32)


def inside(flow: Floats) -> NDArray[np.bool_]:
    """(H, W): whether x + flow (H, W, 2) falls into the other frame."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return np.asarray((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5))


def inconsistency(flow: Floats, back: Floats) -> Floats:
    """(H, W) distance in pixels by which flow (H, W, 2) and the other frame's flow back miss each other."""
    miss = flow + warp(back, flow)
    return np.asarray(np.hypot(miss[..., 0], miss[..., 1]), np.float32)


def flow_score(flow: Floats, back: Floats, here: Floats, there: Floats, residual_risk: float) -> Floats:
    """(H, W) raw trust in [0, 1] of `flow` (H, W, 2), from the other frame's flow back and both LAB frames.

    The feared error in pixels adds how far the two flows miss each other, at the pixel and around it, and how
    much the frames differ after warping beyond a change of light. Trust falls from 1 with its square; flat
    areas, where any flow fits, and pairs of frames that hardly agree at all are trusted less.
    """
    height, width = flow.shape[:2]
    miss = np.minimum(inconsistency(flow, back), OUT_OF_VIEW_RISK)
    difference = here - warp(there, flow)
    window = (max(height, width) // 8) | 1
    difference = channel_sum(np.abs(difference - cv2.blur(difference, (window, window))))
    risk = (
        cv2.GaussianBlur(np.minimum(miss, 4), (0, 0), 2)
        + 0.5 * miss
        + residual_risk * cv2.GaussianBlur(difference, (0, 0), 1.5)
        + OUT_OF_VIEW_RISK * ~inside(flow)
    )
    light = here[..., 0]
    variance = cv2.blur(light * light, (window, window)) - cv2.blur(light, (window, window)) ** 2
    textured = np.clip(variance, 0, 1)
    agreeing = min(1.0, float(np.mean(miss < 1)) / COVERING)
    return np.asarray(agreeing * textured / (1 + risk * risk), np.float32)


def carried(flow: Floats, score: Floats, here: Floats) -> Floats:
    """`flow` (H, W, 2), where its score (H, W) is low that of the trusted surroundings of like colour.

    here: the LAB frame (H, W, 3). What gets covered or leaves the frame mostly moves as the rest of its surface.
    """
    height, width = score.shape
    small = (max(1, width // FILLED_AT), max(1, height // FILLED_AT))
    trust = score * score + np.float32(1e-4)
    guide, weight, *both = (
        np.asarray(cv2.resize(values, small, interpolation=cv2.INTER_AREA), np.float32)
        for values in (here / np.float32(COLOUR_STEP), trust, flow[..., 0] * trust, flow[..., 1] * trust)
    )
    sums = geodesic_sums([weight, *both], *link_weights(neighbour_steps(guide), FILLED_FROM / FILLED_AT))
    mean = np.stack(sums[1:], axis=-1) / np.maximum(sums[0], np.float32(1e-9))[..., None]
    around = cv2.resize(mean, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.where((score < DOUBTFUL)[..., None], around, flow), np.float32)


@register
@dataclass(frozen=True)
class DenseInverseSearch:
    """Flow of every pixel to the next and the previous frame, trusted where both ways agree.

    Confidence: probability that the flow is right within 1 px. The last frame has no next one and the first
    no previous one: NaN with confidence 0.

    patch, stride: side and spacing in pixels of the small patches. descent: gradient steps per patch (many fit
    it to sensor noise). wide_patch, wide_stride, wide_descent, wide_brightness: the same of the large ones, which
    stop at half resolution. refinements, smoothness, gradient, brightness: rounds of the variational refinement
    and the weights of its terms; brightness is left out at full resolution, as light changes.
    residual_risk: pixels of error feared per unit of LAB difference after warping.
    """

    name: ClassVar[str] = "dense_inverse_search"
    version: ClassVar[int] = 8
    makes: ClassVar[tuple[str, ...]] = (
        "flow",
        "flow_confidence",
        "flow_backward",
        "flow_backward_confidence",
    )
    needs: ClassVar[frozenset[str]] = frozenset({CONSECUTIVE})
    uses: ClassVar[frozenset[str]] = frozenset({BETWEEN})

    patch: Annotated[int, Range(4, 64)] = 4
    stride: Annotated[int, Range(1, 32)] = 3
    descent: Annotated[int, Range(1, 100)] = 4
    wide_patch: Annotated[int, Range(4, 64)] = 8
    wide_stride: Annotated[int, Range(1, 32)] = 3
    wide_descent: Annotated[int, Range(1, 100)] = 25
    wide_brightness: Annotated[float, Range(0, 1000)] = 5.0
    refinements: Annotated[int, Range(0, 100)] = 8
    smoothness: Annotated[float, Range(0, 1000)] = 40.0
    gradient: Annotated[float, Range(0, 1000)] = 10.0
    brightness: Annotated[float, Range(0, 1000)] = 0.0
    residual_risk: Annotated[float, Range(0, 10)] = 0.02

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip; see `makes`."""
        frames, (height, width) = len(clip), clip.size
        made: dict[str, Array] = {}
        for label in ("flow", "flow_backward"):
            made[label] = np.full((frames, height, width, 2), np.nan, np.float16)
            made[label + "_confidence"] = np.zeros((frames, height, width), np.uint8)
        here = _lab(clip.image[0])
        for now, then in zip(range(frames - 1), range(1, frames), strict=True):
            between = clip.between[now] if clip.between else ()
            path, there = [clip.image[now], *between, clip.image[then]], _lab(clip.image[then])
            ahead, back = self.along(path)
            for label, frame, ways, looks in (
                ("flow", now, (ahead, back), (here, there)),
                ("flow_backward", then, (back, ahead), (there, here)),
            ):
                score = flow_score(*ways, *looks, self.residual_risk)
                made[label][frame] = as_stored(label, carried(ways[0], score, looks[0]))
                made[label + "_confidence"][frame] = calibrated(self.name, score)
            here = there
        return made

    def along(self, frames: Sequence[NDArray[np.uint8]]) -> tuple[Floats, Floats]:
        """(H, W, 2) displacements (u, v) from the first of some sRGB frames (H, W, 3) to the last, and back.

        The wide search follows what moves through the frames between, and looks from the first to the last alone:
        where that is clearly to be trusted more, because one of the steps went astray, it is taken. The fine one
        goes from there, over the first and the last, so that errors of steps don't add up.
        """
        height, width = frames[0].shape[:2]
        grey = [_grey(frame) for frame in frames]
        starts = self._wide(grey[0], grey[-1]), self._wide(grey[-1], grey[0])
        if len(frames) > 2:
            followed = self._followed(grey), self._followed(grey[::-1])
            starts = self._better(followed, starts, _lab(frames[0]), _lab(frames[-1]))
        ahead, back = self._fine(grey[0], grey[-1], starts[0]), self._fine(grey[-1], grey[0], starts[1])
        if len(frames) > 2:
            ahead, back = _kept_near(ahead, starts[0]), _kept_near(back, starts[1])
        return np.ascontiguousarray(ahead[:height, :width]), np.ascontiguousarray(back[:height, :width])

    def between(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Floats:
        """(H, W, 2) float32 displacement (u, v) in pixels from sRGB frame `first` to `second` (H, W, 3)."""
        height, width = first.shape[:2]
        grey = _grey(first), _grey(second)
        return np.ascontiguousarray(self._fine(*grey, self._wide(*grey))[:height, :width])

    def _followed(self, grey: Sequence[NDArray[np.uint8]]) -> Floats:
        """Displacement (H, W, 2) from the first of some frames (H, W) to the last, step by step.

        Steps are smaller than the whole way: fewer patches and gradient steps find them.
        """
        search = replace(self, wide_stride=self.wide_stride + 1, wide_descent=-(-self.wide_descent // 2))
        return chained([search._wide(one, other) for one, other in pairwise(grey)])

    def _better(
        self, one: tuple[Floats, Floats], other: tuple[Floats, Floats], here: Floats, there: Floats
    ) -> tuple[Floats, Floats]:
        """The flows (there, back) `one`, or those of `other` where they are trusted clearly more.

        here, there: the LAB frames (H, W, 3); flows may be padded. They are judged at half resolution, at which
        they were found.
        """
        height, width = here.shape[:2]
        small = max(1, width // 2), max(1, height // 2)
        ways = [
            [_resized(flow[:height, :width] / np.float32(2), small) for flow in pair] for pair in (one, other)
        ]
        looks = [_resized(look, small) for look in (here, there)]
        chosen = []
        for way in (0, 1):
            trust, others = (
                flow_score(pair[way], pair[1 - way], looks[way], looks[1 - way], self.residual_risk)
                for pair in ways
            )
            astray = (others > trust + CLEARLY).astype(np.uint8)
            where = cv2.resize(astray, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0
            best = one[way].copy()
            best[:height, :width][where] = other[way][:height, :width][where]
            chosen.append(best)
        return chosen[0], chosen[1]

    def _wide(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Floats:
        """(H, W, 2) displacement between grey frames (H, W) by large patches, found at half resolution."""
        search = self._search(self.wide_patch, self.wide_stride, self.wide_descent, self.wide_brightness)
        search.setFinestScale(1)
        search.setVariationalRefinementIterations(self.refinements // 2)
        return np.asarray(search.calc(first, second, None), np.float32)  # type: ignore[call-overload]

    def _fine(self, first: NDArray[np.uint8], second: NDArray[np.uint8], start: Floats) -> Floats:
        """(H, W, 2) displacement between grey frames (H, W) by small patches, from where `start` leads."""
        search = self._search(self.patch, self.stride, self.descent, self.brightness)
        search.setCoarsestScale(COARSE)
        search.setFinestScale(0)
        search.setVariationalRefinementIterations(self.refinements)
        return np.asarray(search.calc(first, second, start.copy()), np.float32)  # it writes into the start

    def _search(self, patch: int, stride: int, descent: int, brightness: float) -> cv2.DISOpticalFlow:
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        search.setPatchSize(patch)
        search.setPatchStride(stride)
        search.setGradientDescentIterations(descent)
        search.setVariationalRefinementAlpha(self.smoothness)
        search.setVariationalRefinementGamma(self.gradient)
        search.setVariationalRefinementDelta(brightness)
        return search


def _lab(image: NDArray[np.uint8]) -> Floats:
    """(H, W, 3) LAB in 8-bit units, each about one just noticeable step."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.float32)


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An sRGB frame (H, W, 3) as grey (H, W), padded to where the search has pyramid levels."""
    height, width = image.shape[:2]
    margin = 0, max(0, SMALLEST_SIDE - height), 0, max(0, SMALLEST_SIDE - width)
    grey = cv2.copyMakeBorder(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), *margin, cv2.BORDER_REPLICATE)
    return np.asarray(grey, np.uint8)


def _kept_near(flow: Floats, start: Floats) -> Floats:
    """`flow` (H, W, 2), but its start where that is farther away than the fine search can see."""
    return np.where((np.abs(flow - start) > ASTRAY).any(axis=-1, keepdims=True), start, flow)


def _resized(values: Floats, size: tuple[int, int]) -> Floats:
    """(H, W, C) at `size` = (w, h), by means over the pixels it puts together."""
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
