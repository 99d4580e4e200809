"""Semi-global matching whose smoothness yields at colour edges, over a volume of matching costs.

Sources: H. Hirschmüller, Stereo processing by semi-global matching and mutual information, PAMI 2008; the cost
from X. Mei et al., On building an accurate stereo matching system on graphics hardware, 2011 (AD-Census).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Volume = NDArray[np.int16]
Image = NDArray[Any]

CENSUS = (5, 5)  # rows and columns of the window in which pixels are compared with its centre
FULL_COST = 64.0  # of each of the two cues
CENSUS_SCALE, COLOUR_SCALE = 12.0, 10.0  # comparisons and grey levels at which a cue has spent 1 − 1/e of it
WINDOW = 3  # pixels; costs are averaged over it
BEND, STEP = 40, 400  # cost of a disparity that changes by one, and of one that jumps
EDGE = 8.0  # grey levels: a colour step that halves the cost of a jump
NOWHERE = 2**14  # cost of what lies outside


def match(left: Image, right: Image, levels: int) -> tuple[Map, Map]:
    """Disparities (H, W) in [0, levels) pixels of two rectified sRGB views, each in its own pixels.

    Also where the other view has ended or doesn't see the surface: there they go on from beside.
    """
    summed = aggregated(matching_costs(left, right, levels), left)
    width = left.shape[1]
    other = np.full_like(summed, NOWHERE)
    for d in range(min(levels, width)):
        other[:, d, : width - d] = summed[:, d, d:]
    return cheapest(summed), cheapest(other)


def matching_costs(left: Image, right: Image, levels: int) -> Volume:
    """How little each left pixel is like the right one `d` columns before it, (H, levels, W)."""
    height, width = left.shape[:2]
    here, there = census(left), census(right)
    by_census = _saturating(CENSUS[0] * CENSUS[1], CENSUS_SCALE)
    by_colour = _saturating(3 * 255 + 1, 3 * COLOUR_SCALE)
    a, b = left.astype(np.int16), right.astype(np.int16)
    costs = np.empty((height, levels, width), np.int16)
    cost = np.zeros((height, width), np.uint8)
    for d in range(levels):
        seen = width - d
        if seen > 0:
            differing = np.bitwise_count(here[:, d:] ^ there[:, :seen])
            apart = np.abs(a[:, d:] - b[:, :seen]).sum(axis=-1)
            cost = np.empty((height, width), np.uint8)
            cost[:, d:] = by_census[differing] + by_colour[apart]
            cost[:, :d] = cost[:, d : d + 1]
        costs[:, d] = cv2.blur(cost, (WINDOW, WINDOW))
    return costs


def _saturating(count: int, scale: float) -> NDArray[np.uint8]:
    return np.asarray(np.rint(FULL_COST * (1 - np.exp(-np.arange(count) / scale))), np.uint8)


def census(image: Image) -> NDArray[np.uint64]:
    """(H, W) one bit for each neighbour in the window: whether it is darker than the centre."""
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    height, width = grey.shape
    up, across = CENSUS[0] // 2, CENSUS[1] // 2
    padded = np.pad(grey, ((up, up), (across, across)), mode="edge")
    bits = np.zeros((height, width), np.uint64)
    for y in range(CENSUS[0]):
        for x in range(CENSUS[1]):
            if (y, x) != (up, across):
                bits = (bits << np.uint64(1)) | (padded[y : y + height, x : x + width] < grey)
    return bits


def aggregated(costs: Volume, image: Image) -> Volume:
    """Sum over eight directions of the least cost of a path that ends in each pixel and disparity."""
    guide = cv2.GaussianBlur(image, (0, 0), 0.7).astype(np.int16)
    summed = np.zeros_like(costs)
    for one_way in (slice(None), slice(None, None, -1)):
        for shift in (0, 1, -1):
            _add_paths(costs[one_way], guide[one_way], shift, summed[one_way])
    turned = np.ascontiguousarray(costs.transpose(2, 1, 0))
    across, guide = np.zeros_like(turned), guide.transpose(1, 0, 2)
    for one_way in (slice(None), slice(None, None, -1)):
        _add_paths(turned[one_way], guide[one_way], 0, across[one_way])
    summed += across.transpose(2, 1, 0)
    return summed


def _add_paths(costs: Volume, guide: Image, shift: int, summed: Volume) -> None:
    """Add to `summed` the costs of paths that come from the row before, `shift` columns to the left."""
    before = costs[0].copy()
    summed[0] += before
    for i in range(1, len(costs)):
        contrast = np.abs(guide[i] - _moved(guide[i - 1].T, shift).T).max(axis=-1)
        jump = np.maximum(1.5 * BEND, STEP / (1 + contrast / np.float32(EDGE))).astype(np.int16)
        before = _moved(before, shift)
        least = before.min(axis=0)
        path = np.minimum(before, least + jump)
        before = before + np.int16(BEND)
        np.minimum(path[1:], before[:-1], out=path[1:])
        np.minimum(path[:-1], before[1:], out=path[:-1])
        path -= least
        path += costs[i]
        summed[i] += path
        before = path


def _moved(rows: Image, shift: int) -> Image:
    """(N, W) moved `shift` columns to the right, the last one repeated."""
    if shift == 0:
        return rows
    out = np.empty_like(rows)
    if shift > 0:
        out[:, 1:], out[:, 0] = rows[:, :-1], rows[:, 0]
    else:
        out[:, :-1], out[:, -1] = rows[:, 1:], rows[:, -1]
    return out


def cheapest(costs: Volume) -> Map:
    """(H, W) disparity of least cost, between whole ones by the symmetric V through its neighbours' costs."""
    levels = costs.shape[1]
    least = costs.argmin(axis=1)
    inner = least.clip(1, levels - 2)
    below, at, above = (
        np.take_along_axis(costs, (inner + step)[:, None], axis=1)[:, 0].astype(np.float32)
        for step in (-1, 0, 1)
    )
    depth = np.maximum(np.maximum(below, above) - at, 1)
    return np.asarray(np.where(inner == least, inner + (below - above) / (2 * depth), least), np.float32)
