"""A look at the pixels of a bounded sample of a dataset: do its fields agree, and what are its images like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from freelabels.generators.contract.fields import Array, confidence_name
from freelabels.ground.errors import CorruptShard
from freelabels.pipeline.quality.agreement import CHECKS
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.statistics import BINS, Histogram

LOOKED_AT = 10_000  # clips, for their mean length
RUN = 4  # consecutive frames read of a clip
STRONGEST = (
    0.25  # step between neighbouring pixels (of full brightness) at which the histogram of contrast ends
)


@dataclass(frozen=True)
class Span:
    """Consecutive frames of one clip: rows start … stop - 1 of a shard."""

    shard: str
    start: int
    stop: int


@dataclass(frozen=True)
class Agreement:
    """The value of one check, the mean over so many clips; the rest is as in `agreement.Check`."""

    name: str
    needs: tuple[str, ...]
    meaning: str
    value: float
    clips: int
    best: float
    chance: float | None
    unit: str


@dataclass(frozen=True)
class Survey:
    """What was seen in so many frames of so many clips.

    images: histograms of what every image has, by name. unreadable: what was wrong with those that can't be read.
    """

    frames: int
    clips: int
    agreements: tuple[Agreement, ...]
    images: dict[str, Histogram]
    unreadable: tuple[str, ...] = ()


def sample_spans(clips: Sequence[Span], frames: int, run: int = RUN) -> list[Span]:
    """Runs of consecutive frames from the middle of clips spread evenly over all, together at most `frames`.

    Runs are of about `run` frames, longer where there are few clips to take from.
    """
    if not clips or frames < 1:
        return []
    some = clips[:: -(-len(clips) // LOOKED_AT)]
    mean = sum(clip.stop - clip.start for clip in some) / len(some)
    count = min(len(clips), frames, math.ceil(frames / max(1, min(run, mean))))
    chosen = [clips[(2 * k + 1) * len(clips) // (2 * count)] for k in range(count)]
    out: list[Span] = []
    left = frames
    for k, clip in enumerate(
        sorted(chosen, key=lambda c: c.stop - c.start)
    ):  # what short ones leave, long ones get
        length = min(clip.stop - clip.start, left // (count - k))
        start = clip.start + (clip.stop - clip.start - length) // 2
        out.append(Span(clip.shard, start, start + length))
        left -= length
    return sorted(out, key=lambda span: (span.shard, span.start))


def survey(dataset: Dataset, sample: Sequence[Span]) -> Survey:
    """Read the sampled frames and check them."""
    unreadable: list[str] = []
    values: dict[str, list[float]] = {}
    counts: dict[str, Array] = {}
    wanted = {"image", *(name for check in CHECKS for name in check.needs)}
    wanted |= {"flow_visibility", "camera_distortion", "camera_shutter"}
    for span in sample:
        try:
            columns = _read(dataset, span, wanted)
        except CorruptShard as error:
            unreadable.append(str(error))
            continue
        for check in CHECKS:
            if set(check.needs) <= set(columns):
                found = check.measure(columns)
                if math.isfinite(found):
                    values.setdefault(check.name, []).append(found)
        if "image" in columns:
            for name, (seen, most) in image_values(columns["image"]).items():
                made = np.histogram(np.minimum(seen, most), BINS, (0, most))[0]
                counts[name] = counts.get(name, 0) + made
    agreements = tuple(
        Agreement(
            check.name,
            check.needs,
            check.meaning,
            round(float(np.mean(values[check.name])), 4),
            len(values[check.name]),
            check.best,
            check.chance,
            check.unit,
        )
        for check in CHECKS
        if check.name in values
    )
    ends = {"brightness": 1.0, "saturation": 1.0, "local contrast": STRONGEST}
    images = {name: Histogram(tuple(made.tolist()), 0.0, ends[name]) for name, made in counts.items()}
    frames = sum(span.stop - span.start for span in sample)
    return Survey(frames, len(sample), agreements, images, tuple(dict.fromkeys(unreadable)))


def _read(dataset: Dataset, span: Span, wanted: set[str]) -> dict[str, Array]:
    """The wanted columns of some rows, with their confidences."""
    shard = dataset.open(span.shard)
    try:
        have = [n for n in shard.fields if n in wanted or n in {confidence_name(w) for w in wanted}]
        return shard.read_columns(have, span.start, span.stop)
    finally:
        shard.close()


def image_values(image: Array) -> dict[str, tuple[Array, float]]:
    """Brightness, saturation and local contrast (N,) of pixels of images (T, H, W, 3), and each scale's end."""
    colour = image[:, ::2, ::2].astype(np.float32) / 255
    grey = image.astype(np.float32).mean(axis=-1) / 255
    most = colour.max(axis=-1)
    saturation = np.where(most > 0, 1 - colour.min(axis=-1) / np.maximum(most, 1e-6), 0)
    steps = np.hypot(np.diff(grey, axis=2)[:, :-1], np.diff(grey, axis=1)[:, :, :-1])
    return {
        "brightness": (grey.reshape(-1), 1.0),
        "saturation": (saturation.reshape(-1), 1.0),
        "local contrast": (steps.reshape(-1), STRONGEST),
    }
