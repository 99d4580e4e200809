"""Frames of six fields for the shard benchmark: out of a labelled dataset, or made from photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from freelabels.generators.contract.fields import as_bytes
from freelabels.pipeline.shards.dataset import Dataset

Array = NDArray[Any]
FIELDS = ("image", "edges", "flow", "disparity", "normals", "flow_confidence")
SIDE = 256


def from_dataset(folder: Path, frames: int) -> dict[str, Array]:
    """Up to `frames` frames of the shards in `folder` that hold all six fields."""
    dataset, parts, count = Dataset(folder), [], 0
    for name in dataset.shards():
        shard = dataset.open(name)
        if set(FIELDS) <= set(shard.fields) and count < frames:
            parts.append(
                {field: shard.read_rows(field, 0, min(shard.rows, frames - count)) for field in FIELDS}
            )
            count += min(shard.rows, frames - count)
        shard.close()
    if not parts:
        raise SystemExit(f"no shard of {folder} holds {', '.join(FIELDS)}")
    return {field: np.concatenate([part[field] for part in parts]) for field in FIELDS}


def generated(frames: int) -> dict[str, Array]:
    """Photos under a moving window, with labels as noisy, as smooth and as broken by contours as real ones."""
    photos = [getattr(data, name)()[..., :3] for name in ("astronaut", "coffee", "chelsea", "rocket")]
    out = [_frame(photos[k % len(photos)], np.random.default_rng(k)) for k in range(frames)]
    return {field: np.stack([frame[field] for frame in out]) for field in FIELDS}


def _frame(photo: Array, rng: np.random.Generator) -> dict[str, Array]:
    top, left = (int(rng.integers(0, n - SIDE)) for n in photo.shape[:2])
    image = photo[top : top + SIDE, left : left + SIDE]
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), 2)
    slope = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    near = np.float32(
        cv2.GaussianBlur(grey, (0, 0), 12) > grey.mean()
    )  # a few large areas that move their own way
    inverse = 0.2 + 0.3 * y + 0.3 * near + 0.02 * smooth / 255
    ramp = np.stack([-cv2.Sobel(inverse, cv2.CV_32F, 1, 0), -cv2.Sobel(inverse, cv2.CV_32F, 0, 1)], axis=-1)
    normals = np.concatenate([20 * ramp, -np.ones_like(ramp[..., :1])], axis=-1)
    flow = np.stack([6 * inverse + x, 2 * inverse - y], axis=-1)
    flow += cv2.GaussianBlur(rng.normal(size=flow.shape).astype(np.float32), (0, 0), 3)
    return {
        "image": image,
        "edges": as_bytes(np.where(slope > 12, slope / slope.max(), 0)),
        "flow": flow.astype(np.float16),
        "disparity": inverse.astype(np.float16),
        "normals": (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).astype(np.float16),
        "flow_confidence": as_bytes(np.exp(-slope / 20)),
    }
