"""Text from the command line → values; one sentence for what can't be read.

What needs numpy is imported where it is used, so that no command's help waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tyro

from freelabels.cli.shell.terminal import note
from freelabels.ground.errors import UserError
from freelabels.ground.settings import parsed
from freelabels.ground.spelling import nearest

if TYPE_CHECKING:
    from freelabels.generators.contract.detector import Detector
    from freelabels.pipeline.work.runner import Cluster

FLAT = tyro.conf.arg(name="")  # a configuration whose fields are options of the command itself
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Where:
    """Where and how carefully a stage runs."""

    workers: int | None = None
    """Tasks at a time; default one a CPU; 0 works in this process, without Ray."""
    address: str | None = None
    """Address of a running Ray cluster (auto, ray://HOST:10001); default: one of its own."""
    memory: str = "1.5G"
    """Memory a task may need; Ray starts no more tasks than fit."""
    attempts: int = 3
    """How often a shard is tried before it is recorded in failures.jsonl."""
    time_limit: float | None = None
    """Seconds an item may take on Ray before its worker is ended and it is tried again. Default: a shard a minute
    for each frame of 256 x 256, at least 10 minutes; looking at 32 photos 10 minutes, at a video 6 hours."""

    @property
    def cluster(self) -> Cluster:
        """As the runner takes it. Raises UserError."""
        from freelabels.pipeline.work.runner import Cluster

        if self.workers is not None and self.workers < 0:
            raise UserError(f"--workers can't be negative, not {self.workers}")
        if self.attempts < 1:
            raise UserError(f"--attempts must be at least 1, not {self.attempts}")
        if self.time_limit is not None and self.time_limit <= 0:
            raise UserError(f"--time-limit must be positive, not {self.time_limit}")
        memory = bytes_of(self.memory)
        return Cluster(self.workers, self.address, memory, self.attempts, self.time_limit, note)


HERE = Where()


def compression_of(name: str) -> str:
    """The name of a compression, if it is one. Raises UserError."""
    from freelabels.pipeline.shards.columns import COMPRESSION

    if name not in COMPRESSION:
        raise UserError(f"--compression is one of {', '.join(COMPRESSION)}, not {name!r}")
    return name


def bytes_of(text: str) -> int:
    """Bytes of a size such as 500M or 1.5G. Raises UserError."""
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in UNITS else (text, "")
    try:
        size = int(float(number) * UNITS.get(unit, 1))
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise UserError(f"--memory is a size such as 500M or 1.5G, not {text!r}")
    return size


def size_of(text: str, smallest: int = 16) -> tuple[int, int]:
    """(height, width) in pixels of SIDE or WIDTHxHEIGHT. Raises UserError."""
    parts = text.lower().split("x")
    if len(parts) <= 2 and all(part.isdecimal() and smallest <= int(part) <= 8192 for part in parts):
        return int(parts[-1]), int(parts[0])
    raise UserError(
        f"--size is a side such as 256, or WIDTHxHEIGHT, of {smallest} to 8192 pixels, not {text!r}"
    )


def configured(settings: Sequence[str]) -> list[Detector]:
    """Detectors with the parameters that NAME.PARAMETER=VALUE settings give them. Raises UserError."""
    from freelabels.generators.contract.detector import detectors
    from freelabels.generators.contract.ranges import parameters_of

    changes: dict[str, dict[str, Any]] = {}
    for setting in map(parsed, settings):
        name, parameter = setting.name, setting.parameter
        if name not in detectors():
            raise UserError(
                f"--set {setting.text}: there is no detector {name!r}: {nearest(name, detectors())}"
            )
        known = parameters_of(detectors()[name])
        if parameter not in known:
            raise UserError(f"--set {setting.text}: {name} has no {parameter!r}: {nearest(parameter, known)}")
        value, limits = setting.like(known[parameter].default), known[parameter].range
        if limits is not None and value not in limits:
            raise UserError(f"--set {setting.text}: {parameter} goes from {limits}, not {value}")
        changes.setdefault(name, {})[parameter] = value
    return [_tried(name, values) for name, values in changes.items()]


def chosen(choices: Sequence[str]) -> dict[str, str]:
    """The detector to make each label with, of LABEL=NAME settings. Raises UserError."""
    from freelabels.generators.contract.detector import detectors, label_names

    found = {}
    for choice in choices:
        label, equals, name = choice.partition("=")
        if not (label and equals and name):
            raise UserError(f"--detector is LABEL=NAME, such as edges=my_edges, not {choice!r}")
        if label not in label_names():
            raise UserError(
                f"--detector {choice}: no detector makes {label!r}: {nearest(label, label_names())}"
            )
        makers = [maker for maker, cls in detectors().items() if label in cls.makes]
        if name not in makers:
            raise UserError(f"--detector {choice}: {name!r} does not make {label}: {nearest(name, makers)}")
        found[label] = name
    return found


def _tried(name: str, values: Mapping[str, Any]) -> Detector:
    """A detector with some of its parameters changed, if it works with them. Raises UserError."""
    from freelabels.generators.contract.detector import detectors
    from freelabels.pipeline.quality.detector_trial import complaint

    try:
        detector: Detector = detectors()[name](**values)
        reason = complaint(detector)
    except (TypeError, ValueError) as error:
        reason = str(error)
    if reason:
        said = ", ".join(f"{name}.{parameter}={value}" for parameter, value in values.items())
        raise UserError(f"--set {said}: {name} can't work with that ({reason})")
    return detector
