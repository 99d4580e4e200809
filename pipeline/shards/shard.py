"""One shard, read: an immutable zarr v3 group that exists if and only if it is whole.

A dataset is a zarr group; each shard in it is a group named ``<id>.<revision>``. A shard is never changed: a
column that is added or made anew commits the next revision, which shares the other columns' files, and
drops the one before. The group's metadata is the shard's record (rows, clips, what made each column,
sha256 of every file, statistics), itself under a checksum.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from freelabels.generators.contract.fields import Array
from freelabels.ground.errors import CorruptShard, MissingFile
from freelabels.pipeline.shards.columns import ColumnReader, chunk_key
from freelabels.pipeline.shards.record import KEY, unseal_shard
from freelabels.pipeline.storage.interface import OpenFile, Storage
from freelabels.pipeline.storage.local import RECORD
from freelabels.pipeline.storage.uris import is_remote, requests

MAX_ROWS = 64
# Every row has these, whatever its source and labels.
FRAME_FIELDS = ("image", "clip", "frame_index", "time", "domain", "camera_K", "camera_pose")


def revision_of(name: str) -> int:
    """The number of the revision that a shard's folder name ends in."""
    return int(name.rpartition(".")[2])


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

        Raises CorruptShard: MissingFile without a record, NewerSchema if a newer version wrote it.
        """
        try:
            return Shard.parse(storage, name, *storage.record(name))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingFile(f"{name}: it has no record ({RECORD})") from error
        except ValueError as error:
            raise CorruptShard(f"{name}: its record can't be read") from error

    @staticmethod
    def parse(storage: Storage, name: str, place: str, text: bytes) -> Shard:
        """A shard from its place and the text of its record. Raises as `load`."""
        return Shard(name, storage, place, unseal_shard(name, text))

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
        return revision_of(self.name)

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

    @property
    def recipe(self) -> dict[str, dict[str, Any]]:
        """What made each column, by column."""
        return {name: self.made_by(name) for name in self.fields}

    def bytes_of(self, name: str) -> int:
        """How many bytes a column takes where it is stored."""
        return sum(int(file["bytes"]) for file in self.record["columns"][name]["objects"].values())

    def attributes(self, name: str) -> dict[str, Any]:
        """The array attributes of a column."""
        return self._metadata(name)["attributes"]  # type: ignore[no-any-return]

    def shape(self, name: str) -> tuple[int, ...]:
        """Logical shape of a column, (frame, y, x[, channel])."""
        return tuple(self._metadata(name)["shape"])

    def read(self, name: str, row: int) -> Array:
        """One frame of a column, (y, x[, channel]), checked.

        Raises CorruptShard, OSError if it can't be asked for now, or KeyError if there is no such column.
        """
        return self.column(name).row(row)

    def read_rows(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Frames start … stop - 1 of a column, (frame, y, x[, channel]). Raises as `read`."""
        return self.column(name).rows(start, self.rows if stop is None else stop)

    def read_columns(self, names: Sequence[str], start: int = 0, stop: int | None = None) -> dict[str, Array]:
        """Frames start … stop - 1 of several columns, fetched at the same time from a store. Raises as `read`."""

        def read(name: str) -> Array:
            return self.read_rows(name, start, stop)

        found = requests().map(read, names) if is_remote(self.storage.address("")) else map(read, names)
        return dict(zip(names, found, strict=True))

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
                raise MissingFile(f"{where}: its file is missing") from error
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

    def references(self) -> dict[str, list[str | int]]:
        """Where each of its files lies, for zarr readers that can't open its address, through fsspec:

        `fsspec.filesystem("reference", fo=shard.references(), asynchronous=True)` below zarr's `FsspecStore`.
        """
        return self.storage.references(self.place)

    def _metadata(self, name: str) -> Mapping[str, Any]:
        arrays = self.group["consolidated_metadata"]["metadata"]
        if name not in arrays:
            raise KeyError(f"the shard {self.name} has no column {name!r}; it has {', '.join(self.fields)}")
        return arrays[name]  # type: ignore[no-any-return]
