"""A scene as pure data: what stands where, how it moves, how it looks and who looks at it; and its JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freelabels.generators.contract.geometry import intrinsics_from_fov
from freelabels.generators.contract.products import product
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.scene.rigs import Rig
from freelabels.renderers.surfaces.appearance import Appearance, Substance

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Path = Literal["static", "orbit", "dolly", "handheld"]
Behaviour = Literal["drop", "throw", "roll", "rest", "stand", "drive"]
Structure = Literal[
    "floor", "wall", "ceiling", "ground", "road", "pavement", "building", "roof", "window", "door"
]
PROBLEMS = 5  # of a stored scene that are said at a time
BRIEF = 1e-4  # seconds over which a velocity is taken
SCENE_VERSION = 3  # raised whenever the same scene would give another clip


@dataclass(frozen=True)
class Drive:
    """A joint's motor: it swings around `centre` by `amplitude` (radians or metres) at `hertz`."""

    centre: float
    amplitude: float
    hertz: float
    phase: float


@dataclass(frozen=True)
class Body:
    """One asset in the scene.

    size: length of its longest side, metres. position, orientation (quaternion x, y, z, w): pose of its base
    at the start, world. velocity: m/s, spin: rad/s, world. density: kg/m³. fixed: its base does not move.
    drives: one for each joint of the asset, in its order; empty: joints hold still.
    """

    asset: str
    size: float
    position: Vector
    orientation: Quaternion
    velocity: Vector = (0.0, 0.0, 0.0)
    spin: Vector = (0.0, 0.0, 0.0)
    density: float = 500.0
    friction: float = 0.5
    rolling_friction: float = 0.001
    restitution: float = 0.2
    behaviour: Behaviour = "drop"
    fixed: bool = False
    drives: tuple[Drive, ...] = ()


@dataclass(frozen=True)
class Block:
    """A box of the place itself, which never moves: a wall or a piece of one, a pavement, a window's frame.

    kind: its class. sides: metres along x, y, z; the ground is a plane, 0 high. position: of its middle, world.
    yaw: radians about z. surface: blocks of one number are one surface with one material and one yaw; the first
    block has number 0, each new one the next. substance: what that material is drawn from. solid: things can't
    pass. shape: a "gable" has the ridge of a roof along x in place of its upper side.
    """

    kind: Structure
    sides: Vector
    position: Vector
    yaw: float = 0.0
    surface: int = 0
    substance: Substance = "floor"
    solid: bool = True
    shape: Literal["box", "gable"] = "box"


@dataclass(frozen=True)
class Physics:
    """The engine's settings. warm_up: seconds simulated before the first frame."""

    gravity: float
    friction: float
    restitution: float
    warm_up: float


@dataclass(frozen=True)
class Camera:
    """A camera, its path and its lens.

    fov: degrees along the longer image side. target: looked at, world. distance (metres), azimuth, elevation
    (radians): where the camera starts, seen from the target. roll: radians. speed: rad/s around the target
    (orbit) or m/s along `direction` (dolly). wobble (hand-held): six rows of (amplitude, hertz, phase), three
    of position in metres, three of yaw, pitch and roll in radians. off_centre: of the principal point from the
    picture's middle, to the right and down, as a share of its longer side. distortion: k1, k2, p1, p2, k3 as of
    `freelabels.generators.contract.lens`. exposure: seconds that a row is exposed. readout: seconds from the upper
    border to the lower, 0: all rows at once. aperture: metres, the lens's diameter, 0: all is sharp. focus:
    metres, z-depth of what is sharp.
    """

    fov: float
    target: Vector
    distance: float
    azimuth: float
    elevation: float
    roll: float
    path: Path = "static"
    speed: float = 0.0
    direction: Vector = (0.0, 0.0, 0.0)
    wobble: tuple[Vector, ...] = ()
    off_centre: tuple[float, float] = (0.0, 0.0)
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    exposure: float = 0.0
    readout: float = 0.0
    aperture: float = 0.0
    focus: float = 1.0


@dataclass(frozen=True)
class Scene:
    """All of a clip but its length and size; the same scene gives the same bytes.

    seed, clip: what it was drawn from; family: the sort of place. fps: frames per second, a divisor of 240.
    structure: the place itself, the ground first. clutter: things that never move. redraws: how often placements
    overlapped ("overlap"), physics failed ("physics") and a view was not worth having ("view") before this one.
    left_out: assets that could not be used, and why. rig: what looks at it beside the camera.
    """

    seed: int
    clip: int
    fps: int
    physics: Physics
    structure: tuple[Block, ...]
    clutter: tuple[Body, ...]
    bodies: tuple[Body, ...]
    camera: Camera
    appearance: Appearance
    family: str = "table"
    redraws: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    rig: Rig = field(default_factory=Rig)
    version: int = SCENE_VERSION


def scene_to_json(scene: Scene) -> dict[str, Any]:
    """The scene as JSON values; floats survive exactly."""
    plain: dict[str, Any] = _plain(scene)
    return plain


_PLAIN = frozenset((type(None), str, float, int, bool))


def _plain(value: Any) -> Any:
    """Dataclasses and tuples as the dicts and lists that JSON gives back; `dataclasses.asdict` is far slower."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, tuple | list):
        return list(value) if _PLAIN.issuperset(map(type, value)) else [_plain(part) for part in value]
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, str | float | int):  # of a kind of its own, such as NumPy's float64
        return value
    return {
        name: part if type(part := getattr(value, name)) in _PLAIN else _plain(part)
        for name in value.__dataclass_fields__
    }


def scene_from_json(stored: Mapping[str, Any]) -> Scene:
    """The scene that was stored. Raises ValueError naming what is missing, unknown or of the wrong kind."""
    from pydantic import ValidationError

    try:
        scene: Scene = _stored_scene().model_validate_json(json.dumps({"scene": stored})).scene
    except ValidationError as error:
        raise ValueError("; ".join(map(_sentence, error.errors()[:PROBLEMS]))) from error
    if scene.version != SCENE_VERSION:
        raise ValueError(f"scene: has version {scene.version}, this software renders {SCENE_VERSION}")
    if scene.fps <= 0 or 240 % scene.fps:
        raise ValueError(f"scene.fps: {scene.fps} does not divide 240 physics steps a second")
    _check_optics(scene)
    return scene


def _check_optics(scene: Scene) -> None:
    """Raise ValueError for a lens, a shutter or a rig that nothing can be made through."""
    camera, rig, longest = scene.camera, scene.rig, 1.001 / scene.fps  # rounded numbers may lie above
    if not 1 <= camera.fov <= 150:
        raise ValueError(f"scene.camera.fov: {camera.fov} should lie between 1 and 150 degrees")
    if not 0 <= camera.readout <= longest:
        raise ValueError(f"scene.camera.readout: {camera.readout} should lie between 0 and 1 / fps seconds")
    if not 0 <= camera.exposure <= longest:
        raise ValueError(f"scene.camera.exposure: {camera.exposure} should lie between 0 and 1 / fps seconds")
    if not (0 <= camera.aperture <= 0.5 and camera.focus > 0):
        raise ValueError("scene.camera: aperture should lie between 0 and 0.5 metres, focus above 0")
    if max(map(abs, camera.off_centre)) > 0.5:
        raise ValueError(f"scene.camera.off_centre: {camera.off_centre} lies outside the picture")
    if rig.baseline < 0 or (rig.dots is not None and not (rig.dots.pitch > 0 and rig.dots.power >= 0)):
        raise ValueError("scene.rig: a baseline and dots' power can't be below 0, their pitch is above 0")
    if rig.sensor is not None and not (rig.sensor.quantum > 0 and rig.sensor.reach[0] < rig.sensor.reach[1]):
        raise ValueError("scene.rig.sensor: quantum should lie above 0, reach from near to far")


@cache
def _stored_scene() -> Any:
    """The model of what is stored; pydantic takes half a second to import, so it is when it is needed."""
    from pydantic import ConfigDict, create_model

    exactly = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return create_model("StoredScene", __config__=exactly, scene=(Scene, ...))


def _sentence(problem: Mapping[str, Any]) -> str:
    """Where in a stored scene something is wrong, and what."""
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])[1:]
    if problem["type"] == "missing":
        return f"{where}: is missing"
    if problem["type"] == "unexpected_keyword_argument":
        return f"{where}: is not known"
    return f"{where}: {problem['input']!r} {problem['msg'].removeprefix('Input ')}"


def lens_of(camera: Camera, size: tuple[int, int]) -> Lens:
    """The lens of pictures of `size` (height, width)."""
    K = intrinsics_from_fov(camera.fov, size[1], size[0])
    K[:2, 2] += np.multiply(camera.off_centre, max(size))
    return Lens(K, camera.distortion, aperture=camera.aperture, focus=camera.focus)


def pinhole(camera: Camera) -> Camera:
    """The camera with an ideal lens."""
    plain = Camera(camera.fov, camera.target, camera.distance, camera.azimuth, camera.elevation, camera.roll)
    ideal = {
        name: getattr(plain, name)
        for name in ("off_centre", "distortion", "exposure", "readout", "aperture", "focus")
    }
    return dataclasses.replace(camera, **ideal)


def camera_poses(camera: Camera, times: ArrayLike) -> NDArray[np.float64]:
    """(T, 4, 4) camera → world, OpenCV axes, at `times` (T,) in seconds since the first frame."""
    t = np.atleast_1d(np.asarray(times, np.float64))
    azimuth = camera.azimuth + (camera.speed * t if camera.path == "orbit" else 0 * t)
    flat = np.cos(camera.elevation)
    away = np.stack(
        [flat * np.cos(azimuth), flat * np.sin(azimuth), np.full_like(t, np.sin(camera.elevation))], axis=-1
    )
    position = np.asarray(camera.target) + camera.distance * away
    if camera.path == "dolly":
        position = position + camera.speed * t[:, None] * np.asarray(camera.direction)
    wobble = np.zeros((len(t), 6))
    for column, (amplitude, hertz, phase) in enumerate(camera.wobble):
        # Two incommensurate sines: a hand neither rests nor swings evenly.
        angle = 2 * np.pi * hertz * t + phase
        wobble[:, column] = amplitude * (np.sin(angle) + 0.4 * np.sin(2.3 * angle + phase))
    forward = -away
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    rotation = np.stack([right, np.cross(forward, right), forward], axis=-1)  # columns: x, y, z of the camera
    poses = np.tile(np.eye(4), (len(t), 1, 1))
    poses[:, :3, :3] = product(rotation, _turn(wobble[:, 3], wobble[:, 4], camera.roll + wobble[:, 5]))
    poses[:, :3, 3] = position + wobble[:, :3]
    return poses


def camera_velocities(camera: Camera, times: ArrayLike) -> NDArray[np.float64]:
    """(T, 6) of the camera at `times` (T,): m/s of its centre and rad/s about it, world."""
    t = np.atleast_1d(np.asarray(times, np.float64))
    before, after = camera_poses(camera, t - BRIEF), camera_poses(camera, t + BRIEF)
    turn = product(after[:, :3, :3], np.swapaxes(before[:, :3, :3], 1, 2))
    skew = (turn - np.swapaxes(turn, 1, 2)) / 2
    out = np.empty((len(t), 6))
    out[:, :3] = after[:, :3, 3] - before[:, :3, 3]
    out[:, 3], out[:, 4], out[:, 5] = skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]
    return out / (2 * BRIEF)


def _turn(
    yaw: NDArray[np.float64], pitch: NDArray[np.float64], roll: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(T, 3, 3) small rotations about the camera's y, x and z axes."""

    def about(axis: int, angle: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.tile(np.eye(3), (len(angle), 1, 1))
        i, j = (axis + 1) % 3, (axis + 2) % 3
        out[:, i, i] = out[:, j, j] = np.cos(angle)
        out[:, j, i] = np.sin(angle)
        out[:, i, j] = -np.sin(angle)
        return out

    return product(about(1, yaw), about(0, pitch), about(2, roll))
