"""What a sort of place gives a scene, and how things are put into it without overlap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from freelabels.renderers.draw.appearances import Setting
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.draw.values import choose, rounded, rounded_vector
from freelabels.renderers.scene.assets import Library
from freelabels.renderers.scene.loading import Asset
from freelabels.renderers.scene.scene import Block, Body, Camera, Quaternion, Vector

number, vector = partial(rounded, digits=9), partial(rounded_vector, digits=9)
Floats = NDArray[np.float64]
GAP = 0.004  # metres between things at the start


Draws = Callable[[str], np.random.Generator]  # the random stream of a component of the scene


@dataclass(frozen=True)
class Layout:
    """A place and what stands, falls and drives in it.

    structure, clutter, bodies: as of `Scene`. setting: how it is lit. taken: boxes (lower, upper) where cameras
    can't be. targets: places worth looking at. bounds: corners of where cameras may be. overlaps: placements that
    were drawn again. settle: seconds of physics before the first frame, at least.
    """

    structure: tuple[Block, ...]
    clutter: tuple[Body, ...]
    bodies: tuple[Body, ...]
    setting: Setting = field(default_factory=Setting)
    taken: Room = field(default_factory=lambda: Room())
    targets: tuple[Vector, ...] = ()
    bounds: tuple[Vector, Vector] = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    overlaps: int = 0
    settle: float = 0.0


@dataclass(frozen=True)
class Family:
    """A sort of place: how it is laid out and where cameras stand in it."""

    lay: Callable[[Draws, SceneRanges, Library, dict[str, str]], Layout]
    camera: Callable[[np.random.Generator, SceneRanges, Layout], Camera]


class Room:
    """Boxes in space that are taken; axis-aligned, in metres."""

    def __init__(self) -> None:
        self.lower: list[Floats] = []
        self.upper: list[Floats] = []

    def take(self, lower: Floats, upper: Floats) -> None:
        """Nothing else may stand here."""
        self.lower.append(np.asarray(lower, np.float64))
        self.upper.append(np.asarray(upper, np.float64))

    def free(self, lower: Floats, upper: Floats, gap: float = GAP) -> bool:
        """Whether a box meets none of those taken."""
        if not self.lower:
            return True
        apart = (np.array(self.lower) >= np.asarray(upper) + gap) | (
            np.array(self.upper) <= np.asarray(lower) - gap
        )
        return bool(apart.any(axis=1).all())


def block_factory() -> Callable[..., Block]:
    """Makes blocks whose surfaces are numbered by name, in the order in which names come up."""
    numbers: dict[str, int] = {}

    def block(
        surface: str, kind: str, substance: str, sides: Floats, position: Floats, **more: object
    ) -> Block:
        index = numbers.setdefault(surface, len(numbers))
        return Block(kind, vector(sides), vector(position), surface=index, substance=substance, **more)  # type: ignore[arg-type]

    return block


def yaw(angle: float) -> Quaternion:
    """Quaternion of a turn about z."""
    return 0.0, 0.0, number(np.sin(angle / 2)), number(np.cos(angle / 2))


def any_turn(rng: np.random.Generator) -> Quaternion:
    """Quaternion of a turn that may be any."""
    four = rng.normal(size=4)
    x, y, z, w = (number(value) for value in four / np.sqrt((four * four).sum()))
    return x, y, z, w


def rotated(orientation: tuple[float, ...], point: Floats) -> Floats:
    """A vector (3,) turned by a quaternion (x, y, z, w)."""
    axis, w = np.array(orientation[:3]), orientation[3]
    turned: Floats = point + 2 * np.cross(axis, np.cross(axis, point) + w * point)
    return turned


def half_sides(asset: Asset, scale: float, angle: float) -> Floats:
    """Half the sides (3,) of the box around an asset that is turned about z."""
    x, y, z = (asset.upper - asset.lower) / 2 * scale
    cosine, sine = abs(np.cos(angle)), abs(np.sin(angle))
    return np.array([cosine * x + sine * y, sine * x + cosine * y, z])


def standing(asset: Asset, scale: float, x: float, y: float, z: float, angle: float, **more: object) -> Body:
    """An asset that stands upright on height z."""
    half = float((asset.upper - asset.lower)[2]) / 2 * scale
    values = {"fixed": True, "behaviour": "stand", **more}
    return Body(asset.name, number(scale * asset.extent), vector((x, y, z + half)), yaw(angle), **values)  # type: ignore[arg-type]


def pick(rng: np.random.Generator, assets: Library, weights: dict[str, float]) -> Asset | None:
    """A made asset of one of the classes, None where the library has none of them."""
    there = {cls: weight for cls, weight in weights.items() if assets.names("made", cls)}
    if not there:
        return None
    names = assets.names("made", choose(rng, there))
    return assets.load(names[int(rng.integers(len(names)))])


def aimed(eye: Floats, target: Floats) -> tuple[float, float, float]:
    """Distance (metres), azimuth and elevation (radians) of a camera at `eye` seen from what it looks at."""
    away = np.asarray(eye) - np.asarray(target)
    distance = float(np.sqrt((away * away).sum()))
    return number(distance), number(np.arctan2(away[1], away[0])), number(np.arcsin(away[2] / distance))


def moving_camera(
    rng: np.random.Generator, ranges: SceneRanges, target: Vector, seen_from: tuple[float, float, float]
) -> Camera:
    """A camera that starts at a distance, azimuth and elevation from its target, and its path."""
    path = choose(rng, ranges.paths)
    distance, azimuth, elevation = seen_from
    side = rng.choice((-1.0, 1.0))
    speeds = {
        # As fast as somebody walks, however far the target.
        "orbit": side * min(np.radians(rng.uniform(*ranges.orbit_speed)), 1.2 / max(distance, 0.5)),
        "dolly": rng.uniform(*ranges.dolly_speed),
    }
    direction = rng.normal(size=3) * (1, 1, 0.2)
    direction /= np.sqrt((direction * direction).sum())
    shake, turn = rng.uniform(*ranges.shake), np.radians(rng.uniform(*ranges.shake_angle))
    wobble = tuple(
        vector((shake if row < 3 else turn, rng.uniform(*ranges.shake_hertz), rng.uniform(0, 2 * np.pi)))
        for row in range(6)
    )
    return Camera(
        fov=number(rng.uniform(*ranges.fov)),
        target=target,
        distance=distance,
        azimuth=azimuth,
        elevation=elevation,
        roll=number(np.radians(0.4 * rng.uniform(*ranges.roll))),
        path=path,
        speed=number(speeds.get(path, 0.0)),
        direction=vector(direction) if path == "dolly" else (0.0, 0.0, 0.0),
        wobble=wobble if path == "handheld" else (),
    )
