"""A file of stored depth → its numbers, of whatever kind the file is."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from freelabels.pipeline.media.images import check_size, decode_depth
from freelabels.pipeline.storage.uris import SourceError, read_bytes

FLOATING = (".exr", ".pfm", ".npy", ".npz", ".hdr")  # stored in metres
NO_DEPTH = (0, 65535)  # what depth cameras store where they saw nothing


def read_depth(uri: str, data: bytes | None = None) -> tuple[NDArray[np.float32], bool]:
    """Numbers (h, w) as stored, NaN where there are none, and whether they are metres rather than counts.

    Raises SourceError if the file holds no map of one number a pixel.
    """
    data = read_bytes(uri) if data is None else data
    suffix = f".{uri.rpartition('.')[2].lower()}"
    values: NDArray[Any]
    if suffix in (".npy", ".npz"):
        values = _array(data)
    elif suffix == ".pfm":
        values = _pfm(data)
    elif suffix in (".exr", ".hdr"):
        values = _decoded(data)
    elif suffix in (".tif", ".tiff") and _is_float(data):
        values = np.asarray(Image.open(io.BytesIO(data)))
    else:
        counts = decode_depth(data)
        numbers = counts.astype(np.float32)
        for nothing in NO_DEPTH:
            numbers[counts == nothing] = np.nan
        return numbers, False
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[-1]):
        values = values.squeeze(0 if values.shape[0] == 1 else -1)
    if values.ndim != 2:
        raise SourceError(f"its depth is an array of shape {values.shape}, not of one number a pixel")
    check_size(*values.shape)
    counted = np.issubdtype(values.dtype, np.integer)
    numbers = values.astype(np.float32)
    numbers[~np.isfinite(numbers) | (numbers <= 0)] = np.nan
    return numbers, not counted


def _array(data: bytes) -> NDArray[Any]:
    try:
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        values = loaded if isinstance(loaded, np.ndarray) else loaded[loaded.files[0]]
        if not np.issubdtype(values.dtype, np.number):
            raise ValueError("no numbers")
    except Exception as error:  # numpy and zip raise a dozen kinds
        raise SourceError("its depth is not an array of numbers") from error
    return np.asarray(values)


def _pfm(data: bytes) -> NDArray[Any]:
    """A portable float map of one channel; rows are stored from the bottom up."""
    try:
        kind, sizes, scale, rest = data.split(maxsplit=1)[0], *_header(data)
        width, height = sizes
        if kind != b"Pf":
            raise ValueError("three channels")
        values = np.frombuffer(rest, "<f4" if scale < 0 else ">f4", width * height)
    except (ValueError, IndexError) as error:
        raise SourceError("its depth is not a PFM of one channel, or is truncated") from error
    return values.reshape(height, width)[::-1]


def _header(data: bytes) -> tuple[tuple[int, int], float, bytes]:
    lines: list[bytes] = []
    while len(lines) < 3:
        line, _, data = data.partition(b"\n")
        if not line.startswith(b"#"):
            lines.append(line)
    width, height = (int(n) for n in lines[1].split())
    return (width, height), float(lines[2]), data


def _decoded(data: bytes) -> NDArray[Any]:
    """The first channel of a picture that FFmpeg decodes to floats."""
    try:
        with av.open(io.BytesIO(data), "r") as file:
            frame = next(file.decode(video=0))
            name = frame.format.name
            planes = frame.reformat(format="gbrpf32le" if name.startswith("gbr") else "grayf32le")
            plane = planes.planes[2 if name.startswith("gbr") else 0]  # green, blue, red
            values = np.frombuffer(bytes(plane), "<f4").reshape(planes.height, plane.line_size // 4)
            return np.array(values[:, : planes.width])
    except Exception as error:
        raise SourceError("its depth can't be decoded") from error


def _is_float(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as file:
            return file.mode == "F"
    except Exception:  # whatever it is, what decodes it next says so
        return False
