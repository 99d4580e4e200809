"""JSON and YAML files → what they tell: OpenCV, EuRoC, RealSense, nerfstudio, Polycam, Record3D, BOP, Kubric."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import yaml

from freelabels.pipeline.sources.cameras.told import (
    CENTRE,
    OPENGL,
    Camera,
    Told,
    camera_of_matrix,
    pose_of,
    rotation_of,
)

MATRICES = (
    "camera_matrix",
    "cameraMatrix",
    "K",
    "intrinsic_matrix",
    "intrinsics",
    "cam_K",
    "camera_K",
)  # names of matrices of intrinsics, likeliest first
SIDED = {
    "left": ("M1", "K1", "P1", "cameraMatrix1", "LEFT"),
    "right": ("M2", "K2", "P2", "cameraMatrix2", "RIGHT"),
}
FOCAL = (("fl_x", "fl_y"), ("fx", "fy"))
CENTRES = (("cx", "cy"), ("ppx", "ppy"))


def read_json(name: str, text: str) -> Told | None:
    """What a JSON file tells, None if nothing that is known. Raises ValueError if it is no JSON."""
    values = json.loads(text)
    return _read(values) if isinstance(values, dict) else None


def read_yaml(name: str, text: str) -> Told | None:
    """What a YAML file (OpenCV's dialect too) tells, None if nothing. Raises ValueError if it is no YAML."""
    text = re.sub(r"^%YAML.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"!!opencv-matrix", "", text)
    text = re.sub(r"^---.*$", "", text, flags=re.MULTILINE)
    try:
        values = yaml.safe_load(re.sub(r"(?m)^(\s*\w+):(?=\S)", r"\1: ", text))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return _read(values) if isinstance(values, dict) else None


def _read(values: Mapping[str, Any]) -> Told | None:
    for reader in READERS:
        told = reader(values)
        if told is not None:
            return told
    return None


def _floats(value: Any) -> list[float]:
    """The numbers of a matrix however it is written: nested, flat, or {rows, cols, data}."""
    if isinstance(value, Mapping):
        value = value.get("data", ())
    try:
        return [float(n) for n in np.asarray(value, np.float64).ravel()]
    except (TypeError, ValueError):
        return []


def _number(values: Mapping[str, Any], *names: str) -> float | None:
    for name in names:
        value = values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None


def _size(values: Mapping[str, Any]) -> tuple[int, int] | None:
    wide = _number(values, "w", "width", "image_width", "imageWidth")
    high = _number(values, "h", "height", "image_height", "imageHeight")
    if wide and high:
        return int(high), int(wide)
    for name in ("resolution", "imageSize", "image_size"):
        numbers = _floats(values.get(name, ()))
        if len(numbers) == 2:
            return int(numbers[1]), int(numbers[0])
    return None


def _bent(values: Mapping[str, Any], *names: str) -> bool:
    """Whether there are distortion coefficients that aren't zero."""
    known = ("k1", "k2", "p1", "p2", "k3", "k4")
    numbers = [abs(_number(values, name) or 0.0) for name in known]
    for name in (*names, "distortion_coefficients", "distCoeffs", "D", "coeffs", "distortion_coeffs"):
        numbers += [abs(n) for n in _floats(values.get(name, ()))]
    return any(n > 1e-9 for n in numbers)


def _camera(values: Mapping[str, Any], centre: float = CENTRE) -> Camera | None:
    """The camera that the members of one object tell."""
    size, bent = _size(values), _bent(values)
    for along, down in FOCAL:
        for right, below in CENTRES:
            fx, cx, cy = _number(values, along), _number(values, right), _number(values, below)
            if fx and cx is not None and cy is not None:
                fy = _number(values, down) or fx
                return Camera(fx, fy, cx + centre, cy + centre, size, None, bent)
    angle = _number(values, "camera_angle_x")
    if angle and size:
        focal = size[1] / 2 / math.tan(angle / 2)
        return Camera(focal, focal, size[1] / 2, size[0] / 2, size, None, bent)
    for name in MATRICES:
        numbers = _floats(values.get(name, ()))
        if len(numbers) == 4 and min(numbers[:2]) > 1:  # fu fv cu cv, as EuRoC and Kalibr have it
            return Camera(numbers[0], numbers[1], numbers[2] + centre, numbers[3] + centre, size, None, bent)
        if len(numbers) == 9 and numbers[6] > 1 and abs(numbers[2]) < 1e-9:  # by columns
            numbers = [numbers[k] for k in (0, 3, 6, 1, 4, 7, 2, 5, 8)]
        camera = camera_of_matrix(numbers, size, centre, None, bent)
        if camera is not None:
            return camera
    return None


def _nerfstudio(values: Mapping[str, Any]) -> Told | None:
    frames = values.get("frames")
    if not isinstance(frames, list) or not all(isinstance(one, Mapping) for one in frames):
        return None
    cameras, poses = {}, {}
    whole = _camera(values, 0.0)
    if whole is not None:
        cameras[""] = whole
    for frame in frames:
        path = str(frame.get("file_path", ""))
        pose = pose_of(_floats(frame.get("transform_matrix", ())))
        if path and np.isfinite(pose).all():
            poses[path] = pose @ OPENGL
        own = _camera({**{k: v for k, v in values.items() if k != "frames"}, **frame}, 0.0)
        if path and own is not None and own != whole:
            cameras[path] = own
    unit = _number(values, "depth_unit_scale_factor")
    if unit is None and (counts := _number(values, "integer_depth_scale")):
        unit = counts if counts < 1 else 1 / counts
    return Told("nerfstudio transforms", cameras, depth_unit=unit, poses=poses)


def _record3d(values: Mapping[str, Any]) -> Told | None:
    numbers, poses = _floats(values.get("K", ())), values.get("poses")
    if len(numbers) != 9 or not isinstance(poses, list):
        return None
    camera = _camera({k: v for k, v in values.items() if k != "poses"})
    if camera is None:
        return None
    order = []
    for row in poses:
        row = _floats(row)
        order.append(pose_of([*row[4:7], *row[:4]]) @ OPENGL if len(row) == 7 else pose_of(()))
    rate = _number(values, "fps")
    stamps = _floats(values.get("frameTimestamps", ()))
    ticks = stamps or ([k / rate for k in range(len(order))] if rate else [])
    return Told("Record3D metadata", {"": camera}, depth_unit=1.0, order=order, ticks=ticks)


def _polycam(values: Mapping[str, Any]) -> Told | None:
    rows = [_number(values, f"t_{k // 4}{k % 4}") for k in range(12)]
    camera = _camera(values)
    if camera is None or any(n is None for n in rows):
        return None
    pose = pose_of([n for n in rows if n is not None])
    return Told("Polycam camera", {"": camera}, poses={"": pose @ OPENGL})


def _bop(values: Mapping[str, Any]) -> Told | None:
    cameras, poses, units = {}, {}, set()
    for number, about in values.items():
        if not isinstance(about, Mapping) or "cam_K" not in about or not number.isdigit():
            return None
        camera = _camera(about)
        if camera is not None:
            cameras[number] = camera
        units.add(_number(about, "depth_scale") or 1.0)
        turn, place = _floats(about.get("cam_R_w2c", ())), _floats(about.get("cam_t_w2c", ()))
        if len(turn) == 9 and len(place) == 3:
            out = np.eye(4)
            out[:3, :3], out[:3, 3] = np.reshape(turn, (3, 3)), np.array(place) / 1000
            poses[number] = pose_of(np.linalg.inv(out).ravel().tolist())
    unit = units.pop() / 1000 if len(units) == 1 else None
    return Told("BOP scene camera", cameras, depth_unit=unit, poses=poses) if cameras else None


def _kubric(values: Mapping[str, Any]) -> Told | None:
    camera, about = values.get("camera"), values.get("metadata", {})
    if not isinstance(camera, Mapping) or "quaternions" not in camera or "positions" not in camera:
        return None
    size = about.get("resolution") if isinstance(about, Mapping) else None
    order = []
    for place, turn in zip(camera["positions"], camera["quaternions"], strict=False):
        w, x, y, z = _floats(turn)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation_of((x, y, z, w)), _floats(place)
        order.append(pose @ OPENGL)
    cameras = {}
    focal, sensor = _number(camera, "focal_length"), _number(camera, "sensor_width")
    if focal and sensor and size:
        wide, high = (float(size[0]), float(size[1]))
        pixels = focal / sensor * wide
        cameras[""] = Camera(pixels, pixels, wide / 2, high / 2, (int(high), int(wide)))
    return Told("Kubric metadata", cameras, order=order)


def _sided(values: Mapping[str, Any]) -> Told | None:
    """Both cameras of a rig in one file, as OpenCV's stereo calibration writes them."""
    found = {}
    for side, names in SIDED.items():
        for name in names:
            inner = values.get(name)
            camera = _camera(inner) if isinstance(inner, Mapping) and "data" not in inner else None
            camera = camera or camera_of_matrix(
                _floats(inner if inner is not None else ()),
                _size(values),
                distorted=_bent(values, f"D{name[1:]}"),
            )
            if camera is not None and side not in found:
                found[side] = camera
    if "left" not in found:
        return None
    rectified = [_floats(values.get(name, ())) for name in ("P1", "P2")]
    baseline, doffs = _number(values, "baseline", "Baseline", "BASELINE"), None
    if all(len(numbers) == 12 for numbers in rectified):  # what the rectified pictures were made with
        for side, numbers in zip(("left", "right"), rectified, strict=True):
            camera = camera_of_matrix(numbers, _size(values))
            if camera is not None:
                found[side] = camera
        baseline = _length(-rectified[1][3] / rectified[1][0])
        doffs = rectified[1][2] - rectified[0][2]
    elif baseline is None and len(apart := _floats(values.get("T", ()))) == 3:
        baseline = _length(float(np.linalg.norm(apart)))
    elif baseline is not None:
        baseline = _length(baseline)
    if doffs is None and "right" in found:
        doffs = found["right"].cx - found["left"].cx
    return Told("stereo calibration", {**found, "": found["left"]}, baseline, doffs)


def _length(baseline: float) -> float | None:
    """Metres of a baseline that may be in millimetres: no rig is ten metres wide."""
    size = abs(baseline)
    return (size if size < 5 else size / 1000) or None


def _kalibr(values: Mapping[str, Any]) -> Told | None:
    cameras = {}
    for name, about in values.items():
        if re.fullmatch(r"cam\d", name) and isinstance(about, Mapping) and (camera := _camera(about)):
            cameras[name[3:]] = camera
    return Told("Kalibr camera chain", cameras) if cameras else None


def _plain(values: Mapping[str, Any]) -> Told | None:
    """One camera, or cameras by what they look at, anywhere near the top of the file."""
    cameras: dict[str, Camera] = {}
    camera = _camera(values)
    if camera is not None:
        cameras[""] = camera
    unit = _unit(values)
    baseline = _number(values, "baseline", "Baseline")
    for name, inner in values.items():
        if not isinstance(inner, Mapping):
            continue
        kind = next((kind for kind in ("depth", "color", "left", "right") if kind in name.lower()), "")
        kind = "color" if "rgb" in name.lower() else kind
        below = inner.get("intrinsics")
        camera = (_camera(below) if isinstance(below, Mapping) else None) or _camera(inner)
        if camera is not None:
            cameras.setdefault(kind, camera)
        unit = unit or _unit(inner)
        baseline = baseline or _number(inner, "baseline")
    if not cameras and unit is None:
        return None
    return Told("camera file", cameras, _length(baseline) if baseline else None, depth_unit=unit)


def _unit(values: Mapping[str, Any]) -> float | None:
    """Metres a count: "scale" of depth, which is a length of a count or counts a metre."""
    scale = _number(values, "depth_scale", "depthScale", "depth_units", "depth_factor", "png_depth_scale")
    if scale is None and _number(values, "fx") is not None:
        scale = _number(values, "scale")  # Replica's cam_params.json
    if not scale or scale <= 0:
        return None
    return 1 / scale if scale > 1 else scale


READERS: tuple[Callable[[Mapping[str, Any]], Told | None], ...] = (
    _nerfstudio,
    _record3d,
    _polycam,
    _bop,
    _kubric,
    _sided,
    _kalibr,
    _plain,
)
