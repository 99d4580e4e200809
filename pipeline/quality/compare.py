"""Two labellings of the same frames, compared frame by frame: of two datasets, or of a dataset and a detector.

Frames are matched by what their pixels come from (`shards.exclusions.FrameIdentity`), not by where they lie.
"""

from __future__ import annotations

import dataclasses
import heapq
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from freelabels.generators.contract.clip import CONSECUTIVE, INTRINSICS, SEED, STEREO, Clip
from freelabels.generators.contract.detector import (
    Detector,
    detectors,
    inputs,
    labels_made,
    plan,
    run_detectors,
)
from freelabels.generators.contract.fields import Array, confidence_name, known_field
from freelabels.generators.contract.fields import fields as known_fields
from freelabels.generators.contract.lens import distorts
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest
from freelabels.pipeline.quality.differences import difference, measure_of, ratio
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import FrameIdentity, identities_of
from freelabels.pipeline.shards.shard import Shard

NONE_SHARED = "have no frame in common: frames are the same if they come from the same source and moment"


@dataclass(frozen=True)
class FrameDifference:
    """How far two labellings of one frame lie apart.

    shard, row: where the dataset has it (the first one, of two). difference: None if no pixel has both labels.
    compared, only_a, only_b: shares of the pixels that both label, the first alone, the second alone.
    confidence_a, confidence_b: mean over the frame, None where there is none.
    """

    source: str
    clip: str
    frame: int
    shard: str
    row: int
    difference: float | None
    compared: float
    only_a: float
    only_b: float
    confidence_a: float | None
    confidence_b: float | None


@dataclass(frozen=True)
class Labelling:
    """A field of one frame, (y, x[, channel]), with its confidence (y, x) where it has one."""

    values: Array
    confidence: Array | None = None


@dataclass(frozen=True)
class Seen:
    """A frame that was compared, with its pixels. image: (H, W, 3), None if the dataset has none; map: (H, W)."""

    about: FrameDifference
    image: Array | None
    a: Labelling
    b: Labelling
    map: Array


@dataclass(frozen=True)
class Comparison:
    """Two labellings of a field. measure: what `difference` is, in `unit`; it is 0 where both are the same.

    frames: those that both have, in the order of the first dataset. difference: over all of them, None if no
    pixel has both labels; compared, only_a, only_b: shares of all their pixels. frames_only_a, frames_only_b: how
    many one of the two alone has. worst: those that differ most, with their pixels, if they were asked for.
    """

    a: str
    b: str
    field: str
    measure: str
    unit: str
    difference: float | None
    compared: float
    only_a: float
    only_b: float
    frames_only_a: int
    frames_only_b: int
    frames: tuple[FrameDifference, ...]
    worst: tuple[Seen, ...] = dataclasses.field(default=(), repr=False)

    def exceeds(self, most: float) -> bool:
        """Whether the two differ by more than that, or can't be compared."""
        return self.difference is None or self.difference > most


def compare(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    name: str,
    *,
    frames: int = 0,
    keep: int = 0,
    configured: Sequence[Detector] = (),
) -> Comparison:
    """Compare the field `name` of two datasets, or of a dataset with what a detector makes of its frames.

    a, b: datasets; one of them may be the name of a detector that makes the field: it runs on the other's stored
    frames. frames: about how many are compared, spread evenly, 0 all. keep: of how many of those that differ
    most the pixels are kept. configured: detectors with other parameters than their own. Raises UserError if there
    is nothing to compare, NotADataset, and CorruptShard.
    """
    try:
        measure = measure_of(name)
    except KeyError:
        raise UserError(
            f"--field {name}: there is no such field: {nearest(name, list(known_fields()))}"
        ) from None
    except ValueError as error:
        raise UserError(f"--field {error}") from None
    first, second = os.fspath(a), os.fspath(b)
    makers = {one: one in detectors() and not os.path.exists(one) for one in (first, second)}
    if makers[first] and makers[second]:
        raise UserError("name a dataset on one side: a detector runs on the stored frames of the other one")
    for side in (first, second):
        if not makers[side] and "://" not in side and not os.path.exists(side):
            able = [maker for maker, cls in detectors().items() if name in cls.makes]
            raise UserError(
                f"{side} is not a Freelabels dataset, nor a detector of {name}: {nearest(side, able)}"
            )
    turned = makers[first]  # frames are gone through in the order of the dataset
    whole = Dataset(second if turned else first)
    other = _detector(first if turned else second, name, configured) if any(makers.values()) else None
    for dataset in (whole, *(() if other else (Dataset(second),))):
        _ = dataset.attributes
    pairs = _Pairs(whole, other or Dataset(second), name, frames)
    found: list[FrameDifference] = []
    kept: list[tuple[float, int, Seen]] = []
    total = weight = 0.0
    pixels = np.zeros(4, np.int64)  # in all, compared, of the first alone, of the second alone
    for where, image, one, two in pairs:
        own, its = (two, one) if turned else (one, two)
        try:
            apart = difference(name, own.values, its.values, own.confidence, its.confidence)
        except ValueError as error:
            raise UserError(f"{first} and {second}: {error}; label both with the same --size") from None
        size = apart.map.size
        value = None if np.isnan(apart.value) else round(apart.value, 6)
        told = FrameDifference(
            *where,
            value,
            round(apart.compared / size, 6),
            round(apart.only_a / size, 6),
            round(apart.only_b / size, 6),
            _trust(own),
            _trust(its),
        )
        found.append(told)
        pixels += size, apart.compared, apart.only_a, apart.only_b
        total, weight = total + apart.total, weight + apart.weight
        if keep:
            entry = (-1.0 if value is None else value, -len(found), Seen(told, image, own, its, apart.map))
            (heapq.heappush if len(kept) < keep else heapq.heappushpop)(kept, entry)
    if not found:
        raise UserError(f"{first} and {second} {NONE_SHARED}")
    alone = pairs.alone[::-1] if turned else pairs.alone
    shares = (pixels / pixels[0]).round(6).tolist()
    return Comparison(
        first,
        second,
        name,
        measure.name,
        measure.unit,
        round(ratio(total, weight), 6) if pixels[1] else None,
        shares[1],
        shares[2],
        shares[3],
        alone[0],
        alone[1],
        tuple(found),
        tuple(seen for _, _, seen in sorted(kept, key=lambda entry: entry[:2], reverse=True)),
    )


def _trust(one: Labelling) -> float | None:
    return None if one.confidence is None else round(float(one.confidence.mean()) / 255, 4)


def _detector(name: str, label: str, configured: Sequence[Detector]) -> Detector:
    maker = detectors()[name]
    if label not in maker.makes:
        raise UserError(f"{name} makes {', '.join(labels_made(maker))}, not {label}")
    return next((one for one in configured if one.name == name), None) or maker()


@dataclass
class _Pairs:
    """Goes through the frames that both sides label. alone: how many frames either side has and the other not."""

    dataset: Dataset
    other: Dataset | Detector
    name: str
    frames: int
    alone: tuple[int, int] = (0, 0)

    def __iter__(
        self,
    ) -> Iterator[tuple[tuple[str, str, int, str, int], Array | None, Labelling, Labelling]]:
        theirs = _places(self.other, self.name) if isinstance(self.other, Dataset) else {}
        own = shared = 0
        rows = {s.name: s.rows for s in self.dataset.open_all(self.dataset.shards()) if self.name in s.fields}
        if not rows:
            raise UserError(f"{self.dataset.path} holds no {self.name}")
        step = max(1, sum(rows.values()) // self.frames) if self.frames else 1
        opened: dict[str, Shard] = {}
        number = 0
        for shard in self.dataset.open_all(list(rows)):
            known = identities_of(shard)
            for clip in shard.clips:
                start, stop = clip["rows"]
                chosen = {row for row in range(start, stop) if (number + row - start) % step == 0}
                number += stop - start
                own += stop - start
                if isinstance(self.other, Dataset):
                    there = {row: theirs[known[row]] for row in range(start, stop) if known[row] in theirs}
                    shared += len(there)
                else:
                    there = {row: ("", row) for row in range(start, stop)}
                made = self._made(shard, clip) if chosen and not isinstance(self.other, Dataset) else None
                for row in sorted(chosen & there.keys()):
                    if made is not None:
                        name, trust = self._columns
                        two = Labelling(
                            made[name][row - start], made[trust][row - start] if trust in made else None
                        )
                    else:
                        two = self._stored(self._open(opened, there[row][0]), there[row][1])
                    source = str((clip.get("source") or ["unknown"])[0])
                    where = source, known[row].clip, known[row].index, shard.name, row
                    image = shard.read("image", row) if "image" in shard.fields else None
                    yield where, image, self._stored(shard, row), two
            shard.close()
        for shard in opened.values():
            shard.close()
        if isinstance(self.other, Dataset):
            self.alone = own - shared, len(theirs) - shared

    @property
    def _columns(self) -> tuple[str, str]:
        return self.name, confidence_name(self.name)

    def _stored(self, shard: Shard, row: int) -> Labelling:
        name, trust = self._columns
        return Labelling(shard.read(name, row), shard.read(trust, row) if trust in shard.fields else None)

    def _open(self, opened: dict[str, Shard], name: str) -> Shard:
        """A shard of the other dataset; the last few stay open."""
        assert isinstance(self.other, Dataset)
        if name not in opened:
            opened[name] = self.other.open(name)
            if len(opened) > 4:
                opened.pop(next(iter(opened))).close()
        return opened[name]

    def _made(self, shard: Shard, clip: Mapping[str, Any]) -> Mapping[str, Array]:
        """What the detector makes of a clip's stored frames. Raises UserError if it lacks something."""
        assert not isinstance(self.other, Dataset)
        detector, (start, stop) = self.other, clip["rows"]
        spec = clip.get("spec") or {}
        stored = [n for n in shard.fields if known_field(n) is not None and n not in detector.makes]
        traits = {
            CONSECUTIVE: stop - start > 1,
            INTRINSICS: clip["kind"] == "render" or spec.get("intrinsics", "assumed") != "assumed",
            STEREO: "right" in stored,
        }
        provides = {SEED, *stored, *(trait for trait, there in traits.items() if there)}
        chosen = plan([self.name], frozenset(provides), {detector.name: detector}, {self.name: detector.name})
        if chosen.skipped:
            raise UserError(
                f"{detector.name} can't work on the stored frames of {shard.name}: it {chosen.skipped[self.name]}"
            )
        wanted = {n for one in chosen.detectors for n in inputs(one, stored)}
        columns = shard.read_columns(sorted({*wanted, "image"} | ({"right"} & set(stored))), start, stop)
        camera = [n for n in ("time", "camera_K", "camera_distortion") if n in stored]
        given = {n: shard.read_rows(n, start, stop) for n in camera}
        size = columns["image"].shape[1:3]
        bent = distorts(given.get("camera_distortion"))  # detectors know pinholes only
        K = given["camera_K"][0] if "camera_K" in given else np.diag([max(size), max(size), 1.0])
        return run_detectors(
            Clip(
                np.ascontiguousarray(columns["image"]),
                given.get("time", np.arange(stop - start, dtype=np.float64)),
                K,
                spec.get("intrinsics", "given" if clip["kind"] == "render" and not bent else "assumed"),
                right=columns.get("right"),
                labels={n: columns[n] for n in wanted if n != "right"},
            ),
            chosen.detectors,
        )


def _places(dataset: Dataset, name: str) -> dict[FrameIdentity, tuple[str, int]]:
    """Where a dataset has each frame that holds the field. Raises UserError if none does."""
    found: dict[FrameIdentity, tuple[str, int]] = {}
    for shard in dataset.open_all(dataset.shards()):
        if name in shard.fields:
            for row, identity in enumerate(identities_of(shard)):
                found.setdefault(identity, (shard.name, row))
        shard.close()
    if not found:
        raise UserError(f"{dataset.path} holds no {name}")
    return found
