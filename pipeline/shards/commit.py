"""How a shard is committed: its columns encoded, its record sealed, all of it put in place at once.

Any number of processes may add columns to a shard at the same time. Each makes the next revision of the one it
knows; who comes second adds its columns to the revision of who came first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from freelabels.generators.contract.fields import Array, field
from freelabels.ground.errors import CorruptShard, MissingFile, Replaced
from freelabels.ground.faults import reached
from freelabels.pipeline.shards.columns import array_metadata, checksums, chunk_key, encode
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.record import canonical, digest, seal
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.shards.statistics import confidence_of, statistics
from freelabels.pipeline.storage.local import RECORD
from freelabels.pipeline.work import tally

# What an array's attributes say of what made it; how it did, which may be pages, is in the shard's record alone.
MAKER = ("generator", "version")


@dataclass(frozen=True)
class _Column:
    """A column as it is stored: its zarr metadata, its entry in the shard's record, its files by path."""

    metadata: Mapping[str, Any]
    entry: Mapping[str, Any]
    files: Mapping[str, bytes]


def commit_shard(
    dataset: Dataset,
    shard_id: str,
    columns: Mapping[str, Array],
    clips: Sequence[Mapping[str, Any]],
    made_by: Mapping[str, Mapping[str, Any]],
    *,
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    base: Shard | None = None,
    drop: Sequence[str] = (),
    compression: str = "fast",
    retire: Callable[[str], None] | None = None,
) -> str:
    """Commit the first revision of a shard, or, given its `base`, the next one; returns its folder name.

    columns: arrays (frame, …) of the contract, by field name; made_by: what made each. attributes: further
    attributes of the arrays, by field name. With `base`, columns not in `columns` or `drop` are shared with it,
    unless the images are made otherwise; and once the new revision stands, `retire` is called with the base's
    name (default: it is dropped).

    If another attempt has committed the same revision, that one becomes the base: the revision whose name is
    returned always holds all `columns` as `made_by` says. Raises ValueError if a column breaks the contract;
    Replaced if the columns don't fit what another attempt has committed, or were to be dropped from what it
    replaced.
    """
    rows = base.rows if base is not None else len(next(iter(columns.values())))
    extras = attributes or {}
    made = {
        name: _column(name, values, rows, made_by[name], extras.get(name, {}), columns, compression)
        for name, values in columns.items()
    }
    new: Mapping[str, _Column] = made
    while True:
        kept = _kept(base, new, drop)
        _refuse_mixture(shard_id, base, kept, new)
        revision = 0 if base is None else base.revision + 1
        folder = f"{shard_id}.{revision}"
        files, links = _revision(dataset, shard_id, rows, clips, new, base, kept)
        try:
            won = dataset.storage.commit(folder, files, links)
        except FileNotFoundError:  # of the base: it has been replaced, and its files are gone
            if base is None:
                raise
            won = False
        if won:
            tally.count("bytes", sum(map(len, files.values())))
            tally.count("frames", rows)
            reached("commit: stands")
            if base is not None:
                base.close()
                (retire or dataset.storage.drop)(base.name)
            return folder
        if base is not None:
            base.close()
        newest = dataset.newest(shard_id, revision)
        if newest is None:
            raise MissingFile(f"{shard_id}.{max(revision - 1, 0)}: files of it are missing")
        if drop:
            raise Replaced(f"{shard_id} was changed by another process meanwhile; run again")
        base = newest
        new = {
            name: column
            for name, column in made.items()
            if name not in newest.fields or newest.made_by(name) != column.entry["made_by"]
        }
        if not new:
            newest.close()
            return newest.name


def commit_copy(dataset: Dataset, shard: Shard, clips: Sequence[Mapping[str, Any]]) -> str:
    """Commit a shard of another dataset under its id, its columns byte for byte; returns its folder name.

    clips: its table of clips. What lies under that id is replaced, unless it is the same. Raises CorruptShard if
    a file isn't what the shard's record says.
    """
    columns, arrays = shard.record["columns"], shard.group["consolidated_metadata"]["metadata"]
    while True:
        there = dataset.newest(shard.id)
        if there is not None and there.record["columns"] == columns and there.clips == list(clips):
            there.close()
            return there.name
        whole = {
            name: _Column(arrays[name], entry, _files(shard, entry["objects"]))
            for name, entry in columns.items()
        }
        folder = f"{shard.id}.{0 if there is None else there.revision + 1}"
        files, links = _revision(dataset, shard.id, shard.rows, clips, whole, None, [])
        if dataset.storage.commit(folder, files, links):
            tally.count("bytes", sum(map(len, files.values())))
            reached("commit: stands")
            if there is not None:
                there.close()
                dataset.storage.drop(there.name)
            return folder


def _files(shard: Shard, objects: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """Files of a column by path, checked."""
    found = {}
    for key, known in objects.items():
        try:
            file = shard.storage.open(f"{shard.place}/{key}", known["bytes"], known["sha256"])
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingFile(f"{shard.name}/{key}: the file is missing") from error
        try:
            found[key] = file.fetch(0, file.size)
        finally:
            file.close()
        if hashlib.sha256(found[key]).hexdigest() != known["sha256"]:
            raise CorruptShard(f"{shard.name}/{key}: the file does not match its checksum")
    return found


def _column(
    name: str,
    values: Array,
    rows: int,
    made_by: Mapping[str, Any],
    attributes: Mapping[str, Any],
    columns: Mapping[str, Array],
    compression: str,
) -> _Column:
    if len(values) != rows:
        raise ValueError(f"{name}: has {len(values)} frames, the shard has {rows}")
    field(name).check(values)
    maker = {key: made_by[key] for key in MAKER if key in made_by}
    metadata = array_metadata(name, values.shape, {"made_by": maker, **attributes}, compression)
    data = encode(name, values, compression)
    files = {f"{name}/{RECORD}": canonical(metadata), chunk_key(name, values.ndim): data}
    entry = {
        "made_by": dict(made_by),
        "objects": {
            key: {"bytes": len(file), "sha256": hashlib.sha256(file).hexdigest()}
            for key, file in files.items()
        },
        "crc32c": checksums(name, rows, data),
        "statistics": statistics(name, values, confidence_of(name, dict(columns))),
    }
    return _Column(metadata, entry, files)


def _kept(base: Shard | None, new: Mapping[str, _Column], drop: Sequence[str]) -> list[str]:
    """Names of the columns that are shared with the base: none if it has other images."""
    if base is None:
        return []
    if {"image"} <= new.keys() & set(base.fields) and base.made_by("image") != new["image"].entry["made_by"]:
        return []
    return [name for name in base.fields if name not in new and name not in drop]


def _refuse_mixture(
    shard_id: str, base: Shard | None, kept: Sequence[str], new: Mapping[str, _Column]
) -> None:
    """Raise Replaced if a new column was made from something else than what will lie beside it."""
    beside = {name: base.made_by(name) for name in kept} if base is not None else {}
    beside |= {name: column.entry["made_by"] for name, column in new.items()}
    for name, column in new.items():
        for source, known in column.entry["made_by"].get("inputs", {}).items():
            if source in beside and digest(beside[source])[:16] != known:
                raise Replaced(
                    f"{shard_id}: another process has made {source} otherwise, from which {name} was made; "
                    "run again when it has ended"
                )


def _revision(
    dataset: Dataset,
    shard_id: str,
    rows: int,
    clips: Sequence[Mapping[str, Any]],
    new: Mapping[str, _Column],
    base: Shard | None,
    kept: Sequence[str],
) -> tuple[dict[str, bytes], dict[str, str]]:
    """What a storage commits: files by path within the shard, and links to files of the base."""
    files = {path: data for column in new.values() for path, data in column.files.items()}
    entries = {name: column.entry for name, column in new.items()}
    metadata = {name: column.metadata for name, column in new.items()}
    links: dict[str, str] = {}
    if base is not None:
        for name in kept:
            entries[name] = base.record["columns"][name]
            metadata[name] = base.group["consolidated_metadata"]["metadata"][name]
            links |= {key: f"{base.place}/{key}" for key in entries[name]["objects"]}
    record = {
        "id": shard_id,
        "dataset": {name: value for name, value in dataset.attributes.items() if name != "schema"},
        "rows": rows,
        "clips": [dict(clip) for clip in clips],
        "columns": dict(sorted(entries.items())),
    }
    consolidated = {"kind": "inline", "must_understand": False, "metadata": dict(sorted(metadata.items()))}
    files[RECORD] = seal(record, consolidated_metadata=consolidated)
    return files, links
