"""Pictures of more than 8 bits a colour, or of linear light, decoded by FFmpeg: EXR, Radiance, DPX, TIFF, PNG."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from freelabels.pipeline.storage.uris import SourceError

EXR, DPX, TIFF, PFM = b"\x76\x2f\x31\x01", (b"SDPX", b"XPDS"), (b"II*\0", b"MM\0*"), b"PF"
RADIANCE = (b"#?RADIANCE", b"#?RGBE")
DEEP_PNG = (2, 4, 6)  # colour types whose 16 bits Pillow cuts to 8
PPM = re.compile(rb"P6\s+(?:#[^\n]*\s+)*(\d+)\s+(?:#[^\n]*\s+)*(\d+)\s+(?:#[^\n]*\s+)*(\d+)\s")
BITS, SAMPLES = 258, 277  # TIFF's tags: bits of a sample, samples of a pixel
BIT_RANGES = (8, 10, 12, 14, 16)
OVERSHOOT = 1 / 64  # of a range, by which lossy compression may exceed it
ODD = 0.01  # share of values below zero, or not finite, that a photo may have
EXPOSED = (1 / 64, 4.0)  # median light; a picture beyond has another unit and is exposed anew
MIDDLE_GREY = 0.18


@dataclass(frozen=True)
class DeepPicture:
    """pixels: (h, w), (h, w, 3) or, with alpha, (h, w, 4); uint16, or float32 if linear. what was done to them."""

    pixels: NDArray[Any]
    linear: bool
    what: str


def is_deep(data: bytes) -> bool:
    """Whether a file is of a kind that FFmpeg decodes better than Pillow, or alone."""
    if data.startswith((EXR, *DPX, *RADIANCE)) or (data[:2] == PFM and data[2:3].isspace()):
        return True
    if data.startswith(TIFF):
        return _is_deep_tiff(data)
    if data.startswith(b"\x89PNG"):
        return data[24:25] == b"\x10" and data[25] in DEEP_PNG
    if header := PPM.match(data[:512]):
        return int(header[3]) > 255
    if data[4:8] == b"jP  ":  # JPEG 2000
        place = data.find(b"ihdr", 0, 512)
        return place > 0 and 8 <= data[place + 14] & 0x7F < 38
    return False


def _is_deep_tiff(data: bytes) -> bool:
    """Whether the first picture of a TIFF has three colours or more and more than 8 bits of each."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        (place,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, place)
        tags = {}
        for entry in range(place + 2, place + 2 + 12 * count, 12):
            tag, _, values = struct.unpack_from(f"{order}HHI", data, entry)
            tags[tag] = values, struct.unpack_from(f"{order}H", data, entry + 8)[0], entry + 8
        values, bits, held = tags[BITS]
        if values > 2:  # too many to be held in place
            (bits,) = struct.unpack_from(f"{order}H", data, struct.unpack_from(f"{order}I", data, held)[0])
        return bool(tags[SAMPLES][1] >= 3 and bits > 8)
    except (struct.error, KeyError):
        return False


def decode_deep(data: bytes, check_size: Callable[[int, int], None]) -> DeepPicture:
    """Decode the first picture. check_size(height, width) may refuse it before. Raises SourceError."""
    try:
        with av.open(io.BytesIO(data), "r") as container:
            if not container.streams.video:
                raise SourceError("is not an image of a known format")
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            check_size(stream.codec_context.height, stream.codec_context.width)
            frame = next(container.decode(stream), None)
            if frame is None or frame.is_corrupt:
                raise SourceError("is truncated")
            check_size(frame.height, frame.width)
            pixels = _numbers(frame)
    except av.FFmpegError as error:
        raise SourceError(f"can't be decoded ({error.strerror or type(error).__name__})") from error
    return _linear(pixels) if pixels.dtype.kind == "f" else _scaled(pixels)


def _numbers(frame: av.VideoFrame) -> NDArray[Any]:
    """All channels, uint16 or float32."""
    name, channels = frame.format.name, len(frame.format.components)
    if "f16" in name or "f32" in name:
        return np.asarray(frame.to_ndarray(), np.float32)
    alpha = channels in (2, 4)
    return np.asarray(
        frame.to_ndarray(format="gray16le" if channels == 1 else "rgba64le" if alpha else "rgb48le")
    )


def _linear(light: NDArray[np.float32]) -> DeepPicture:
    colours = light[..., :3] if light.ndim == 3 else light
    if np.mean(~np.isfinite(colours) | (colours < 0)) > ODD:
        raise SourceError("holds numbers that are not brightnesses (below zero, or none)")
    if light.ndim == 2 and float(light.max()) > 1:
        raise SourceError("holds numbers that are not brightnesses (expected 0..1 in a single channel)")
    light = np.nan_to_num(light, nan=0.0, posinf=1e6, neginf=0.0)
    middle, what = float(np.median(light[..., :3].max(axis=-1))) if light.ndim == 3 else MIDDLE_GREY, ""
    if light.ndim == 3 and middle > 0 and not EXPOSED[0] <= middle <= EXPOSED[1]:
        light[..., :3] *= MIDDLE_GREY / middle
        what = f", exposed by {MIDDLE_GREY / middle:.3g}"
    return DeepPicture(light, True, what)


def _scaled(values: NDArray[np.uint16]) -> DeepPicture:
    """Stretched from the smallest range of bits that holds all colours."""
    colours = values[..., :3] if values.ndim == 3 else values
    bits = next(bits for bits in BIT_RANGES if int(colours.max()) < 2**bits * (1 + OVERSHOOT))
    if bits == 16:
        return DeepPicture(values, False, "")
    stretched = values.copy()
    top = 2**bits - 1
    whole = ((np.minimum(colours, top).astype(np.uint32) * 65535 + top // 2) // top).astype(np.uint16)
    if values.ndim == 3:
        stretched[..., :3] = whole
    else:
        stretched = whole
    return DeepPicture(stretched, False, f", {bits} bits by its largest value")
