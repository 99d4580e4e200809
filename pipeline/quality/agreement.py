"""Do fields that know nothing of each other agree: edges with jumps of depth, flow with the next frame, and so on.

Agreement is no proof (two fields can share a mistake) but disagreement is a finding, and it needs no truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array, confidence_name, field
from freelabels.generators.contract.lens import lens_rays
from freelabels.pipeline.quality.rightness import order_right

Mask = NDArray[np.bool_]
Columns = Mapping[str, Array]

REACH = 2  # pixels that a boundary may lie beside a jump
JUMP = 0.1  # of the logarithm of depth between neighbours
STEP = 0.05  # of disparity's range (1st to 99th percentile) between neighbours
TRUSTED = 127  # confidence × 255 above which a label takes part
MOST = 20_000  # pixels compared by rank
LEAST = 20  # pixels without which nothing is said
STILL = 1.0  # grey levels of change between frames below which flow has nothing to explain


@dataclass(frozen=True)
class Check:
    """A way in which fields of consecutive frames should agree.

    needs: the fields it reads. meaning: what its value is. unit: of the value. best: the value of full
    agreement; chance: that of fields which have nothing to do with each other, None if there is none.
    """

    name: str
    needs: tuple[str, ...]
    meaning: str
    measure: Callable[[Columns], float]
    best: float = 1.0
    chance: float | None = 0.5
    unit: str = ""


def trusted(name: str, columns: Columns) -> Mask:
    """(T, H, W) where a field holds a label that is trusted more than not."""
    valid = field(name).valid(columns[name])
    trust = columns.get(confidence_name(name))
    return valid if trust is None else valid & (trust > TRUSTED)


def outranks(upper: Array, lower: Array) -> float:
    """The share of pairs in which a value of `upper` exceeds one of `lower`, ties half: 0.5 is chance.

    Also called the area under the ROC curve. NaN for too few values.
    """
    if len(upper) < LEAST or len(lower) < LEAST:
        return float("nan")
    upper, lower = (values[:: max(1, len(values) // MOST)].astype(np.float32) for values in (upper, lower))
    ordered = np.sort(lower)
    below, upto = (np.searchsorted(ordered, upper, side) for side in ("left", "right"))
    return float(((below + upto) / 2).mean() / len(ordered))


def _borders(differs: Callable[[Array, Array], Array], values: Array) -> Mask:
    """(T, H, W) pixels that differ from their right or lower neighbour."""
    out = np.zeros(values.shape[:3], bool)
    out[:, :, :-1] |= differs(values[:, :, :-1], values[:, :, 1:])
    out[:, :-1] |= differs(values[:, :-1], values[:, 1:])
    return out


def _edges_at(borders: Mask, columns: Columns, among: Mask | None = None) -> float:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH + 1,) * 2)
    near = np.stack([cv2.dilate(np.ascontiguousarray(frame), disc) for frame in columns["edges"]])
    others = ~borders if among is None else ~borders & among
    return outranks(near[borders], near[others])


def edges_at_depth_jumps(columns: Columns) -> float:
    """See `CHECKS`."""
    known = trusted("depth", columns) & np.isfinite(columns["depth"])
    with np.errstate(all="ignore"):
        log = np.where(known, np.log(columns["depth"]), np.nan)
    with np.errstate(invalid="ignore"):
        return _edges_at(_borders(lambda a, b: np.abs(a - b) > JUMP, log), columns, known)


def edges_at_disparity_steps(columns: Columns) -> float:
    """See `CHECKS`."""
    known = trusted("disparity", columns)
    if known.sum() < LEAST:
        return float("nan")
    values = np.where(known, columns["disparity"].astype(np.float32), np.nan)
    low, high = np.nanpercentile(values, (1, 99))
    with np.errstate(invalid="ignore"):
        steps = _borders(lambda a, b: np.abs(a - b) > STEP * max(high - low, 1e-6), values)
    return _edges_at(steps, columns, known)


def edges_at_region_borders(columns: Columns) -> float:
    """See `CHECKS`."""
    return _edges_at(_borders(np.not_equal, columns["regions"]), columns)


def edges_at_object_borders(columns: Columns) -> float:
    """See `CHECKS`."""
    return _edges_at(_borders(np.not_equal, columns["instance"]), columns)


def disparity_in_order_of_depth(columns: Columns) -> float:
    """See `CHECKS`."""
    known = trusted("disparity", columns) & trusted("depth", columns) & np.isfinite(columns["depth"])
    disparity = np.where(known, columns["disparity"].astype(np.float32), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        right = order_right(disparity, 1 / columns["depth"])
    return float(np.nanmean(right)) if np.isfinite(right).any() else float("nan")


def _distortion(columns: Columns, t: int) -> Array | None:
    bent = columns.get("camera_distortion")
    return None if bent is None else bent[t]


def normals_of_depth(columns: Columns) -> float:
    """See `CHECKS`."""
    angles = []
    known = trusted("normals", columns)
    shutter = columns.get("camera_shutter")
    for t, depth in enumerate(columns["depth"]):
        if shutter is not None and shutter[t, 1] > 0:
            continue  # neighbouring rows are taken from different places: their depths span no surface
        here = known[t] & np.isfinite(depth)
        with np.errstate(all="ignore"):
            sight = lens_rays(columns["camera_K"][t], _distortion(columns, t), *depth.shape)
            points = sight * np.where(here, depth, np.nan)[..., None].astype(np.float64)
            across, down = (np.gradient(points, axis=axis) for axis in (1, 0))
            made = np.cross(down, across)
            stored = columns["normals"][t].astype(np.float64)
            across_both = np.linalg.norm(np.cross(made, stored), axis=-1)
            angle = np.degrees(np.arctan2(across_both, np.abs(np.einsum("hwc,hwc->hw", made, stored))))
        angles.append(angle[here & np.isfinite(angle)])
    found = np.concatenate([np.zeros(0), *angles])
    return float(np.median(found)) if len(found) >= LEAST else float("nan")


def _looked_up(values: Array, flow: Array) -> Array:
    """`values` (H, W[, C]) float32 at where `flow` (H, W, 2) leads from each pixel; NaN outside."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.asarray(
        cv2.remap(
            values,
            x + flow[..., 0],
            y + flow[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(np.nan,) * 4,
        )
    )


def flow_there_and_back(columns: Columns) -> float:
    """See `CHECKS`."""
    known = trusted("flow", columns)
    back_known = trusted("flow_backward", columns)
    visible = columns.get("flow_visibility")
    misses = []
    for t in range(len(known) - 1):
        there = columns["flow"][t].astype(np.float32)
        back = columns["flow_backward"][t + 1].astype(np.float32)
        back = np.where(back_known[t + 1][..., None], back, np.nan)
        miss = np.linalg.norm(there + _looked_up(back, np.nan_to_num(there)), axis=-1)
        here = known[t] & np.isfinite(miss)
        misses.append(miss[here if visible is None else here & (visible[t] == 1)])
    found = np.concatenate(misses) if misses else np.zeros(0)
    return float((found <= 1).mean()) if len(found) >= LEAST else float("nan")


def flow_explains_change(columns: Columns) -> float:
    """See `CHECKS`."""
    known = trusted("flow", columns)
    left = change = 0.0
    for t in range(len(known) - 1):
        one, two = (columns["image"][k].astype(np.float32) for k in (t, t + 1))
        moved = _looked_up(two, np.nan_to_num(columns["flow"][t].astype(np.float32)))
        here = known[t] & np.isfinite(moved).all(axis=-1)
        left += float(np.abs(one - moved)[here].sum())
        change += float(np.abs(one - two)[here].sum())
    pixels = 3 * max(int(known[:-1].sum()), 1)
    return 1 - left / change if change / pixels > STILL else float("nan")


def moving_is_foreground(columns: Columns) -> float:
    """See `CHECKS`."""
    known = trusted("motion", columns)
    moves = columns["motion"] > 127
    return outranks(columns["foreground"][known & moves], columns["foreground"][known & ~moves])


CHECKS = (
    Check(
        "edges lie at jumps of depth",
        ("edges", "depth"),
        f"how often edge probability within {REACH} px of a jump of depth (over 10 %) exceeds that elsewhere",
        edges_at_depth_jumps,
    ),
    Check(
        "edges lie at steps of disparity",
        ("edges", "disparity"),
        f"how often edge probability within {REACH} px of a step of disparity (over 5 % of its range) exceeds "
        "that elsewhere",
        edges_at_disparity_steps,
    ),
    Check(
        "edges lie at borders of objects",
        ("edges", "instance"),
        f"how often edge probability within {REACH} px of a border of objects exceeds that elsewhere",
        edges_at_object_borders,
    ),
    Check(
        "edges lie at borders of regions",
        ("edges", "regions"),
        f"how often edge probability within {REACH} px of a border of regions exceeds that elsewhere",
        edges_at_region_borders,
    ),
    Check(
        "disparity is in the order of depth",
        ("disparity", "depth"),
        "share of pairs of pixels (over 5 % apart) that both put in the same order",
        disparity_in_order_of_depth,
    ),
    Check(
        "normals are those of depth",
        ("normals", "depth", "camera_K"),
        "median angle between normals and the slope of depth",
        normals_of_depth,
        best=0.0,
        chance=None,
        unit="°",
    ),
    Check(
        "flow leads there and back",
        ("flow", "flow_backward"),
        "share of trusted pixels that forward and then backward flow bring back within 1 px",
        flow_there_and_back,
        chance=None,
    ),
    Check(
        "flow explains the next frame",
        ("flow", "image"),
        "share of the change between frames that is gone once flow is undone; 0: no better than no flow",
        flow_explains_change,
        chance=0.0,
    ),
    Check(
        "what moves is foreground",
        ("motion", "foreground"),
        "how often foreground probability on a moving pixel exceeds that on a still one",
        moving_is_foreground,
    ),
)
