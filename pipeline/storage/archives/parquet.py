"""Parquet tables whose rows hold pictures or videos, as Hugging Face's and LeRobot's do."""

from __future__ import annotations

import io
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from threading import RLock
from typing import IO, Any

from freelabels.ground.errors import SourceError
from freelabels.pipeline.storage.archives.bytes_at import BOMB, BOMB_LEAST, BOMB_RATIO, BytesAt, Window

BATCH = 16  # rows unpacked at a time
PEEK = 64  # rows that may be empty before the first that shows what a column holds
LARGEST_CELL = 1 << 28  # bytes
DIGITS = 9  # of a row's number in its name
# What files begin with → suffix.
MAGIC = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"\x1aE\xdf\xa3", ".mkv"),
    (b"\0\0\0\x0cjP  ", ".jp2"),
)
STILL_BRANDS = {b"avif": ".avif", b"avis": ".avif", b"heic": ".heic", b"heix": ".heic", b"mif1": ".heic"}


def suffix_of_bytes(data: bytes) -> str:
    """The suffix that goes with a picture's or video's first bytes; "" if they are neither's."""
    if data[4:8] == b"ftyp":
        return STILL_BRANDS.get(data[8:12], ".mp4")
    if data[:4] == b"RIFF":
        return {b"WEBP": ".webp", b"AVI ": ".avi"}.get(data[8:12], "")
    return next((suffix for magic, suffix in MAGIC if data.startswith(magic)), "")


class Parquet:
    """A Parquet table. Its files are the cells of its columns of pictures, named ``column/row.suffix``.

    pictures: suffix of each column that holds pictures or videos, by the first row that isn't empty.
    """

    fault = ""
    passed: Mapping[str, tuple[int, str]] = {}

    def __init__(self, source: BytesAt) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._types, self._lock = pa.types, RLock()
        try:
            self._file = pq.ParquetFile(io.BufferedReader(Window(source, 0, source.size)))
            about = self._file.metadata
            self.rows: int = about.num_rows
            self._starts = [0, *accumulate(about.row_group(k).num_rows for k in range(about.num_row_groups))]
            self._schema = self._file.schema_arrow
            self._refuse_bombs()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise SourceError("is not a Parquet table, or is cut off: its directory is at its end") from error
        self._errors = (pa.ArrowException, OSError, ValueError)
        self._cursors: dict[str, _Cursor] = {}
        self.pictures = dict(self._find_pictures())

    @property
    def names(self) -> Iterator[str]:
        """Of all cells with pictures."""
        return (self.name(column, row) for column in self.pictures for row in range(self.rows))

    def name(self, column: str, row: int) -> str:
        """Of a cell."""
        return f"{column}/{row:0{DIGITS}d}{self.pictures[column]}"

    def open(self, name: str) -> IO[bytes]:
        """A cell's bytes. Raises FileNotFoundError, SourceError."""
        column, _, last = name.rpartition("/")
        number = last.partition(".")[0]
        if column not in self.pictures or not number.isdecimal() or int(number) >= self.rows:
            raise FileNotFoundError(name)
        data = self.value(self._leaf(column), int(number))
        if isinstance(data, dict):
            data = data.get("bytes")
        if data is None:
            raise SourceError("holds no picture in this row")
        if len(data) > LARGEST_CELL:
            raise SourceError(f"is larger than {LARGEST_CELL >> 20} MiB")
        return io.BytesIO(data)

    @property
    def columns(self) -> list[str]:
        """All names of columns."""
        return list(self._schema.names)

    def value(self, column: str, row: int) -> Any:
        """One value, as Python has it. Raises SourceError if the table is damaged there."""
        group = bisect_right(self._starts, row) - 1
        with self._lock:
            try:
                cursor = self._cursors.setdefault(column, _Cursor(self._file, column))
                return cursor.at(group, row - self._starts[group])
            except self._errors as error:
                self._cursors.pop(column, None)
                raise SourceError(f"its table is damaged ({' '.join(str(error).split())[:200]})") from error

    def all_of(self, column: str) -> Sequence[Any]:
        """All values of a column of numbers or short texts."""
        with self._lock:
            try:
                values: list[Any] = self._file.read(columns=[column], use_threads=False)[column].to_pylist()
            except self._errors as error:
                raise SourceError(f"its table is damaged ({' '.join(str(error).split())[:200]})") from error
        return values

    def class_names(self, column: str) -> Sequence[str]:
        """What the numbers of a column of Hugging Face's classes stand for; () if it is none."""
        try:
            told = json.loads((self._schema.metadata or {}).get(b"huggingface", b"{}"))
            names = told["info"]["features"][column]["names"]
        except (ValueError, KeyError, TypeError):
            return ()
        return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()

    def _leaf(self, column: str) -> str:
        """What is read of a column: only the bytes of a pair of bytes and path."""
        kind = self._schema.field(column).type
        return f"{column}.bytes" if self._types.is_struct(kind) else column

    def _find_pictures(self) -> Iterator[tuple[str, str]]:
        for column in dict.fromkeys(self._schema.names):
            if self._schema.names.count(column) > 1:
                continue
            kind = self._schema.field(column).type
            if self._types.is_struct(kind):
                places = [k for k in range(kind.num_fields) if kind.field(k).name == "bytes"]
                if not places:
                    continue
                kind = kind.field(places[0]).type
            if not (self._types.is_binary(kind) or self._types.is_large_binary(kind)):
                continue
            for row in range(min(PEEK, self.rows)):
                value = self.value(self._leaf(column), row)
                data = value.get("bytes") if isinstance(value, dict) else value
                if data:
                    if suffix := suffix_of_bytes(data[:16]):
                        yield column, suffix
                    break

    def _refuse_bombs(self) -> None:
        about = self._file.metadata
        for group in range(about.num_row_groups):
            columns = [about.row_group(group).column(k) for k in range(about.row_group(group).num_columns)]
            for one in columns:
                if one.total_uncompressed_size > max(BOMB_LEAST, BOMB_RATIO * one.total_compressed_size):
                    raise SourceError(BOMB)


class _Cursor:
    """One column read forward, some rows at a time; what lies behind is read again from its row group's begin."""

    def __init__(self, file: Any, column: str) -> None:
        self._file, self._column = file, column
        self._group, self._begin, self._batch = -1, 0, ()  # type: int, int, Sequence[Any]
        self._batches: Iterator[Any] = iter(())

    def at(self, group: int, row: int) -> Any:
        if group != self._group or row < self._begin:
            self._group, self._begin, self._batch = group, 0, ()
            self._batches = self._file.iter_batches(
                BATCH, row_groups=[group], columns=[self._column], use_threads=False
            )
        while row >= self._begin + len(self._batch):
            self._begin += len(self._batch)
            batch = next(self._batches, None)
            if batch is None:
                raise ValueError(f"row {row} of row group {group} is missing")
            self._batch = batch.column(0)
        return self._batch[row - self._begin].as_py()
