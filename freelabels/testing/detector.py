"""The contract of detectors as a test: what `freelabels.generators.contract.detector.Detector` promises."""

from __future__ import annotations

import dataclasses
import pickle
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from freelabels.generators.contract.clip import CONSECUTIVE, SEED, SENSOR_DEPTH, SOUND, STEREO, Clip
from freelabels.generators.contract.detector import Detector
from freelabels.generators.contract.fields import (
    CONFIDENCE_SUFFIX,
    Array,
    Field,
    Kind,
    confidence_name,
    field,
)
from freelabels.generators.contract.geometry import rays
from freelabels.generators.contract.sample_clips import ready_for, sample_clips
from freelabels.testing.broken import ContractBroken
from freelabels.testing.declaration import declaration_problems, listed, parameter_problems
from freelabels.testing.other_process import called_elsewhere, stir

Made = Mapping[str, Array]

NO_FLOW = {"flow": -1, "flow_backward": 0}  # the frame that has no next, or no previous one
GEOMETRY = (Kind.RELATIVE, Kind.METRIC, Kind.DIRECTION)  # needs views from two places
GRAZING = 2e-3  # cosine up to which rounding to float16 may turn a normal away


def check_detector(detector: Detector, clips: Mapping[str, Clip] | None = None) -> None:
    """Check that a detector keeps the contract, on small clips of many kinds and in another process.

    It is called with photos, videos (moving and still), stereo pairs and measured depth; with 16 × 16 to 48 × 64
    pixels, one frame to four; with black, grey, white and noise. Labels that it needs are made by the detectors
    that are installed. What is checked:

    - it is a frozen dataclass with name, version, makes and needs, whose parameters survive JSON and pickling;
    - it makes what it says, in the dtypes and shapes of the fields, with their rules for invalid values;
    - confidence is 0 where there is no label, and where nothing can be known: flow beyond the ends of a clip,
      matches without texture, geometry from frames that are all alike, depth that was not measured, silence,
      labels made of labels that nobody trusts;
    - the same clip gives the same bytes: again, in another process, with other threads, whatever the global
      random generators hold, and whatever the clip's seed is unless it declares `SEED`;
    - it leaves its inputs alone, reads no labels but those it declares, raises nothing, uses no network, and
      loads no torch, ray or zarr.

    clips: further ones to call it with, by name, such as clips that carry labels no installed detector makes.
    Raises ContractBroken with one sentence for the first rule that is broken.
    """
    for problem in _problems(detector, clips or {}):
        raise ContractBroken(f"{getattr(detector, 'name', type(detector).__name__)} {problem}")


def _problems(detector: Detector, more: Mapping[str, Clip]) -> Iterator[str]:
    """What is wrong with a detector, most basic first; whoever asks stops at the first."""
    yield from declaration_problems(detector)
    yield from parameter_problems(detector)
    try:
        pickled = pickle.dumps(detector)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        yield f"can't be sent to a worker ({error}): its class belongs at the top level of a module"
        return
    clips = _clips(detector, more)
    if not clips:
        yield f"needs {listed(detector.needs)}, which no sample clip has: pass clips that have it"
        return
    made: dict[str, Made] = {}
    for name, clip in clips.items():
        call = Call(detector, clip)
        for problem in call.problems():
            yield f"{problem}, on the clip {name!r}"
        made[name] = call.made
    answer = called_elsewhere(pickled, clips)
    if answer.called:
        yield f"reaches for the network ({answer.called[0]})"
    if answer.failure:
        yield f"{answer.failure}, in another process"
    if answer.loaded:
        yield f"loads {listed(answer.loaded)}, which workers that label do without"
    for name, theirs in answer.made.items():
        for label in _differing(made[name], theirs):
            yield f"makes another {label} in another process with other threads, on the clip {name!r}"


# --- what it does -----------------------------------------------------------------------------------------------


@dataclass
class Call:
    """One detector called with one clip, and what it made."""

    detector: Detector
    clip: Clip
    made: Made = dataclasses.field(default_factory=dict)

    def problems(self) -> Iterator[str]:
        """What is wrong with the call, most basic first."""
        given, asked = _copied(self.clip)
        before = _bytes_of(given)
        try:
            result = _call(self.detector, given, 1)
        except Exception as error:  # the contract allows none
            if undeclared := asked - self._declared:
                yield f"reads the label {listed(undeclared)} without declaring it"
            yield f"raises {type(error).__name__} ({error})"
            return
        if undeclared := asked - self._declared:
            yield f"reads the label {listed(undeclared)} without declaring it"
        if _bytes_of(given) != before:
            yield "writes into the clip that it is given"
        yield from self._result_problems(result)
        self.made = {name: values.copy() for name, values in result.items()}
        yield from self._label_problems()
        yield from self._invented()
        yield from self._repetition_problems(result)

    @property
    def _declared(self) -> frozenset[str]:
        return self.detector.needs | getattr(self.detector, "uses", frozenset())

    def _result_problems(self, result: Any) -> Iterator[str]:
        if not isinstance(result, Mapping) or set(result) != set(self.detector.makes):
            made = sorted(map(str, result)) if isinstance(result, Mapping) else type(result).__name__
            yield f"makes {made}, it says {sorted(self.detector.makes)}"
        shape = self.clip.image.shape[:3]
        for name, values in result.items():
            if not isinstance(values, np.ndarray):
                yield f"makes {name} as {type(values).__name__}, not as an array"
            try:
                field(name).check(values)
            except ValueError as error:
                yield f"breaks the contract of a field ({error})"
            if len(values) != len(self.clip):
                yield f"makes {len(values)} frames of {name}, the clip has {len(self.clip)}"
            if field(name).is_map and values.shape[:3] != shape:
                yield f"makes {name} of shape {values.shape[:3]}, the clip has (frame, y, x) = {shape}"

    def _label_problems(self) -> Iterator[str]:
        for label, trust in self._trusts():
            if np.any((trust > 0) & ~field(label).valid(self.made[label])):
                yield f"trusts {label} where there is none"
        normals = self.made.get("normals")
        if normals is not None:
            sight = rays(self.clip.camera_K, *self.clip.size)
            sight /= np.linalg.norm(sight, axis=-1, keepdims=True)
            if np.any((normals.astype(np.float64) * sight).sum(axis=-1) > GRAZING):
                yield "makes normals that face away from the camera"

    def _invented(self) -> Iterator[str]:
        """Confidence in what can't be known."""
        needs, image = self.detector.needs, self.clip.image
        matching = needs & {CONSECUTIVE, STEREO} and not needs & {SENSOR_DEPTH, SOUND}
        only_depth = SENSOR_DEPTH in needs and not needs & {CONSECUTIVE, STEREO}
        measured = self.clip.sensor_depth is not None and bool(np.isfinite(self.clip.sensor_depth).any())
        silent = self.clip.sound is not None and not np.nan_to_num(self.clip.sound).any()
        flat = not np.ptp(image.reshape(-1, 3), axis=0).any()
        alike = len(image) > 1 and bool((image == image[0]).all())
        read = [self.clip.labels[name] for name in sorted(needs) if name.endswith(CONFIDENCE_SUFFIX)]
        for label, trust in self._trusts():
            if label in NO_FLOW and trust[NO_FLOW[label]].any():
                which = "last" if label == "flow" else "first"
                yield f"trusts {label} in the {which} frame, which has no other to flow to"
            if not trust.any():
                continue
            if matching and flat:
                yield f"trusts {label}, matched between frames of one colour"
            if alike and CONSECUTIVE in needs and not needs & {STEREO, SENSOR_DEPTH} and _is_geometry(label):
                yield f"trusts {label}, seen in frames that are all alike"
            if only_depth and not measured:
                yield f"trusts {label}, of which nothing was measured"
            if SOUND in needs and silent:
                yield f"trusts {label}, of which nothing can be heard"
            if read and not any(map(np.any, read)):
                yield f"trusts {label}, made of labels that have no confidence"

    def _repetition_problems(self, result: Made) -> Iterator[str]:
        seed = self.clip.seed if SEED in self.detector.needs else self.clip.seed + 1
        other, _ = _copied(replace(self.clip, seed=seed))
        try:
            again = _call(self.detector, other, 2)
        except Exception as error:  # it raised nothing before
            yield f"raises {type(error).__name__} when called again ({error})"
            return
        for label in _differing(self.made, result):
            yield f"writes into the {label} of an earlier call"
        for label in _differing(self.made, again):
            same_seed = _call(self.detector, _copied(self.clip)[0], 2)
            if not any(name == label for name in _differing(self.made, same_seed)):
                yield f"makes another {label} for another seed, but does not declare that it needs one"
            yield f"makes another {label} when called again with the same clip"

    def _trusts(self) -> Iterator[tuple[str, Array]]:
        """Each label made, and its confidence."""
        for label in self.made:
            if not label.endswith(CONFIDENCE_SUFFIX) and confidence_name(label) in self.made:
                yield label, self.made[confidence_name(label)]


class Watched(dict[str, Array]):
    """Labels that remember which of them were asked for."""

    def __init__(self, labels: Mapping[str, Array]) -> None:
        super().__init__(labels)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Array:
        self.asked.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """As that of a dict."""
        self.asked.add(name)
        return super().get(name, default)


def _copied(clip: Clip) -> tuple[Clip, set[str]]:
    """A clip whose arrays are copies, and the names of the labels that will have been asked for."""
    arrays: dict[str, Any] = {
        name: values.copy() for name, values in vars(clip).items() if isinstance(values, np.ndarray)
    }
    labels = Watched({name: values.copy() for name, values in clip.labels.items()})
    return replace(clip, **arrays, labels=labels), labels.asked


def _bytes_of(clip: Clip) -> dict[str, bytes]:
    labels = {f"labels: {name}": values for name, values in clip.labels.items()}
    return {
        name: values.tobytes()
        for name, values in {**vars(clip), **labels}.items()
        if isinstance(values, np.ndarray)
    }


def _call(detector: Detector, clip: Clip, number: int) -> dict[str, Array]:
    """Call it with the global random generators in a state of their own, then put those back that can be."""
    kept = random.getstate(), np.random.get_state()  # noqa: NPY002
    stir(number)
    try:
        return detector(clip)
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002


def _differing(one: Made, other: Made) -> Iterator[str]:
    """Names of the arrays whose bytes differ."""
    for name, values in one.items():
        same = name in other and values.dtype == other[name].dtype and values.shape == other[name].shape
        if not same or values.tobytes() != other[name].tobytes():
            yield name


# --- what it is called with -------------------------------------------------------------------------------------


def _clips(detector: Detector, more: Mapping[str, Clip]) -> dict[str, Clip]:
    """The clips that have what a detector needs, with the labels that it reads; one whose labels say nothing."""
    clips: dict[str, Clip] = {}
    for name, clip in {**sample_clips(), **more}.items():
        ready = ready_for(detector, clip)
        if ready is not None:
            clips[name] = ready
    if clips and any(need.endswith(CONFIDENCE_SUFFIX) for need in detector.needs):
        first = next(iter(clips.values()))
        unknown = {name: _unknown(field(name), values) for name, values in first.labels.items()}
        clips["nothing known"] = replace(
            first, labels={n: v for n, v in unknown.items() if n in detector.needs}
        )
    return clips


def _unknown(about: Field, values: Array) -> Array:
    return np.full_like(values, 0 if about.invalid is None else about.invalid)


def _is_geometry(label: str) -> bool:
    return field(label).kind in GEOMETRY
