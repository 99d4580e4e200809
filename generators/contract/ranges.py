"""The values that a detector's parameters may have, declared where the parameter is."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """Least and greatest value of a parameter, both allowed: `width: Annotated[int, Range(32, 4096)] = 320`."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Parameter:
    """A parameter of a detector: name, type as Python calls it, default, and its range if it declares one."""

    name: str
    type: str
    default: Any
    range: Range | None


def parameters_of(detector: type[Any]) -> dict[str, Parameter]:
    """The parameters of a detector class by name, in order."""
    hints = typing.get_type_hints(detector, include_extras=True)
    found = {}
    for one in dataclasses.fields(detector):
        declared = getattr(hints[one.name], "__metadata__", ())
        limits = next((thing for thing in declared if isinstance(thing, Range)), None)
        found[one.name] = Parameter(one.name, type(one.default).__name__, one.default, limits)
    return found
