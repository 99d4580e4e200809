"""Cast shadows of the strongest light: where something keeps it from a surface, and where a picture shows that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.products import picked, times
from freelabels.renderers.labels.looks import Instant, PixelHits
from freelabels.renderers.pixels.lights import arriving
from freelabels.renderers.pixels.shading import mean_colours
from freelabels.renderers.surfaces.appearance import Appearance, Light
from freelabels.renderers.surfaces.palette import luminance
from freelabels.renderers.surfaces.surface_points import dot

LIT = 0.01  # share of what is told of a frame that has to be in the light
SEEN = 0.2  # share of the arriving light that the strongest one has to have for its absence to be seen
DARK = 0.02  # albedo below which a surface looks the same with and without
Floats = NDArray[np.floating[Any]]
LUMINANCE = np.array([[0.2126], [0.7152], [0.0722]], np.float32)
CURVED = 0.25  # cosine to the light below which the triangles of a curved surface shadow one another


def trusted_shadow(shadow: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The confidence (H, W) of a whole frame's shadows: 0 if hardly anything of it lies in the light.

    A room into which the sun shines elsewhere doesn't look like one in the shade.
    """
    known = confidence > 0
    if (known & (shadow == 0)).sum() < LIT * known.sum():
        return np.zeros_like(confidence)
    return confidence


def strongest(lights: Sequence[Light]) -> Light | None:
    """The light of the greatest irradiance, the first of equals; None where there is none."""
    return max(lights, key=lambda light: sum(light.irradiance), default=None)


def shown(
    seen: PixelHits,
    point: Floats,
    facing: NDArray[np.bool_],
    now: Instant,
    look: Appearance,
    main: Light,
    albedo: Floats | None,
) -> NDArray[np.bool_]:
    """Where (N,) a picture shows whether points (N, 3), camera axes, see the strongest light.

    Not on surfaces turned away from it or nearly so, nor where other lights outshine it, nor on dark ones and
    metal. facing: (N,) those turned to it. albedo: (N, 3) of patterned surfaces, 0 on others; None: unknown.
    """
    surfaces, turn = now.surfaces, now.camera_pose[:3, :3].astype(np.float32)
    materials = [look.materials[k] for k in surfaces.part_of_geometry.material]
    bright = _grey(mean_colours(surfaces, look)) > DARK
    bright &= ~np.array([material.metal for material in materials])
    told = np.flatnonzero(facing & bright[seen.geometry])
    normal = picked(seen.normal.astype(np.float32), told)
    rest: Floats = np.full(1, luminance(look.background.fill or look.background.horizon) * np.pi, np.float32)
    others = [light for light in look.lights if light is not main]
    if main.kind == "sun" and not others:
        towards = np.asarray([main.place], np.float32)
        given: Floats = np.full(1, luminance(main.irradiance), np.float32)
        cosine = times(normal, times(towards, turn).T)[:, 0]
    else:
        at = times(picked(point.astype(np.float32), told), turn.T) + surfaces.origin.astype(np.float32)
        where, colour, _ = arriving(main, at)
        cosine, given = dot(normal, times(where, turn)), _grey(colour)
        rest = rest + sum(_grey(arriving(light, at)[1]) for light in others)
    arrives = given * cosine
    plain = arrives > np.float32(SEEN) * (arrives + rest)
    plain &= (cosine > CURVED) | ~surfaces.curved[seen.geometry[told]]
    if albedo is not None:
        grey = _grey(albedo.take(told, 0))
        plain &= (grey > DARK) | (grey == 0)
    out = np.zeros(len(seen.hit), bool)
    out[told] = plain
    return out


def _grey(colours: Floats) -> Floats:
    """Luminance (N,) of linear sRGB colours (N, 3)."""
    return np.asarray(times(colours, LUMINANCE)[:, 0])
