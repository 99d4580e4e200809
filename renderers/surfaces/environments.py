"""Environment maps: light from all directions as pictures of high range, and their brightest spot as a light."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import av
import cv2
import numpy as np

from freelabels.generators.contract.geometry import Floats
from freelabels.renderers.surfaces.appearance import RGB, Vector
from freelabels.renderers.surfaces.pictures import filtered, pyramid

SUFFIXES = (".hdr", ".exr")
WIDTH = 1024  # pixels that are kept of a map
BRIGHT = 0.3  # share of the peak's radiance from which on a direction belongs to the brightest spot
STRONG = 0.2  # share of all irradiance that makes a spot a light of its own
NEAR = 12.0  # degrees around the peak within which the spot lies


@dataclass(frozen=True)
class Spot:
    """The brightest spot of a map: unit direction, irradiance facing it, angular radius in radians."""

    towards: Vector
    irradiance: RGB
    radius: float


def read_light(path: str) -> Floats:
    """Linear light (H, W, 3) float32 of an environment map. Raises ValueError naming the file."""
    try:
        with av.open(path) as container:
            frame = next(container.decode(video=0))
        light = np.asarray(frame.to_ndarray(format="gbrpf32le"), np.float32)
    except (av.FFmpegError, StopIteration, ValueError) as error:
        raise ValueError(f"{path}: can't be read as an environment map ({type(error).__name__})") from error
    if light.ndim != 3 or light.shape[1] != 2 * light.shape[0]:
        raise ValueError(
            f"{path}: is {light.shape[1]} × {light.shape[0]} pixels; a map of all directions (equirectangular) is "
            "twice as wide as high"
        )
    return np.asarray(np.nan_to_num(np.maximum(light, 0), posinf=float(np.float32(6e4))), np.float32)


@lru_cache(maxsize=8)  # about 8 MiB each
def _map(path: str) -> tuple[tuple[Floats, ...], Spot | None]:
    """The map's pyramid, its brightest spot taken away if that is a light of its own, and that."""
    light = read_light(path)
    if light.shape[1] > WIDTH:
        light = np.asarray(cv2.resize(light, (WIDTH, WIDTH // 2), interpolation=cv2.INTER_AREA))
    towards, solid = _directions(light.shape[0])
    luminance = light @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    peak = np.unravel_index(int(np.argmax(luminance)), luminance.shape)
    close = (towards * towards[peak]).sum(axis=-1) > np.cos(np.radians(NEAR))
    inside = close & (luminance > BRIGHT * luminance[peak])
    around = float(np.median(luminance[close & ~inside])) if (close & ~inside).any() else 0.0
    weight = solid[inside][:, None].astype(np.float64)
    extra = np.maximum(1 - around / np.maximum(luminance[inside], 1e-9), 0)[:, None] * light[inside]
    given = (extra.astype(np.float64) * weight).sum(axis=0)
    total = float((luminance * solid).sum(dtype=np.float64)) / 4  # an average surface's irradiance
    spot = None
    if given.mean() > STRONG * total and towards[peak][2] > 0:
        middle = (towards[inside] * (luminance[inside] * solid[inside])[:, None]).sum(
            axis=0, dtype=np.float64
        )
        x, y, z = (float(v) for v in middle / np.sqrt((middle * middle).sum()))
        red, green, blue = (float(v) for v in given)
        radius = max(float(np.sqrt(weight.sum() / np.pi)), np.radians(0.27))
        spot = Spot((x, y, z), (red, green, blue), radius)
        light = light.copy()
        light[inside] -= extra
    return pyramid(light), spot


def _directions(height: int) -> tuple[Floats, Floats]:
    """Unit directions (H, W, 3) of a map's pixels and their solid angles (H, W)."""
    azimuth = np.pi * (1 - 2 * (np.arange(2 * height) + 0.5) / (2 * height))
    elevation = np.pi * (0.5 - (np.arange(height) + 0.5) / height)
    flat = np.cos(elevation)[:, None]
    x, y = flat * np.cos(azimuth), flat * np.sin(azimuth)
    towards = np.stack([x, y, np.broadcast_to(np.sin(elevation)[:, None], x.shape)], axis=-1)
    solid = np.broadcast_to(flat * (np.pi / height) ** 2, x.shape)
    return towards.astype(np.float32), solid.astype(np.float32)


def brightest(path: str) -> Spot | None:
    """The light that a map's brightest spot is, None if it is none to speak of."""
    return _map(path)[1]


def mean_light(path: str) -> Floats:
    """Mean radiance (3,) of a map over all directions, without its brightest spot."""
    light = _map(path)[0][2]
    _, solid = _directions(light.shape[0])
    return np.asarray((light * solid[..., None]).sum(axis=(0, 1)) / solid.sum(), np.float32)


def light_from(path: str, towards: Floats, spread: float) -> Floats:
    """Radiance (N, 3) that a map shows in directions (N, 3), unit; spread: radians between neighbours."""
    levels = _map(path)[0]
    x, y, z = towards.astype(np.float64).T
    place = np.empty((len(towards), 2), np.float32)
    place[:, 0] = (0.5 - np.arctan2(y, x) / (2 * np.pi)) % 1
    place[:, 1] = 0.5 - np.arcsin(np.clip(z, -1, 1)) / np.pi
    texels = np.full(len(place), spread / np.pi * levels[0].shape[0], np.float32)
    return filtered(levels, place, texels)
