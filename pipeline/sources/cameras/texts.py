"""Plain text files → what they tell: KITTI, Middlebury, ETH3D, ScanNet, TUM, Replica, Redwood, TartanAir."""

from __future__ import annotations

import re
from collections.abc import Callable

from freelabels.pipeline.sources.cameras.told import (
    CENTRE,
    NED,
    Camera,
    Told,
    camera_of_matrix,
    pose_of,
)

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|inf|nan)", re.IGNORECASE)
LISTED = re.compile(r"^(\d+(?:\.\d+)?)[\s,]+(\S+\.\w{2,4})\s*(?:(\d+(?:\.\d+)?)[\s,]+(\S+\.\w{2,4}))?\s*$")


def read_text(name: str, text: str) -> Told | None:
    """What a text file tells, None if it tells nothing that is known. name: of the file, in lower case."""
    for reader in READERS:
        told = reader(name, text)
        if told is not None:
            return told
    return None


def _numbers(text: str) -> list[float]:
    return [float(n) for n in NUMBER.findall(text)]


def _rows(text: str) -> list[list[float]]:
    """The lines of a table of numbers, comments left out; [] if there is anything else in it."""
    rows = []
    for line in text.splitlines():
        line = line.partition("#")[0].strip().replace(",", " ")
        if line:
            parts = line.split()
            if not all(NUMBER.fullmatch(part) for part in parts):
                return []
            rows.append([float(part) for part in parts])
    return rows


def _named(text: str) -> dict[str, str]:
    """Lines of the forms "name: value" and "name = value"."""
    found = re.findall(r"^\s*([A-Za-z]\w*)\s*[:=]\s*(.*?)\s*$", text, re.MULTILINE)
    return dict(found)


def _middlebury(name: str, text: str) -> Told | None:
    values = _named(text)
    if "cam0" not in values:
        return None
    size = (
        (int(float(values["height"])), int(float(values["width"])))
        if {"height", "width"} <= values.keys()
        else None
    )
    left = camera_of_matrix(_numbers(values["cam0"]), size)
    right = camera_of_matrix(_numbers(values.get("cam1", "")), size)
    if left is None:
        return None
    apart = _numbers(values.get("doffs", ""))
    doffs = apart[0] if apart else (right.cx - left.cx if right else None)
    baseline = _numbers(values.get("baseline", ""))
    cameras = {"0": left, "left": left, "": left} | ({"1": right, "right": right} if right else {})
    return Told("Middlebury calibration", cameras, baseline[0] / 1000 if baseline else None, doffs)


def _kitti(name: str, text: str) -> Told | None:
    values = _named(text)
    cameras: dict[str, Camera] = {}
    for key, value in values.items():
        found = re.fullmatch(r"P(?:_rect_)?0?(\d)", key)
        if not found:
            continue
        numbers = _numbers(value)
        size = _numbers(values.get(f"S_rect_0{found[1]}", ""))
        if len(numbers) == 12 and numbers[0] > 0:
            shift = -numbers[3] / numbers[0]
            whole = (round(size[1]), round(size[0])) if len(size) == 2 else None
            camera = camera_of_matrix(numbers, whole, shift=shift)
            if camera is not None:
                cameras[found[1]] = camera
    return Told("KITTI calibration", cameras) if cameras else None


def _scannet(name: str, text: str) -> Told | None:
    values = {key.removeprefix("m_"): value for key, value in _named(text).items()}
    cameras: dict[str, Camera] = {}
    for kind in ("color", "depth"):
        wide, high = values.get(f"{kind}Width"), values.get(f"{kind}Height")
        size = (int(high), int(wide)) if wide and high and wide.isdigit() and high.isdigit() else None
        numbers = _numbers(values.get(f"calibration{kind.title()}Intrinsic", ""))
        if not numbers and f"fx_{kind}" in values:
            parts = [_numbers(values.get(f"{k}_{kind}", "0"))[0] for k in ("fx", "mx", "fy", "my")]
            numbers = [parts[0], 0, parts[1], 0, parts[2], parts[3], 0, 0, 1]
        camera = camera_of_matrix(numbers, size)
        if camera is not None:
            cameras[kind] = camera
    shift = _numbers(values.get("depthShift", ""))
    if not cameras:
        return None
    return Told("ScanNet scene", cameras, depth_unit=1 / shift[0] if shift and shift[0] > 0 else None)


def _vkitti(name: str, text: str) -> Told | None:
    lines = text.splitlines()
    if not lines or not lines[0].startswith("frame cameraID K[0,0]"):
        return None
    cameras: dict[str, Camera] = {}
    for line in lines[1:]:
        numbers = _numbers(line)
        if len(numbers) >= 6:
            fx, fy, cx, cy = numbers[2:6]
            cameras.setdefault(str(int(numbers[1])), Camera(fx, fy, cx + CENTRE, cy + CENTRE))
    return Told("Virtual KITTI intrinsics", cameras, 0.532725) if cameras else None


def _listing(name: str, text: str) -> Told | None:
    """Times of pictures, as rgb.txt, depth.txt and associations.txt of TUM RGB-D have them."""
    times: dict[str, float] = {}
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in lines:
        found = LISTED.match(line.strip())
        if not found:
            return None
        for time, path in ((found[1], found[2]), (found[3], found[4])):
            if path:
                times[path] = float(time)
    return Told("list of times", times=times) if times else None


def _table(name: str, text: str) -> Told | None:
    """Tables of numbers alone: a matrix, a trajectory or times."""
    rows = _rows(text)
    if not rows:
        return None
    widths = {len(row) for row in rows}
    flat = [n for row in rows for n in row]
    pose = any(word in name for word in ("pose", "traj", "groundtruth", "gt", "freiburg"))
    if widths == {8}:
        return Told("trajectory (TUM)", track=[(row[0], pose_of(row[1:])) for row in rows])
    if widths == {7} and pose:
        return Told("trajectory (TartanAir)", order=[pose_of(row) @ NED for row in rows])
    if (widths == {16} or (widths == {12} and len(rows) > 1)) and pose:
        return Told("trajectory of matrices", order=[pose_of(row) for row in rows])
    if widths == {3, 4} and len(rows) % 5 == 0 and all(len(rows[k]) == 3 for k in range(0, len(rows), 5)):
        poses = [pose_of([n for row in rows[k + 1 : k + 5] for n in row]) for k in range(0, len(rows), 5)]
        return Told("trajectory (Redwood)", order=poses)
    if widths == {1} and len(rows) > 1 and "time" in name:
        return Told("times", ticks=flat)
    if widths == {4} and len(rows) == 1 and min(flat[:2]) > 1 and not pose:  # fx fy cx cy
        return Told("intrinsics", {"": Camera(flat[0], flat[1], flat[2] + CENTRE, flat[3] + CENTRE)})
    camera = None if pose else camera_of_matrix(flat)
    if camera is None:
        return None
    kind = next((kind for kind in ("depth", "color") if kind in name), "")
    return Told("intrinsics", {kind: camera})


READERS: tuple[Callable[[str, str], Told | None], ...] = (
    _middlebury,
    _kitti,
    _scannet,
    _vkitti,
    _listing,
    _table,
)
