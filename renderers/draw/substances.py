"""What surfaces are made of: the textures, colours and gloss of a wall, a table's top, a car's body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from freelabels.renderers.surfaces.appearance import PHOTO, Substance

Interval = tuple[float, float]


@dataclass(frozen=True)
class Look:
    """From what a substance's material is drawn: relative weights and intervals, as `Material` means them.

    textures, palettes: weights; a texture's own colours, if it has any, come first. scale: of the pattern.
    upright: the pattern stands as the surface does. metal: whether it is one.
    """

    textures: Mapping[str, float]
    palettes: Mapping[str, float]
    scale: Interval
    scale_in: Literal["metre", "extent"] = "metre"
    roughness: Interval = (0.35, 0.9)
    specular: Interval = (0.03, 0.05)
    upright: bool = True
    metal: bool = False


LOOKS: Mapping[Substance, Look] = {
    "ceiling": Look({"plain": 2, "plaster": 4, "planks": 0.4, "tiles": 0.4}, {"white": 1}, (0.15, 0.6)),
    "trim": Look({"plain": 3, "wood": 1}, {"white": 3, "paint": 1}, (0.1, 0.3), roughness=(0.25, 0.6)),
    "pane": Look({"plain": 1}, {"dark": 1}, (1, 1), roughness=(0.05, 0.12), specular=(0.08, 0.25)),
    "door": Look(
        {"plain": 2, "wood": 2, "planks": 1}, {"paint": 1, "car": 1}, (0.1, 0.3), roughness=(0.25, 0.7)
    ),
    "road": Look(
        {"asphalt": 5, "brick": 0.7, "noise": 0.5}, {"asphalt": 1}, (0.25, 0.6), roughness=(0.7, 0.95)
    ),
    "marking": Look({"plain": 1, "worn": 2}, {"white": 1}, (0.2, 0.5), roughness=(0.5, 0.8)),
    "pavement": Look(
        {"tiles": 3, "brick": 2, "asphalt": 1, "worn": 0.5},
        {"stone": 2, "asphalt": 0.7},
        (0.25, 0.7),
        roughness=(0.65, 0.95),
    ),
    "facade": Look(
        {"brick": 3, "plaster": 4, "worn": 1, "planks": 0.7, "tiles": 0.5, PHOTO: 0.3},
        {"paint": 2, "stone": 1.5, "white": 1},
        (0.2, 0.45),
        roughness=(0.6, 0.95),
    ),
    "roof": Look({"tiles": 2, "brick": 2, "plain": 1}, {"brick": 1, "dark": 1, "asphalt": 1}, (0.2, 0.4)),
    "wood": Look(
        {"wood": 5, "plain": 1, "planks": 0.4},
        {"wood": 4, "white": 1, "dark": 0.5},
        (0.05, 0.25),
        roughness=(0.25, 0.7),
        upright=False,
    ),
    "cloth": Look(
        {"fabric": 4, "carpet": 1, "stripes": 0.7, "checker": 0.4, "plain": 1, "wallpaper": 0.5, PHOTO: 0.4},
        {"cloth": 3, "paint": 1, "white": 0.5},
        (0.03, 0.18),
        roughness=(0.8, 1.0),
        specular=(0.02, 0.03),
    ),
    "metal": Look({"plain": 3, "worn": 1}, {"metal": 1}, (0.1, 0.3), roughness=(0.15, 0.5), metal=True),
    "plastic": Look(
        {"plain": 5, "worn": 1}, {"plastic": 2, "dark": 1, "white": 1}, (0.1, 0.3), roughness=(0.2, 0.55)
    ),
    "ceramic": Look(
        {"plain": 4, "worn": 1, "stripes": 0.7, "wallpaper": 0.5, "marble": 0.5},
        {"white": 2, "clay": 2, "cloth": 1},
        (0.02, 0.08),
        roughness=(0.08, 0.4),
        specular=(0.04, 0.06),
    ),
    "glass": Look(
        {"plain": 1},
        {"dark": 1, "leaf": 1, "clay": 0.5},
        (1, 1),
        roughness=(0.05, 0.12),
        specular=(0.05, 0.12),
    ),
    "leaf": Look({"foliage": 4, "plain": 0.5}, {"leaf": 1}, (0.1, 0.25), roughness=(0.5, 0.8)),
    "bark": Look({"bark": 1}, {"bark": 1}, (0.08, 0.3), roughness=(0.8, 1.0)),
    "paper": Look({"plain": 3, "worn": 1}, {"white": 2, "card": 2}, (0.1, 0.3), roughness=(0.7, 0.95)),
    "print": Look(
        {"plain": 1, "stripes": 1, "wallpaper": 1, "checker": 0.5, "worn": 1, "terrazzo": 0.4, PHOTO: 5},
        {"cloth": 2, "plastic": 1, "paint": 1},
        (0.08, 0.5),
        scale_in="extent",
        roughness=(0.25, 0.8),
    ),
    "rubber": Look({"plain": 2, "worn": 1}, {"dark": 1}, (0.1, 0.3), roughness=(0.6, 0.95)),
    "paint": Look(
        {"plain": 4, "worn": 0.5}, {"car": 2, "cloth": 1, "white": 0.7}, (0.3, 0.6), roughness=(0.1, 0.4)
    ),
    "soil": Look({"noise": 1}, {"earth": 1}, (0.05, 0.1), roughness=(0.9, 1.0)),
    "flesh": Look({"plain": 1}, {"flesh": 1}, (0.1, 0.3), roughness=(0.4, 0.6)),
    "fruit": Look({"plain": 3, "worn": 2}, {"fruit": 1}, (0.05, 0.2), roughness=(0.25, 0.5)),
    "screen": Look({"plain": 1}, {"dark": 1}, (1, 1), roughness=(0.06, 0.2), specular=(0.04, 0.08)),
}
