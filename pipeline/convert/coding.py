"""Maps → files of single frames: PNG as other datasets code them, NPY as stored, EXR for real numbers."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array, Kind, field

MILLIMETRES = 1000.0
FLOW_STEPS, FLOW_ZERO = 64.0, 1 << 15  # KITTI's
MOST = (1 << 16) - 1

# By kind, how to read a PNG of it; `p` is what stands there.
PNG_SAYS = {
    Kind.IMAGE: "sRGB",
    Kind.PROBABILITY: "probability = p / 255",
    Kind.CONFIDENCE: "trust = p / 255; 0: no label here",
    Kind.CATEGORY: "class id",
    Kind.IDENTITY: "id; 0: none",
    Kind.METRIC: "metres = p / 1000; 0: unknown, 65535: background, or beyond 65.5 m",
    Kind.RELATIVE: "low + (p - 1) / 65534 x (high - low), which stand under `ranges` of the frame; 0: unknown",
    Kind.DIRECTION: "(x, y, z) = (p - 32768) / 32767; (0, 0, 0): unknown",
    Kind.DISPLACEMENT: "(u, v) = (p - 32768) / 64 pixels, third channel 1 where known (as KITTI has it)",
    Kind.COORDINATE: "(x, y, z) = p / 65535; (0, 0, 0): unknown",
}


def as_png(name: str, values: Array) -> tuple[bytes, tuple[float, float] | None]:
    """One frame (y, x[, channel]) of a map as PNG, `PNG_SAYS` how; with the range that relative values lie in."""
    kind, found = field(name).kind, None
    if kind is Kind.METRIC:
        known = np.isfinite(values) & (values > 0)
        steps = np.clip(np.rint(np.where(known, values, 0) * MILLIMETRES), 1, MOST)
        coded = np.where(known, steps, np.where(np.isposinf(values), MOST, 0)).astype(np.uint16)
    elif kind is Kind.RELATIVE:
        exact = values.astype(np.float64)
        known = np.isfinite(exact)
        found = (float(exact[known].min()), float(exact[known].max())) if known.any() else (0.0, 0.0)
        share = (np.where(known, exact, 0) - found[0]) / max(found[1] - found[0], 1e-12)
        coded = np.where(known, np.rint(1 + np.clip(share, 0, 1) * (MOST - 1)), 0).astype(np.uint16)
    elif kind is Kind.DIRECTION:
        known = (values != 0).any(axis=-1, keepdims=True)
        coded = np.where(known, np.rint(values.astype(np.float64) * 32767) + 32768, 0).astype(np.uint16)
    elif kind is Kind.DISPLACEMENT:
        exact = values.astype(np.float64)
        steps = np.rint(exact * FLOW_STEPS) + FLOW_ZERO
        known = np.isfinite(steps).all(axis=-1) & (np.abs(steps - FLOW_ZERO) < FLOW_ZERO).all(axis=-1)
        coded = np.dstack([np.where(known[..., None], steps, 0), known]).astype(np.uint16)
    elif kind is Kind.COORDINATE:
        coded = np.rint(values.astype(np.float64) * MOST).astype(np.uint16)
    else:
        coded = np.asarray(values)
    return _encoded(coded), found


def _encoded(coded: Array) -> bytes:
    done, data = cv2.imencode(".png", cv2.cvtColor(coded, cv2.COLOR_RGB2BGR) if coded.ndim == 3 else coded)
    if not done:
        raise ValueError(f"{coded.shape} {coded.dtype} can't be a PNG")
    return data.tobytes()


def as_npy(values: Array) -> bytes:
    """One frame as stored."""
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(values))
    return out.getvalue()


def as_exr(values: Array) -> bytes:
    """One frame (y, x) or (y, x, 2 or 3) of real numbers as OpenEXR, 32 bits a number: grey, or R, G and B.

    Of two channels B is 0. What is not a number stays so.
    """
    exact: NDArray[np.float32] = np.asarray(values, np.float32)
    if exact.ndim == 3 and exact.shape[2] == 2:
        exact = np.dstack([exact, np.zeros_like(exact[..., 0])])
    format = "grayf32le" if exact.ndim == 2 else "gbrpf32le"
    codec: Any = av.CodecContext.create("exr", "w")
    codec.height, codec.width, codec.pix_fmt, codec.time_base = (
        exact.shape[0],
        exact.shape[1],
        format,
        Fraction(1),
    )
    codec.options = {"compression": "zip16", "format": "float"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(exact), format=format)
    return b"".join(bytes(packet) for packet in (*codec.encode(frame), *codec.encode(None)))
