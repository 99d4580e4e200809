"""What the given datasets hold: windows of frames, columns, tables of class names."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards import identity
from freelabels.pipeline.shards.class_names import extend, names_in
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import (
    FrameIdentity,
    excluded_rows,
    exclusions_json,
    exclusions_of,
    listed_names,
    read_exclusions,
)
from freelabels.pipeline.shards.index import Index, read_index
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.shards.splits import SPLITS, Splits, splits_of
from freelabels.pipeline.shards.summary import decoded
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from freelabels.train.data.order import SAMPLING
from freelabels.train.data.windows import DOMAINS, REAL, SYNTHETIC, Builder, Runs, Windows

HERE, QUIET = Cluster(workers=0), Reporter("quiet")
Versions = Mapping[str, Mapping[str, str]]
"""Of some columns, by what made them, the one version that is read."""


@dataclass(frozen=True)
class Catalogue:
    """What the given datasets hold.

    windows: all of them, real ones first, shards in order. fields: (domain, name) of every column of any shard.
    names: by category, the names of its classes in all shards, a class's id being its place. digest: identifies
    the data, so that a resumed run can tell. excluded: how many frames exclusion lists keep out of it. sampling:
    how windows are grouped and ordered, see `order`. versions: of columns, by what made them, the one version
    that is read. mixed: by column that one maker made with several versions, how many frames each has made.
    frames: of a window. splits: by path, the rules of datasets that have one.
    """

    windows: Windows
    fields: frozenset[tuple[int, str]]
    names: Mapping[str, tuple[str, ...]]
    digest: str
    excluded: int = 0
    sampling: int = SAMPLING
    versions: Versions = field(default_factory=dict)
    mixed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    frames: int = 1
    splits: Mapping[str, Splits] = field(default_factory=dict)

    @property
    def longest(self) -> int:
        """Frames of the longest clip."""
        return self.windows.longest() + self.frames - 1

    def has(self, name: str) -> bool:
        """Whether any shard holds the field."""
        return any((domain, name) in self.fields for domain in DOMAINS)


def read_catalogue(
    real: Sequence[str],
    synthetic: Sequence[str],
    frames: int,
    exclude: Sequence[str] = (),
    sampling: int = SAMPLING,
    versions: Sequence[str] = (),
    only: Sequence[str] = SPLITS,
) -> Catalogue:
    """List the windows of `frames` frames in all shards; clips shorter than that are left out.

    Windows that hold a frame on a dataset's own exclusion list, or on a list in one of the files `exclude`, are
    left out too. versions: COLUMN=VERSION of columns of which no other version is to be read that the same maker
    made; what others made, such as a render's exact labels, is. only: the splits to take of datasets that have
    splits; of others everything is. Raises UserError if a given folder is no dataset or has no clip that is long
    enough, and for a version that nothing is of.
    """
    listed = frozenset(frame for path in exclude for frame in read_exclusions(path))
    asked = asked_versions(versions)
    given = [(domain, path) for domain, paths in ((REAL, real), (SYNTHETIC, synthetic)) for path in paths]
    indexes = {path: read_index(_dataset(path), HERE, QUIET) for _, path in given}
    made = _rows_made([indexes[path] for _, path in given])
    read = {
        column: {maker: version for maker, its in made.get(column, {}) if its == version}
        for column, version in asked.items()
    }
    excluded = 0
    windows = Builder()
    columns: set[tuple[int, str]] = set()
    names: dict[str, list[str]] = {}
    everything = hashlib.sha256()
    splits: dict[str, Splits] = {}
    for domain, path in given:
        index = indexes[path]
        dataset = index.dataset
        found = len(windows)
        unwanted = listed | exclusions_of(dataset)
        if unwanted:
            everything.update(exclusions_json(unwanted).encode())
        if (rule := splits_of(dataset)) is not None:
            splits[str(path)] = rule
            everything.update(rule.to_json().encode())
        for name, rows in zip(index.names.tolist(), index.rows.tolist(), strict=True):
            everything.update(json.dumps([domain, decoded(name), rows]).encode())
        for recipe in index.recipes:
            columns |= {(domain, column) for column in recipe if of_version(recipe, column, read)}
        for column, table in _tables(index):
            extend(names.setdefault(column, []), table)
        runs, out = _runs(index, windows, unwanted, frames, sampling)
        excluded += out
        if rule is not None:
            runs = runs.select(np.isin(rule.places(runs.group), [SPLITS.index(split) for split in only]))
        if "image" in read:
            right = np.array([of_version(recipe, "image", read) for recipe in index.recipes], bool)
            runs = runs.select(right[index.made[runs.shard]])
        windows.extend(str(path), index.names, domain, runs)
        if len(windows) == found and unwanted:
            raise UserError(f"{path} has no frames left to train on: its exclusion list leaves out too many")
        if len(windows) == found and rule is not None and len(index):
            raise UserError(f"{path} has no clips in {' or '.join(only)}: see freelabels split {path}")
        if len(windows) == found and "image" not in read:
            few = f" with clips of {frames} frames or more" if frames > 1 else ""
            raise UserError(f"{path} holds no shards{few}: label or render into it first")
    for column, version in asked.items():
        versions_there = {its for _, its in made.get(column, {})}
        if version not in versions_there:
            there = ", ".join(sorted(versions_there)) or "none"
            raise UserError(
                f"--loader.versions {column}={version}: no shard has that; versions there: {there}"
            )
    tables = {column: tuple(table) for column, table in names.items() if table}
    mixed = {
        column: several
        for column, its in sorted(made.items())
        if column not in asked and not column.endswith(CONFIDENCE_SUFFIX)
        if (several := _several(its))
    }
    return Catalogue(
        windows.build(),
        frozenset(columns),
        tables,
        everything.hexdigest(),
        excluded,
        sampling,
        read,
        mixed,
        frames,
        splits,
    )


def _dataset(path: str) -> Dataset:
    """The dataset there. Raises NotADataset."""
    dataset = Dataset(path)
    _ = dataset.attributes
    return dataset


def _rows_made(indexes: Sequence[Index]) -> dict[str, Counter[tuple[str, str]]]:
    """How many rows of each column what made with which version: by column, by maker and version."""
    made: dict[str, Counter[tuple[str, str]]] = {}
    for index in indexes:
        rows_of = np.bincount(index.made, index.rows, len(index.recipes)).astype(int).tolist()
        for recipe, rows in zip(index.recipes, rows_of, strict=True):
            for column, its in recipe.items():
                made.setdefault(column, Counter())[(_maker(its), version_of(its))] += rows
    return made


def asked_versions(versions: Sequence[str]) -> dict[str, str]:
    """Versions by column, from COLUMN=VERSION. Raises UserError for anything else."""
    asked = {}
    for item in versions:
        column, equals, version = item.partition("=")
        if not (column and equals and version):
            raise UserError(f"--loader.versions {item}: give COLUMN=VERSION, such as edges=5")
        asked[column] = version
    return asked


def version_of(made_by: Mapping[str, Any]) -> str:
    """The version of what made a column."""
    return str(made_by.get("version", "?"))


def _maker(made_by: Mapping[str, Any]) -> str:
    """The detector, or whatever else, that made a column."""
    return str(made_by.get("generator", "?"))


def _several(rows: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Rows by version of those makers that made some with one version and some with another.

    A detector's labels of photos and the renderer's exact ones are of two makers, and nothing to choose from.
    """
    makers = Counter(maker for maker, _ in rows)
    return {version: count for (maker, version), count in rows.items() if makers[maker] > 1}


def of_version(recipe: Mapping[str, Mapping[str, Any]], column: str, read: Versions) -> bool:
    """Whether a column that `recipe` made, or the label it is the confidence of, is of the version to be read."""
    label = column.removesuffix(CONFIDENCE_SUFFIX)
    its = recipe[label if label in recipe else column]
    wanted = read.get(column, read.get(label, {})).get(_maker(its))
    return wanted is None or version_of(its) == wanted


def _runs(
    index: Index, windows: Builder, unwanted: frozenset[FrameIdentity], frames: int, sampling: int
) -> tuple[Runs, int]:
    """The windows of all clips without a row that is unwanted, and how many rows are.

    Only the shards of clips that may have such rows are opened.
    """
    names, suspects = listed_names(unwanted), np.zeros(len(index), bool)
    found = []
    for numbers, part in index.summaries("clips"):
        clips = part.clips
        shard = np.repeat(numbers, part.shards["clips"])
        if len(names):
            suspects[shard[np.isin(clips["identity"], names) | np.isin(clips["content"], names)]] = True
        kinds = np.array([windows.kind(kind) for kind in part.kinds], np.uint8)
        count = clips["stop"].astype(np.int64) - clips["start"] - frames + 1
        group = clips["group"] if sampling > 1 else clips["part"]
        runs = Runs(
            shard, kinds[clips["kind"]], clips["start"], np.maximum(count, 0).astype(np.uint16), group
        )
        found.append(runs.select(count > 0))
    excluded = 0
    if suspects.any():
        found = [runs.select(~suspects[runs.shard]) for runs in found]
        some = np.flatnonzero(suspects).tolist()
        opened = index.dataset.open_all([index.name(number) for number in some])
        for number, suspect in zip(some, opened, strict=True):
            out = excluded_rows(suspect, unwanted)
            excluded += int(out.sum())
            suspect.close()
            good = _good_runs(suspect, out, frames, sampling)
            found.append(Runs.of([(number, windows.kind(kind), *run) for kind, *run in good]))
    return Runs.joined(found), excluded


def _good_runs(shard: Shard, out: NDArray[np.bool_], frames: int, sampling: int) -> Iterator[tuple[Any, ...]]:
    """Kind, first row, number of windows and group of the windows of each clip without a row that is `out`."""
    for clip in shard.clips:
        start, stop = clip["rows"]
        group = group_of(clip, f"{shard.id}/{start}", sampling)
        good = np.array([not out[row : row + frames].any() for row in range(start, stop - frames + 1)], bool)
        edges = np.flatnonzero(np.diff(good, prepend=False, append=False)).tolist()
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            yield clip.get("kind", ""), start + first, last - first, group


def _tables(index: Index) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Tables of class names by column, in the order of the shards that have one that was not there before."""
    first: dict[str, int] = {}
    for numbers, part in index.summaries():
        for k in np.unique(part.shards["about"]).tolist():
            number = int(numbers[part.shards["about"] == k].min())
            first[part.abouts[k]] = min(number, first.get(part.abouts[k], number))
    for about in sorted(first, key=first.__getitem__):
        for column, table in json.loads(about)["names"].items():
            yield column, names_in(table)


def group_of(clip: Mapping[str, Any], where: str = "", sampling: int = SAMPLING) -> int:
    """As `identity.group_of`, as a run of that sampling has it."""
    return identity.group_of(clip, where, shots=sampling > 1)


def by_domain(datasets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Datasets of real frames, and of rendered ones. Raises UserError for one of neither, of both, or none."""
    real: list[str] = []
    synthetic: list[str] = []
    for path in datasets:
        dataset = Dataset(path)
        _ = dataset.attributes  # raises NotADataset
        parts = read_index(dataset, HERE, QUIET).summaries("clips")
        kinds = {
            part.kinds[k] == "render" for _, part in parts for k in np.unique(part.clips["kind"]).tolist()
        }
        if not kinds:
            raise UserError(f"{path} holds no shards yet; label or render into it first")
        if len(kinds) == 2:
            raise UserError(f"{path} holds real and rendered frames; give each domain a dataset of its own")
        (synthetic if True in kinds else real).append(path)
    return real, synthetic
