"""Pictures as textures: photos laid out again and again, texture maps, filtered to the pixel by a pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from freelabels.generators.contract.geometry import Floats
from freelabels.renderers.engines.mesh import Skin
from freelabels.renderers.surfaces.palette import srgb_to_linear


def skin_colours(skin: Skin, place: Floats, spread: Floats) -> Floats:
    """Linear colours (N, 3) of a texture map at places (N, 2), u to the right and v upwards; it repeats.

    spread: (N, 2, 2) by how much u and v (last axis) differ at the next pixel right and down, 0 for no filtering.
    Raises ValueError for a picture that can't be read.
    """
    height, width = _pyramid(skin.picture)[0].shape[:2]
    texels = spread * np.asarray((width, height), np.float32)
    right, down = (texels[:, k, 0] ** 2 + texels[:, k, 1] ** 2 for k in (0, 1))
    at = place - np.floor(place)
    at[:, 1] = 1 - at[:, 1]
    return filtered(_pyramid(skin.picture), at, np.sqrt(np.maximum(right, down)))


def mean_photo(path: str) -> Floats:
    """The mean linear colour (3,) of a photo."""
    return np.asarray(_pyramid(path)[-1][0, 0])


def photo_sides(path: str) -> tuple[float, float]:
    """Width and height of a photo, the shorter one being 1."""
    height, width = _pyramid(path)[0].shape[:2]
    return width / min(height, width), height / min(height, width)


@lru_cache(maxsize=16)  # about 4 MiB each
def _pyramid(path: str) -> tuple[Floats, ...]:
    """Linear light of a photo of at most 512 pixels a side, and halved again and again down to one."""
    read = cv2.imread(str(Path(path)), cv2.IMREAD_COLOR)
    if read is None:
        raise ValueError(f"{path}: can't be read as a photo; replace it or take it out of the photo folder")
    shrink = 512 / max(read.shape[:2])
    if shrink < 1:
        read = cv2.resize(read, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return pyramid(srgb_to_linear(read[..., ::-1] / np.float32(255)))


def pyramid(light: Floats) -> tuple[Floats, ...]:
    """A picture (H, W, 3), and it halved again and again down to one pixel."""
    levels: list[Floats] = [light]
    while max(levels[-1].shape[:2]) > 1:
        height, width = levels[-1].shape[:2]
        smaller = cv2.resize(
            levels[-1], (max(width // 2, 1), max(height // 2, 1)), interpolation=cv2.INTER_AREA
        )
        levels.append(np.asarray(smaller, np.float32))
    return tuple(np.ascontiguousarray(level) for level in levels)


def photo_colours(path: str, place: Floats, spread: Floats) -> Floats:
    """Linear colours (N, 3) of a photo laid out again and again, every second time mirrored.

    place: (N, 2), its shorter side is 1 long. spread: (N,) distance between neighbouring pixels.
    """
    height, width = _pyramid(path)[0].shape[:2]
    short = np.float32(min(height, width))
    at = place * (short / np.array([width, height], np.float32))
    return filtered(
        _pyramid(path), np.float32(1) - np.abs(at - 2 * np.floor(at / 2) - np.float32(1)), spread * short
    )


def filtered(levels: Sequence[Floats], place: Floats, texels: Floats) -> Floats:
    """Colours (N, 3) at places (N, 2) from 0 to 1 over a pyramid, where pixels are so many of its texels apart."""
    level = np.clip(np.log2(np.maximum(texels, np.float32(1e-6))), 0, len(levels) - 1).astype(np.float32)
    found = np.zeros((len(place), 3), np.float32)
    for k in range(int(level.min()), int(level.max()) + 2) if len(place) else ():
        share = 1 - np.abs(level - k)
        used = np.flatnonzero(share > 0)
        if len(used):
            found[used] += _lookup(levels[min(k, len(levels) - 1)], place[used]) * share[used, None]
    return found


def _lookup(picture: Floats, place: Floats) -> Floats:
    height, width = picture.shape[:2]
    rows = -(-len(place) // 4096)
    maps = np.zeros((2, rows * 4096), np.float32)
    maps[:, : len(place)] = (place * np.array([width, height], np.float32) - np.float32(0.5)).T
    found = cv2.remap(
        picture,
        maps[0].reshape(rows, -1),
        maps[1].reshape(rows, -1),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(found, np.float32).reshape(-1, 3)[: len(place)]
