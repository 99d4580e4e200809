"""One column of a shard ⇄ bytes: a zarr v3 array whose only chunk is a zarr shard of one inner chunk a frame.

Written and read here directly, because the general readers cost several times as much for single frames;
the bytes are plain zarr v3 (sharding_indexed, transpose, bytes, blosc, crc32c) and open in any zarr reader.
Source: Zarr core specification v3, sections "Array metadata" and "Sharding codec".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import google_crc32c
import numpy as np
from numcodecs import blosc

from freelabels.generators.contract.fields import Array, Field, Kind, field
from freelabels.ground.errors import CorruptShard

blosc.use_threads = False  # one worker, one core; also safe after a fork

CRC_BYTES = 4
AT_ONCE = 8 << 20  # bytes of a column that are asked for at once
CRC_OF_SOUND = 0x48674BC7  # crc32c of any bytes followed by their own little-endian crc32c
# name → (codec, level). LZ4 decodes fastest; zstd is for cold storage, where flow, ids and edges gain most.
COMPRESSION = {"fast": ("lz4", 9), "small": ("zstd", 1)}


def chunk_key(name: str, axes: int) -> str:
    """Path of a column's single file within its shard."""
    return f"{name}/c/" + "/".join("0" * axes)


def rows_per_chunk(spec: Field, rows: int) -> int:
    """Maps are chunked by frame; tables are tiny, so that one chunk holds all rows."""
    return rows if spec.kind is Kind.TABLE else 1


def _planar(spec: Field, ndim: int) -> tuple[int, ...] | None:
    """Axis order that stores channels as planes (they compress better so), or None to leave it."""
    return (0, 3, 1, 2) if spec.is_map and ndim == 4 else None


SPLIT = tuple(map(np.dtype, ("uint8", "uint16", "float16", "float32")))


def _planes(block: Array) -> Array:
    """(1, channel, y, x) of one frame (1, y, x, channel)."""
    frame = block[0]
    if frame.dtype not in SPLIT or frame.shape[2] > 4:
        return np.ascontiguousarray(block.transpose(0, 3, 1, 2))
    planes: Array = np.empty((1, frame.shape[2], *frame.shape[:2]), frame.dtype)
    cv2.split(np.ascontiguousarray(frame), list(planes[0]))  # NumPy takes several times as long
    return planes


def _shuffle(itemsize: int) -> int:
    """Wider types are split into byte planes. Bit planes are no smaller and take three times as long to undo."""
    return int(blosc.SHUFFLE if itemsize > 1 else blosc.NOSHUFFLE)


def array_metadata(
    name: str, shape: tuple[int, ...], attributes: Mapping[str, Any], compression: str
) -> dict[str, Any]:
    """The zarr v3 metadata document of a column."""
    spec = field(name)
    dtype = np.dtype(spec.dtype)
    codec, level = COMPRESSION[compression]
    little: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
    inner: list[dict[str, Any]] = [
        {"name": "bytes"} if dtype.itemsize == 1 else little,
        {
            "name": "blosc",
            "configuration": {
                "typesize": dtype.itemsize,
                "cname": codec,
                "clevel": level,
                "shuffle": "shuffle" if dtype.itemsize > 1 else "noshuffle",
                "blocksize": 0,
            },
        },
        {"name": "crc32c"},
    ]
    order = _planar(spec, len(shape))
    if order:
        inner.insert(0, {"name": "transpose", "configuration": {"order": list(order)}})
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shape)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill_value(spec),
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": [rows_per_chunk(spec, shape[0]), *shape[1:]],
                    "codecs": inner,
                    "index_codecs": [little, {"name": "crc32c"}],
                    "index_location": "end",
                },
            }
        ],
        "attributes": {"long_name": spec.meaning, "units": spec.unit, "frame": spec.frame, **attributes},
        "dimension_names": ["frame", *spec.axes],
        "storage_transformers": [],
    }


def fill_value(spec: Field) -> Any:
    """What zarr shows for chunks that are absent: the invalid value, never a plausible label."""
    if spec.kind in (Kind.RELATIVE, Kind.METRIC, Kind.DISPLACEMENT):
        return "NaN"
    if spec.invalid is not None:
        return int(spec.invalid) if np.dtype(spec.dtype).kind == "u" else float(spec.invalid)
    return 0 if np.dtype(spec.dtype).kind in "ui" else "NaN"


def _crc(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(CRC_BYTES, "little")


def encode(name: str, values: Array, compression: str = "fast") -> bytes:
    """The bytes of a column's only file: its frames one after the other, then the index."""
    spec = field(name)
    codec, level = COMPRESSION[compression]
    order = _planar(spec, values.ndim)
    step = rows_per_chunk(spec, len(values))
    chunks: list[bytes] = []
    index = np.empty((len(values) // step, 2), "<u8")
    offset = 0
    for k in range(len(index)):
        block = values[k * step : (k + 1) * step]
        raw = _planes(block) if order else np.ascontiguousarray(block)
        packed = blosc.compress(
            raw.reshape(-1), codec.encode(), level, _shuffle(raw.itemsize), 0, typesize=raw.itemsize
        )
        chunks += [packed, _crc(packed)]
        index[k] = offset, len(packed) + CRC_BYTES
        offset += len(packed) + CRC_BYTES
    tail = index.tobytes()
    return b"".join([*chunks, tail, _crc(tail)])


def checksums(name: str, rows: int, data: bytes) -> str:
    """crc32c of every inner chunk of a column's encoded bytes, as stored there, hexadecimal, in order."""
    chunks = rows // rows_per_chunk(field(name), rows)
    index = np.frombuffer(data[-chunks * 16 - CRC_BYTES : -CRC_BYTES], "<u8").reshape(chunks, 2)
    return b"".join(data[end - CRC_BYTES : end] for end in index.sum(axis=1).tolist()).hex()


@dataclass(frozen=True)
class ColumnReader:
    """Reads single frames of a column through `fetch(start, stop) -> bytes` of its file.

    stored: shape of an inner chunk as it lies in the file; axes: how to transpose that to logical order, None if
    it is. step: rows of an inner chunk. spans: (offset, length) of every inner chunk with its checksum.
    checksums: of every inner chunk as the shard's record has them, so that a sound file of another column or
    shard in this one's place is noticed; empty: not known.
    """

    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stored: tuple[int, ...]
    axes: tuple[int, ...] | None
    spans: list[tuple[int, int]]
    fetch: Callable[[int, int], bytes]
    checksums: bytes = b""

    @staticmethod
    def open(
        where: str,
        metadata: Mapping[str, Any],
        size: int,
        fetch: Callable[[int, int], bytes],
        checksums: str = "",
    ) -> ColumnReader:
        """Read and check the index. Raises CorruptShard if it is damaged or names absent bytes."""
        shape = tuple(int(n) for n in metadata["shape"])
        sharding = metadata["codecs"][0]["configuration"]
        inner = tuple(int(n) for n in sharding["chunk_shape"])
        orders = [c["configuration"]["order"] for c in sharding["codecs"] if c["name"] == "transpose"]
        chunks = math.ceil(shape[0] / inner[0])
        length = chunks * 16 + CRC_BYTES
        if size < length:
            raise CorruptShard(f"{where}: the file is cut short ({size} bytes)")
        tail = fetch(size - length, size)
        if len(tail) != length or google_crc32c.value(tail) != CRC_OF_SOUND:
            raise CorruptShard(f"{where}: the index does not match its checksum")
        numbers = struct.unpack_from(f"<{2 * chunks}Q", tail)
        spans = list(zip(numbers[::2], numbers[1::2], strict=True))
        if any(offset + length > size for offset, length in spans):  # both are 2**64 - 1 where there is none
            raise CorruptShard(f"{where}: the index names frames that are not there")
        stored = tuple(inner[axis] for axis in orders[0]) if orders else inner
        axes = tuple(int(axis) for axis in np.argsort(orders[0])) if orders else None
        dtype = np.dtype(metadata["data_type"])
        return ColumnReader(where, shape, dtype, stored, axes, spans, fetch, bytes.fromhex(checksums))

    def row(self, row: int) -> Array:
        """One frame, (y, x[, channel]) or a table's row; channel planes are contiguous, not pixels."""
        if not 0 <= row < self.shape[0]:
            raise IndexError(f"{self.where} has {self.shape[0]} frames, there is no frame {row}")
        step = self.stored[0]
        frames: Array = np.empty(self.stored, self.dtype)
        self._decode(row // step, frames)
        return np.asarray(self._logical(frames)[row % step])

    def rows(self, start: int, stop: int) -> Array:
        """Frames start … stop - 1, (frame, y, x[, channel]), contiguous."""
        if self.stored[0] > 1 or self.shape[0] == 1:
            table: Array = np.empty(self.stored, self.dtype)
            self._decode(0, table)
            return np.ascontiguousarray(self._logical(table)[start:stop])
        frames: Array = np.empty((max(stop - start, 0), *self.stored[1:]), self.dtype)
        for first, last in self._stretches(start, stop):
            offset = self.spans[first][0]
            data = memoryview(self.fetch(offset, sum(self.spans[last - 1])))
            for number in range(first, last):
                begin, length = self.spans[number]
                chunk = bytes(data[begin - offset : begin - offset + length])
                self._decode(number, frames[number - start : number - start + 1], chunk)
        return np.ascontiguousarray(self._logical(frames))

    def _stretches(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Frames start … stop - 1 in stretches that lie one after the other, of some MiB, each read at once."""
        first = start
        for number in range(start, stop):
            follows = number + 1 < stop and self.spans[number + 1][0] == sum(self.spans[number])
            if not follows or sum(self.spans[number]) - self.spans[first][0] >= AT_ONCE:
                yield first, number + 1
                first = number + 1

    def _logical(self, frames: Array) -> Array:
        return frames if self.axes is None else frames.transpose(self.axes)

    def _decode(self, number: int, out: Array, data: bytes | None = None) -> None:
        """Decode inner chunk `number`, `data` if it is at hand, into `out`.

        Raises CorruptShard if it does not match its checksum.
        """
        offset, length = self.spans[number]
        data = self.fetch(offset, offset + length) if data is None else data
        if len(data) != length or google_crc32c.value(data) != CRC_OF_SOUND:
            raise CorruptShard(f"{self.where}: frame {number * len(out)} does not match its checksum")
        known = self.checksums[number * CRC_BYTES : (number + 1) * CRC_BYTES]
        if known and data[-CRC_BYTES:] != known:
            raise CorruptShard(f"{self.where}: frame {number * len(out)} is not the one that was committed")
        try:
            blosc.decompress(data, out)  # its header tells where it ends, and the checksum begins
        except (RuntimeError, ValueError) as error:
            raise CorruptShard(
                f"{self.where}: frame {number * len(out)} can't be decoded: {error}"
            ) from error
