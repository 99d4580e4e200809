"""What detectors and fields there are: what a person asks before choosing among them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from freelabels.generators.contract.detector import detectors, labels_made
from freelabels.generators.contract.fields import BUILT_IN, CONFIDENCE_SUFFIX, fields
from freelabels.generators.contract.ranges import Parameter, parameters_of
from freelabels.ground.errors import UserError
from freelabels.ground.plugins import plugins
from freelabels.ground.spelling import nearest

OURS = "freelabels."


@dataclass(frozen=True)
class DetectorFacts:
    """One detector.

    makes: its labels, without confidences. needs, uses: names of labels and of what else a source gives, see
    `Detector`. about: its docstring, the first line of which says what it is. plugin: the module that defines it,
    "" for one of ours.
    """

    name: str
    version: int
    makes: tuple[str, ...]
    needs: tuple[str, ...]
    uses: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    about: str
    plugin: str


@dataclass(frozen=True)
class FieldFacts:
    """One field of the contract, as `Field` has it.

    shape: a frame's, H and W the frame's own. detectors: those that make it, the first choice first. plugin: the
    entry point that defines it, "" for one of ours.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[str, ...]
    unit: str
    frame: str
    invalid: str
    meaning: str
    detectors: tuple[str, ...]
    plugin: str


def detector_facts(name: str = "") -> list[DetectorFacts]:
    """All detectors in the order in which they are chosen, or the one of that name. Raises UserError."""
    if name and name not in detectors():
        raise UserError(f"there is no detector {name!r}: {nearest(name, detectors())}")
    found = []
    for cls in detectors().values():
        if name in ("", cls.name):
            found.append(
                DetectorFacts(
                    cls.name,
                    cls.version,
                    labels_made(cls),
                    _without_confidences(cls.needs),
                    _without_confidences(frozenset(getattr(cls, "uses", ()))),
                    tuple(parameters_of(cls).values()),
                    inspect.getdoc(cls) or "",
                    "" if cls.__module__.startswith(OURS) else cls.__module__,
                )
            )
    return found


def field_facts(name: str = "") -> list[FieldFacts]:
    """All fields but confidences, or the one of that name. Raises UserError."""
    if name and name not in fields():
        raise UserError(f"there is no field {name!r}: {nearest(name, fields())}")
    defined = {field.name: where for where, field in plugins("freelabels.fields")}
    letters = {"y": "H", "x": "W"}
    found = []
    for field in fields().values():
        if name not in ("", field.name):
            continue
        sizes = zip(field.axes, field.sizes, strict=True)
        found.append(
            FieldFacts(
                field.name,
                str(field.kind),
                field.dtype,
                tuple(letters.get(axis, axis) if size is None else str(size) for axis, size in sizes),
                field.unit,
                field.frame,
                "" if field.invalid is None else f"{field.invalid:g}",
                field.meaning,
                tuple(cls.name for cls in detectors().values() if field.name in cls.makes),
                "" if field in BUILT_IN else defined.get(field.name, "a plug-in"),
            )
        )
    return found


def _without_confidences(names: frozenset[str]) -> tuple[str, ...]:
    """Names in order; of a confidence that stands beside its label, only the label."""
    return tuple(n for n in sorted(names) if n.removesuffix(CONFIDENCE_SUFFIX) not in names - {n})
