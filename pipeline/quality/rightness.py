"""When a label is right: one definition per label, for calibration on renders and for benchmarks on real truth.

Confidence is the probability of being right in this sense.

- edges: where a boundary is claimed (probability above one half), a true one lies within 2 px; elsewhere, no
  true boundary within 2 px was missed, that is, has no claimed one within 2 px. True boundaries are those of
  objects and surfaces (occluding, crease, contact); shadows and texture lie *on* surfaces and are none.
- motion, foreground, saliency: the right one of the two classes.
- regions: the pixel belongs to the same true object as most of its region.
- disparity: ordered rightly against random other labelled pixels (the share of them). Pairs within 5 % of
  depth have no order worth learning and are left out.
- depth: within 5 %. normals: within 22.5°. flow: within 1 px.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array, field

Rightness = NDArray[np.float32]
Known = NDArray[np.bool_]

EDGE_REACH = 2  # pixels
ORDER_PARTNERS = 8
APART = 1.05  # ratio of depths from which two pixels have an order
DEPTH_SHARE = 0.05
NORMAL_DEGREES = 22.5
FLOW_PIXELS = 1.0


def edges_right(edges: Array, boundaries: Array) -> Rightness:
    """(T, H, W) 1 where right, for probabilities × 255 (T, H, W) and true boundaries (T, H, W), booleans."""
    right = np.empty(edges.shape, np.float32)
    for t, (claimed, true) in enumerate(zip(edges > 127, boundaries.astype(bool), strict=True)):
        missed = true & ~_near(claimed)
        right[t] = np.where(claimed, _near(true), ~_near(missed))
    return right


def _near(mask: Known) -> Known:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * EDGE_REACH + 1,) * 2)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc) > 0)


def class_right(probability: Array, truth: Array) -> Rightness:
    """1 where a probability × 255 falls on the side of one half where the truth (booleans) is."""
    return np.asarray((probability > 127) == truth, np.float32)


def regions_right(regions: Array, truth: Array) -> Rightness:
    """(T, H, W) 1 where a pixel's true id is the most common one in its region; both are ids (T, H, W)."""
    right = np.empty(regions.shape, np.float32)
    for t in range(len(regions)):
        _, region = np.unique(regions[t], return_inverse=True)
        _, true = np.unique(truth[t], return_inverse=True)
        region, true = region.ravel(), true.ravel()
        count = np.bincount(region * (true.max() + 1) + true, minlength=(region.max() + 1) * (true.max() + 1))
        most = count.reshape(region.max() + 1, -1).argmax(axis=1)
        right[t] = (most[region] == true).reshape(regions.shape[1:])
    return right


def order_right(disparity: Array, inverse_depth: Array, seed: int = 0) -> Rightness:
    """(T, H, W) share of random other labelled pixels against which each is ordered rightly; NaN: no partner.

    Both are (T, H, W), larger is nearer; NaN where there is no label or no truth.
    """
    random = np.random.default_rng(seed)
    right = np.full(disparity.shape, np.nan, np.float32)
    for t in range(len(disparity)):
        here = np.flatnonzero(np.isfinite(disparity[t]) & np.isfinite(inverse_depth[t]))
        if len(here) < 2:
            continue
        value = disparity[t].ravel()[here].astype(np.float32)
        true = inverse_depth[t].ravel()[here].astype(np.float32)
        good, count = np.zeros(len(here), np.float32), np.zeros(len(here), np.float32)
        for _ in range(ORDER_PARTNERS):
            other = random.permutation(len(here))
            near, far = np.maximum(true, true[other]), np.minimum(true, true[other])
            apart = near > far * APART
            good += apart & ((value > value[other]) == (true > true[other]))
            count += apart
        right[t].ravel()[here] = np.where(count > 0, good / np.maximum(count, 1), np.nan)
    return right


def depth_right(depth: Array, truth: Array) -> Rightness:
    """1 where depth is within 5 % of the truth."""
    return np.asarray(np.abs(depth - truth) <= DEPTH_SHARE * truth, np.float32)


def normals_right(normals: Array, truth: Array) -> Rightness:
    """1 where unit normals (..., 3) are within 22.5° of the truth."""
    cosine = np.einsum("...i,...i->...", normals.astype(np.float32), truth.astype(np.float32))
    return np.asarray(cosine >= np.cos(np.radians(NORMAL_DEGREES)), np.float32)


def flow_right(flow: Array, truth: Array) -> Rightness:
    """1 where flow (..., 2) ends within 1 px of the truth."""
    miss = flow.astype(np.float32) - truth.astype(np.float32)
    return np.asarray(np.hypot(miss[..., 0], miss[..., 1]) <= FLOW_PIXELS, np.float32)


def _judged(label: str, right: Callable[[Array, Array], Rightness]) -> Judge:
    """`right` where the field of that name holds a truth, NaN elsewhere."""

    def judge(made: Array, truth: Mapping[str, Array]) -> Rightness:
        known = field(label).valid(truth[label])
        return np.where(known, right(made, truth[label]), np.float32(np.nan))

    return judge


Judge = Callable[[Array, Mapping[str, Array]], Rightness]
# Label → (label, truth by field name) → how right each pixel is, NaN where that can't be told.
RIGHT: Mapping[str, Judge] = {
    "edges": lambda made, truth: edges_right(made, truth["edges"] > 127),
    "regions": lambda made, truth: regions_right(made, truth["instance"]),
    "motion": lambda made, truth: class_right(made, truth["motion"] > 127),
    "foreground": lambda made, truth: class_right(made, truth["foreground"] > 127),
    "saliency": lambda made, truth: class_right(made, truth["saliency"] > 127),
    "disparity": lambda made, truth: order_right(made, truth["disparity"]),
    "depth": _judged("depth", depth_right),
    "normals": _judged("normals", normals_right),
    "flow": _judged("flow", flow_right),
    "flow_backward": _judged("flow_backward", flow_right),
}
# The fields of renders that judges read; what stands out is known of composites alone.
TRUTH = tuple(sorted({"instance", *RIGHT} - {"regions", "saliency"}))
