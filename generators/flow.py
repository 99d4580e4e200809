"""Optical flow to the next and to the previous frame: dense inverse search at full resolution.

Where the source shows frames between two that are stored, flow is followed through them: small steps are found
where a large one is lost, or mistaken for another in what repeats itself.

Dense inverse search with small patches finds displacements, variational refinement smooths them (Kroeger et
al., Fast Optical Flow using Dense Inverse Search, ECCV 2016; OpenCV's presets stop at half resolution). Trust
comes from running it both ways: where forward and backward flow undo each other, and the warped next frame
looks like this one, the flow is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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

Floats = NDArray[np.float32]

COVERING = 0.5  # a pair of frames of which less than this share agrees both ways is not one scene moving
OUT_OF_VIEW_RISK = 9.0  # px; what lies outside the other frame was extrapolated
CLEARLY = 0.2  # trust by which flow between two frames must be better than that through those between
SMALLEST_SIDE = 32  # px; smaller frames are padded, the search has no pyramid level for them


def warp(values: Array, flow: Floats) -> Any:
    """`values` (H, W[, C]) of the other frame seen from this one: sampled bilinearly at x + flow (H, W, 2).

    Outside, the nearest border pixel is taken.
    """
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(
        values, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


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


@register
@dataclass(frozen=True)
class DenseInverseSearch:
    """Flow of every pixel to the next and the previous frame, trusted where both ways agree.

    Confidence: probability that the flow is right within 1 px. The last frame has no next one and the first
    no previous one: NaN with confidence 0.

    patch, stride: side and spacing in pixels of the patches searched for. descent: gradient steps per patch
    (many fit it to sensor noise, few lose large displacements). refinements, smoothness, gradient, brightness:
    rounds of the variational refinement and the weights of its terms; brightness is left out, as light
    changes. residual_risk: pixels of error feared per unit of LAB difference after warping.
    """

    name: ClassVar[str] = "dense_inverse_search"
    version: ClassVar[int] = 5
    makes: ClassVar[tuple[str, ...]] = (
        "flow",
        "flow_confidence",
        "flow_backward",
        "flow_backward_confidence",
    )
    needs: ClassVar[frozenset[str]] = frozenset({CONSECUTIVE})
    uses: ClassVar[frozenset[str]] = frozenset({BETWEEN})

    patch: Annotated[int, Range(4, 64)] = 4
    stride: Annotated[int, Range(1, 32)] = 2
    descent: Annotated[int, Range(1, 100)] = 6
    refinements: Annotated[int, Range(0, 100)] = 10
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
            made["flow"][now] = as_stored("flow", ahead)
            made["flow_backward"][then] = as_stored("flow_backward", back)
            made["flow_confidence"][now] = self.confidence(ahead, back, here, there)
            made["flow_backward_confidence"][then] = self.confidence(back, ahead, there, here)
            here = there
        return made

    def along(self, frames: Sequence[NDArray[np.uint8]]) -> tuple[Floats, Floats]:
        """(H, W, 2) displacements (u, v) from the first of some sRGB frames (H, W, 3) to the last, and back.

        Followed through those between; what is then left between the first and the last, seen from there, is
        added, so that errors don't add up. Where what the first and the last alone say is clearly to be trusted
        more, because one of the steps went astray, that is taken.
        """
        first, last = frames[0], frames[-1]
        direct = self.between(first, last), self.between(last, first)
        if len(frames) == 2:
            return direct
        here, there = _lab(first), _lab(last)
        followed = self._followed(frames), self._followed(frames[::-1])
        return (
            self._better(followed, direct, here, there),
            self._better(followed[::-1], direct[::-1], there, here),
        )

    def _followed(self, frames: Sequence[NDArray[np.uint8]]) -> Floats:
        """Displacement (H, W, 2) through all frames, and what is left at its end."""
        whole = chained([self.between(one, other) for one, other in pairwise(frames)])
        return np.asarray(whole + self.between(frames[0], warp(frames[-1], whole)), np.float32)

    def _better(
        self, one: tuple[Floats, Floats], other: tuple[Floats, Floats], here: Floats, there: Floats
    ) -> Floats:
        """The first flow of the pair `one` (there, back), or that of `other` where it is trusted clearly more."""
        trust, others = (flow_score(*flows, here, there, self.residual_risk) for flows in (one, other))
        return np.where((others > trust + CLEARLY)[..., None], other[0], one[0])

    def between(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Floats:
        """(H, W, 2) float32 displacement (u, v) in pixels from sRGB frame `first` to `second` (H, W, 3)."""
        height, width = first.shape[:2]
        margin = ((0, max(0, SMALLEST_SIDE - height)), (0, max(0, SMALLEST_SIDE - width)))
        grey = [
            np.pad(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), margin, mode="edge") for frame in (first, second)
        ]
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        search.setFinestScale(0)
        search.setPatchSize(self.patch)
        search.setPatchStride(self.stride)
        search.setGradientDescentIterations(self.descent)
        search.setVariationalRefinementIterations(self.refinements)
        search.setVariationalRefinementAlpha(self.smoothness)
        search.setVariationalRefinementGamma(self.gradient)
        search.setVariationalRefinementDelta(self.brightness)
        flow = search.calc(grey[0], grey[1], None)  # type: ignore[call-overload]
        return np.ascontiguousarray(flow[:height, :width], np.float32)

    def confidence(self, flow: Floats, back: Floats, here: Floats, there: Floats) -> NDArray[np.uint8]:
        """(H, W) uint8 confidence × 255 of `flow` (H, W, 2), from the flow back and both LAB frames."""
        return calibrated(self.name, flow_score(flow, back, here, there, self.residual_risk))


def _lab(image: NDArray[np.uint8]) -> Floats:
    """(H, W, 3) LAB in 8-bit units, each about one just noticeable step."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.float32)
