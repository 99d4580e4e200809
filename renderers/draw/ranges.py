"""What scenes may be drawn from: documented dataclasses of ranges, and the TOML file that overrides it."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from freelabels.ground.spelling import nearest
from freelabels.renderers.surfaces.appearance import PHOTO, TEXTURES

Interval = tuple[float, float]
LIGHTINGS = ("sun", "overcast", "lamps")
Ranges = TypeVar("Ranges", "SceneRanges", "AppearanceRanges")


ABSENT = object()
NEW = {"was": ABSENT}  # says of a range that version 2 did not have it


def _weights(later: Mapping[str, float] | None = None, **weights: float) -> Any:
    """Default weights; later: those that version 2 did not have, or had otherwise."""
    default = {**weights, **(later or {})}
    return field(default_factory=lambda: dict(default), metadata={"was": weights or ABSENT} if later else {})


@dataclass(frozen=True)
class AppearanceRanges:
    """From what an appearance is drawn; intervals are (low, high), mappings are relative weights.

    Lengths of patterns on floors and walls in metres, on objects as a share of the object's extent; angles in
    degrees; colour temperatures in kelvin. Raises ValueError for an impossible range.
    """

    floor_textures: Mapping[str, float] = _weights(
        later={"parquet": 1.5, "carpet": 1.5},
        plain=0.2, worn=1, checker=0.6, wood=0.3, marble=0.7, noise=0.7, brick=0.5, tiles=1.5, planks=2.5,
        terrazzo=1, fabric=1.2, photo=1.5,
    )  # fmt: skip
    ground_textures: Mapping[str, float] = _weights(
        later={"asphalt": 1, "foliage": 0.3},
        worn=1, checker=0.2, noise=4, brick=1.5, tiles=1, planks=0.8, terrazzo=1.5, photo=1.5,
    )  # fmt: skip
    wall_textures: Mapping[str, float] = _weights(
        later={"plaster": 4, "wallpaper": 1.5, "noise": 0.3},
        plain=0.5, worn=2, stripes=0.7, noise=1, brick=1, tiles=0.7, planks=0.7, fabric=0.5,
        photo=1,
    )  # fmt: skip
    object_textures: Mapping[str, float] = _weights(
        plain=2, worn=1.5, checker=0.6, stripes=0.8, wood=1.5, marble=0.8, noise=1, brick=0.2, terrazzo=0.6,
        fabric=1, photo=2,
    )  # fmt: skip
    floor_scale: Interval = (0.08, 0.5)
    wall_scale: Interval = (0.1, 0.6)
    object_scale: Interval = (0.08, 0.5)
    roughness: Interval = (0.15, 0.9)
    specular: Interval = (0.03, 0.06)
    metal_share: float = 0.08  # of objects
    outdoor: Mapping[str, float] = _weights(sun=3, overcast=1, lamps=1.5)  # lighting where there are no walls
    sun_elevation: Interval = (18, 75)
    sun_radius: Interval = (0.27, 1.5)  # 0.27° is the real sun's
    overcast_radius: Interval = (8, 25)  # the sun's disc through cloud
    sun_temperature: Interval = (4200, 6200)
    sky_temperature: Interval = (7500, 13000)
    lamps: tuple[int, int] = (1, 3)
    lamp_distance: Interval = (0.2, 1.6)  # metres from the world's vertical axis
    lamp_height: Interval = (1.5, 2.7)  # metres
    sunny: float = field(default=0.5, metadata=NEW)  # of rooms by day, into which the sun shines
    lamp_radius: Interval = (0.05, 0.4)  # metres
    lamp_temperature: Interval = (2700, 5500)
    ambient_share: Interval = (0.15, 0.45)  # of all light that comes from the background
    photo_background: float = 0.5  # chance, where there are photos
    environment: float = field(default=0.7, metadata=NEW)  # chance, where there are maps and no room
    clouds: Interval = (0.0, 0.7)
    exposure: Interval = (-0.5, 0.5)  # stops
    adaptation: Interval = (0.6, 1.0)  # how much of the light's colour the white balance takes away
    blur: Interval = (0.25, 0.7)  # pixels
    vignetting: Interval = (0.0, 0.35)
    full_well: Interval = (800, 20000)  # photons
    read_noise: Interval = (0.0005, 0.006)
    contrast: Interval = (1.0, 1.35)
    jpeg: tuple[int, int] = (70, 97)
    jpeg_share: float = 0.7  # of clips that are compressed

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, Mapping):
                _check_weights(entry.name, value)
            elif isinstance(value, tuple | list):
                if len(value) != 2 or not value[0] <= value[1]:
                    raise ValueError(
                        f"{entry.name}: {value} is no interval; give (low, high) with low not above high"
                    )
            elif not 0 <= value <= 1:
                raise ValueError(f"{entry.name}: {value} is no share; give a number from 0 to 1")


def _check_weights(name: str, weights: Mapping[str, float]) -> None:
    known = LIGHTINGS if name == "outdoor" else TEXTURES
    unknown = [key for key in weights if key not in known]
    if unknown:
        raise ValueError(f"{name}: there is no {unknown[0]!r}; choose from {', '.join(known)}")
    if not weights or min(weights.values()) < 0 or sum(w for key, w in weights.items() if key != PHOTO) <= 0:
        raise ValueError(f"{name}: give at least one kind other than photo a weight above 0, and none below")


@dataclass(frozen=True)
class SceneRanges:
    """From what a scene is drawn; intervals are (low, high), mappings are relative weights.

    Lengths in metres, angles in degrees, times in seconds. Raises ValueError for an impossible range.
    """

    families: Mapping[str, float] = _weights(
        later={"room": 1.0, "shelf": 0.5, "street": 1.0, "table": 1.0}
    )  # the sort of place
    # Rooms and streets
    room_sides: Interval = field(default=(3.0, 6.5), metadata=NEW)
    room_height: Interval = field(default=(2.4, 3.0), metadata=NEW)
    furniture: tuple[int, int] = field(default=(3, 7), metadata=NEW)  # along the walls of a room
    small_things: tuple[int, int] = field(default=(4, 12), metadata=NEW)  # on furniture
    shelved: tuple[int, int] = field(default=(24, 60), metadata=NEW)  # things on the shelves of a shop
    piled: tuple[int, int] = field(
        default=(20, 40), metadata=NEW
    )  # things tipped into a pile; what does not fit under the ceiling stays away
    falling: tuple[int, int] = field(
        default=(1, 4), metadata=NEW
    )  # things that drop, fly or roll about in a room or street
    road_width: Interval = field(default=(5.5, 9.0), metadata=NEW)
    pavement_width: Interval = field(default=(2.0, 4.0), metadata=NEW)
    parked: tuple[int, int] = field(default=(1, 6), metadata=NEW)  # cars along the kerb
    driving: tuple[int, int] = field(default=(0, 2), metadata=NEW)  # cars in their lanes
    driving_speed: Interval = field(default=(2.0, 11.0), metadata=NEW)  # m/s
    street_things: tuple[int, int] = field(default=(6, 16), metadata=NEW)  # trees, lamps, people and the like
    eye_height: Interval = field(default=(0.9, 1.9), metadata=NEW)  # of the camera in a room or street
    # Objects
    objects: tuple[int, int] = (4, 10)
    groups: Mapping[str, float] = _weights(
        later={"made": 4},
        primitive=2, random=3, household=2.5, articulated=0.5, own=4,
    )  # fmt: skip
    size: Interval = (0.12, 0.5)  # longest side
    articulated_size: Interval = (0.5, 1.1)
    arena: Interval = (0.45, 0.9)  # radius of the disc in which objects start
    behaviours: Mapping[str, float] = _weights(drop=3, throw=1, roll=1, rest=2)
    drop_height: Interval = (0.02, 0.7)  # of the lowest point
    throw_speed: Interval = (0.8, 3.0)  # m/s
    roll_speed: Interval = (0.3, 1.5)  # m/s
    spin: Interval = (0.0, 360.0)  # degrees per second
    bolted_share: float = 0.6  # of robot arms, their base fixed to the floor
    swing: Interval = (0.1, 0.5)  # share of a joint's range that its motor swings through
    swing_hertz: Interval = (0.2, 1.0)
    # Physics
    density: Interval = (150.0, 2000.0)  # kg/m³
    friction: Interval = (0.2, 1.0)
    rolling_friction: Interval = (0.0, 0.01)
    restitution: Interval = (0.0, 0.6)
    gravity: Interval = (9.81, 9.81)  # m/s²
    warm_up: Interval = (0.0, 1.2)  # simulated before the first frame
    fps: tuple[int, ...] = (12, 24, 30)  # one of these; divisors of 240
    # Surroundings
    walls: tuple[int, int] = (0, 3)
    wall_distance: Interval = (2.0, 4.5)  # from the world's axis; lamps hang inside
    wall_height: Interval = (2.8, 3.5)
    clutter: tuple[int, int] = (0, 4)  # static things
    clutter_size: Interval = (0.2, 0.8)
    clutter_distance: Interval = (0.3, 1.8)  # from the world's axis
    # Camera
    fov: Interval = (38.0, 75.0)  # along the longer side
    distance: Interval = (0.9, 2.2)  # from the point looked at
    elevation: Interval = (6.0, 60.0)
    roll: Interval = (-10.0, 10.0)
    look_at: Interval = (0.0, 0.35)  # of the point looked at, from the world's axis
    look_at_height: Interval = (0.05, 0.35)
    paths: Mapping[str, float] = _weights(static=1, orbit=1.5, dolly=1.5, handheld=2)
    orbit_speed: Interval = (5.0, 40.0)  # degrees per second
    dolly_speed: Interval = (0.05, 0.6)  # m/s
    shake: Interval = (0.004, 0.025)
    shake_angle: Interval = (0.2, 1.5)
    shake_hertz: Interval = (0.4, 1.6)
    # Lens
    distorted: float = field(default=0.25, metadata=NEW)  # of clips, by a lens that bends straight lines
    distortion: Interval = field(
        default=(-0.09, 0.03), metadata=NEW
    )  # of a square picture's corner, as a share of its way from the middle; below 0: barrel
    tangential: Interval = field(default=(-0.002, 0.002), metadata=NEW)  # p1, p2
    off_centre: Interval = field(
        default=(-0.02, 0.02), metadata=NEW
    )  # of the principal point, share of the longer side
    # Shutter
    rolling: float = field(default=0.05, metadata=NEW)  # of clips, whose rows are taken one after the other
    readout: Interval = field(
        default=(0.005, 0.02), metadata=NEW
    )  # from upper to lower border, within a frame
    blurred: float = field(default=0.15, metadata=NEW)  # of clips, by what moves while the shutter is open
    exposure: Interval = field(default=(0.1, 0.6), metadata=NEW)  # share of the time between frames
    defocused: float = field(default=0.05, metadata=NEW)  # of clips, by a lens that is open
    aperture: Interval = field(default=(0.004, 0.03), metadata=NEW)  # diameter of that lens
    focus: Interval = field(default=(0.7, 1.4), metadata=NEW)  # share of the way to what the camera looks at
    # What a camera carries besides, where it is asked for
    baseline: Interval = field(
        default=(0.025, 0.08), metadata=NEW
    )  # share of the distance to what it looks at
    dot_pitch: Interval = field(default=(0.012, 0.024), metadata=NEW)  # between projected dots, as a tangent
    dot_power: Interval = field(default=(1.0, 6.0), metadata=NEW)  # irradiance at the distance looked at
    sensor_baseline: Interval = field(default=(0.03, 0.08), metadata=NEW)  # from a depth sensor's projector
    sensor_quantum: Interval = field(
        default=(0.0015, 0.004), metadata=NEW
    )  # its step of 1 / depth, 1 / metres
    sensor_near: Interval = field(default=(0.2, 0.5), metadata=NEW)  # nearer it reads nothing
    sensor_far: Interval = field(default=(4.0, 10.0), metadata=NEW)  # farther it reads nothing
    # Views worth having: measured on a coarse grid of rays in three frames
    seen_objects: int = 3  # at least so many objects in view
    object_share: Interval = (0.08, 0.8)  # of the pixels
    nearest: float = 0.25  # least distance of anything in view
    attempts: int = 20  # views drawn before the best of them is taken
    appearance: AppearanceRanges = field(default_factory=AppearanceRanges)

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            _check(entry.name, getattr(self, entry.name))
        for name in (
            *("objects", "walls", "clutter", "size", "articulated_size", "arena", "density", "distance"),
            *(
                "furniture",
                "small_things",
                "shelved",
                "piled",
                "falling",
                "parked",
                "driving",
                "street_things",
            ),
            "readout",
        ):
            if getattr(self, name)[0] < 0:
                raise ValueError(f"{name}: {getattr(self, name)} reaches below 0")
        for name in (
            "size",
            "articulated_size",
            "clutter_size",
            "density",
            "distance",
            "road_width",
            "eye_height",
            *("baseline", "dot_pitch", "dot_power", "sensor_baseline", "sensor_quantum", "sensor_near"),
        ):
            if getattr(self, name)[0] <= 0:
                raise ValueError(f"{name}: {getattr(self, name)} should lie above 0")
        if not 1 <= self.fov[0] <= self.fov[1] <= 150:
            raise ValueError(f"fov: {self.fov} should lie between 1 and 150 degrees")
        if not -89 <= self.elevation[0] <= self.elevation[1] <= 89:
            raise ValueError(f"elevation: {self.elevation} should lie between -89 and 89 degrees")
        for name in ("bolted_share", "distorted", "rolling", "blurred", "defocused"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)} is no share; give a number from 0 to 1")
        for name, most in (("distortion", 0.15), ("tangential", 0.01), ("off_centre", 0.1)):
            if max(map(abs, getattr(self, name))) > most:
                raise ValueError(f"{name}: {getattr(self, name)} should lie between -{most} and {most}")
        if not 0 <= self.exposure[0] <= self.exposure[1] <= 1:
            raise ValueError(f"exposure: {self.exposure} should lie between 0 and 1")
        if self.aperture[0] < 0 or self.aperture[1] > 0.5 or self.focus[0] < 0.1:
            raise ValueError("aperture should lie between 0 and 0.5 metres, focus from 0.1 on")
        if self.sensor_near[1] >= self.sensor_far[0]:
            raise ValueError(
                f"sensor_far: {self.sensor_far} should lie beyond sensor_near {self.sensor_near}"
            )
        if self.room_sides[0] < 2 or self.room_height[0] < 2:
            raise ValueError("room_sides, room_height: a room has at least 2 metres each way")
        if self.attempts < 1:
            raise ValueError(f"attempts: {self.attempts} leaves no view to choose; give 1 or more")
        if self.walls[1] > 4:
            raise ValueError(f"walls: {self.walls} asks for more than the 4 sides of a room")
        for fps in self.fps:
            if fps <= 0 or 240 % fps:
                raise ValueError(f"fps: {fps} does not divide the 240 physics steps of a second")


KINDS: Mapping[str, tuple[str, ...]] = {
    "families": ("pile", "room", "shelf", "street", "table"),
    "groups": ("primitive", "random", "household", "articulated", "made", "own"),
    "behaviours": ("drop", "throw", "roll", "rest"),
    "paths": ("static", "orbit", "dolly", "handheld"),
}


def _check(name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        if not value or min(value.values()) < 0 or sum(value.values()) <= 0:
            raise ValueError(f"{name}: give at least one weight above 0, and none below")
        known = KINDS[name]
        for key in value:
            if key not in known:
                raise ValueError(f"{name}: there is no {key!r}; {nearest(key, known)}")
    elif name == "fps":
        if not value:
            raise ValueError("fps: give at least one rate")
    elif isinstance(value, tuple) and (len(value) != 2 or not value[0] <= value[1]):
        raise ValueError(f"{name}: {value} is no interval; give (low, high) with low not above high")


def identity(ranges: SceneRanges | AppearanceRanges) -> dict[str, Any]:
    """The ranges as clips are identified by: a default stands for whatever it was in version 2.

    So the same order makes a clip anew where defaults have changed, rather than another one beside it.
    """
    found: dict[str, Any] = {}
    for entry in dataclasses.fields(ranges):
        value = getattr(ranges, entry.name)
        if isinstance(value, AppearanceRanges):
            value = identity(value)
        elif "was" in entry.metadata and value == _default(entry):
            value = entry.metadata["was"]
        if value is not ABSENT:
            found[entry.name] = value
    return found


def _default(entry: dataclasses.Field[Any]) -> Any:
    made = entry.default_factory
    return made() if made is not dataclasses.MISSING else entry.default


def ranges_from_toml(path: Path) -> SceneRanges:
    """The default ranges with what a TOML file says instead; the table [appearance] holds `AppearanceRanges`.

    Raises ValueError naming the file and the entry that is unknown or impossible.
    """
    try:
        given = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file of ranges") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is not TOML ({error})") from error
    try:
        looks = _overridden(AppearanceRanges(), given.pop("appearance", {}), "appearance.")
        return _overridden(SceneRanges(appearance=looks), given, "")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _overridden(ranges: Ranges, given: Any, prefix: str) -> Ranges:
    changed: dict[str, Any] = {}
    known = [entry.name for entry in dataclasses.fields(ranges)]
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"there is no range called {prefix}{name}; {nearest(name, known)}")
        default = getattr(ranges, name)
        if isinstance(default, tuple):
            kinds = (int,) if all(isinstance(x, int) for x in default) else (int, float)
            if not isinstance(value, list) or not all(type(x) in kinds for x in value):
                raise ValueError(f"{prefix}{name}: {value!r} should be a list like {list(default)}")
            changed[name] = tuple(value)
        elif isinstance(default, Mapping):
            if not isinstance(value, Mapping) or not all(type(x) in (int, float) for x in value.values()):
                raise ValueError(f"{prefix}{name}: {value!r} should be a table of weights")
            changed[name] = dict(value)
        elif type(value) is not type(default) and not (type(default) is float and type(value) is int):
            raise ValueError(f"{prefix}{name}: {value!r} should be a number like {default}")
        else:
            changed[name] = value
    return dataclasses.replace(ranges, **changed)
