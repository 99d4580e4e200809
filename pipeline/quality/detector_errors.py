"""How right are the detectors and do their confidences tell the truth: on a dataset's own renders, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from freelabels.generators.contract.calibration import map_name
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import detectors
from freelabels.generators.contract.fields import Array
from freelabels.generators.contract.lens import distorts
from freelabels.pipeline.quality.detector_views import STILLS, sensed_depth, tallies_of
from freelabels.pipeline.quality.reliability import Tally
from freelabels.pipeline.quality.rightness import RIGHT, TRUTH
from freelabels.pipeline.shards.dataset import Dataset

MEANING = {
    "edges": "a true boundary within 2 px where one is claimed, none missed within 2 px elsewhere",
    "motion": "the right one of moving and still",
    "foreground": "the right one of foreground and ground",
    "saliency": "the right one of standing out and not",
    "regions": "of the same object as most of its region",
    "disparity": "ordered as the truth against other pixels over 5 % of depth away",
    "depth": "within 5 % of the truth",
    "normals": "within 22.5° of the truth",
    "flow": "within 1 px of the truth",
    "flow_backward": "within 1 px of the truth",
}


@dataclass(frozen=True)
class DetectorErrors:
    """A detector against exact truth.

    wrong: share of wrong labels; wrong_trusted: of those with the highest confidence, one half; right is what
    `meaning` says. ece: expected calibration error. bins: number, mean confidence and share of right labels of
    each bin of confidence that holds any.
    """

    label: str
    detector: str
    meaning: str
    labels: int
    wrong: float
    wrong_trusted: float
    ece: float
    bins: tuple[tuple[int, float, float], ...]


def measure_detectors(
    dataset: Dataset, clips: Sequence[tuple[str, int, int]], frames: int
) -> tuple[DetectorErrors, ...]:
    """Run all detectors on rendered frames, as photos, as video and as depth images, and compare with the truth.

    clips: (shard, first row, end row) of each; frames: most that are used of a clip.
    """
    found: dict[tuple[str, str], list[Tally]] = {}
    judged = frozenset(
        name for name, cls in detectors().items() if any(label in RIGHT for label in cls.makes)
    )
    named = {map_name(name, yes): name for name in judged for yes in (False, True)}
    for shard_name, start, stop in clips:
        shard = dataset.open(shard_name)
        truth = {
            name: shard.read_rows(name, start, min(stop, start + frames))
            for name in ("image", "time", "camera_K", *TRUTH, *({"camera_distortion"} & set(shard.fields)))
        }
        shard.close()
        for (map_of, label), tally in tallies_of(_views(truth, start), judged).items():
            found.setdefault((label, named[map_of]), []).append(tally)
    order = {label: k for k, label in enumerate(RIGHT)}
    keys = sorted(found, key=lambda key: (order[key[0]], key[1]))
    return tuple(_measured(*key, Tally.sum(found[key])) for key in keys)


def _views(truth: dict[str, Array], seed: int) -> dict[str, tuple[Clip, dict[str, Array]]]:
    """A rendered clip as `pipeline.quality.detector_views.VIEWS` that need no second camera see it."""
    K, bent = truth["camera_K"][0], truth.pop("camera_distortion", None)
    intrinsics = "assumed" if distorts(bent) else "given"  # detectors know pinholes only
    still = {name: values[::STILLS] for name, values in truth.items()}
    photo = Clip(still["image"], still["time"], K, intrinsics)
    depth = sensed_depth(still["depth"], np.random.default_rng(seed))
    sensor = Clip(still["image"], still["time"], K, intrinsics, sensor_depth=depth)
    views = {"photo": (photo, still), "sensor": (sensor, still)}
    if len(truth["image"]) > 1:
        views["video"] = Clip(truth["image"], truth["time"], K, intrinsics), truth
    return views


def _measured(label: str, detector: str, tally: Tally) -> DetectorErrors:
    count, said, right = tally.bins()
    bins = tuple(
        (int(n), round(float(s), 4), round(float(r), 4))
        for n, s, r in zip(count, said, right, strict=True)
        if n > 0
    )
    return DetectorErrors(
        label,
        detector,
        MEANING.get(label, ""),
        int(tally.count.sum()),
        round(tally.risk(1.0), 4),
        round(tally.risk(0.5), 4),
        round(tally.calibration_error, 4),
        bins,
    )
