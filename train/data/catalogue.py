"""What the given datasets hold: windows of frames, columns, tables of class names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import (
    excluded_rows,
    exclusions_json,
    exclusions_of,
    read_exclusions,
    shot_of,
)
from freelabels.pipeline.shards.shard import Shard
from freelabels.train.data.order import SAMPLING
from freelabels.train.data.windows import DOMAINS, REAL, SYNTHETIC, Builder, Windows


@dataclass(frozen=True)
class Catalogue:
    """What the given datasets hold.

    windows: all of them, real ones first, shards in order. fields: (domain, name) of every column of any shard.
    names: by category, the names of its classes in all shards, a class's id being its place. digest: identifies
    the data, so that a resumed run can tell. excluded: how many frames exclusion lists keep out of it. sampling:
    how windows are grouped and ordered, see `order`.
    """

    windows: Windows
    fields: frozenset[tuple[int, str]]
    names: Mapping[str, tuple[str, ...]]
    digest: str
    excluded: int = 0
    sampling: int = SAMPLING

    def has(self, name: str) -> bool:
        """Whether any shard holds the field."""
        return any((domain, name) in self.fields for domain in DOMAINS)


def read_catalogue(
    real: Sequence[str],
    synthetic: Sequence[str],
    frames: int,
    exclude: Sequence[str] = (),
    sampling: int = SAMPLING,
) -> Catalogue:
    """List the windows of `frames` frames in all shards; clips shorter than that are left out.

    Windows that hold a frame on a dataset's own exclusion list, or on a list in one of the files `exclude`, are
    left out too. Raises UserError if a given folder is no dataset or has no clip that is long enough.
    """
    listed = frozenset(frame for path in exclude for frame in read_exclusions(path))
    excluded = 0
    windows = Builder()
    columns: set[tuple[int, str]] = set()
    names: dict[str, list[str]] = {}
    everything = hashlib.sha256()
    for domain, paths in ((REAL, real), (SYNTHETIC, synthetic)):
        for path in paths:
            dataset = Dataset(path)
            _ = dataset.attributes  # raises NotADataset
            found = len(windows)
            unwanted = listed | exclusions_of(dataset)
            if unwanted:
                everything.update(exclusions_json(unwanted).encode())
            for shard in dataset.open_all(dataset.shards()):
                columns |= {(domain, column) for column in shard.fields}
                everything.update(
                    json.dumps([domain, shard.name, shard.record.get("sha256", shard.rows)]).encode()
                )
                for column in shard.fields:
                    extend(names.setdefault(column, []), class_names(shard, column))
                out = excluded_rows(shard, unwanted)
                excluded += int(out.sum())
                shard.close()
                windows.add(str(path), shard.name, domain, _runs(shard, out, frames, sampling))
            if len(windows) == found and unwanted:
                raise UserError(
                    f"{path} has no frames left to train on: its exclusion list leaves out too many"
                )
            if len(windows) == found:
                few = f" with clips of {frames} frames or more" if frames > 1 else ""
                raise UserError(f"{path} holds no shards{few}: label or render into it first")
    tables = {column: tuple(table) for column, table in names.items() if table}
    return Catalogue(windows.build(), frozenset(columns), tables, everything.hexdigest(), excluded, sampling)


def _runs(
    shard: Shard, out: NDArray[np.bool_], frames: int, sampling: int
) -> Iterator[tuple[str, int, int, int]]:
    """As `Builder.add` takes them: the windows of each clip without a row that is `out`."""
    for clip in shard.clips:
        start, stop = clip["rows"]
        group = group_of(clip, f"{shard.id}/{start}", sampling)
        good = np.array([not out[row : row + frames].any() for row in range(start, stop - frames + 1)], bool)
        edges = np.flatnonzero(np.diff(good, prepend=False, append=False)).tolist()
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            yield clip.get("kind", ""), start + first, last - first, group


def class_names(shard: Shard, column: str) -> tuple[str, ...]:
    """A column's table of names as its attributes hold it, a list or a mapping from id to name; () without one."""
    table: Any = shard.attributes(column).get("names") or ()
    if isinstance(table, Mapping):
        return tuple(str(table.get(str(k), table.get(k, ""))) for k in range(1 + max(int(k) for k in table)))
    return tuple(str(name) for name in table)


def extend(names: list[str], table: Sequence[str]) -> None:
    """Take up in `names` what another table has besides; a table that goes on where `names` ends keeps its ids."""
    names += (
        table[len(names) :] if list(table[: len(names)]) == names else [n for n in table if n not in names]
    )


def renumbering(names: Sequence[str], table: Sequence[str]) -> NDArray[np.int64] | None:
    """By id in a shard's `table`, the id in `names`; None where both are the same."""
    if list(names[: len(table)]) == list(table):
        return None
    ids = np.arange(1 << 16)
    ids[: len(table)] = [names.index(name) for name in table]
    return ids


def group_of(clip: Mapping[str, Any], where: str = "", sampling: int = SAMPLING) -> int:
    """The number of what a clip shares with others that must not be split from it: source file, shot or scene.

    where: its name if it tells none of these. Even over 64 bits.
    """
    name = where
    shot = shot_of(clip) if sampling > 1 else ""
    for key, value in (("shot", shot), *((key, clip.get(key)) for key in ("sha256", "source", "key"))):
        if value not in (None, "", []):
            name = json.dumps([key, value], sort_keys=True)
            break
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def by_domain(datasets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Datasets of real frames and those of rendered ones. Raises UserError for one with neither, or both."""
    real: list[str] = []
    synthetic: list[str] = []
    for path in datasets:
        dataset = Dataset(path)
        shards = dataset.open_all(dataset.shards())
        kinds = {clip["kind"] == "render" for shard in shards for clip in shard.clips}
        if not kinds:
            raise UserError(f"{path} holds no shards yet; label or render into it first")
        if len(kinds) == 2:
            raise UserError(f"{path} holds real and rendered frames; give each domain a dataset of its own")
        (synthetic if True in kinds else real).append(path)
    return real, synthetic
