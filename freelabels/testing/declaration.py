"""What a detector says of itself: its class and its parameters."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

from freelabels.generators.contract.clip import BETWEEN
from freelabels.generators.contract.detector import Detector, detectors
from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX, confidence_name, field, known_field
from freelabels.generators.contract.sample_clips import SOURCE_NEEDS


def declaration_problems(detector: Detector) -> Iterator[str]:
    """What is wrong with a detector's class: its kind, name, version, makes, needs and uses."""
    cls: Any = type(detector)  # what follows is what its type does not make sure of
    if not dataclasses.is_dataclass(detector) or not cls.__dataclass_params__.frozen:
        yield "is not a frozen dataclass, which is what keeps its parameters those that are recorded"
    for attribute in ("name", "version", "makes", "needs"):
        if not hasattr(cls, attribute):
            yield f"has no class variable {attribute!r}"
    if not str(cls.name).isidentifier():
        yield f"has the name {cls.name!r}; --set NAME.PARAMETER=VALUE wants letters, digits and _"
    if detectors().get(detector.name, cls).__qualname__ != cls.__qualname__:
        yield f"has the name of another detector, {detectors()[detector.name].__qualname__}"
    if type(cls.version) is not int or detector.version < 1:
        yield f"has the version {detector.version!r}, not a whole number from 1 on"
    if type(cls.makes) is not tuple or not cls.makes:
        yield f"says that it makes {detector.makes!r}, not a tuple of fields"
    for name in detector.makes:
        if known_field(name) is None:
            yield f"makes {name!r}, which is no field"
        if name == "image" or detector.makes.count(name) > 1:
            yield f"makes {name!r}, which is there already"
    for name in detector.makes:
        if (field(name).is_label or field(name).trusted) and confidence_name(name) not in detector.makes:
            yield f"makes {name!r} without {confidence_name(name)!r}"
        if name.endswith(CONFIDENCE_SUFFIX) and name.removesuffix(CONFIDENCE_SUFFIX) not in detector.makes:
            yield f"makes {name!r} without the label that it speaks of"
    uses: frozenset[str] = getattr(detector, "uses", frozenset())
    for title, wanted in (("needs", detector.needs), ("uses", uses)):
        if not isinstance(wanted, frozenset):
            yield f"has {title} = {wanted!r}, not a frozenset"
    for need in sorted(detector.needs):
        if need not in SOURCE_NEEDS and known_field(need) is None:
            yield f"needs {need!r}, which is neither a field nor something that clips have"
    for use in sorted(uses):
        if use != BETWEEN and known_field(use) is None:
            yield f"uses {use!r}, which is no field"
    if both := (detector.needs | uses) & set(detector.makes):
        yield f"reads {listed(both)}, which it makes itself"


def parameter_problems(detector: Detector) -> Iterator[str]:
    """What would keep its labels from being traced to its parameters."""
    assert dataclasses.is_dataclass(detector)
    parameters = dataclasses.asdict(detector)
    try:
        plain = json.loads(json.dumps(parameters, allow_nan=False))
    except (TypeError, ValueError) as error:
        yield f"has parameters that JSON can't hold ({error}), so no label could be traced to them"
        return
    try:
        again = _restored(detector, plain)
    except Exception as error:  # whatever its constructor makes of what it gave itself
        yield f"can't be made again from its parameters in JSON ({error})"
        return
    if again != detector:
        yield f"is another after a round trip of its parameters through JSON: {again}"


def _restored(like: Any, plain: Any) -> Any:
    """A value read from JSON, in the types of the value that was written."""
    if dataclasses.is_dataclass(like) and not isinstance(like, type):
        made = {f.name: _restored(getattr(like, f.name), plain[f.name]) for f in dataclasses.fields(like)}
        return type(like)(**made)
    if isinstance(like, tuple):
        return tuple(_restored(*pair) for pair in zip(like, plain, strict=True))
    return plain


def listed(names: Iterable[str]) -> str:
    """Names in a sentence."""
    return " and ".join(sorted(names))
