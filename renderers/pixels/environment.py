"""What lies behind everything: radiance of the background by direction, and how it lights a surface."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.geometry import Floats
from freelabels.generators.contract.products import times
from freelabels.renderers.surfaces.appearance import Background, Light
from freelabels.renderers.surfaces.environments import light_from, mean_light
from freelabels.renderers.surfaces.noise import layered_noise
from freelabels.renderers.surfaces.palette import luminance
from freelabels.renderers.surfaces.pictures import mean_photo, photo_colours, photo_sides


def radiance(background: Background, lights: tuple[Light, ...], towards: Floats, spread: float) -> Floats:
    """Linear sRGB radiance (N, 3) that comes in from directions `towards` (N, 3), unit, world axes, z up.

    spread: radians between neighbouring directions, detail finer than that is left out.
    """
    if background.kind == "photo":
        return _photo(background, towards, spread)
    if background.kind == "map":
        return _mapped(background, towards, spread)
    if background.kind == "room":
        return _room(background, towards)
    return _sky(background, lights, towards, spread)


HILLS = 0.12  # sine of the elevation below which a sky may show hills and the horizon


def without_edges(background: Background, towards: Floats) -> NDArray[np.bool_]:
    """Whether a background shows no edge in directions `towards` (N, 3), unit: among the clouds of the sky."""
    return np.asarray((background.kind == "sky") & (towards[:, 2] > HILLS))


def irradiance(background: Background, lights: tuple[Light, ...], normals: Floats) -> Floats:
    """Irradiance (N, 3) from the whole background onto surfaces with unit normals (N, 3).

    Spherical harmonics of order 2, after Ramamoorthi & Hanrahan, "An Efficient Representation for Irradiance
    Environment Maps" (SIGGRAPH 2001).
    """
    return np.maximum(times(_harmonics(normals), _coefficients(background, lights)), 0)


def mean_radiance(background: Background, lights: tuple[Light, ...]) -> Floats:
    """Mean radiance (3,) over all directions."""
    return np.asarray(_coefficients(background, lights)[0] * np.float32(0.282095 / np.pi))


def _harmonics(n: Floats) -> Floats:
    x, y, z = n.T
    basis = (np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y)
    weights = (0.282095, 0.488603, 0.488603, 0.488603, 1.092548, 1.092548, 0.315392, 1.092548, 0.546274)
    return np.stack([b * np.float32(w) for b, w in zip(basis, weights, strict=True)]).T


@lru_cache(maxsize=64)
def _coefficients(background: Background, lights: tuple[Light, ...]) -> Floats:
    """(9, 3) harmonics of the radiance, convolved with the cosine lobe."""
    count = 2048
    k = np.arange(count) + 0.5  # directions on a Fibonacci spiral are evenly spread
    z, azimuth = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - z * z)
    towards = np.stack([ring * np.cos(azimuth), ring * np.sin(azimuth), z], 1).astype(np.float32)
    arriving = radiance(background, lights, towards, 0.05)
    lobe = np.array([np.pi] + [2 * np.pi / 3] * 3 + [np.pi / 4] * 5, np.float32)
    harmonics = np.ascontiguousarray(_harmonics(towards), np.float64)
    weighted = np.ascontiguousarray(harmonics[:, :, None] * arriving[:, None])
    projected = weighted.sum(axis=0) * (4 * np.pi / count)
    return np.asarray(projected * lobe[:, None], np.float32)


def _ramp(value: Floats, low: float, high: float) -> Floats:
    """0 below low, 1 above high, smooth in between."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _turned(background: Background, towards: Floats) -> Floats:
    cosine, sine = np.cos(background.turn), np.sin(background.turn)
    about = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]], np.float32)
    return times(towards, about)


def _sky(background: Background, lights: tuple[Light, ...], towards: Floats, spread: float) -> Floats:
    zenith, horizon, ground = (
        np.asarray(c, np.float32) for c in (background.zenith, background.horizon, background.ground)
    )
    turned = _turned(background, towards)
    up = turned[:, 2]
    # Colours by channel, (3, N): NumPy is slow along short axes.
    zenith, horizon, ground = (colour[:, None] for colour in (zenith, horizon, ground))
    low = 1 - np.clip(up, 0, 1)
    sky = zenith + (horizon - zenith) * (np.square(np.square(low)) * low)
    for light in lights:
        if light.kind == "sun":  # the air scatters the sun's light forwards
            facing = np.clip(times(towards, np.asarray(light.place)[:, None])[:, 0], 0, 1)
            wide = np.square(np.square(np.square(facing)))  # facing⁸
            narrow = np.square(np.square(np.square(wide)))  # facing⁶⁴
            sky = sky + horizon * (np.float32(0.4) * wide + np.float32(1.2) * narrow)
    if background.clouds > 0:
        # A flat layer of clouds, drawn together towards the horizon.
        layer = np.empty_like(turned)
        layer[:, :2] = turned[:, :2] / (np.maximum(up, 0) + np.float32(0.12))[:, None] * np.float32(1.1)
        layer[:, 2] = background.seed % 1013
        away = np.float32(spread) / (np.maximum(up, 0) + np.float32(0.06)) ** 2
        puffs = layered_noise(layer, away.astype(np.float32), 6, 0.55)
        cover = _ramp(puffs, 1.4 - 3.4 * background.clouds, 2.6 - 3.4 * background.clouds)
        thick = np.clip(np.float32(1.05) - np.float32(0.16) * puffs, 0.6, 1.25)
        white = np.float32(luminance(background.horizon)) * np.float32(1.1)
        share = cover * _ramp(up, 0.0, 0.12) * np.float32(0.9)
        sky = sky + (white * thick * _column(1, 1, 1.02) - sky) * share
    # Far ground vanishes in haze, in front of hills or trees.
    far = np.clip(1 + up * 8, 0, 1)
    far = far * far * far
    hills = np.float32(0.35) * ground + np.float32(0.45) * horizon * _column(0.9, 0.97, 1.05)
    earth = ground + (hills * np.float32(1.15) - ground) * far
    ring = np.zeros_like(turned)
    ring[:, :2] = (
        turned[:, :2] / np.maximum(np.hypot(turned[:, 0], turned[:, 1]), np.float32(1e-3))[:, None] * 4
    )
    ring[:, 2] = background.seed % 997
    ridge = np.float32(0.035) + np.float32(0.018) * layered_noise(
        ring, np.full(len(up), 4 * spread, np.float32), 6
    )
    soft = np.float32(max(spread, 0.004))
    scene = sky + (hills - sky) * np.clip((ridge - up) / soft + np.float32(0.5), 0, 1)
    scene = scene + (earth - scene) * np.clip(np.float32(0.5) - up / soft, 0, 1)
    return np.asarray(scene.T, np.float32)


def _mapped(background: Background, towards: Floats, spread: float) -> Floats:
    gain = luminance(background.horizon) / max(luminance(mean_light(background.photo)), 1e-6)
    return light_from(background.photo, _turned(background, towards), spread) * np.float32(gain)


def _column(red: float, green: float, blue: float) -> Floats:
    return np.array([[red], [green], [blue]], np.float32)


def _room(background: Background, towards: Floats) -> Floats:
    """A box room out of focus: walls, ceiling, floor, and a window in one wall."""
    zenith, horizon, ground = (
        np.asarray(c, np.float32) for c in (background.zenith, background.horizon, background.ground)
    )
    turned = _turned(background, towards)
    half = np.array([3.0, 4.2, 1.5], np.float32)
    reach = (np.abs(turned) / half).max(1)
    at = turned / np.maximum(reach, np.float32(1e-6))[:, None]  # on the box, metres
    soft = 0.25
    shade = np.float32(0.75) + np.float32(0.25) * np.clip(at[:, 0] / 3, -1, 1)
    corner = np.minimum(half[0] - np.abs(at[:, 0]), half[1] - np.abs(at[:, 1]))
    walls = horizon * (shade * (1 - np.float32(0.15) * _ramp(-corner, -0.8, 0.0)))[:, None]
    inside = walls + (zenith - walls) * _ramp(at[:, 2], half[2] - soft, half[2])[:, None]
    inside = inside + (ground - inside) * _ramp(-at[:, 2], half[2] - soft, half[2])[:, None]
    rng = np.random.Generator(np.random.PCG64(background.seed))
    centre, width = rng.uniform(-2, 2), rng.uniform(0.6, 1.4)
    window = _ramp(at[:, 0], 2.5, 3.0) * _ramp(width - np.abs(at[:, 1] - np.float32(centre)), -soft, soft)
    window = window * _ramp(at[:, 2], -0.7, -0.2) * _ramp(1.2 - at[:, 2], -0.2, 0.2)
    picture_at, picture_width = rng.uniform(-2, 2), rng.uniform(0.3, 0.9)
    hung = _ramp(-at[:, 0], 2.5, 3.0) * _ramp(
        picture_width - np.abs(at[:, 1] - np.float32(picture_at)), -0.1, 0.1
    )
    hung = hung * _ramp(0.5 - np.abs(at[:, 2] - np.float32(0.3)), -0.1, 0.1)
    inside = inside * (1 - hung[:, None] * np.asarray(rng.uniform(0.2, 0.8, 3), np.float32))
    bright = np.float32(3 * luminance(zenith)) * np.asarray((0.93, 0.98, 1.05), np.float32)
    return np.asarray(inside + (bright - inside) * window[:, None], np.float32)


def _photo(background: Background, towards: Floats, spread: float) -> Floats:
    """A photo wrapped around the scene, a quarter turn wide, every second time mirrored, mostly above ground."""
    wanted = np.mean([background.zenith, background.horizon, background.ground], axis=0)
    grey = luminance(mean_photo(background.photo))
    width, height = photo_sides(background.photo)
    azimuth = np.arctan2(towards[:, 1], towards[:, 0]) + np.float32(background.turn)
    elevation = np.arcsin(np.clip(towards[:, 2], -1, 1))
    per_radian = np.float32(width * 2 / np.pi)
    place = np.stack([azimuth * per_radian, np.float32(0.8 * height) - elevation * per_radian], 1)
    blur = np.full(len(place), max(spread, 0.008) * per_radian, np.float32)
    gain = min(luminance(wanted) / max(grey, 0.02), 4.0)
    return np.asarray(photo_colours(background.photo, place, blur) * np.float32(gain), np.float32)
