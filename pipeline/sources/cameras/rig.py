"""The files beside an item's pictures → what is known of the camera, baseline, unit of depth, poses and times."""

from __future__ import annotations

import json
import struct
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

import numpy as np

from freelabels.pipeline.sources.cameras.colmap import read_colmap
from freelabels.pipeline.sources.cameras.structured import read_json, read_yaml
from freelabels.pipeline.sources.cameras.texts import NUMBER, read_text
from freelabels.pipeline.sources.cameras.told import Camera, Pose, Told, pose_of
from freelabels.pipeline.sources.layouts.texts import is_about_many
from freelabels.pipeline.sources.layouts.words import camera_number, words
from freelabels.pipeline.storage.uris import SourceError, read_bytes, why

CALIBRATION_WORDS = frozenset(["calib", "calibration", "intrinsic", "intrinsics", "camera", "cameras", "k"])
LARGEST = 1 << 26  # bytes of a file worth reading for a camera
SHAPE = 0.02  # by which the shape of a picture may differ from that of the camera's
ASTRAY = 0.1  # seconds between poses beyond which none is told between them
NONE = np.full((4, 4), np.nan)
BOP = "BOP scene camera"  # which tells of frames by number
BY_PICTURE = (BOP, "COLMAP model", "nerfstudio transforms")  # whose cameras go by names of pictures
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Rig:
    """What the files beside some pictures tell, nearest first.

    broken: (file, why) of calibrations that tell nothing.
    """

    told: Sequence[tuple[str, Told]] = ()
    broken: Sequence[tuple[str, str]] = field(default_factory=list)

    def camera(self, uri: str, size: tuple[int, int], kind: str = "color") -> tuple[Camera, str] | None:
        """The camera of a picture of (height, width), and which file tells it; None if none does."""
        for note, told in self.told:
            camera = _camera_of(told, uri, kind)
            if camera is not None and _alike(camera.size, size):
                return camera.of_size(size), f"{_name(note)} ({told.form})"
        return None

    def baseline(self, left: str, right: str, size: tuple[int, int]) -> tuple[float | None, float, str]:
        """Metres from the left to the right camera (None: not told), pixels of doffs, and which file tells it."""
        for note, told in self.told:
            apart, doffs = told.baseline, told.doffs
            here, there = _camera_of(told, left, "left"), _camera_of(told, right, "right")
            if here and there and here is not there:
                if here.shift is not None and there.shift is not None:
                    apart = there.shift - here.shift
                if doffs is None:
                    doffs = there.cx - here.cx
            if apart is not None or doffs:
                scale = size[1] / here.size[1] if here and here.size else 1.0
                return (
                    apart if apart and apart > 0 else None,
                    (doffs or 0.0) * scale,
                    f"{_name(note)} ({told.form})",
                )
        return None, 0.0, ""

    def depth_unit(self) -> tuple[float, str] | None:
        """Metres that one count of stored depth is, and which file tells it."""
        for note, told in self.told:
            if told.depth_unit:
                return told.depth_unit, f"{_name(note)} ({told.form})"
        return None

    def times(self, uris: Sequence[str]) -> tuple[list[float], str] | None:
        """Seconds of each picture, and which file tells them."""
        for note, told in self.told:
            if told.times:
                found = [_by_name(told.times, uri) for uri in uris]
                if all(time is not None for time in found):
                    return [time for time in found if time is not None], _name(note)
            if len(told.ticks) > 1:
                numbers = [_index(uri) for uri in uris]
                if all(n is not None and n < len(told.ticks) for n in numbers):
                    return [told.ticks[n] for n in numbers if n is not None], _name(note)
        return None

    def poses(self, uris: Sequence[str], times: Sequence[float]) -> tuple[list[Pose], str] | None:
        """Camera → world (4, 4) of each picture, NaN where it isn't told, and which file tells them."""
        for note, told in self.told:
            found: list[Pose | None] = []
            if told.poses:
                found = [_by_name(told.poses, uri, told.form == BOP) for uri in uris]
            elif told.track and times:
                found = list(_at(told.track, times))
                if not any(pose is not None for pose in found):  # numbered by frame, as ICL-NUIM's are
                    found = list(_numbered(told.track, uris))
            elif told.order and (not _sides(note) or _same_side(note, uris[0])):
                numbers = [_index(uri) for uri in uris]
                found = [told.order[n] if n is not None and n < len(told.order) else None for n in numbers]
            if any(pose is not None for pose in found):
                return [NONE if pose is None else pose for pose in found], f"{_name(note)} ({told.form})"
        return None


def rig(beside: Sequence[str]) -> Rig:
    """What some files tell; those that tell nothing are left out, calibrations among them are `broken`."""
    told: list[tuple[str, Told]] = []
    broken: list[tuple[str, str]] = []
    models = {uri.rpartition("/")[0] for uri in beside if uri.endswith(("/images.bin", "/images.txt"))}
    for uri in beside:
        folder, _, name = uri.rpartition("/")
        if is_about_many(uri) or (name.startswith("images.") and folder in models):
            continue
        pair = (
            f"{folder}/images.{name.rpartition('.')[2]}"
            if name.startswith("cameras.") and folder in models
            else ""
        )
        try:
            found = _read(uri, pair)
        except (SourceError, OSError, ValueError, KeyError, IndexError, struct.error, TypeError) as error:
            found = None
            if _is_calibration(name):
                reason = why(error) if isinstance(error, SourceError | OSError) else "can't be understood"
                broken.append((uri, f"its calibration {reason}; the camera is taken as unknown"))
        else:
            if found is None and _is_calibration(name):
                broken.append(
                    (uri, "its calibration holds no 3 × 3 matrix of intrinsics or any other known form")
                )
        if found is not None:
            told.append((uri, found))
    return Rig(told, broken)


def read_pose(uri: str) -> Pose:
    """Camera → world (4, 4) from a file about one picture; NaN if it holds none."""
    text = read_bytes(uri).decode("utf-8", "replace")
    if uri.endswith(".json"):
        told = _parsed(uri, text)
        return next(iter(told.poses.values()), NONE) if told else NONE
    return pose_of([float(n) for n in NUMBER.findall(text)])


def read_camera(uri: str) -> Told | None:
    """What a file about one picture tells of its camera. Raises SourceError or OSError if it can't be read."""
    try:
        return _read(uri, "")
    except (ValueError, KeyError, IndexError, struct.error, TypeError):
        return None


@lru_cache(64)
def _read(uri: str, pair: str) -> Told | None:
    data = read_bytes(uri)
    if len(data) > LARGEST:
        return None
    if pair:
        return read_colmap(data, read_bytes(pair), uri.endswith(".bin"))
    return None if uri.endswith(".bin") else _parsed(uri, data.decode("utf-8", "replace"))


def _parsed(uri: str, text: str) -> Told | None:
    name = uri.rpartition("/")[2].lower()
    if name.endswith(".json"):
        try:
            return read_json(name, text)
        except json.JSONDecodeError as error:
            raise SourceError(f"is no JSON ({error.msg})") from error
    if name.endswith((".yaml", ".yml")) or text.startswith("%YAML"):
        return read_yaml(name, text)
    return read_text(name, text)


def _is_calibration(name: str) -> bool:
    return bool(CALIBRATION_WORDS.intersection(words(name.rpartition(".")[0])))


def _name(uri: str) -> str:
    return "/".join(uri.split("/")[-2:])


def _alike(camera: tuple[int, int] | None, picture: tuple[int, int]) -> bool:
    """Whether a camera's picture may be this one, scaled."""
    if camera is None or 0 in camera:
        return True
    return abs(camera[0] * picture[1] / (camera[1] * picture[0]) - 1) <= SHAPE


def _camera_of(told: Told, uri: str, kind: str) -> Camera | None:
    """The camera that took a picture: by its name, its number or its side."""
    if not told.cameras:
        return None
    parts = uri.split("/")
    if told.form in BY_PICTURE:
        found = _by_name(told.cameras, uri, told.form == BOP)
        if found is not None:
            return found
    number = camera_number(parts[-4:])
    side = next((w for part in reversed(parts[-3:]) for w in words(part) if w in ("left", "right")), "")
    choices: tuple[str, ...] = (
        number,
        side,
        {"left": "0", "right": "1"}.get(side, ""),
        kind,
        {"right": "1", "left": "0", "color": "0"}.get(kind, "") if not number and not side else "",
        "",
    )
    if (
        kind == "right" and not number and not side
    ):  # im1.png, view5.png: the right one, though its name doesn't say
        choices = ("right", "1")
    return next((told.cameras[choice] for choice in choices if choice in told.cameras), None)


def _by_name(table: Mapping[str, Thing], uri: str, numbered: bool = False) -> Thing | None:
    """The entry about a picture: by the end of its path, with its suffix or without, or by its number."""
    parts = uri.split("/")
    for count in (3, 2, 1):
        path = "/".join(parts[-count:])
        for name in (path, f"./{path}", path.rpartition(".")[0]):
            if name in table:
                return table[name]
    return table.get(str(_index(uri))) if numbered else None


def _index(uri: str) -> int | None:
    """The last number in a picture's name."""
    found = [word for word in words(uri.rpartition("/")[2].rpartition(".")[0]) if word.isdigit()]
    return int(found[-1]) if found else None


def _sides(note: str) -> list[str]:
    """The sides that a file's name says it is about."""
    return [w for w in words(_name(note).rpartition(".")[0].rpartition("/")[2]) if w in ("left", "right")]


def _same_side(note: str, uri: str) -> bool:
    return any(side in words("/".join(uri.split("/")[-2:])) for side in _sides(note))


def _numbered(track: Sequence[tuple[float, Pose]], uris: Sequence[str]) -> list[Pose | None]:
    by_number = {int(time): pose for time, pose in track if float(time).is_integer()}
    numbers = [_index(uri) for uri in uris]
    return [None if n is None else by_number.get(n) for n in numbers]


def _at(track: Sequence[tuple[float, Pose]], times: Sequence[float]) -> list[Pose | None]:
    """Poses at some times: between two of the track where these are near, the shortest way."""
    from scipy.spatial.transform import Rotation  # a third of what workers take to start, and few meet rigs

    known = sorted((time, k) for k, (time, pose) in enumerate(track) if np.isfinite(pose).all())
    stamps = [time for time, _ in known]
    found: list[Pose | None] = []
    for time in times:
        place = bisect_left(stamps, time)
        before, after = max(place - 1, 0), min(place, len(stamps) - 1)
        if not stamps or min(abs(stamps[before] - time), abs(stamps[after] - time)) > ASTRAY:
            found.append(None)
            continue
        if not stamps[before] <= time <= stamps[after] or stamps[after] - stamps[before] > 2 * ASTRAY:
            near = before if abs(stamps[before] - time) <= abs(stamps[after] - time) else after
            before = after = near
        first, second = track[known[before][1]][1], track[known[after][1]][1]
        span = stamps[after] - stamps[before]
        share = (time - stamps[before]) / span if span > 0 else 0.0
        turn = Rotation.from_matrix(first[:3, :3].T @ second[:3, :3]).as_rotvec()
        pose = np.eye(4)
        pose[:3, :3] = first[:3, :3] @ Rotation.from_rotvec(share * turn).as_matrix()
        pose[:3, 3] = (1 - share) * first[:3, 3] + share * second[:3, 3]
        found.append(pose)
    return found
