"""Drawing what a scene looks like from a seed: plausible materials, lights, backgrounds and cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freelabels.renderers.draw.ranges import AppearanceRanges
from freelabels.renderers.draw.substances import LOOKS, Look
from freelabels.renderers.draw.values import choose, rounded, rounded_vector
from freelabels.renderers.surfaces.appearance import (
    PHOTO,
    RGB,
    TEXTURES,
    Appearance,
    Background,
    Light,
    Material,
    Sensor,
    Substance,
    Vector,
)
from freelabels.renderers.surfaces.environments import brightest, mean_light
from freelabels.renderers.surfaces.palette import PALETTES, blackbody, luminance, shade

_number, _vector = partial(rounded, digits=6), partial(rounded_vector, digits=6)


@dataclass(frozen=True)
class Setting:
    """How a place is lit.

    lighting: "sun", "overcast", "lamps" or "daylight", which comes through windows; "" leaves it to the ranges.
    lamps: where lamps hang, world, metres; none: anywhere about the world's axis. windows: the middle of each and
    the direction (unit) in which its light falls.
    """

    lighting: Literal["", "sun", "overcast", "lamps", "daylight"] = ""
    lamps: tuple[Vector, ...] = ()
    windows: tuple[tuple[Vector, Vector], ...] = ()


def draw_appearance(
    rng: np.random.Generator,
    geometries: Sequence[Substance],
    photos: Sequence[str] = (),
    ranges: AppearanceRanges | None = None,
    setting: Setting | None = None,
    environments: Sequence[str] = (),
) -> Appearance:
    """Draw materials, lights, background and sensor.

    geometries: what each thing that needs a material is made of, in the order of the materials. Unless the setting
    says otherwise a wall among them makes a room, lit by lamps no farther from the world's vertical axis than
    `ranges.lamp_distance` and no higher than `ranges.lamp_height`: walls must stand outside that. photos: paths
    for textures and backgrounds; environments: of maps that light what is no room. Each component has its own
    child generator, so that a change in one leaves the others as they were. Raises ValueError for an unknown
    substance.
    """
    ranges, setting = ranges or AppearanceRanges(), setting or Setting()
    known = get_args(Substance)
    unknown = [name for name in geometries if name not in known]
    if unknown:
        raise ValueError(
            f"there is no substance {unknown[0]!r} for a material; choose from {', '.join(known)}"
        )
    for_lighting, for_materials, for_lights, for_background, for_sensor = rng.spawn(5)
    lighting = "lamps" if "wall" in geometries else choose(for_lighting, ranges.outdoor)
    lighting = setting.lighting or lighting
    indoors = lighting in ("lamps", "daylight")
    materials = tuple(
        _draw_material(child, "ground" if name == "floor" and not indoors else name, photos, ranges)
        for child, name in zip(for_materials.spawn(len(geometries)), geometries, strict=True)
    )
    mapped = rng.spawn(1)[0]
    room = bool(setting.lamps or setting.windows or "wall" in geometries)
    if environments and not room and mapped.random() < ranges.environment:
        lights, background = _draw_environment(mapped, environments)
    elif setting.lamps or setting.windows:
        lights, background = draw_room_light(for_lights, setting, ranges)
    else:
        lights, ambient = _draw_lights(for_lights, lighting, ranges)
        background = _draw_background(for_background, lighting, ambient, photos, ranges)
    ambient = background.fill or background.horizon
    light_colour = np.sum([light.irradiance for light in lights], axis=0) + np.pi * np.asarray(ambient)
    return Appearance(materials, lights, background, _draw_sensor(for_sensor, light_colour, ranges))


def _look_of(substance: Substance, ranges: AppearanceRanges) -> Look:
    """What a substance may look like; of floors, walls and objects of any kind the ranges say it."""
    if substance in LOOKS:
        return LOOKS[substance]
    weights, scale = {
        "floor": (ranges.floor_textures, ranges.floor_scale),
        "ground": (ranges.ground_textures, ranges.floor_scale),
        "wall": (ranges.wall_textures, ranges.wall_scale),
    }.get(substance, (ranges.object_textures, ranges.object_scale))
    upright = substance != "object"
    in_metres: Literal["metre", "extent"] = "metre" if upright else "extent"
    return Look(weights, {}, scale, in_metres, ranges.roughness, ranges.specular, upright)


def _draw_material(
    rng: np.random.Generator, substance: Substance, photos: Sequence[str], ranges: AppearanceRanges
) -> Material:
    look = _look_of(substance, ranges)
    scale = look.scale
    texture = choose(rng, {name: w for name, w in look.textures.items() if name != PHOTO or photos})
    if texture == PHOTO:  # a photo shows many features at once
        scale = (2 * scale[0] + 0.3, 2 * scale[1] + 0.3)
    larger = COARSE.get(texture, 1.0)
    turn = rng.normal(size=3)
    angle = rng.uniform(0, np.pi)
    level = substance in ("floor", "ground")
    turn = np.array([0, 0, angle * level]) if look.upright else turn / np.linalg.norm(turn) * angle
    metal = look.metal or (substance == "object" and rng.random() < ranges.metal_share)
    if metal:
        texture = "plain" if texture in PATTERNED else texture
    family = "metal" if metal else choose(rng, _palettes(substance, texture, look))
    return Material(
        texture=texture,
        colours=_draw_colours(rng, family, texture),
        scale=_number(larger * np.exp(rng.uniform(*np.log(scale)))),
        scale_in=look.scale_in,
        turn=_vector(turn),
        seed=int(rng.integers(2**31)),
        roughness=_number(max(rng.uniform(*look.roughness), MATT.get(texture, 0) if not metal else 0)),
        specular=_number(rng.uniform(*look.specular)),
        metal=bool(metal),
        photo=photos[int(rng.integers(len(photos)))] if texture == PHOTO else "",
    )


def _palettes(substance: Substance, texture: str, look: Look) -> Mapping[str, float]:
    """The families of colour, with weights, that a texture has on a substance."""
    if not look.palettes:
        return PALETTES_OF[substance, texture]
    return OWN_PALETTES.get(texture, look.palettes)


OWN_PALETTES = {
    "wood": {"wood": 1.0},
    "planks": {"wood": 1.0},
    "parquet": {"wood": 1.0},
    "brick": {"brick": 3.0, "stone": 1.0},
}
PATTERNED = (
    "wood",
    "marble",
    "brick",
    "terrazzo",
    "fabric",
    "wallpaper",
    "carpet",
    "foliage",
    PHOTO,
)  # what metal never looks like
COARSE = {"asphalt": 3.0, "brick": 0.7}  # sizes of features beside those of other textures
MATT = {"fabric": 0.85, "brick": 0.75, "noise": 0.65}  # least roughness of textures that are never glossy


def _palettes_of() -> dict[tuple[Substance, str], dict[str, float]]:
    """The families of colour in which each texture occurs, by surface, with weights."""
    anything: dict[Substance, dict[str, float]] = {
        "floor": {"stone": 2.0, "earth": 1.0, "cloth": 0.5},
        "ground": {"stone": 2.0, "earth": 1.0},
        "wall": {"paint": 1.0},
        "object": {"cloth": 2.0, "paint": 0.7, "stone": 0.3},
    }
    made: dict[tuple[Substance, str], dict[str, float]] = {}
    for surface, families in anything.items():
        made |= {(surface, texture): families for texture in TEXTURES}
        made |= {(surface, texture): {"wood": 1.0} for texture in ("wood", "planks", "parquet")}
        made |= {(surface, texture): {"stone": 1.0} for texture in ("marble", "terrazzo")}
        made[surface, "brick"] = {"brick": 2.0, "stone": 1.0}
        made[surface, "fabric"] = {"cloth": 1.0, "paint": 0.4}
        made[surface, "carpet"] = {"cloth": 1.0, "stone": 0.7, "earth": 0.5}
        made[surface, "foliage"] = {"leaf": 1.0}
        made[surface, "asphalt"] = {"asphalt": 1.0}
        made[surface, "bark"] = {"bark": 1.0}
    made["wall", "plaster"] = {"paint": 2.0, "white": 2.0}
    made["ground", "noise"] = {"earth": 1.0, "grass": 1.0, "stone": 0.7}
    made["ground", "worn"] = {"stone": 1.0}
    made["floor", "tiles"] = {"stone": 2.0, "paint": 1.0, "brick": 0.5}
    made["wall", "noise"] = {"paint": 1.0, "stone": 1.0}
    return made


PALETTES_OF = _palettes_of()


SHADED = ("plaster", "parquet", "carpet", "asphalt", "foliage", "bark")


def _draw_colours(rng: np.random.Generator, family: str, texture: str) -> tuple[RGB, RGB, RGB]:
    """Three albedos of one family: the first leads, the others go with it as the texture needs them."""
    palette = PALETTES[family]
    first, second, third = (palette[int(rng.integers(len(palette)))] for _ in range(3))
    if texture in ("wood", "planks", "marble", "noise", "fabric", PHOTO, "plain", "worn", *SHADED):
        # One substance: lighter and darker shades of a single colour.
        second, third = shade(first, rng.uniform(0.55, 0.8)), shade(first, rng.uniform(1.1, 1.4))
    elif texture in ("brick", "tiles"):
        second = shade(first, rng.uniform(0.75, 0.95))  # from one tile to the next
        third = PALETTES["stone"][int(rng.integers(len(PALETTES["stone"])))]  # the joints
    elif texture == "wallpaper":
        second = shade(first, rng.uniform(0.6, 0.85) if luminance(first) > 0.3 else rng.uniform(1.3, 1.8))
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


def draw_room_light(
    rng: np.random.Generator, setting: Setting, ranges: AppearanceRanges
) -> tuple[tuple[Light, ...], Background]:
    """Lights and background of a room with windows: daylight, the sun on some days, or lamps after dark."""
    day = setting.lighting == "daylight"
    lights: list[Light] = []
    sky = np.asarray(blackbody(rng.uniform(*ranges.sky_temperature)))
    warm = np.asarray(blackbody(rng.uniform(*ranges.lamp_temperature)))
    bright = rng.uniform(1.5, 4.0) if day else rng.uniform(0.01, 0.06)
    lit_lamps = setting.lamps if not day else setting.lamps[: int(rng.integers(0, 2))]
    if day:
        strength = np.pi * rng.uniform(0.6, 1.0) / len(setting.windows)
        lights += [
            Light("panel", place, _number(rng.uniform(0.35, 0.55)), _rgb(sky, strength), facing)
            for place, facing in setting.windows
        ]
        if rng.random() < ranges.sunny:
            # Through one of the windows, from outside.
            facing = setting.windows[int(rng.integers(len(setting.windows)))][1]
            elevation, off = np.radians(rng.uniform(15, 50)), np.radians(rng.uniform(-50, 50))
            azimuth = np.arctan2(-facing[1], -facing[0]) + off
            flat = np.cos(elevation)
            towards = (flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation))
            sun = blackbody(rng.uniform(*ranges.sun_temperature))
            radius = np.radians(rng.uniform(*ranges.sun_radius))
            strength = np.pi * rng.uniform(1.0, 2.5)
            lights.append(Light("sun", _vector(towards), _number(radius), _rgb(sun, strength)))
    for place in lit_lamps:
        strength = np.pi * rng.uniform(0.5, 1.0) * (0.4 if day else 1.0) / len(lit_lamps)
        lights.append(Light("panel", place, _number(rng.uniform(0.08, 0.3)), _rgb(warm, strength)))
    fill = (0.5 * sky + 0.5 * warm if day else warm) * rng.uniform(0.15, 0.35)
    grass = np.asarray(PALETTES["grass"][int(rng.integers(len(PALETTES["grass"])))])
    background = Background(
        kind="sky",
        zenith=_rgb(bright * np.array([0.75, 0.85, 1.0])),
        horizon=_rgb(1.2 * bright * np.array([1.0, 0.99, 0.97])),
        ground=_rgb(bright * grass),
        clouds=_number(rng.uniform(*ranges.clouds)),
        turn=_number(rng.uniform(0, 2 * np.pi)),
        seed=int(rng.integers(2**31)),
        fill=_rgb(fill),
    )
    return tuple(lights), background


def _draw_environment(
    rng: np.random.Generator, environments: Sequence[str]
) -> tuple[tuple[Light, ...], Background]:
    """A map turned anyhow about the vertical, and its brightest spot as a light; together irradiance about π."""
    path, turn = environments[int(rng.integers(len(environments)))], rng.uniform(0, 2 * np.pi)
    spot, mean = brightest(path), mean_light(path)
    strength = np.pi * luminance(mean) + (
        luminance(spot.irradiance) * spot.towards[2] if spot is not None else 0
    )
    gain = np.pi / max(strength, 1e-6)
    colour = _rgb(mean, gain)
    background = Background("map", colour, colour, colour, turn=_number(turn), photo=path)
    if spot is None:
        return (), background
    x, y, z = spot.towards
    cosine, sine = np.cos(background.turn), np.sin(background.turn)
    towards = (cosine * x - sine * y, sine * x + cosine * y, z)
    return (Light("sun", _vector(towards), _number(spot.radius), _rgb(spot.irradiance, gain)),), background


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


def _draw_sensor(rng: np.random.Generator, light: NDArray[np.floating], ranges: AppearanceRanges) -> Sensor:
    # Von Kries: gains that make the scene's mean light grey, as far as this camera adapts.
    gains = (luminance(light) / np.maximum(light, 1e-3)) ** rng.uniform(*ranges.adaptation)
    compressed = rng.random() < ranges.jpeg_share
    quality = int(rng.integers(ranges.jpeg[0], ranges.jpeg[1] + 1))
    return Sensor(
        exposure=_number(rng.uniform(*ranges.exposure)),
        white_balance=_vector(gains * np.exp(rng.normal(0, 0.03, 3))),
        blur=_number(rng.uniform(*ranges.blur)),
        vignetting=_number(rng.uniform(*ranges.vignetting)),
        full_well=_number(np.exp(rng.uniform(*np.log(ranges.full_well)))),
        read_noise=_number(rng.uniform(*ranges.read_noise)),
        contrast=_number(rng.uniform(*ranges.contrast)),
        jpeg=quality if compressed else 0,
    )


def _rgb(colour: ArrayLike, gain: ArrayLike = 1.0) -> RGB:
    return _vector(np.asarray(colour, float) * np.asarray(gain, float))
