"""Shards: immutable zarr v3 groups that exist if and only if they are whole.

A dataset is a zarr group; each shard in it is a group named ``<id>.<revision>``. A shard is never changed: a
column that is added or made anew commits the next revision, which shares the other columns' files, and
drops the one before. The group's metadata is the shard's record (rows, clips, what made each column,
sha256 of every file, statistics), itself under a checksum.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from freelabels.generators.contract.fields import Array, field
from freelabels.ground.errors import CorruptShard, UserError
from freelabels.pipeline.shards.columns import ColumnReader, array_metadata, checksums, chunk_key, encode
from freelabels.pipeline.shards.statistics import confidence_of, statistics
from freelabels.pipeline.storage.file_cache import FileCache
from freelabels.pipeline.storage.interface import OpenFile, Storage, open_storage
from freelabels.pipeline.storage.local import RECORD

SCHEMA = 2  # 2: records name their shard and dataset and the checksum of every frame; the dataset is sealed
KEY = "freelabels"
GROUP = RECORD
MAX_ROWS = 64
# Every row has these, whatever its source and labels.
FRAME_FIELDS = ("image", "clip", "frame_index", "time", "domain", "camera_K", "camera_pose")
RECORDS_AT_A_TIME = 256  # read ahead when all shards are gone through


class NotADataset(UserError):
    """A folder that holds something other than a Freelabels dataset."""


SCAN_CACHE = ".sources"  # a folder
LOGS = ("rejected.jsonl", "failures.jsonl", SCAN_CACHE, ".index.npz")
_HOW_TO_MEND = "freelabels verify --repair {} writes it anew from its shards"


def canonical(document: Any) -> bytes:
    """JSON bytes that depend on the content alone."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(document: Any) -> str:
    """A hex sha256 of any JSON-able value."""
    return hashlib.sha256(canonical(document)).hexdigest()


def _marker(attributes: Mapping[str, Any]) -> bytes:
    """The metadata of a dataset's own group."""
    record: dict[str, Any] = {"schema": SCHEMA, **attributes}
    document = {"zarr_format": 3, "node_type": "group", "attributes": {KEY: record}}
    record["sha256"] = digest(document)
    return canonical(document)


@dataclass(frozen=True)
class Shard:
    """One committed shard, opened for reading; close it when done.

    Of a local dataset it is safe to use after a fork. place: what the storage's keys of its files begin with.
    """

    name: str
    storage: Storage
    place: str
    group: Mapping[str, Any]
    _open: dict[str, ColumnReader] = dataclasses.field(default_factory=dict, repr=False)
    _files: list[OpenFile] = dataclasses.field(default_factory=list, repr=False)

    @staticmethod
    def load(storage: Storage, name: str) -> Shard:
        """Open a shard by folder name.

        Raises CorruptShard if its record is missing, damaged or of a newer schema.
        """
        try:
            return Shard.parse(storage, name, *storage.record(name))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CorruptShard(f"{name}: it has no record ({GROUP})") from error
        except ValueError as error:
            raise CorruptShard(f"{name}: its record can't be read") from error

    @staticmethod
    def parse(storage: Storage, name: str, place: str, text: bytes) -> Shard:
        """A shard from its place and the text of its record. Raises as `load`."""
        try:
            document = json.loads(text)
            record = document["attributes"][KEY]
            sealed = record.pop("sha256")
            unsealed = text.replace(f',"sha256":"{sealed}"'.encode(), b"", 1)  # sorts last of the record
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptShard(f"{name}: its record can't be read") from error
        if record.get("schema", 0) > SCHEMA:
            raise CorruptShard(
                f"{name}: was written by a newer version "
                f"(schema {record['schema']}, this one reads {SCHEMA}); update freelabels"
            )
        if hashlib.sha256(unsealed).hexdigest() != sealed:
            raise CorruptShard(f"{name}: its record does not match its checksum")
        if record.get("schema", 1) > 1 and record.get("id") != name.rpartition(".")[0]:
            raise CorruptShard(f"{name}: its record is that of another shard, {record.get('id')}")
        return Shard(name, storage, place, document)

    @property
    def record(self) -> Mapping[str, Any]:
        """What the shard says of itself: rows, clips, columns with provenance, checksums and statistics."""
        return self.group["attributes"][KEY]  # type: ignore[no-any-return]

    @property
    def id(self) -> str:
        """The name without the revision."""
        return self.name.rpartition(".")[0]

    @property
    def revision(self) -> int:
        """How many times columns of this shard have been added or replaced."""
        return int(self.name.rpartition(".")[2])

    @property
    def rows(self) -> int:
        """Number of frames."""
        return int(self.record["rows"])

    @property
    def clips(self) -> list[dict[str, Any]]:
        """The clips: rows [start, stop), kind, source and what else is known of them."""
        return self.record["clips"]  # type: ignore[no-any-return]

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.record["columns"])

    def made_by(self, name: str) -> dict[str, Any]:
        """What made a column: generator, version, parameters and the digests of what it was made from."""
        return self.record["columns"][name]["made_by"]  # type: ignore[no-any-return]

    def attributes(self, name: str) -> dict[str, Any]:
        """The array attributes of a column."""
        return self._metadata(name)["attributes"]  # type: ignore[no-any-return]

    def shape(self, name: str) -> tuple[int, ...]:
        """Logical shape of a column, (frame, y, x[, channel])."""
        return tuple(self._metadata(name)["shape"])

    def read(self, name: str, row: int) -> Array:
        """One frame of a column, (y, x[, channel]), checked. Raises CorruptShard, or KeyError if absent."""
        return self.column(name).row(row)

    def read_rows(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Frames start … stop - 1 of a column, (frame, y, x[, channel]). Raises as `read`."""
        return self.column(name).rows(start, self.rows if stop is None else stop)

    def column(self, name: str) -> ColumnReader:
        """The reader of a column, its index read and checked once."""
        if name not in self._open:
            where = f"{self.name}/{name}"
            metadata = self._metadata(name)
            key = chunk_key(name, len(metadata["shape"]))
            known = self.record["columns"][name]["objects"][key]
            try:
                file = self.storage.open(f"{self.place}/{key}", known["bytes"], known["sha256"])
            except (FileNotFoundError, NotADirectoryError) as error:
                raise CorruptShard(f"{where}: its file is missing") from error
            self._files.append(file)
            self._open[name] = self._reader(name, file.size, file.fetch)
        return self._open[name]

    def hold(self, name: str, data: bytes) -> None:
        """Read a column, until the shard is closed, from its file's bytes that the caller has at hand."""
        self._open[name] = self._reader(name, len(data), lambda start, stop: data[start:stop])

    def _reader(self, name: str, size: int, fetch: Callable[[int, int], bytes]) -> ColumnReader:
        sums = self.record["columns"][name].get("crc32c", "")
        return ColumnReader.open(f"{self.name}/{name}", self._metadata(name), size, fetch, sums)

    def close(self) -> None:
        """Give the open files back; the shard opens them again when read."""
        self._open.clear()
        while self._files:
            self._files.pop().close()

    @property
    def address(self) -> str:
        """Path or URI under which other zarr readers open the shard."""
        return self.storage.address(self.place)

    def _metadata(self, name: str) -> Mapping[str, Any]:
        arrays = self.group["consolidated_metadata"]["metadata"]
        if name not in arrays:
            raise KeyError(f"the shard {self.name} has no column {name!r}; it has {', '.join(self.fields)}")
        return arrays[name]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class DatasetFile:
    """A small file beside the shards of a dataset, replaced as a whole."""

    dataset: Dataset
    name: str

    def exists(self) -> bool:
        """Whether it is there."""
        return self.dataset.storage.exists(self.name)

    def read_bytes(self) -> bytes:
        """What it holds. Raises FileNotFoundError."""
        return self.dataset.storage.read(self.name)

    def read_text(self, errors: str = "strict") -> str:
        """Its text. Raises FileNotFoundError."""
        return self.read_bytes().decode(errors=errors)

    def write_text(self, text: str) -> None:
        """Put it, or replace it as a whole."""
        self.dataset.storage.write(self.name, text.encode())

    def write_lines(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Put it, or replace it as a whole, with a JSON line per entry."""
        self.write_text("".join(json.dumps(entry) + "\n" for entry in entries))

    def __str__(self) -> str:
        return f"{os.fspath(self.dataset.path).rstrip('/')}/{self.name}"


@dataclass(frozen=True)
class Dataset:
    """A folder of shards, or a prefix of an object store (``s3://bucket/path``).

    cache: where copies of an object store's columns are kept for reading again.
    """

    path: str | os.PathLike[str]
    cache: FileCache | None = None

    @cached_property
    def storage(self) -> Storage:
        """Where the shards lie."""
        return open_storage(self.path, self.cache)

    @staticmethod
    def create(path: str | os.PathLike[str], attributes: Mapping[str, Any]) -> Dataset:
        """Open the dataset at `path`, or begin one with `attributes` that hold for all its shards.

        Raises NotADataset if the folder holds something else, UserError if it was begun with others.
        """
        dataset = Dataset(path)
        storage = dataset.storage
        if not storage.exists(GROUP):
            # Looked for again after the look around: another driver may have begun it in between.
            if not storage.vacant(besides=LOGS) and not storage.exists(GROUP):
                if dataset.shards_if_any():
                    raise NotADataset(f"{path} holds shards but no {GROUP}; {_HOW_TO_MEND.format(path)}")
                raise NotADataset(f"{path} holds something else; name an empty or a new folder with --out")
            storage.begin(GROUP, _marker(attributes))
        for name, value in attributes.items():
            have = dataset.attributes.get(name)
            if have != value:
                raise UserError(
                    f"{path} was begun with {name} {have}, not {value}: use that, or another --out"
                )
        return dataset

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """What holds for all shards. Raises NotADataset if the folder is not a dataset, or no longer tells."""
        try:
            document = json.loads(self.storage.read(GROUP))
            attributes: dict[str, Any] = document["attributes"][KEY]
            sealed = attributes.pop("sha256", None)
            damaged = (sealed or attributes["schema"] > 1) and digest(document) != sealed
            damaged |= "columns" in attributes  # a shard's record in its place
        except UserError:  # an object store that can't be asked
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            how = f"; {_HOW_TO_MEND.format(self.path)}" if self.shards_if_any() else ""
            raise NotADataset(
                f"{self.path} is not a Freelabels dataset: it has no {GROUP} of one{how}"
            ) from error
        if damaged:
            raise NotADataset(
                f"{self.path}: its {GROUP} does not match its checksum; {_HOW_TO_MEND.format(self.path)}"
            )
        return attributes

    def shards_if_any(self) -> list[str]:
        """As `shards`; none where there is no folder to look into."""
        try:
            return self.shards()
        except OSError:
            return []

    def mend(self) -> None:
        """Write the dataset's own record anew from the first sound shard, which tells how it was begun.

        Without any sound shard there is nothing to lose: the record goes, so that a stage can begin anew.
        """
        for name in self.shards():
            with contextlib.suppress(CorruptShard, KeyError):
                self.storage.write(GROUP, _marker(self.open(name).record["dataset"]))
                return
        self.storage.remove(GROUP)

    def shards(self) -> list[str]:
        """Folder names of the shards, newest revision of each, sorted."""
        return sorted(self._revisions()[0])

    def stamps(self) -> dict[str, str]:
        """By folder name of each shard, what changes when it is dropped and another takes its name."""
        names = self.shards()
        return dict(zip(names, self.storage.stamps(names), strict=True))

    def superseded(self) -> list[str]:
        """Folder names of revisions that a newer one has replaced: left by a kill, safe to drop."""
        return self._revisions()[1]

    def _revisions(self) -> tuple[list[str], list[str]]:
        newest: dict[str, int] = {}
        found: list[tuple[str, int]] = []
        for name in self.storage.folders():
            shard, _, revision = name.rpartition(".")
            if shard and revision.isdigit():
                found.append((shard, int(revision)))
                newest[shard] = max(newest.get(shard, 0), int(revision))
        keep = [f"{shard}.{revision}" for shard, revision in newest.items()]
        return keep, [f"{s}.{r}" for s, r in found if r != newest[s]]

    def open(self, name: str) -> Shard:
        """Open a shard by folder name. Raises CorruptShard."""
        return Shard.load(self.storage, name)

    def open_all(self, names: Sequence[str]) -> Iterator[Shard]:
        """Open many shards, in order, with as many requests at a time as the storage bears. Raises as `open`."""
        for start in range(0, len(names), RECORDS_AT_A_TIME):
            batch = names[start : start + RECORDS_AT_A_TIME]
            for name, found in zip(batch, self.storage.read_records(batch), strict=True):
                yield self.open(name) if found is None else Shard.parse(self.storage, name, *found)

    def file(self, name: str) -> DatasetFile:
        """A small file beside the shards."""
        return DatasetFile(self, name)

    def rejected_log(self) -> DatasetFile:
        """Sources that were refused, a JSON line each."""
        return self.file("rejected.jsonl")

    def failures_log(self) -> DatasetFile:
        """Work items that failed, a JSON line each."""
        return self.file("failures.jsonl")


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
) -> str:
    """Commit the first revision of a shard, or, given its `base`, the next one; returns its folder name.

    columns: arrays (frame, …) of the contract, by field name; made_by: what made each. attributes: further
    attributes of the arrays, by field name. With `base`, columns not in `columns` or `drop` are shared
    with it, and it is dropped once the new revision stands. If another attempt has committed the same
    revision, that one stays. Raises ValueError if a column breaks the contract.
    """
    revision = 0 if base is None else base.revision + 1
    name = f"{shard_id}.{revision}"
    rows = base.rows if base is not None else len(next(iter(columns.values())))
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    entries: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    if base is not None:
        for kept in base.fields:
            if kept not in columns and kept not in drop:
                entries[kept] = base.record["columns"][kept]
                metadata[kept] = base.group["consolidated_metadata"]["metadata"][kept]
                links |= {key: f"{base.place}/{key}" for key in entries[kept]["objects"]}
    for column, values in columns.items():
        if len(values) != rows:
            raise ValueError(f"{column}: has {len(values)} frames, the shard has {rows}")
        field(column).check(values)
        extra = {"made_by": dict(made_by[column]), **(attributes or {}).get(column, {})}
        metadata[column] = array_metadata(column, values.shape, extra, compression)
        objects = {
            f"{column}/{GROUP}": canonical(metadata[column]),
            chunk_key(column, values.ndim): encode(column, values, compression),
        }
        files |= objects
        entries[column] = {
            "made_by": dict(made_by[column]),
            "objects": {
                key: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                for key, data in objects.items()
            },
            "crc32c": checksums(column, rows, objects[chunk_key(column, values.ndim)]),
            "statistics": statistics(column, values, confidence_of(column, dict(columns))),
        }
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "id": shard_id,
        "dataset": {name: value for name, value in dataset.attributes.items() if name != "schema"},
        "rows": rows,
        "clips": [dict(clip) for clip in clips],
        "columns": dict(sorted(entries.items())),
    }
    document = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {KEY: record},
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": dict(sorted(metadata.items())),
        },
    }
    record["sha256"] = digest(document)
    files[GROUP] = canonical(document)
    dataset.storage.commit(name, files, links)
    if base is not None:
        base.close()
        dataset.storage.drop(base.name)
    return name
