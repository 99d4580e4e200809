"""Drawing what a scene looks like from a seed: plausible materials, lights, backgrounds and cameras."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freelabels.renderers.draw.ranges import AppearanceRanges
from freelabels.renderers.draw.values import choose, rounded, rounded_vector
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
)
from freelabels.renderers.surfaces.palette import PALETTES, blackbody, luminance, shade

_number, _vector = partial(rounded, digits=6), partial(rounded_vector, digits=6)
Surface = Literal["floor", "ground", "wall", "object"]  # a role, told apart further: floors out of doors


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
    lighting = "lamps" if "wall" in geometries else choose(for_lighting, ranges.outdoor)
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
    texture = choose(rng, {name: w for name, w in weights.items() if name != PHOTO or photos})
    if texture == PHOTO:  # a photo shows many features at once
        scale = (2 * scale[0] + 0.3, 2 * scale[1] + 0.3)
    upright = surface != "object"
    turn = rng.normal(size=3)
    angle = rng.uniform(0, np.pi)
    turn = np.array([0, 0, angle * (surface != "wall")]) if upright else turn / np.linalg.norm(turn) * angle
    metal = surface == "object" and rng.random() < ranges.metal_share
    if metal:
        texture = "plain" if texture in PATTERNED else texture
    family = "metal" if metal else choose(rng, PALETTES_OF[surface, texture])
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


def _rgb(colour: ArrayLike, gain: ArrayLike = 1.0) -> RGB:
    return _vector(np.asarray(colour, float) * np.asarray(gain, float))
