"""Single frames of a dataset for people to look at: pictures, overlays, real values, figures, provenance."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import cv2
import numpy as np

from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX, Array, Kind, confidence_name, known_field
from freelabels.generators.contract.fields import field as field_named
from freelabels.generators.contract.pictures import overlay, picture
from freelabels.pipeline.quality.duplicates import HASH, hash_of
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import FrameIdentity, identities_of
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.shards.statistics import statistics

OPEN_SHARDS = 8
FIGURE_PIXELS = 64 * 64  # of a frame that its figures are taken from
LEAST_SHARE = 0.002  # of a frame's pixels that a class must hold to be said to be in it
QUALITY = 82  # of WebP and JPEG; 100 is lossless
TOLD = (  # tables that a page says of a frame
    *("time", "frame_index", "camera_K", "camera_distortion", "camera_shutter", "camera_pose"),
    *("object_visible", "speed"),
)
CLASSES = "semantic"  # the field whose classes frames are found by


def drawable(name: str) -> bool:
    """Whether there is a picture of a column: a map or packed masks of a field this version knows."""
    spec = known_field(name)
    return spec is not None and (spec.is_map or spec.kind is Kind.BITS)


def is_label(name: str) -> bool:
    """Whether a column is a per-pixel label of a field this version knows."""
    spec = known_field(name)
    return spec is not None and spec.is_label


def clip_of(shard: Shard, row: int) -> tuple[int, dict[str, Any]]:
    """The number of the clip that a row belongs to, and what the shard says of it."""
    return next((k, clip) for k, clip in enumerate(shard.clips) if clip["rows"][0] <= row < clip["rows"][1])


@dataclass(frozen=True)
class Values:
    """One field of one frame as stored, every `step`-th pixel of it, (y, x[, channel])."""

    array: Array
    step: int = 1

    @property
    def about(self) -> dict[str, Any]:
        """What a reader must know to make the array from its bytes."""
        return {"shape": list(self.array.shape), "dtype": self.array.dtype.name, "step": self.step}


@dataclass(frozen=True)
class FrameReader:
    """Reads frames of a dataset, from several threads, with the last few shards kept open."""

    dataset: Dataset
    _shards: OrderedDict[str, Shard] = field(default_factory=OrderedDict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    @contextmanager
    def shard(self, name: str) -> Iterator[Shard]:
        """A shard, for this thread alone as long as the context lasts. Raises CorruptShard."""
        with self._lock:
            if name not in self._shards:
                self._shards[name] = self.dataset.open(name)
                if len(self._shards) > OPEN_SHARDS:
                    self._shards.popitem(last=False)[1].close()
            self._shards.move_to_end(name)
            yield self._shards[name]

    def close(self) -> None:
        """Give the open files back."""
        with self._lock:
            while self._shards:
                self._shards.popitem()[1].close()

    def _with_confidence(self, name: str, row: int, column: str) -> tuple[Array, Array | None]:
        with self.shard(name) as shard:
            trust = confidence_name(column)
            return shard.read(column, row), shard.read(trust, row) if trust in shard.fields else None

    def picture(
        self, shard: str, row: int, column: str, side: int, *, lay_over: bool = False, least: int = 0
    ) -> bytes:
        """A column of a frame as WebP with its longer side at most `side` pixels.

        lay_over: as a layer with opacity to lay over the image. least: confidence × 255 below which there is no
        label. Raises CorruptShard, KeyError if absent, ValueError if there is no picture of it.
        """
        values, confidence = self._with_confidence(shard, row, column)
        if confidence is not None and least:
            confidence = np.where(confidence < least, np.uint8(0), confidence)
        colours = (overlay if lay_over else picture)(column, values, confidence)
        kind = field_named(column).kind
        if lay_over and kind is Kind.PROBABILITY:  # thin lines must not fade as they are made smaller
            cell = math.ceil(max(colours.shape[:2]) / side)
            colours[..., 3] = cv2.dilate(colours[..., 3], np.ones((cell, cell), np.uint8))
        sharp = kind in (Kind.IDENTITY, Kind.CATEGORY, Kind.BITS)
        shown = _fitted(np.ascontiguousarray(colours), side, sharp)
        if lay_over:  # opacity is stored without loss, so fewer levels of it are smaller
            shown[..., 3] = np.rint(shown[..., 3] / 17.0) * 17
        return encoded(shown)

    def values(self, shard: str, row: int, column: str, most: int | None = None) -> Values:
        """A map of a frame as stored; at most about `most` pixels along its longer side, none of them blended."""
        with self.shard(shard) as opened:
            array = opened.read(column, row)
        step = 1 if most is None else max(1, math.ceil(max(array.shape[:2]) / most))
        return Values(np.ascontiguousarray(array[::step, ::step]), step)

    def figures(self, shard: str, row: int) -> dict[str, float]:
        """Figures of one frame by name: brightness, contrast; coverage, mean confidence and mean of each label."""
        with self.shard(shard) as opened:
            columns = {
                name: opened.read(name, row)
                for name in opened.fields
                if name == "image" or is_label(name) or is_label(name.removesuffix(CONFIDENCE_SUFFIX))
            }
        return frame_figures(columns)

    def hash(self, shard: str, row: int) -> Array:
        """The perceptual hash of a frame's image, (64,) float32; 0 if it has none."""
        with self.shard(shard) as opened:
            if "image" not in opened.fields:
                return np.zeros(HASH * HASH, np.float32)
            return hash_of(opened.read("image", row))

    def details(self, shard: str, row: int) -> dict[str, Any]:
        """What is known of one frame beyond its pixels: identity, source, time, camera, names of ids."""
        with self.shard(shard) as opened:
            number, clip = clip_of(opened, row)
            tables = {name: _plain(opened.read(name, row)) for name in TOLD if name in opened.fields}
            identity = identities_of(opened)[row]
            return {
                "identity": {"clip": identity.clip, "frame": identity.index},
                "clip_number": number,
                "clip": {k: v for k, v in clip.items() if k not in ("spec", "scene", "classes")},
                "source": (clip.get("source") or ["unknown"])[0],
                "how": _how(clip),
                "tables": tables,
                "names": {n: names for n in opened.fields if (names := names_of(opened, n, clip))},
            }

    def made_by(self, shard: str) -> list[dict[str, Any]]:
        """What made the columns of a shard: {"columns": …, "made_by": …}, one for all that have it in common."""
        together: dict[str, dict[str, Any]] = {}
        with self.shard(shard) as opened:
            for name in opened.fields:
                made_by = opened.made_by(name)
                key = json.dumps(made_by, sort_keys=True)
                together.setdefault(key, {"columns": [], "made_by": made_by})["columns"].append(name)
        return list(together.values())

    def identities(self, shard: str) -> list[FrameIdentity]:
        """The identity of each frame of a shard."""
        with self.shard(shard) as opened:
            return identities_of(opened)


def _how(clip: Mapping[str, Any]) -> dict[str, Any]:
    """Of how a clip was decoded or drawn, what a line can say."""
    spec = clip.get("spec") or {}
    keep = ("size", "rate", "intrinsics", "part", "parts", "note", "baseline")
    return {name: spec[name] for name in keep if spec.get(name) not in (None, "", 0.0)}


def _plain(values: Array) -> Any:
    """Numbers as JSON has them: what isn't finite is null."""
    return np.where(np.isfinite(values), values, np.array(None)).tolist()


def names_of(shard: Shard, column: str, clip: Mapping[str, Any]) -> dict[int, str]:
    """What the ids of a column are called: by its table of names, or by the objects of a clip."""
    spec = known_field(column)
    if spec is None:
        return {}
    if spec.kind is Kind.CATEGORY or spec.names:
        table = shard.attributes(column).get("names") or spec.names
        pairs = table.items() if isinstance(table, Mapping) else enumerate(table)
        return {int(number): str(name) for number, name in pairs}
    if column == "instance":
        return {int(thing["id"]): str(thing.get("name", "")) for thing in clip.get("objects", [])}
    return {}


def frame_figures(columns: Mapping[str, Array]) -> dict[str, float]:
    """Figures of one frame from its columns (y, x[, channel]), as `FrameReader.figures` gives them.

    What is absent is left out. ``class k`` is the share of pixels of the class k.
    """
    out: dict[str, float] = {}
    for name, values in columns.items():
        step = max(1, math.isqrt(values.shape[0] * values.shape[1] // FIGURE_PIXELS))
        small = values[::step, ::step]
        if name == "image":
            grey = small.astype(np.float32).mean(axis=-1) / 255
            out["brightness"], out["contrast"] = float(grey.mean()), float(grey.std())
        elif is_label(name):
            trust = columns.get(confidence_name(name))
            confidence = None if trust is None else trust[None, ::step, ::step]
            found = statistics(name, small[None], confidence)
            for figure in ("coverage", "confidence_mean", "mean"):
                if figure in found:
                    out[f"{name} {figure.removesuffix('_mean')}"] = float(found[figure])
            if name == CLASSES:
                counts = np.array(found.get("counts", []), float)
                shares = counts / max(counts.sum(), 1)
                out |= {f"class {k}": float(v) for k, v in enumerate(shares) if v >= LEAST_SHARE}
    return out


def encoded(colours: Array, quality: int = QUALITY) -> bytes:
    """uint8 sRGB (y, x, 3), or with opacity (y, x, 4), as WebP."""
    code = cv2.COLOR_RGBA2BGRA if colours.shape[-1] == 4 else cv2.COLOR_RGB2BGR
    done, data = cv2.imencode(".webp", cv2.cvtColor(colours, code), [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise ValueError(f"a picture of {colours.shape[1]} × {colours.shape[0]} pixels can't be encoded")
    return data.tobytes()


def _fitted(colours: Array, side: int, sharp: bool) -> Array:
    """Scaled down to a longer side of at most `side` pixels; ids stay what they are."""
    height, width = colours.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return colours
    to = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(colours, to, interpolation=cv2.INTER_NEAREST if sharp else cv2.INTER_AREA))
