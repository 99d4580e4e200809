"""The frames of a dataset as every format takes them: clip by clip, with what is known of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX, Array, Kind, field, known_field
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest
from freelabels.ground.versions import __version__
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import excluded_rows, exclusions_of
from freelabels.pipeline.shards.index import Index
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.shards.splits import SPLITS, Splits, splits_of
from freelabels.pipeline.viewer.frame_reader import names_of
from freelabels.pipeline.viewer.inspect import index_to_look
from freelabels.pipeline.viewer.places import without_places

ALWAYS = (
    *("frame_index", "time", "domain"),
    *("camera_K", "camera_distortion", "camera_shutter", "camera_velocity", "camera_pose", "baseline"),
)  # tables that say what a frame is


@dataclass(frozen=True)
class Frames:
    """Some consecutive frames of one clip, none of them excluded.

    keys: a name each, that stays when labels are added or made anew. columns: arrays (frame, …) by field. about:
    what a line can say of each, with the names of the ids that it shows. objects: the table of a rendered clip.
    split: its split, "" in a dataset without splits.
    """

    keys: tuple[str, ...]
    columns: Mapping[str, Array]
    about: tuple[Mapping[str, Any], ...]
    objects: tuple[Mapping[str, Any], ...]
    split: str = ""

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Source:
    """What is converted: a dataset, the columns chosen from it (all maps and their confidences, unless told).

    places: whether paths from the root of this machine are told; else their last folder and name alone. private:
    which words are not told; then of sources and of the dataset the name alone is.
    """

    dataset: Dataset
    fields: tuple[str, ...] = ()
    places: bool = False
    private: Callable[[str], bool] | None = None

    @cached_property
    def index(self) -> Index:
        """Of its shards. Raises NotADataset."""
        return index_to_look(self.dataset)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The maps and masks to convert, each with its confidence. Raises UserError for one not there."""
        there = sorted({name for recipe in self.index.recipes for name in recipe})
        shown = [n for n in there if (spec := known_field(n)) and (spec.is_map or spec.kind is Kind.BITS)]
        labels = [name for name in shown if not name.endswith(CONFIDENCE_SUFFIX)]
        for name in self.fields:
            if name not in labels:
                raise UserError(f"{self.dataset.path} has no {name!r} to convert: {nearest(name, labels)}")
        chosen = ["image", *(name for name in self.fields or labels if name != "image")]
        return tuple(n for name in chosen for n in (name, name + CONFIDENCE_SUFFIX) if n in shown)

    def about(self) -> dict[str, Any]:
        """What the files mean and what made them, ready for JSON."""
        fields: dict[str, dict[str, Any]] = {}
        for name in self.columns:
            spec = known_field(name)
            assert spec is not None
            made: list[Any] = []
            for recipe in self.index.recipes:
                if name in recipe and recipe[name] not in made:
                    made.append(recipe[name])
            said = {"kind": str(spec.kind), "meaning": spec.meaning, "unit": spec.unit, "frame": spec.frame}
            fields[name] = {**said, "dtype": spec.dtype, "made_by": made}
        tables = {}
        for name in ALWAYS:
            if any(name in recipe for recipe in self.index.recipes):
                spec = field(name)
                tables[name] = {"meaning": spec.meaning, "unit": spec.unit, "frame": spec.frame}
        place = str(self.dataset.path).rstrip("/")
        named = Path(place).name if self.private else place
        about = {"freelabels": __version__, "dataset": named, "fields": fields, "tables": tables}
        return about if self.places else without_places(about)

    @cached_property
    def rule(self) -> Splits | None:
        """How the dataset is divided, if it is."""
        return splits_of(self.dataset)

    @property
    def splits(self) -> tuple[str, ...]:
        """Of a dataset that is divided train, val and test; else one without a name."""
        return ("",) if self.rule is None else SPLITS

    def clips(self, split: str | None = None) -> Iterator[Frames]:
        """All clips in order, or those of a split, without excluded frames. Raises CorruptShard."""
        excluded = exclusions_of(self.dataset)
        for shard in self.dataset.open_all(self.dataset.shards()):
            keep = ~excluded_rows(shard, excluded)
            for clip in shard.clips:
                its = "" if self.rule is None else self.rule.of(shard, clip)
                start, stop = clip["rows"]
                rows = start + np.flatnonzero(keep[start:stop])
                if len(rows) and split in (None, its):
                    yield self._frames(shard, clip, rows, its)
            shard.close()

    def _frames(self, shard: Shard, clip: Mapping[str, Any], rows: Array, split: str) -> Frames:
        wanted = [
            name for name in (*self.columns, *ALWAYS, "object_visible", "object_box") if name in shard.fields
        ]
        start, stop = clip["rows"]
        columns = {n: values[rows - start] for n, values in shard.read_columns(wanted, start, stop).items()}
        said = {
            "clip": f"{shard.id}-{start:02d}",
            "kind": clip.get("kind", ""),
            "source": str((clip.get("source") or [""])[0]),
            "intrinsics": clip.get("intrinsics", ""),
            "tags": [tag["text"] for tag in clip.get("tags", ())],
        }
        if self.private:
            said["source"] = Path(said["source"].replace("\\", "/")).name
            said["tags"] = [text for text in said["tags"] if not self.private(text)]
        if split:
            said["split"] = split
        tables = {n: names for n in self.columns if n in columns and (names := names_of(shard, n, clip))}
        about = []
        for k, row in enumerate(rows.tolist()):
            told = {name: _plain(columns[name][k]) for name in ALWAYS if name in columns}
            called = {name: _seen(table, columns[name][k]) for name, table in tables.items()}
            about.append({"key": f"{shard.id}-{row:02d}", **said, **told, "names": called})
        return Frames(
            tuple(one["key"] for one in about),
            columns,
            tuple(about if self.places else without_places(about)),
            tuple(clip.get("objects", ())),
            split,
        )


def _seen(table: Mapping[int, str], ids: Array) -> dict[str, str]:
    """What those ids are called that a frame shows."""
    return {str(number): table[number] for number in np.unique(ids).tolist() if number in table}


def _plain(value: Array) -> Any:
    """A number or a list of them, ready for JSON: None where they are not known."""
    return value.tolist() if np.isfinite(value).all() else None


def images_of(columns: Sequence[str]) -> list[str]:
    """Columns that are pictures: packed masks are not."""
    return [name for name in columns if (spec := known_field(name)) and spec.is_map]
