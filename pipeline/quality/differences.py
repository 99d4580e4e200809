"""How far two labellings of the same frame lie apart, by the measure of the field's kind; 0 is the same.

- edges: 1 - F within 2 px. Other probabilities and packed masks: 1 - IoU of what is above one half.
- ids: 1 - the share covered, each segment by the one of the other labelling that fits it best; both ways.
  Source: Arbelaez et al., "Contour Detection and Hierarchical Image Segmentation" (TPAMI 2011), section 2.3.
- categories: the share of pixels of another class. Directions: the angle. Displacements: the end-point error.
- lengths: the absolute relative difference (AbsRel), of the first labelling's lengths. Relative depth: the
  difference once scale and shift are fitted, as a share of the first labelling's range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array, Field, Kind, field
from freelabels.pipeline.quality.rightness import EDGE_REACH

Map = NDArray[np.float32]
Known = NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """Two labellings of one frame, compared.

    total, weight: their difference is total / weight, and that of several frames the ratio of the sums; both 0
    where neither claims anything. map: (H, W) difference of each pixel, NaN where it can't be told. compared,
    only_a, only_b: pixels that both label, the first alone, the second alone.
    """

    total: float
    weight: float
    map: Map
    compared: int
    only_a: int
    only_b: int

    @property
    def value(self) -> float:
        """The difference; NaN if no pixel has both labels."""
        return ratio(self.total, self.weight) if self.compared else float("nan")


def ratio(total: float, weight: float) -> float:
    """The first over the second, 0 where nothing has weight."""
    return total / weight if weight else 0.0


@dataclass(frozen=True)
class Measure:
    """How fields of a kind are compared. name: of the measure; full: what a map of differences shows as most."""

    name: str
    unit: str
    full: float
    by: Callable[[Array, Array, Known], tuple[float, float, Map]]  # two labellings, where both hold: (H, W)


def measure_of(name: str) -> Measure:
    """The measure of a field. Raises KeyError if there is no such field, ValueError if it is no map."""
    spec = field(name)
    if not (spec.is_map or spec.kind is Kind.BITS):
        raise ValueError(f"{name} has no value per pixel, so there is nothing to compare pixel by pixel")
    return MEASURES["edges" if name == "edges" else spec.kind]


def difference(
    name: str, a: Array, b: Array, trust_a: Array | None = None, trust_b: Array | None = None
) -> Difference:
    """Compare one frame's values (y, x[, channel]) of a field; where a confidence (y, x) is 0 there is no label.

    Raises ValueError if their shapes differ, and as `measure_of`.
    """
    spec, measure = field(name), measure_of(name)
    if spec.kind is Kind.BITS:
        a, b = _same_objects(a, b)
    if a.shape != b.shape:
        raise ValueError(f"{name} is {_size(a)} pixels in one and {_size(b)} in the other")
    has_a, has_b = _labelled(spec, a, trust_a), _labelled(spec, b, trust_b)
    both = has_a & has_b
    total, weight, shown = measure.by(a, b, both)
    return Difference(
        total,
        weight,
        np.where(both, shown, np.float32(np.nan)),
        int(both.sum()),
        int((has_a & ~has_b).sum()),
        int((has_b & ~has_a).sum()),
    )


def _size(values: Array) -> str:
    return f"{values.shape[1]} × {values.shape[0]}"


def _labelled(spec: Field, values: Array, trust: Array | None) -> Known:
    if spec.kind is Kind.BITS:
        return np.ones((values.shape[1], 8 * values.shape[2]), bool)
    known = spec.valid(values[None])[0]
    return known if trust is None else np.asarray(known & (trust > 0))


def _same_objects(a: Array, b: Array) -> tuple[Array, Array]:
    """Packed masks of as many objects; those that one of them lacks are empty there."""
    most = max(len(a), len(b))
    return tuple(np.pad(one, ((0, most - len(one)), (0, 0), (0, 0))) for one in (a, b))  # type: ignore[return-value]


def _mean(apart: Map, both: Known) -> tuple[float, float, Map]:
    return float(apart[both].sum(dtype=np.float64)), float(both.sum()), apart


def _edges(a: Array, b: Array, both: Known) -> tuple[float, float, Map]:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * EDGE_REACH + 1,) * 2)
    one, two = ((values > 127) & both for values in (a, b))
    near_one, near_two = (cv2.dilate(mask.astype(np.uint8), disc) > 0 for mask in (one, two))
    alone = (one & ~near_two) | (two & ~near_one)
    missed = float((one & ~near_two).sum() + (two & ~near_one).sum())
    return missed, float(one.sum() + two.sum()), alone.astype(np.float32)


def _mask(a: Array, b: Array, both: Known) -> tuple[float, float, Map]:
    one, two = ((values > 127) & both for values in (a, b))
    apart = one ^ two
    return float(apart.sum()), float((one | two).sum()), apart.astype(np.float32)


def _bits(a: Array, b: Array, both: Known) -> tuple[float, float, Map]:
    one, two = (np.unpackbits(values[1:], axis=-1).astype(bool) for values in (a, b))  # 0 is the static scene
    apart = one ^ two
    shown = apart.any(axis=0) if len(apart) else np.zeros(both.shape, bool)
    return float(apart.sum()), float((one | two).sum()), shown.astype(np.float32)


def _ids(a: Array, b: Array, both: Known) -> tuple[float, float, Map]:
    (_, one), (_, two) = (np.unique(values[both], return_inverse=True) for values in (a, b))
    apart = np.zeros(both.shape, np.float32)
    if not both.any():
        return 0.0, 0.0, apart
    shape = int(one.max()) + 1, int(two.max()) + 1
    pairs, count = np.unique(one.astype(np.int64) * shape[1] + two, return_counts=True)
    of_one, of_two = pairs // shape[1], pairs % shape[1]
    size_one, size_two = np.bincount(one), np.bincount(two)
    overlap = count / (size_one[of_one] + size_two[of_two] - count)
    best = [np.zeros(n) for n in shape]
    for of, known in ((of_one, best[0]), (of_two, best[1])):
        np.maximum.at(known, of, overlap)
    covered = (best[0][one] + best[1][two]) / 2
    apart[both] = 1 - covered
    return float((1 - covered).sum()), float(len(covered)), apart


def _classes(a: Array, b: Array, both: Known) -> tuple[float, float, Map]:
    return _mean((a != b).astype(np.float32), both)


def _angle(a: Array, b: Array, both: Known) -> tuple[float, float, Map]:
    one, two = a.astype(np.float64), b.astype(np.float64)
    across = np.linalg.norm(
        np.cross(one, two), axis=-1
    )  # exact for small angles too, where the cosine is flat
    turned = np.degrees(np.arctan2(across, np.einsum("yxc,yxc->yx", one, two)))
    return _mean(turned.astype(np.float32), both)


def _distance(a: Array, b: Array, both: Known) -> tuple[float, float, Map]:
    return _mean(np.linalg.norm(np.where(both[..., None], a.astype(np.float32) - b, 0), axis=-1), both)


def _relative_length(a: Array, b: Array, both: Known) -> tuple[float, float, Map]:
    apart = np.abs(np.where(both, b, 1) - np.where(both, a, 1)) / np.where(both, a, 1)
    return _mean(apart.astype(np.float32), both)


def _fitted(a: Array, b: Array, both: Known) -> tuple[float, float, Map]:
    one, two = a[both].astype(np.float64), b[both].astype(np.float64)
    if len(one) < 2:
        return _mean(np.zeros(both.shape, np.float32), both)
    spread = two - two.mean()
    scale = max(float(spread @ one) / max(float(spread @ spread), 1e-12), 0.0)
    low, high = np.percentile(one, (1, 99))
    apart = np.zeros(both.shape, np.float32)
    apart[both] = np.abs(one - one.mean() - scale * spread) / max(high - low, 1e-6)
    return _mean(apart, both)


def _levels(a: Array, b: Array, both: Known) -> tuple[float, float, Map]:
    apart = np.abs(a.astype(np.float32) - b.astype(np.float32))
    return _mean(apart.mean(axis=-1) if apart.ndim == 3 else apart, both)


MEASURES: dict[str, Measure] = {
    "edges": Measure(f"1 - F within {EDGE_REACH} px", "", 1.0, _edges),
    Kind.PROBABILITY: Measure("1 - IoU", "", 1.0, _mask),
    Kind.BITS: Measure("1 - IoU", "", 1.0, _bits),
    Kind.IDENTITY: Measure("1 - covering", "", 1.0, _ids),
    Kind.CATEGORY: Measure("share of another class", "", 1.0, _classes),
    Kind.DIRECTION: Measure("mean angle", "°", 45.0, _angle),
    Kind.DISPLACEMENT: Measure("end-point error", "px", 5.0, _distance),
    Kind.COORDINATE: Measure("mean distance", "", 0.5, _distance),
    Kind.METRIC: Measure("AbsRel", "", 0.25, _relative_length),
    Kind.RELATIVE: Measure("share of the range, scale and shift fitted", "", 0.25, _fitted),
    Kind.IMAGE: Measure("mean difference", "levels", 64.0, _levels),
    Kind.CONFIDENCE: Measure("mean difference", "levels", 128.0, _levels),
}
