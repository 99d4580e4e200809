"""How much each detector hangs on each of its constants: one figure, with each of them 30 % less and 30 % more."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.labels.metrics import Row
from benchmarks.labels.trials import Trial, trials

FACTORS = (0.7, 1.3)
# What isn't chosen but given: seeds, the definition of right, sizes below which there is nothing to work on, and
# how far solvers go.
GIVEN = {"SEED", "RIGHT", "SMALLEST_SIDE", "LEAST_SIDE", "NOWHERE", "LEAST_SAMPLES", "CUT_PIXELS", "CELLS"}
GIVEN |= {"LEAST_TRACKS", "ROUNDS", "CONVERGED", "EIGEN_TOLERANCE", "DAMPING", "LEAST_GAIN", "BEHIND", "BINS"}


def sensitivity_rows(data: Path | None) -> Iterator[Row]:
    """The figure of each trial as it is, then with each parameter and constant changed; NaN: it doesn't run so."""
    for trial in trials(data):
        for where in trial.samples:
            metric = f"{trial.metric}, {trial.better} is better"
            about: Row = {"label": trial.detector.name, "data": where, "metric": metric}
            yield {**about, "method": "as it is", "value": trial.run(trial.detector, where)}
            for parameter, value in parameters(trial):
                for factor in FACTORS:
                    detector = replace(trial.detector, **{parameter: scaled(value, factor)})  # type: ignore[type-var]
                    method = f"{parameter} × {factor}"
                    yield {**about, "method": method, "value": _tried(trial, detector, where)}
            for module, name in constants(trial.modules):
                for factor in FACTORS:
                    with changed(module, name, factor):
                        value = _tried(trial, trial.detector, where)
                    method = f"{module.__name__.rpartition('.')[2]}.{name} × {factor}"
                    yield {**about, "method": method, "value": value}


def parameters(trial: Trial) -> Iterator[tuple[str, float]]:
    """Names and values of a detector's numbers."""
    for field in fields(trial.detector):  # type: ignore[arg-type]
        value = getattr(trial.detector, field.name)
        if _is_number(value):
            yield field.name, value


def constants(modules: tuple[ModuleType, ...]) -> Iterator[tuple[ModuleType, str]]:
    """Modules and names of the numbers, and tuples of numbers, that they define in capitals."""
    for module in modules:
        for node in ast.parse(inspect.getsource(module)).body:
            names = [
                name.id
                for target in (node.targets if isinstance(node, ast.Assign) else [])
                for name in ast.walk(target)
                if isinstance(name, ast.Name)
            ]
            for name in names:
                value = getattr(module, name)
                each = value if isinstance(value, tuple) else (value,)
                if name.isupper() and name not in GIVEN and all(map(_is_number, each)):
                    yield module, name


def scaled(value: Any, factor: float) -> Any:
    """A number, or each of a tuple, times a factor; whole numbers stay whole and change by one at least."""
    if isinstance(value, tuple):
        return tuple(scaled(each, factor) for each in value)
    if not isinstance(value, int):
        return value * factor
    near = round(value * factor)
    return near if near != value else value + (1 if factor > 1 else -1)


@contextmanager
def changed(module: ModuleType, name: str, factor: float) -> Iterator[None]:
    """A module with one of its constants times a factor."""
    usual = getattr(module, name)
    setattr(module, name, scaled(usual, factor))
    try:
        yield
    finally:
        setattr(module, name, usual)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _tried(trial: Trial, detector: Any, where: str) -> float:
    try:
        return trial.run(detector, where)
    except Exception:  # whatever a library makes of the value: a window of even width, no cells at all
        return float("nan")
