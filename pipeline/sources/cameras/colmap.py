"""COLMAP models → cameras and poses: cameras and images, as .txt and .bin."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from freelabels.pipeline.sources.cameras.told import Camera, Pose, Told, pose_of, rotation_of

# Number in .bin → name and how many parameters; those with one focal length first list it alone.
MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
}
ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")


def read_colmap(cameras: bytes, images: bytes, binary: bool) -> Told | None:
    """What a model's two files tell, by pictures' names. Raises ValueError or struct.error if they are none."""
    known = _binary_cameras(cameras) if binary else _text_cameras(cameras.decode("utf-8", "replace"))
    found = _binary_images(images) if binary else _text_images(images.decode("utf-8", "replace"))
    if not known:
        return None
    by_name = {name: known[number] for number, name, _ in found if number in known}
    if len(known) == 1:
        by_name[""] = next(iter(known.values()))
    return Told("COLMAP model", by_name, poses={name: pose for _, name, pose in found})


def _camera(model: str, width: int, height: int, numbers: Sequence[float]) -> Camera:
    numbers = [numbers[0], *numbers] if model in ONE_FOCAL else list(numbers)
    fx, fy, cx, cy, *rest = numbers
    return Camera(fx, fy, cx, cy, (height, width), None, any(abs(n) > 1e-9 for n in rest))


def _pose(numbers: Sequence[float]) -> Pose:
    """Camera → world of a quaternion w x y z and translation, world → camera."""
    w, x, y, z, *place = numbers
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation_of((x, y, z, w)), place
    return pose_of(np.linalg.inv(out).ravel().tolist())


def _text_cameras(text: str) -> dict[int, Camera]:
    found = {}
    for line in text.splitlines():
        parts = line.split()
        if len(parts) >= 7 and not line.startswith("#"):
            numbers = [float(n) for n in parts[4:]]
            found[int(parts[0])] = _camera(parts[1], int(parts[2]), int(parts[3]), numbers)
    return found


def _text_images(text: str) -> list[tuple[int, str, Pose]]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = []
    for line in lines[::2]:  # every second one lists points
        parts = line.split(maxsplit=9)
        if len(parts) == 10:
            found.append((int(parts[8]), parts[9].strip(), _pose([float(n) for n in parts[1:8]])))
    return found


def _binary_cameras(data: bytes) -> dict[int, Camera]:
    (count,), place = struct.unpack_from("<Q", data), 8
    found = {}
    for _ in range(count):
        number, kind, width, height = struct.unpack_from("<iiQQ", data, place)
        model, parameters = MODELS[kind]
        numbers = struct.unpack_from(f"<{parameters}d", data, place + 24)
        found[number] = _camera(model, width, height, numbers)
        place += 24 + 8 * parameters
    return found


def _binary_images(data: bytes) -> list[tuple[int, str, Pose]]:
    (count,), place = struct.unpack_from("<Q", data), 8
    found = []
    for _ in range(count):
        numbers = struct.unpack_from("<7d", data, place + 4)
        (camera,) = struct.unpack_from("<i", data, place + 60)
        stop = data.index(b"\0", place + 64)
        name = data[place + 64 : stop].decode("utf-8", "replace")
        (points,) = struct.unpack_from("<Q", data, stop + 1)
        place = stop + 9 + 24 * points
        found.append((camera, name, _pose(numbers)))
    return found
