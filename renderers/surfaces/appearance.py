"""What a scene looks like, as data: materials, lights, background and sensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

RGB = tuple[float, float, float]
Vector = tuple[float, float, float]
# What a material is drawn from: a floor, a wall or an object of any kind, or what a part is made of.
Substance = Literal[
    "floor", "ground", "wall", "object", "ceiling", "trim", "pane", "door", "road", "pavement", "facade", "roof",
    "wood", "cloth", "metal", "plastic", "ceramic", "glass", "leaf", "bark", "paper", "print", "rubber", "paint",
    "soil", "marking", "flesh", "fruit", "screen",
]  # fmt: skip

PHOTO = "photo"
SKIN = "skin"  # the texture map that a part's mesh brings along
TEXTURES = (
    "plain",
    "worn",
    "checker",
    "stripes",
    "wood",
    "marble",
    "noise",
    "brick",
    "tiles",
    "planks",
    "terrazzo",
    "fabric",
    "plaster",
    "wallpaper",
    "parquet",
    "carpet",
    "asphalt",
    "foliage",
    "bark",
    PHOTO,
)


@dataclass(frozen=True)
class Material:
    """How one surface reflects light.

    texture: one of `TEXTURES`, evaluated in the part's own frame, or `SKIN`, plain on a part without one.
    colours: three linear sRGB albedos in [0, 1], what each means is the texture's business. scale: size of the
    pattern's feature (a tile, a stripe, a photo) in metres, or as a share of the part's extent, as `scale_in`
    says. turn: rotation vector, radians, of the pattern. seed: which of all such patterns. roughness: 0 mirror
    to 1 matt (GGX alpha = roughness²). specular: reflectance at normal incidence. metal: no diffuse, the
    reflection has the albedo's colour. photo: path of the picture of a photo texture.
    """

    texture: str
    colours: tuple[RGB, RGB, RGB]
    scale: float
    scale_in: Literal["metre", "extent"] = "extent"
    turn: Vector = (0.0, 0.0, 0.0)
    seed: int = 0
    roughness: float = 0.6
    specular: float = 0.04
    metal: bool = False
    photo: str = ""


@dataclass(frozen=True)
class Light:
    """A light other than the background.

    kind "sun": at infinity, place = unit vector towards it, size = angular radius in radians; kind "area": a
    glowing ball, place = its centre in the world, size = its radius, metres; kind "panel": a glowing disc that
    shines along `facing`, unit. irradiance: linear sRGB, what a surface at the world's origin that faces it
    receives unoccluded (a white diffuse surface under irradiance π has radiance 1).
    """

    kind: Literal["sun", "area", "panel"]
    place: Vector
    size: float
    irradiance: RGB
    facing: Vector = (0.0, 0.0, -1.0)


@dataclass(frozen=True)
class Background:
    """The environment: seen behind everything and lighting it from all around.

    kind "sky": zenith over horizon with clouds, ground below; "room": blurred walls and ceiling with a bright
    window; "photo": a picture wrapped around the scene; "map": an environment map, its mean radiance that of the
    horizon. zenith, horizon, ground: linear sRGB radiance (of a
    photo, their mean is the radiance of its white). clouds: share of sky covered. turn: azimuth, radians. fill:
    radiance that surfaces around see from everywhere, where they don't see the background itself, as in rooms.
    """

    kind: Literal["sky", "room", "photo", "map"]
    zenith: RGB
    horizon: RGB
    ground: RGB
    clouds: float = 0.0
    turn: float = 0.0
    seed: int = 0
    photo: str = ""
    fill: RGB | None = None


@dataclass(frozen=True)
class Sensor:
    """The camera behind the lens: how linear radiance becomes bytes.

    exposure: stops. white_balance: gains of red, green, blue. blur: standard deviation of the lens blur in
    pixels. vignetting: share of light lost in the corners. full_well: photons at white (shot noise), 0 = no
    noise. read_noise: standard deviation as a share of white. contrast: slope of the tone curve at mid grey,
    1 = none. jpeg: quality, 0 = not compressed.
    """

    exposure: float = 0.0
    white_balance: RGB = (1.0, 1.0, 1.0)
    blur: float = 0.0
    vignetting: float = 0.0
    full_well: float = 0.0
    read_noise: float = 0.0
    contrast: float = 1.0
    jpeg: int = 0


@dataclass(frozen=True)
class Appearance:
    """All that pixels depend on beside geometry; `materials` are indexed by the scene's material index."""

    materials: tuple[Material, ...]
    lights: tuple[Light, ...]
    background: Background
    sensor: Sensor = Sensor()


def appearance_from_dict(stored: Mapping[str, Any]) -> Appearance:
    """The appearance whose ``dataclasses.asdict`` went through JSON."""
    return Appearance(
        materials=tuple(Material(**_tuples(material)) for material in stored["materials"]),
        lights=tuple(Light(**_tuples(light)) for light in stored["lights"]),
        background=Background(**_tuples(stored["background"])),
        sensor=Sensor(**_tuples(stored["sensor"])),
    )


def _tuples(stored: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples they were."""

    def restored(value: Any) -> Any:
        return tuple(restored(entry) for entry in value) if isinstance(value, list | tuple) else value

    return {key: restored(value) for key, value in stored.items()}
