"""Drawing what a scene looks like from a seed: plausible materials, lights, backgrounds and cameras."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freelabels.renderers.surfaces.appearance import (
    PHOTO,
    RGB,
    TEXTURES,
    Appearance,
    Background,
    Light,
    Material,
    Role,
    Sensor,
    Vector,
)
from freelabels.renderers.surfaces.palette import PALETTES, blackbody, luminance, shade

Interval = tuple[float, float]
Surface = Literal["floor", "ground", "wall", "object"]  # a role, told apart further: floors out of doors

LIGHTINGS = ("sun", "overcast", "lamps")


def _weights(**weights: float) -> Any:
    return field(default_factory=lambda: dict(weights))


@dataclass(frozen=True)
class AppearanceRanges:
    """From what an appearance is drawn; intervals are (low, high), mappings are relative weights.

    Lengths of patterns on floors and walls in metres, on objects as a share of the object's extent; angles in
    degrees; colour temperatures in kelvin. Raises ValueError for an impossible range.
    """

    floor_textures: Mapping[str, float] = _weights(
        plain=0.2, worn=1, checker=0.6, wood=0.3, marble=0.7, noise=0.7, brick=0.5, tiles=1.5, planks=2.5,
        terrazzo=1, fabric=1.2, photo=1.5,
    )  # fmt: skip
    ground_textures: Mapping[str, float] = _weights(  # floors under the open sky
        worn=1, checker=0.2, noise=4, brick=1.5, tiles=1, planks=0.8, terrazzo=1.5, photo=1.5
    )
    wall_textures: Mapping[str, float] = _weights(
        plain=0.5, worn=2, stripes=0.7, noise=1, brick=1, tiles=0.7, planks=0.7, fabric=0.5, photo=1
    )
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
    skin_share: float = 0.8  # of objects that bring a texture map along: how many keep it
    outdoor: Mapping[str, float] = _weights(sun=3, overcast=1, lamps=1.5)  # lighting where there are no walls
    sun_elevation: Interval = (18, 75)
    sun_radius: Interval = (0.27, 1.5)  # 0.27° is the real sun's
    overcast_radius: Interval = (8, 25)  # the sun's disc through cloud
    sun_temperature: Interval = (4200, 6200)
    sky_temperature: Interval = (7500, 13000)
    lamps: tuple[int, int] = (1, 3)
    lamp_distance: Interval = (0.2, 1.6)  # metres from the world's vertical axis
    lamp_height: Interval = (1.5, 2.7)  # metres
    lamp_radius: Interval = (0.05, 0.4)  # metres
    lamp_temperature: Interval = (2700, 5500)
    ambient_share: Interval = (0.15, 0.45)  # of all light that comes from the background
    photo_background: float = 0.5  # chance, where there are photos
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


def draw_appearance(
    rng: np.random.Generator,
    geometries: Sequence[Role],
    photos: Sequence[str] = (),
    ranges: AppearanceRanges | None = None,
) -> Appearance:
    """Draw materials, lights, background and sensor.

    geometries: the role ("floor", "wall" or "object") of each thing that needs a material, in the order of
    the materials. With a wall among them the scene is lit as a room, by lamps no farther from the world's
    vertical axis than `ranges.lamp_distance` and no higher than `ranges.lamp_height`: walls must stand
    outside that. photos: paths for textures and backgrounds. Each component has its own child generator, so
    that a change in one leaves the others as they were. Raises ValueError for an unknown role.
    """
    ranges = ranges or AppearanceRanges()
    roles = get_args(Role)
    unknown = [role for role in geometries if role not in roles]
    if unknown:
        raise ValueError(f"there is no role {unknown[0]!r} for a material; choose from {', '.join(roles)}")
    for_lighting, for_materials, for_lights, for_background, for_sensor = rng.spawn(5)
    lighting = "lamps" if "wall" in geometries else _choose(for_lighting, ranges.outdoor)
    materials = tuple(
        _draw_material(child, "ground" if role == "floor" and lighting != "lamps" else role, photos, ranges)
        for child, role in zip(for_materials.spawn(len(geometries)), geometries, strict=True)
    )
    lights, ambient = _draw_lights(for_lights, lighting, ranges)
    background = _draw_background(for_background, lighting, ambient, photos, ranges)
    light_colour = np.sum([light.irradiance for light in lights], axis=0) + np.pi * np.asarray(ambient)
    around = [m for m, role in zip(materials, geometries, strict=True) if role != "object"]
    reflects = [luminance(np.mean(m.colours[:2], axis=0)) for m in around if m.texture != PHOTO]
    sensor = _draw_sensor(for_sensor, light_colour, float(np.mean(reflects or [0.25])), ranges)
    return Appearance(materials, lights, background, sensor)


def _draw_material(
    rng: np.random.Generator, surface: Surface, photos: Sequence[str], ranges: AppearanceRanges
) -> Material:
    weights, scale = {
        "floor": (ranges.floor_textures, ranges.floor_scale),
        "ground": (ranges.ground_textures, ranges.floor_scale),
        "wall": (ranges.wall_textures, ranges.wall_scale),
        "object": (ranges.object_textures, ranges.object_scale),
    }[surface]
    texture = _choose(rng, {name: w for name, w in weights.items() if name != PHOTO or photos})
    if texture == PHOTO:  # a photo shows many features at once
        scale = (2 * scale[0] + 0.3, 2 * scale[1] + 0.3)
    upright = surface != "object"
    turn = rng.normal(size=3)
    angle = rng.uniform(0, np.pi)
    turn = np.array([0, 0, angle * (surface != "wall")]) if upright else turn / np.linalg.norm(turn) * angle
    metal = surface == "object" and rng.random() < ranges.metal_share
    if metal:
        texture = "plain" if texture in PATTERNED else texture
    family = "metal" if metal else _choose(rng, PALETTES_OF[surface, texture])
    return Material(
        texture=texture,
        colours=_draw_colours(rng, family, texture),
        scale=_number(np.exp(rng.uniform(*np.log(scale)))),
        scale_in="metre" if upright else "extent",
        turn=_vector(turn),
        seed=int(rng.integers(2**31)),
        roughness=_number(max(rng.uniform(*ranges.roughness), MATT.get(texture, 0) if not metal else 0)),
        specular=_number(rng.uniform(*ranges.specular)),
        metal=bool(metal),
        photo=photos[int(rng.integers(len(photos)))] if texture == PHOTO else "",
    )


PATTERNED = ("wood", "marble", "brick", "terrazzo", "fabric", PHOTO)  # what metal never looks like
MATT = {"fabric": 0.85, "brick": 0.75, "noise": 0.65}  # least roughness of textures that are never glossy


def _palettes_of() -> dict[tuple[Surface, str], dict[str, float]]:
    """The families of colour in which each texture occurs, by surface, with weights."""
    anything: dict[Surface, dict[str, float]] = {
        "floor": {"stone": 2.0, "earth": 1.0, "cloth": 0.5},
        "ground": {"stone": 2.0, "earth": 1.0},
        "wall": {"paint": 1.0},
        "object": {"cloth": 2.0, "paint": 0.7, "stone": 0.3},
    }
    made: dict[tuple[Surface, str], dict[str, float]] = {}
    for surface, families in anything.items():
        made |= {(surface, texture): families for texture in TEXTURES}
        made |= {(surface, texture): {"wood": 1.0} for texture in ("wood", "planks")}
        made |= {(surface, texture): {"stone": 1.0} for texture in ("marble", "terrazzo")}
        made[surface, "brick"] = {"brick": 2.0, "stone": 1.0}
        made[surface, "fabric"] = {"cloth": 1.0, "paint": 0.4}
    made["ground", "noise"] = {"earth": 1.0, "grass": 1.0, "stone": 0.7}
    made["ground", "worn"] = {"stone": 1.0}
    made["floor", "tiles"] = {"stone": 2.0, "paint": 1.0, "brick": 0.5}
    made["wall", "noise"] = {"paint": 1.0, "stone": 1.0}
    return made


PALETTES_OF = _palettes_of()


def _draw_colours(rng: np.random.Generator, family: str, texture: str) -> tuple[RGB, RGB, RGB]:
    """Three albedos of one family: the first leads, the others go with it as the texture needs them."""
    palette = PALETTES[family]
    first, second, third = (palette[int(rng.integers(len(palette)))] for _ in range(3))
    if texture in ("wood", "planks", "marble", "noise", "fabric", PHOTO, "plain", "worn"):
        # One substance: lighter and darker shades of a single colour.
        second, third = shade(first, rng.uniform(0.55, 0.8)), shade(first, rng.uniform(1.1, 1.4))
    elif texture in ("brick", "tiles"):
        second = shade(first, rng.uniform(0.75, 0.95))  # from one tile to the next
        third = PALETTES["stone"][int(rng.integers(len(PALETTES["stone"])))]  # the joints
    elif texture in ("checker", "stripes"):
        if abs(luminance(first) - luminance(second)) < 0.1:
            second = shade(first, 0.4 if luminance(first) > 0.25 else 2.2)
        third = shade(first, 0.6)
    jitter = np.exp(rng.normal(0, 0.05, 3) + rng.normal(0, 0.15))
    lead, other, extra = (_rgb(np.minimum(colour * jitter, 0.85)) for colour in (first, second, third))
    return lead, other, extra


def _draw_lights(
    rng: np.random.Generator, lighting: str, ranges: AppearanceRanges
) -> tuple[tuple[Light, ...], RGB]:
    """The lights and the mean radiance of the background; together they give irradiance about π."""
    ambient_share = rng.uniform(*ranges.ambient_share)
    if lighting == "lamps":
        count = int(rng.integers(ranges.lamps[0], ranges.lamps[1] + 1))
        shares = rng.dirichlet(np.full(count, 2.0)) if count else np.zeros(0)
        lights = []
        for share in shares:
            azimuth, away = rng.uniform(0, 2 * np.pi), rng.uniform(*ranges.lamp_distance)
            place = (away * np.cos(azimuth), away * np.sin(azimuth), rng.uniform(*ranges.lamp_height))
            colour = blackbody(rng.uniform(*ranges.lamp_temperature))
            strength = np.pi * (1 - ambient_share) * share
            size = _number(rng.uniform(*ranges.lamp_radius))
            lights.append(Light("area", _vector(place), size, _rgb(colour, strength)))
        ambient_share = ambient_share if count else 1.0
        return tuple(lights), _rgb(blackbody(rng.uniform(*ranges.lamp_temperature)), ambient_share)
    overcast = lighting == "overcast"
    if overcast:
        ambient_share = 0.5 + 0.5 * ambient_share
    elevation = np.radians(rng.uniform(*ranges.sun_elevation))
    azimuth = rng.uniform(0, 2 * np.pi)
    towards = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)
    radius = np.radians(rng.uniform(*(ranges.overcast_radius if overcast else ranges.sun_radius)))
    # A low sun is weaker and redder, but exposure follows it; only part of that is left in the picture.
    temperature = rng.uniform(*ranges.sun_temperature) * (0.75 + 0.25 * np.sin(elevation))
    sun = _rgb(blackbody(temperature), np.pi * (1 - ambient_share) / max(np.sin(elevation), 0.5))
    sky = rng.uniform(*(ranges.sun_temperature if overcast else ranges.sky_temperature))
    return (Light("sun", _vector(towards), _number(radius), sun),), _rgb(blackbody(sky), ambient_share)


def _draw_background(
    rng: np.random.Generator, lighting: str, ambient: RGB, photos: Sequence[str], ranges: AppearanceRanges
) -> Background:
    with_photo = bool(photos) and rng.random() < ranges.photo_background
    photo = photos[int(rng.integers(len(photos)))] if with_photo else ""
    ground = PALETTES["earth"][int(rng.integers(len(PALETTES["earth"])))]
    wall = PALETTES["paint"][int(rng.integers(len(PALETTES["paint"])))]
    grey = np.asarray(ambient)
    if lighting == "lamps":
        zenith, horizon, below = 1.3 * grey, 2 * grey * np.asarray(wall), 0.6 * grey * np.asarray(ground)
    else:
        zenith = grey * (0.7, 0.8, 1.0)
        horizon, below = 1.3 * luminance(ambient) * np.array([1.0, 0.99, 0.97]), 1.2 * grey * ground
    kind: Literal["sky", "room", "photo"] = (
        "photo" if with_photo else "room" if lighting == "lamps" else "sky"
    )
    return Background(
        kind=kind,
        zenith=_rgb(zenith),
        horizon=_rgb(horizon),
        ground=_rgb(below),
        clouds=1.0 if lighting == "overcast" else _number(rng.uniform(*ranges.clouds)),
        turn=_number(rng.uniform(0, 2 * np.pi)),
        seed=int(rng.integers(2**31)),
        photo=photo,
    )


METERING = 0.6


def _draw_sensor(
    rng: np.random.Generator, light: NDArray[np.floating], reflects: float, ranges: AppearanceRanges
) -> Sensor:
    # The camera meters the floor and walls, as far as cameras do: dark ones stay darker than bright ones.
    metered = METERING * np.log2(0.25 / max(reflects, 0.03))
    # Von Kries: gains that make the scene's mean light grey, as far as this camera adapts.
    gains = (luminance(light) / np.maximum(light, 1e-3)) ** rng.uniform(*ranges.adaptation)
    compressed = rng.random() < ranges.jpeg_share
    quality = int(rng.integers(ranges.jpeg[0], ranges.jpeg[1] + 1))
    return Sensor(
        exposure=_number(metered + rng.uniform(*ranges.exposure)),
        white_balance=_vector(gains * np.exp(rng.normal(0, 0.03, 3))),
        blur=_number(rng.uniform(*ranges.blur)),
        vignetting=_number(rng.uniform(*ranges.vignetting)),
        full_well=_number(np.exp(rng.uniform(*np.log(ranges.full_well)))),
        read_noise=_number(rng.uniform(*ranges.read_noise)),
        contrast=_number(rng.uniform(*ranges.contrast)),
        jpeg=quality if compressed else 0,
    )


def _choose(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    shares = np.array(list(weights.values()), float)
    return list(weights)[int(rng.choice(len(shares), p=shares / shares.sum()))]


def _number(value: ArrayLike) -> float:
    """Six significant digits: what is drawn is what JSON shows."""
    return float(f"{float(np.asarray(value)):.6g}")


def _vector(values: ArrayLike) -> Vector:
    x, y, z = (_number(value) for value in np.asarray(values, float))
    return x, y, z


def _rgb(colour: ArrayLike, gain: ArrayLike = 1.0) -> RGB:
    return _vector(np.asarray(colour, float) * np.asarray(gain, float))
