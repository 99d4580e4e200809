"""Stored columns of some frames as a batch holds them, whatever kind of field they are of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array, Kind, confidence_name
from freelabels.generators.contract.fields import field as field_of
from freelabels.generators.contract.sounds import sample_bounds
from freelabels.train.data.augment import Resampler

WEIGHT_SUFFIX = "_weight"
AXIS_SUFFIX = "_axis"
SAMPLES_SUFFIX = "_samples"  # of sound, how many of a row are the frame's own
CAMERA = ("camera_K", "camera_distortion", "camera_pose")  # tables that move with the view
Columns = dict[str, Array]


def is_image(name: str) -> bool:
    """Whether a column is of pictures in colour."""
    return name == "image" or (not name.endswith("_confidence") and field_of(name).kind is Kind.IMAGE)


def entries(
    name: str,
    frames: int,
    stored: Columns,
    seen: Columns,
    resampler: Resampler,
    ids: NDArray[np.int64] | None,
) -> dict[str, Array]:
    """What a batch holds of a field besides the frames themselves.

    stored: columns of the frames. seen: those that are pictures, in the view already. ids: the classes' new ones,
    by old one.
    """
    kind = field_of(name).kind
    if name in CAMERA:
        return _camera(name, frames, stored, resampler)
    if kind is Kind.IMAGE:
        return _second_image(name, frames, seen, resampler)
    if name == "sound":
        return _sound(frames, stored)
    if kind is Kind.TABLE:
        return _table(name, frames, stored, ids)
    return _label(name, frames, stored, resampler, ids)


def _camera(name: str, frames: int, stored: Columns, resampler: Resampler) -> dict[str, Array]:
    shape = tuple(int(n or 0) for n in field_of(name).sizes)
    if name not in stored:
        return {name: np.full((frames, *shape), np.nan)}
    carried = {
        "camera_K": resampler.camera_K,
        "camera_distortion": resampler.camera_distortion,
        "camera_pose": resampler.camera_pose,
    }
    return {name: carried[name](stored[name])}


def _second_image(name: str, frames: int, seen: Columns, resampler: Resampler) -> dict[str, Array]:
    """Another picture of the same moment, uint8 (T, 3, H, W), and its weight (T,): 1 where there is one.

    Where the frame's x axis points to in the view, (2,), goes with it: a mirrored right view lies to the left.
    """
    size = resampler.view.size
    there = name in seen
    images = seen[name] if there else np.zeros((frames, size, size, 3), np.uint8)
    return {
        name: images.transpose(0, 3, 1, 2),
        name + WEIGHT_SUFFIX: np.full(frames, there, np.float32),
        name + AXIS_SUFFIX: resampler.view.turn[:, 0].astype(np.float32),
    }


def _table(name: str, frames: int, stored: Columns, ids: NDArray[np.int64] | None) -> dict[str, Array]:
    """Numbers by frame (T, …), int64 or float32, and their weight (T,): confidence, 0 where there are none.

    Where there are none, whole numbers are -1 and others NaN.
    """
    spec = field_of(name)
    whole = np.dtype(spec.dtype).kind in "iub"
    if name not in stored:
        shape = (frames, *(n or 0 for n in spec.sizes))
        empty = np.full(shape, -1, np.int64) if whole else np.full(shape, np.nan, np.float32)
        return {name: empty, name + WEIGHT_SUFFIX: np.zeros(frames, np.float32)}
    values: Array = stored[name].astype(np.int64 if whole else np.float32)
    weight = np.ones(frames, np.float32)
    if confidence_name(name) in stored:
        weight *= stored[confidence_name(name)].reshape(frames, -1)[:, 0] / np.float32(255)
    if ids is not None:
        values = np.where(np.equal(values, -1), -1, ids[values])
    return {name: values, name + WEIGHT_SUFFIX: weight}


def _sound(frames: int, stored: Columns) -> dict[str, Array]:
    """Samples by frame as a table, and how many of each row are its own, int64 (T,), of neighbouring frames."""
    counts = np.zeros(frames, np.int64)
    if "sound" in stored and "time" in stored:
        counts = np.minimum(np.diff(sample_bounds(stored["time"])), stored["sound"].shape[1])
    return _table("sound", frames, stored, None) | {"sound" + SAMPLES_SUFFIX: counts}


def _label(
    name: str, frames: int, stored: Columns, resampler: Resampler, ids: NDArray[np.int64] | None
) -> dict[str, Array]:
    """A label as float32 (T, C, H, W) and its weight (T, H, W)."""
    spec = field_of(name)
    shape = (frames, resampler.view.size, resampler.view.size)
    if name not in stored:
        empty = np.zeros((shape[0], (spec.sizes[2:] or (1,))[0] or 1, *shape[1:]), np.float32)
        return {name: empty, name + WEIGHT_SUFFIX: np.zeros(shape, np.float32)}
    values = resampler.map(name, stored[name])
    weight = (spec.valid(values) & resampler.inside).astype(np.float32)
    if confidence_name(name) in stored:
        weight *= resampler.map(confidence_name(name), stored[confidence_name(name)]) / np.float32(255)
    if ids is not None:
        values = ids[values]
    planes = values[:, None] if values.ndim == 3 else values.transpose(0, 3, 1, 2)
    planes = planes.astype(np.float32)
    if spec.kind is Kind.PROBABILITY:
        planes /= 255
    planes[~np.broadcast_to(weight[:, None] > 0, planes.shape)] = 0
    return {name: planes, name + WEIGHT_SUFFIX: weight}
