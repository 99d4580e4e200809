"""Disparity of a rectified stereo pair by semi-global matching, checked left against right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.calibration import calibrated
from freelabels.generators.contract.clip import STEREO, Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_stored
from freelabels.generators.contract.ranges import Range
from freelabels.generators.depth.semi_global import match
from freelabels.generators.tools.planes import geodesic_sums, link_weights, neighbour_steps
from freelabels.generators.tools.segment_planes import continued_by_segments
from freelabels.generators.tools.weighted_median import geodesic_median

Map = NDArray[np.float32]

RANGE_WIDTH = 240  # the range of disparities is found on an image of at most this width
SPECKLE = 60  # pixels; smaller islands of matches are chance
LIKENESS_WINDOW = 7  # pixels
LIKENESS_NOISE = 9.0  # squared grey levels: contrast below this is no evidence of a match
LEAST_LIKENESS = 0.33  # of matches, weighted by contrast, × their share: unrelated views stay below 0.25
RIM_WINDOW = 9  # pixels
RIM_STEP = 1.5  # pixels of disparity
LEAST_DISPARITY = 1.0  # pixels, reached by the nearest twentieth: two equal views say nothing
HIDDEN = 0.4  # raw score up to which only what one camera alone sees reaches, and matches start
REFINED_WINDOW = 7  # pixels on either side
REFINEMENTS = 2
REFINED_NOISE = 4.0  # squared grey levels per pixel: slopes below this are noise
PLANE_WINDOW = 7  # pixels
NEAR_PLANE = 0.5  # pixels: matches this close to the plane of their segment, in the mean, may lie in it
PLANE_HOLD = (
    64.0  # squared grey levels per pixel: noise of 4 over NEAR_PLANE, what the images must hold against it
)
MEDIAN_WIDTH = 768  # pixels; medians are taken on images of at most this width
COLOUR_STEP = 0.1  # summed over RGB in [0, 1]: a step that ends a median's window
REACH = 0.1  # of the width: how far a median looks where colour stays
CONNECTED = 0.05  # of the width: how far a filled pixel may be from matches of its colour, to be trusted
APART = 2.0  # pixels between the two guesses at what is hidden that halve trust
BLIND = 0.3  # times the trust where the colour segment has no matches to continue
SURFACE = 0.999  # farther from rims than this, a match isn't doubted
ASTRAY = 1.0  # pixels by which a match at a rim may differ from the median


@register
@dataclass(frozen=True)
class Stereo:
    """Disparity of the left view: semi-global matching, left-right check, what is hidden continued by planes.

    Makes `disparity` (f16, pixels, larger is nearer, zero is infinitely far: the clip's `doffs`, by which the
    principal points of the two views differ, is added) and its confidence, from left-right consistency and
    the likeness (normalised cross-correlation) of the matched windows. Where the images hold a match loosely
    and the matches of its colour segment lie closely around a plane, it is drawn to that. Matches at rims
    that differ from the median of what hangs together with them by colour are dropped; they and pixels seen
    by one camera only get the plane of their segment, or, if it has none, the disparity of the farther of the
    surfaces beside them in their row, at low confidence, lower where the two differ and where little of their
    colour is matched nearby. A pair whose views don't match, are equal or without texture is NaN at
    confidence 0.
    Sources: those of `depth.semi_global` and `tools.segment_planes`; Z. Ma et al., Constant time
    weighted median filtering for stereo matching and beyond, ICCV 2013; B. Lucas and T. Kanade, An iterative
    image registration technique, 1981.

    largest: the largest disparity searched, as a share of the width. consistent: the largest left-right
    difference, in pixels, of a match. cells: pairs are reduced until height × width × disparities searched is
    no more than this. Raises ValueError for a clip without right views of the left ones' shape.
    """

    name: ClassVar[str] = "stereo"
    version: ClassVar[int] = 6
    makes: ClassVar[tuple[str, ...]] = ("disparity", "disparity_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({STEREO})

    largest: Annotated[float, Range(0.01, 1)] = 0.3
    consistent: Annotated[float, Range(0, 100)] = 1.0
    cells: Annotated[int, Range(2**16, 2**32)] = 2**25

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip of rectified pairs."""
        if clip.right is None or clip.right.shape != clip.image.shape:
            raise ValueError("stereo needs a right view of the left view's shape in every frame")
        pairs = [self._frame(left, right) for left, right in zip(clip.image, clip.right, strict=True)]
        disparity = np.stack([disparity for disparity, _ in pairs]) + np.float32(clip.doffs)
        return {
            "disparity": as_stored("disparity", disparity),
            "disparity_confidence": calibrated(self.name, np.stack([score for _, score in pairs])),
        }

    def _frame(self, left: Array, right: Array) -> tuple[Map, Map]:
        """Disparity (H, W) in pixels, NaN where there is none, and its raw score in [0, 1]."""
        height, width = left.shape[:2]
        levels = self._levels(left, right)
        scale = min(1.0, (self.cells / (height * width * levels)) ** (1 / 3))
        disparity, score = self._match(
            _scaled(left, scale), _scaled(right, scale), _multiple_of_16(levels * scale)
        )
        if scale < 1:
            disparity = resized(disparity, (width, height), cv2.INTER_NEAREST_EXACT)
            disparity *= np.float32(1 / scale)
            score = resized(score, (width, height), cv2.INTER_NEAREST_EXACT)
        return disparity, score

    def _match(self, colour: Array, right_colour: Array, levels: int) -> tuple[Map, Map]:
        left, right = _grey(colour), _grey(right_colour)
        disparity, matched, difference = self._consistent(colour, right_colour, levels)
        alike, contrast = likeness(left, right, disparity)
        if (
            not matched.any()
            or np.percentile(disparity[matched], 95) < LEAST_DISPARITY
            or matched.mean() * np.average(alike[matched], weights=contrast[matched]) < LEAST_LIKENESS
        ):
            return np.full(left.shape, np.nan, np.float32), np.zeros(left.shape, np.float32)
        rim = far_from_rims(fill_from_background(np.where(matched, disparity, np.nan).astype(np.float32)))
        weight = np.where(matched, np.maximum(alike, 0.05) * rim, 0).astype(np.float32)
        around, connected, step = likes(disparity, weight, colour)
        astray = (rim < SURFACE) & (np.abs(disparity - around) > ASTRAY + step / 2)
        kept = matched & ~astray if (matched & ~astray).any() else matched
        exact, held = refined(left, right, disparity)
        behind = fill_from_background(np.where(kept, disparity, np.nan).astype(np.float32))
        plane = continued_by_segments(exact, np.where(kept, weight, 0).astype(np.float32), colour)
        exact = drawn_to_planes(exact, plane, held)
        hidden = np.where(np.isfinite(plane), plane, behind)
        difference = np.minimum(difference / np.float32(2 * self.consistent), 1)
        score = HIDDEN + (1 - HIDDEN) * (1 - difference) * np.maximum(alike, 0) * rim
        likely = (0.1 + 0.9 * connected) / (1 + np.abs(hidden - behind) / np.float32(APART))
        likely = np.where(np.isfinite(plane), likely, np.float32(BLIND) * likely)
        disparity = np.asarray(cv2.medianBlur(np.where(kept, exact, hidden), 5), np.float32)
        return disparity, np.where(kept, score, HIDDEN * (0.6 + 0.4 * likely)).astype(np.float32)

    def _consistent(self, left: Array, right: Array, levels: int) -> tuple[Map, NDArray[np.bool_], Map]:
        """Disparity of the left view, where it is a match, and its difference from the right view's."""
        disparity, other = match(left, right, levels)
        difference = left_right_difference(disparity, other)
        return disparity, without_islands(disparity, difference <= self.consistent), difference

    def _levels(self, left: Array, right: Array) -> int:
        """How many disparities to search: a multiple of 16 that covers the pair, found on a small copy."""
        width = left.shape[1]
        scale = min(1.0, RANGE_WIDTH / max(left.shape[:2]))
        small, small_right = _scaled(left, scale), _scaled(right, scale)
        top = _multiple_of_16(self.largest * small.shape[1])
        disparity, matched, _ = self._consistent(small, small_right, top)
        largest = float(np.percentile(disparity[matched], 99.9)) if matched.any() else 0.0
        return _multiple_of_16(min(largest * 1.1 / scale + 4, self.largest * width))


def resized(image: Array, size: tuple[int, int], interpolation: int) -> Map:
    """An image at another (width, height)."""
    return np.asarray(cv2.resize(image, size, interpolation=interpolation))


def _grey(image: Array) -> Array:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def _scaled(image: Array, scale: float) -> Array:
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return resized(image, size, cv2.INTER_AREA) if scale < 1 else image


def _multiple_of_16(pixels: float) -> int:
    return max(16, int(np.ceil(pixels / 16)) * 16)


def _seen_from_left(right: Array, disparity: Map, interpolation: int, outside: float) -> Map:
    """The right view's values at the matches of the left view's pixels."""
    height, width = disparity.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.asarray(
        cv2.remap(right, x - disparity, y, interpolation, None, cv2.BORDER_CONSTANT, (outside,)), np.float32
    )


def left_right_difference(disparity: Map, other: Map) -> Map:
    """How far, in pixels, the match of a left pixel's match lies from it; infinite outside the right view."""
    return np.asarray(np.abs(_seen_from_left(other, disparity, cv2.INTER_NEAREST, np.inf) - disparity))


def likeness(left: Array, right: Array, disparity: Map) -> tuple[Map, Map]:
    """Normalised cross-correlation of each left window with the right one it is matched with, and their contrast.

    Contrast is in squared grey levels, the noise added.
    """
    a = left.astype(np.float32)
    b = _seen_from_left(right.astype(np.float32), disparity, cv2.INTER_LINEAR, 0)
    size = (LIKENESS_WINDOW, LIKENESS_WINDOW)
    ma, mb, aa, bb, ab = (cv2.blur(v, size) for v in (a, b, a * a, b * b, a * b))
    spread = np.sqrt(np.maximum(aa - ma * ma, 0) * np.maximum(bb - mb * mb, 0))
    contrast = np.asarray(spread + np.float32(LIKENESS_NOISE), np.float32)
    return np.asarray((ab - ma * mb) / contrast, np.float32), contrast


def far_from_rims(disparity: Map) -> Map:
    """1 on surfaces, 1/2 where disparity spans `RIM_STEP` in the window: matching fattens near surfaces."""
    window = np.ones((RIM_WINDOW, RIM_WINDOW), np.uint8)
    spread = cv2.dilate(disparity, window) - cv2.erode(disparity, window)
    return np.asarray(1 / (1 + (spread / np.float32(RIM_STEP)) ** 2), np.float32)


def refined(left: Array, right: Array, disparity: Map) -> tuple[Map, Map]:
    """Disparities moved by under a pixel to where the windows fit best: Gauss-Newton steps (Lucas, Kanade 1981).

    And how firmly the images hold them: squared grey levels per pixel of disparity, in the mean of a window.
    Semi-global matching interpolates between whole pixels, which tilts surfaces.
    """
    here, there = left.astype(np.float32), right.astype(np.float32)
    slope = np.asarray(cv2.Scharr(there, -1, 1, 0)) / np.float32(32)
    size, found, held = (2 * REFINED_WINDOW + 1,) * 2, disparity, np.zeros_like(disparity)
    for _ in range(REFINEMENTS):
        change = here - _seen_from_left(there, found, cv2.INTER_LINEAR, 0)
        change -= cv2.blur(change, size)
        along = _seen_from_left(slope, found, cv2.INTER_LINEAR, 0)
        push = cv2.GaussianBlur(along * change, (0, 0), REFINED_WINDOW / 3)
        held = np.asarray(cv2.GaussianBlur(along * along, (0, 0), REFINED_WINDOW / 3), np.float32)
        found = found - np.clip(push / (held + np.float32(REFINED_NOISE)), -0.5, 0.5)
    return np.asarray(np.clip(found, disparity - 1, disparity + 1), np.float32), held


def drawn_to_planes(disparity: Map, plane: Map, held: Map) -> Map:
    """Matches moved towards the planes (H, W) of their segments (NaN: none) as far as the images don't hold them.

    Between a match's own variance, noise over `held`, and that of a plane around which the matches lie closely,
    the best estimate is the weighted mean; without texture, where a match means little, it is the plane.
    """
    apart = np.where(
        np.isfinite(plane), np.minimum(np.abs(plane - disparity), 4 * NEAR_PLANE), 4 * NEAR_PLANE
    )
    apart = cv2.blur(apart.astype(np.float32), (PLANE_WINDOW, PLANE_WINDOW)) / np.float32(NEAR_PLANE)
    pull = np.where(np.isfinite(plane), np.float32(PLANE_HOLD) * np.exp(-(apart**2)), 0)
    drawn = disparity + pull / (held + pull + np.float32(1e-6)) * (np.nan_to_num(plane) - disparity)
    return np.asarray(drawn, np.float32)


def likes(disparity: Map, weight: Map, colour: Array) -> tuple[Map, Map, float]:
    """What hangs together with each pixel by colour: median disparity, mean weight, and the median's precision.

    colour: (H, W, 3) sRGB; wide frames are reduced to `MEDIAN_WIDTH`.
    """
    height, width = disparity.shape
    scale = min(1.0, MEDIAN_WIDTH / width)
    guide = cv2.GaussianBlur(_scaled(colour, scale), (0, 0), 0.7).astype(np.float32)
    guide /= np.float32(255 * COLOUR_STEP)
    small = guide.shape[1::-1]
    weight = resized(weight, small, cv2.INTER_NEAREST_EXACT)
    median, _, step = geodesic_median(
        resized(disparity, small, cv2.INTER_NEAREST_EXACT), weight, guide, REACH * small[0]
    )
    link = link_weights(neighbour_steps(guide), CONNECTED * small[0])
    near, every = geodesic_sums([weight, np.ones_like(weight)], *link)
    size = width, height
    return (
        resized(median, size, cv2.INTER_NEAREST_EXACT),
        resized(near / every, size, cv2.INTER_NEAREST_EXACT),
        step,
    )


def without_islands(disparity: Map, matched: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The matches that are part of a connected patch of similar disparity, not `SPECKLE` pixels or fewer."""
    none = -(2**14)
    sixteenths = np.where(matched, disparity * 16, none).astype(np.int16)
    cv2.filterSpeckles(sixteenths, none, SPECKLE, 16)
    return np.asarray(sixteenths != none)


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
    return np.asarray(smaller, np.float32)
