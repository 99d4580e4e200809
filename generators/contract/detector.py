"""What a detector is, where detectors register, and in which order they run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, Protocol, TypeVar

from freelabels.generators.contract.calibration import calibration_digest
from freelabels.generators.contract.clip import BETWEEN, Clip
from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX, Array, known_field
from freelabels.ground.errors import UserError
from freelabels.ground.plugins import plugins
from freelabels.ground.spelling import nearest


class Detector(Protocol):
    """A frozen dataclass that is at once configuration, behaviour and provenance of hard-coded labels.

    Calling it with a clip returns arrays by field name, in the contract's dtypes, the first axis the clip's
    frames: every field in `makes` and, for each label among them, its confidence. `needs` names what it must
    have: field names (labels made before), or `CONSECUTIVE`, `STEREO`, `SENSOR_DEPTH`, `INTRINSICS`,
    `BASELINE`, `SOUND` from `clip`. An optional class variable `uses` names labels that help where they are made
    too, or `BETWEEN`; no other labels, and no frames between, are on the clip it is called with. `version` is
    raised whenever the same parameters would give other labels.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    makes: ClassVar[tuple[str, ...]]
    needs: ClassVar[frozenset[str]]

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        ...


DetectorClass = Callable[..., Detector]
AnyClass = TypeVar("AnyClass", bound=type[Any])

NO_CHOICE: Mapping[str, str] = {}

_REGISTRY: dict[str, type[Any]] = {}
# Modules with built-in detectors. Where several make one field, the first whose needs are met is used.
MODULES: tuple[str, ...] = (
    "freelabels.generators.flow",
    "freelabels.generators.motion",
    "freelabels.generators.depth.sensor_depth",
    "freelabels.generators.depth.stereo",
    "freelabels.generators.depth.stereo_depth",
    "freelabels.generators.depth.video_disparity",
    "freelabels.generators.normals",
    "freelabels.generators.edges",
    "freelabels.generators.regions",
    "freelabels.generators.saliency",
    "freelabels.generators.foreground",
    "freelabels.generators.right",
    "freelabels.generators.speed",
    "freelabels.generators.sound",
    "freelabels.generators.sound_texture",
)


def register(detector: AnyClass) -> AnyClass:
    """Class decorator: make a detector known under its `name`. Raises ValueError if another one is called so."""
    if _REGISTRY.get(detector.name, detector).__qualname__ != detector.__qualname__:
        raise ValueError(f"two detectors are called {detector.name!r}")
    _REGISTRY[detector.name] = detector
    return detector


@cache
def detectors() -> Mapping[str, type[Any]]:
    """All detector classes by name: plug-ins (entry point group ``freelabels.detectors``) come first."""
    for _, detector in plugins("freelabels.detectors"):
        register(detector)
    for module in MODULES:
        import_module(module)
    return _REGISTRY


def provenance(detector: Detector) -> dict[str, Any]:
    """What made a label: detector name, version, parameters and digest of its confidence maps, ready for JSON."""
    assert dataclasses.is_dataclass(detector)
    return {
        "generator": detector.name,
        "version": detector.version,
        "parameters": dataclasses.asdict(detector),
        "calibration": calibration_digest(detector.name),
    }


def optional_inputs(detector: Detector | type[Any]) -> frozenset[str]:
    """The labels a detector can use but does not need, without their confidences."""
    uses = frozenset(getattr(detector, "uses", ())) - {BETWEEN}
    return frozenset(n for n in uses if not n.endswith(CONFIDENCE_SUFFIX))


def sees_between(detector: Detector | type[Any]) -> bool:
    """Whether a detector looks at the source's frames between those stored."""
    return BETWEEN in getattr(detector, "uses", ())


def inputs(detector: Detector, available: Iterable[str]) -> list[str]:
    """The fields among `available` that a detector reads, sorted."""
    wanted = detector.needs | getattr(detector, "uses", frozenset())
    return sorted(wanted.intersection(available))


def label_names() -> list[str]:
    """Every label that some detector makes, in the order of the registry."""
    return list(dict.fromkeys(name for cls in detectors().values() for name in labels_made(cls)))


def labels_made(detector: Detector | type[Any]) -> tuple[str, ...]:
    """What a detector makes, without the confidences beside its labels."""
    return tuple(name for name in detector.makes if not name.endswith(CONFIDENCE_SUFFIX))


@dataclass(frozen=True)
class Plan:
    """The detectors to run on a source, in order, and why the labels left out can't be had."""

    detectors: tuple[Detector, ...]
    skipped: Mapping[str, str]


def plan(
    labels: Sequence[str],
    provides: frozenset[str],
    configured: Mapping[str, Detector],
    makers: Mapping[str, str] = NO_CHOICE,
) -> Plan:
    """Choose and order the detectors that make `labels` from a source that `provides` some of the needs.

    configured: instances that replace a detector's default parameters, by detector name. makers: the only
    detector to make a label with, by label. Labels that others need are added. Raises ValueError for a label no
    detector makes, UserError where `makers` contradict each other.
    """
    chosen: list[Detector] = []
    skipped: dict[str, str] = {}
    made: set[str] = set()

    def add(cls: type[Any]) -> None:
        for other in cls.makes:
            if makers.get(other, cls.name) != cls.name:
                raise UserError(
                    f"{cls.name} makes {', '.join(labels_made(cls))} together, so {makers[other]} can't make "
                    f"{other} beside it: choose detectors for the others too, or leave these labels out"
                )
        for label in sorted(optional_inputs(cls)):
            if label in labels:
                why_not(label, frozenset(cls.makes))
        chosen.append(configured.get(cls.name) or cls())
        made.update(cls.makes)

    def missing(cls: type[Any], asking: frozenset[str]) -> list[str]:
        lacks = []
        for need in sorted(cls.needs - provides):
            label = need.removesuffix(CONFIDENCE_SUFFIX)
            if known_field(need) is None or need in asking or why_not(label, asking):
                lacks.append(need)
        return lacks

    def why_not(label: str, asking: frozenset[str]) -> str:
        """Try to add the detector for a label; the empty string, or why it can't be had."""
        if label in made or label in asking:
            return "" if label in made else f"{label} from itself"
        able = [
            cls
            for cls in detectors().values()
            if label in cls.makes and makers.get(label, cls.name) == cls.name
        ]
        if not able:
            raise ValueError(f"no detector makes {label!r}: {nearest(label, label_names())}")
        reasons = []
        for cls in able:
            lacks = missing(cls, asking | {label})
            if not lacks:
                add(cls)
                return ""
            reasons.append(" and ".join(lacks))
        return "needs " + ", or ".join(dict.fromkeys(reasons))

    for label in labels:
        reason = why_not(label, frozenset())
        if reason:
            skipped[label] = reason
    return Plan(tuple(chosen), skipped)


def run_detectors(clip: Clip, detectors: Sequence[Detector]) -> dict[str, Array]:
    """Run detectors in order on one clip, each seeing only the labels it declares. Returns all they made.

    Raises ValueError if a detector does not keep its word.
    """
    made: dict[str, Array] = {}
    for detector in detectors:
        available = {**clip.labels, **made}
        seen = {name: available[name] for name in inputs(detector, available)}
        between = clip.between if sees_between(detector) else ()
        result = detector(replace(clip, labels=seen, between=between))
        if set(result) != set(detector.makes):
            raise ValueError(f"{detector.name} made {sorted(result)}, it says {sorted(detector.makes)}")
        for name, values in result.items():
            if len(values) != len(clip):
                raise ValueError(
                    f"{detector.name} made {len(values)} frames of {name}, the clip has {len(clip)}"
                )
        made |= result
    return made
