"""The contract of fields as a test: what `freelabels.generators.contract.fields.Field` promises."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX, IMAGE_AXES, Array, Field, Kind, fields
from freelabels.testing.broken import ContractBroken

# Kinds whose values are numbers that can be without end or missing, and those that count something.
_REAL = (Kind.RELATIVE, Kind.METRIC, Kind.DIRECTION, Kind.DISPLACEMENT, Kind.COORDINATE)
_BYTES = (Kind.IMAGE, Kind.PROBABILITY, Kind.CONFIDENCE, Kind.BITS)
_IDS = (Kind.IDENTITY, Kind.CATEGORY)
_NOT_A_NUMBER = (Kind.RELATIVE, Kind.METRIC, Kind.DISPLACEMENT)
_ZERO = (Kind.DIRECTION, Kind.COORDINATE)


def check_field(field: Field) -> None:
    """Check that a field's parts agree, so that it can be stored, checked and drawn by its kind.

    Raises ContractBroken with one sentence for the first rule that is broken.
    """
    for problem in _problems(field):
        raise ContractBroken(f"the field {field.name!r} {problem}")


def _problems(field: Field) -> Iterator[str]:
    if not field.name.isidentifier():
        yield "has a name that is no plain word of letters, digits and _"
    if field.name.endswith(CONFIDENCE_SUFFIX):
        yield f"has a name that ends in {CONFIDENCE_SUFFIX!r}: the confidence of a label needs no field of its own"
    if fields().get(field.name, field) != field:
        yield "has the name of another field"
    if not field.meaning:
        yield "does not say what it means"
    if len(field.axes) != len(field.sizes):
        yield f"has {len(field.axes)} axes and {len(field.sizes)} sizes"
    if "frame" in field.axes or len(set(field.axes)) < len(field.axes):
        yield f"has the axes {field.axes}; frame stands before them, and each has a name of its own"
    yield from _kind_problems(field)
    values = _empty(field)
    try:
        field.check(values)
    except ValueError as error:
        yield f"refuses an array in which there is no label ({error})"
        return
    if field.is_label:
        valid = field.valid(values)
        if valid.shape != values.shape[:3] or valid.dtype != bool:
            yield f"says where it is valid in the shape {valid.shape}, not (frame, y, x)"
        if field.invalid is not None and valid.any():
            yield f"has the invalid value {field.invalid}, which it takes for a label"


def _kind_problems(field: Field) -> Iterator[str]:
    try:
        dtype = np.dtype(field.dtype)
    except TypeError:
        yield f"has the dtype {field.dtype!r}, which numpy does not know"
        return
    kind = field.kind
    if kind in _REAL and dtype.kind != "f":
        yield f"is of kind {kind}, which needs floating-point numbers, not {dtype}"
    if kind in _BYTES and dtype != np.uint8:
        yield f"is of kind {kind}, which needs uint8, not {dtype}"
    if kind in _IDS and dtype.kind != "u":
        yield f"is of kind {kind}, which needs unsigned integers, not {dtype}"
    if kind not in (Kind.TABLE, Kind.BITS):
        if not field.is_map:
            yield f"is of kind {kind}, which needs the axes {IMAGE_AXES} first, not {field.axes}"
        if field.sizes[:2] != (None, None):
            yield f"has the size {field.sizes[:2]}; a map is as large as the frame"
    if kind in (Kind.IMAGE, *_REAL[2:]) and len(field.axes) != 3:
        yield f"is of kind {kind}, which needs an axis of channels"
    if (
        kind in (Kind.PROBABILITY, Kind.CONFIDENCE, Kind.RELATIVE, Kind.METRIC, *_IDS)
        and len(field.axes) != 2
    ):
        yield f"is of kind {kind}, which has one value a pixel"
    if kind in _NOT_A_NUMBER and not (field.invalid is not None and np.isnan(field.invalid)):
        yield f"is of kind {kind}, whose invalid value is NaN, not {field.invalid}"
    if kind in _ZERO and field.invalid != 0:
        yield f"is of kind {kind}, whose invalid value is 0, not {field.invalid}"
    if kind is Kind.CATEGORY and field.invalid is not None and field.invalid > np.iinfo(dtype).max:
        yield f"has the invalid value {field.invalid}, which {dtype} can't hold"
    if field.trusted and kind is not Kind.TABLE:
        yield f"is of kind {kind}, whose confidence follows from that; only tables say that they are trusted"
    if field.names and kind not in (Kind.CATEGORY, Kind.TABLE):
        yield f"is of kind {kind}, which has no table of names"


def _empty(field: Field) -> Array:
    """An array (2, …) of the field that holds its invalid value, or 0."""
    shape = (2, *(3 if size is None else size for size in field.sizes))
    return np.full(shape, 0 if field.invalid is None else field.invalid, field.dtype)
