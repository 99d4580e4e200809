"""What a field of the contract is: its kind, type, shape, unit, and the check of its values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.vectors import across, infinite, lengths, magnitudes

Array = NDArray[Any]

IMAGE_AXES = ("y", "x")


class Kind(StrEnum):
    """What sort of quantity a field is: decides how it is checked, drawn, resampled and learned."""

    IMAGE = "image"  # sRGB colour
    PROBABILITY = "probability"  # probability × 255
    CONFIDENCE = "confidence"  # trust × 255, 0 = ignore
    RELATIVE = "relative"  # real numbers up to a positive scale and a shift per frame
    METRIC = "metric"  # positive lengths
    DIRECTION = "direction"  # unit vectors
    DISPLACEMENT = "displacement"  # vectors in pixels
    COORDINATE = "coordinate"  # positions in an object's own frame
    IDENTITY = "identity"  # ids without order, 0 = none
    CATEGORY = "category"  # ids with a table of names
    BITS = "bits"  # one packed bit per pixel and object
    TABLE = "table"  # numbers that belong to a frame or to an object in it


@dataclass(frozen=True)
class Field:
    """One array of the contract; the leading axis is always ``frame`` and is left out of `axes`.

    `axes` names the other axes; `sizes` gives their lengths where these are fixed (None: the frame's height
    or width, or the number of objects). `invalid` is the stored value that means *no label here* (None: every
    value is a label, and distrust is said by the confidence field alone). `names` is the table of a category.
    `trusted` tables have a confidence too, one number a frame.
    """

    name: str
    kind: Kind
    dtype: str
    axes: tuple[str, ...]
    sizes: tuple[int | None, ...]
    meaning: str
    unit: str = "1"
    frame: str = "image"
    invalid: float | None = None
    names: tuple[str, ...] = ()
    trusted: bool = False

    @property
    def is_map(self) -> bool:
        """Whether the field has one value per pixel."""
        return self.axes[:2] == IMAGE_AXES

    @property
    def is_label(self) -> bool:
        """Whether the field is a per-pixel label (neither the image, nor a confidence, nor a table)."""
        return self.is_map and self.kind not in (Kind.IMAGE, Kind.CONFIDENCE)

    def valid(self, values: Array) -> NDArray[np.bool_]:
        """Where `values` (frame, y, x[, channel]) hold a label, as (frame, y, x) booleans; of tables: (frame,)."""
        if self.kind is Kind.TABLE:
            return np.asarray(np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        if self.kind in (Kind.DIRECTION, Kind.COORDINATE):
            return np.asarray(across(np.bitwise_or, magnitudes(values)) != 0)
        if self.kind is Kind.DISPLACEMENT:
            return np.asarray(across(np.maximum, magnitudes(values)) < infinite(values))
        if self.kind in (Kind.METRIC, Kind.RELATIVE):
            return np.asarray(magnitudes(values) < infinite(values))
        if self.kind is Kind.CATEGORY and self.invalid is not None:
            return np.asarray(values != self.invalid)
        return np.ones(values.shape[:3], bool)

    def check(self, values: Array) -> None:
        """Hold `values` (frame, y, x[, channel]), of tables (frame, …), to the contract.

        Raises ValueError naming the field and the rule they break.
        """
        for problem in _problems(self, values):
            raise ValueError(f"{self.name}: {problem}")


UNIT_TOLERANCE = 2e-3  # float16 rounding of a unit vector's length


def _problems(field: Field, values: Array) -> Iterator[str]:
    """What is wrong with `values` of one shard, most basic first."""
    if values.dtype != np.dtype(field.dtype):
        yield f"dtype is {values.dtype}, the contract says {field.dtype}"
        return
    if values.ndim != 1 + len(field.axes):
        yield f"has {values.ndim} axes, the contract says (frame, {', '.join(field.axes)})"
        return
    for axis, have, want in zip(field.axes, values.shape[1:], field.sizes, strict=True):
        if want is not None and have != want:
            yield f"axis {axis} has length {have}, the contract says {want}"
            return
    if field.kind is Kind.DIRECTION:
        for frame in values:  # one by one they stay in the processor's cache
            length = lengths(frame)
            if np.all((np.abs(length - 1) <= UNIT_TOLERANCE) | (length == 0)):
                continue
            if np.isfinite(length).all():
                yield "holds vectors that are neither of unit length nor zero"
            else:
                yield "holds values that are not finite"
            return
    elif field.kind is Kind.METRIC:
        if np.any(values <= 0):
            yield "holds lengths that are not positive"
    elif field.kind is Kind.DISPLACEMENT:
        bits, endless = magnitudes(values), infinite(values)
        if np.any((bits[..., 0] > endless) != (bits[..., 1] > endless)) or np.any(bits == endless):
            yield "holds vectors that are half NaN, or infinite"
    elif field.kind is Kind.RELATIVE:
        if np.any(magnitudes(values) == infinite(values)):
            yield "holds infinite values"
    elif field.kind is Kind.COORDINATE:
        if not np.isfinite(values).all() or np.any((values < 0) | (values > 1)):
            yield "holds coordinates outside [0, 1]"
    elif field.kind is Kind.CATEGORY and field.names:
        worst = int(values.max(initial=0))
        if worst >= len(field.names) and worst != field.invalid:
            yield f"holds the id {worst}, its table ends at {len(field.names) - 1}"
