"""A clip spec → its pixels, every kind by the same resize and crop."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.geometry import crop_resize_intrinsics
from freelabels.generators.contract.sounds import sample_bounds
from freelabels.pipeline.media.depth_maps import read_depth
from freelabels.pipeline.media.formats import IMAGE_SUFFIXES
from freelabels.pipeline.media.images import animation, decode
from freelabels.pipeline.media.tracks import listen
from freelabels.pipeline.media.videos import pick
from freelabels.pipeline.sources.cameras.rig import read_pose
from freelabels.pipeline.sources.clip_specs import ClipSpec
from freelabels.pipeline.sources.layouts.grouping import suffix_of
from freelabels.pipeline.storage.uris import SourceError, read_bytes

RGB = NDArray[np.uint8]


def read(spec: ClipSpec, size: tuple[int, int], between: bool = False, sound: bool = False) -> Clip:
    """The frames of a clip at `size` = (height, width): scaled to cover it, the middle cut out.

    between: also the source's frames between them, as far as the spec numbers any. sound: also what is heard, if
    the source has a sound track.

    Shrinking averages over areas, enlarging is bilinear, depth takes the nearest sample. Intrinsics follow.
    The same pixels however often it is asked for. Raises SourceError or OSError if the source isn't what it
    was.
    """
    left = spec.uris[: spec.frames] if spec.kind != "video" else spec.uris
    image, K, others = _images(spec, left, size, spec.between if between else ())
    right, doffs = None, 0.0
    if spec.kind == "stereo":
        right = _images(spec, spec.uris[spec.frames :], size)[0]
        right, doffs = shifted(right, spec.doffs * K[0, 0] / spec.camera[0])
    return Clip(
        image=image,
        time=np.array(spec.times, np.float64),
        camera_K=K,
        intrinsics=spec.intrinsics,
        right=right,
        doffs=doffs,
        baseline=spec.baseline,
        sensor_depth=np.stack([_depth(uri, spec, size) for uri in spec.depth]) if spec.depth else None,
        depth_trust=spec.depth_trust,
        camera_pose=_poses(spec),
        between=others,
        sound=heard(spec) if sound else None,
    )


def heard(spec: ClipSpec) -> NDArray[np.float32] | None:
    """The sound of a clip, as `Clip.sound`; None: it has none. Raises as `read`."""
    if not spec.sound:
        return None
    bounds = sample_bounds(spec.times)
    return listen(spec.uris[0], int(bounds[0]), int(bounds[-1]))


def window(frame: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(x, y, width, height) of the central part of a (height, width) frame with the shape of `size`."""
    scale = min(frame[0] / size[0], frame[1] / size[1])
    height, width = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return (frame[1] - width) // 2, (frame[0] - height) // 2, width, height


def shifted(right: RGB, doffs: float) -> tuple[RGB, float]:
    """Right views (t, h, w, 3) moved left by whole pixels: nothing then lies further right than in left ones.

    doffs: pixels that their principal points lie further right than the left ones'; returned is the rest of it.
    """
    whole = math.ceil(doffs)
    columns = np.clip(np.arange(right.shape[2]) + whole, 0, right.shape[2] - 1)
    return (np.ascontiguousarray(right[:, :, columns]) if whole else right), doffs - whole


def crop_resize(image: RGB, size: tuple[int, int]) -> RGB:
    """The central part of an image (h, w, 3) at `size` = (height, width)."""
    x, y, width, height = window((image.shape[0], image.shape[1]), size)
    how = cv2.INTER_AREA if height >= size[0] else cv2.INTER_LINEAR
    return np.asarray(
        cv2.resize(image[y : y + height, x : x + width], size[::-1], interpolation=how), np.uint8
    )


def _images(
    spec: ClipSpec, uris: Sequence[str], size: tuple[int, int], between: Sequence[Sequence[int]] = ()
) -> tuple[RGB, NDArray[np.float64], tuple[RGB, ...]]:
    """All frames of a clip at `size`, K along with them, and those numbered `between` each and the next."""
    K, out = spec.camera_K, np.empty((spec.frames, *size, 3), np.uint8)
    others: list[list[RGB]] = [[] for _ in between]
    place = {number: k for k, number in enumerate(spec.indices)}
    group = {number: k for k, numbers in enumerate(between) for number in numbers}
    for number, image, reduced in _pictures(spec, uris, size, group.keys()):
        if number in group:
            others[group[number]].append(crop_resize(image, size))
            continue
        if place[number] == 0:
            x, y, width, height = window((image.shape[0], image.shape[1]), size)
            K = crop_resize_intrinsics(K, (0, 0), (1 / reduced, 1 / reduced))
            K = crop_resize_intrinsics(K, (x, y), (size[1] / width, size[0] / height))
        out[place[number]] = crop_resize(image, size)
    return out, K, tuple(np.array(some, np.uint8).reshape(-1, *size, 3) for some in others)


def _pictures(
    spec: ClipSpec, uris: Sequence[str], size: tuple[int, int], between: Collection[int]
) -> Iterator[tuple[int, RGB, int]]:
    """Number of every frame, and of those `between`, the frame, upright, and how much coarser than the source."""
    if spec.kind != "video":
        scale = max(size[0] / spec.size[0], size[1] / spec.size[1])
        needed = math.ceil(spec.size[0] * scale), math.ceil(spec.size[1] * scale)
        for number, uri in zip(spec.indices, uris, strict=True):
            picture = decode(read_bytes(uri), needed)
            if picture.size != spec.size:
                raise SourceError("is not the file it was")
            yield number, picture.image, picture.reduced
    elif suffix_of(uris[0]) in IMAGE_SUFFIXES:
        wanted = {*spec.indices, *between}
        for index, (_, image) in enumerate(animation(read_bytes(uris[0]))):
            if index in wanted:
                yield index, image, 1
            if index == spec.indices[-1]:
                return
    else:
        for frame in pick(uris[0], spec.indices, spec.pts, spec.checksum, spec.stream, between):
            yield frame.index, frame.rgb(), 1


def _depth(uri: str, spec: ClipSpec, size: tuple[int, int]) -> NDArray[np.float32]:
    """Sensor depth (h, w) in metres at `size`, NaN where there is none; uri "": there is none at all."""
    if not uri:
        return np.full(size, np.nan, np.float32)
    values, _ = read_depth(uri)
    x, y, width, height = window((values.shape[0], values.shape[1]), size)
    rows = y + ((np.arange(size[0]) + 0.5) * height / size[0]).astype(int)
    columns = x + ((np.arange(size[1]) + 0.5) * width / size[1]).astype(int)
    nearest = values[np.ix_(rows, columns)]
    return np.asarray(nearest.astype(np.float64) * spec.depth_unit, np.float32)


def _poses(spec: ClipSpec) -> NDArray[np.float64] | None:
    """Camera → world (frames, 4, 4), NaN where unknown; None if nothing is told of them."""
    if spec.track:
        poses = np.tile(np.eye(4), (spec.frames, 1, 1))
        poses[:, :3] = np.array(spec.track, np.float64).reshape(-1, 3, 4)
        poses[np.isnan(poses).any(axis=(1, 2))] = np.nan
        return poses
    return np.stack([_pose(uri) for uri in spec.poses]) if spec.poses else None


def _pose(uri: str) -> NDArray[np.float64]:
    """Camera → world (4, 4), NaN if there is no file, or it can't be read."""
    if not uri:
        return np.full((4, 4), np.nan)
    try:
        return read_pose(uri)
    except (SourceError, OSError):
        return np.full((4, 4), np.nan)
