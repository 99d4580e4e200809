"""Rendered clips as photo, video, stereo pair and depth sensor see them, and how right detectors are on each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from freelabels.generators.contract.calibration import map_name
from freelabels.generators.contract.clip import CONSECUTIVE, INTRINSICS, SEED, SENSOR_DEPTH, STEREO, Clip
from freelabels.generators.contract.detector import Detector, plan, run_detectors
from freelabels.generators.contract.fields import Array, Kind, confidence_name
from freelabels.generators.contract.fields import field as field_named
from freelabels.pipeline.quality.reliability import Tally
from freelabels.pipeline.quality.rightness import RIGHT
from freelabels.renderers.pixels.depth_sensor import sensed

STILLS = 4  # every so many frames of a clip serve as photos, stereo pairs and depth images
QUANTUM = (
    0.0028  # of the sensor's depth, metres at one metre, growing with the square: a structured-light camera
)


@dataclass(frozen=True)
class View:
    """A way of looking at a rendered clip: what it gives to detectors, and the labels it is judged by."""

    provides: frozenset[str]
    labels: tuple[str, ...]


VIEWS: Mapping[str, View] = {
    "photo": View(frozenset(), ("edges", "regions")),
    # What a photo shows is a few things before clutter; in rendered rooms everything but the walls is foreground.
    "pasted": View(frozenset(), ("saliency", "foreground")),
    "video": View(
        frozenset({CONSECUTIVE, INTRINSICS}), ("flow", "motion", "foreground", "disparity", "normals")
    ),
    # Normals are judged by video alone: depth that was measured gives better ones than their score says.
    "stereo": View(frozenset({STEREO, INTRINSICS}), ("disparity",)),
    "sensor": View(frozenset({SENSOR_DEPTH, INTRINSICS}), ("depth", "disparity")),
}
Key = tuple[str, str]  # name of a map, label
NEEDED = {"regions": "instance"}  # the true field that judges a label, where it isn't the label's own


def tallies_of(
    views: Mapping[str, tuple[Clip, Mapping[str, Array]]], judged: frozenset[str]
) -> dict[Key, Tally]:
    """Counts of confidences and right labels of the detectors named in `judged`, by detector and label.

    views: clip and true fields by name of `VIEWS`. Confidences are raw scores where no map is in use.
    """
    found: dict[Key, list[Tally]] = {}
    for name, (clip, truth) in views.items():
        wanted = _wanted(VIEWS[name], judged)
        made = run_detectors(clip, wanted)
        for detector in wanted:
            for label in detector.makes:
                # A detector that others of a view read from is judged where its own truth is known.
                if detector.name in judged and label in RIGHT and NEEDED.get(label, label) in truth:
                    trust = made[confidence_name(label)]
                    right = RIGHT[label](made[label], truth)
                    if field_named(label).kind is not Kind.PROBABILITY:
                        found.setdefault((detector.name, label), []).append(Tally.of(trust, right))
                        continue
                    for yes in (False, True):
                        said = np.where((made[label] > 127) == yes, trust, 0)
                        key = map_name(detector.name, yes), label
                        found.setdefault(key, []).append(Tally.of(said, right))
    return {key: Tally.sum(parts) for key, parts in found.items()}


def views_of(judged: frozenset[str]) -> list[str]:
    """Names of the views on which the detectors named in `judged` make something."""
    return [name for name, view in VIEWS.items() if _wanted(view, judged)]


def _wanted(view: View, judged: frozenset[str]) -> list[Detector]:
    """The judged detectors that make labels of a view, and those they read from, in order."""
    kept: list[Detector] = []
    read: set[str] = set()
    for detector in reversed(plan(view.labels, view.provides | {SEED}, {}).detectors):
        if detector.name in judged or read.intersection(detector.makes):
            kept.insert(0, detector)
            read |= detector.needs | getattr(detector, "uses", frozenset())
    return kept


def sensed_depth(depth: Array, rng: np.random.Generator) -> Array:
    """Depth (T, H, W) as a structured-light camera measures it, see `sensed`."""
    return np.stack([sensed(frame, QUANTUM, rng) for frame in depth])
