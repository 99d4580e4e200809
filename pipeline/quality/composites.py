"""Photos with rendered objects pasted in front: stills whose foreground is known, with all the clutter of photos.

After the flying chairs of Dosovitskiy et al., FlowNet, ICCV 2015.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from freelabels.generators.contract.fields import Array

OBJECTS = (1, 3)  # how many of a frame's objects are pasted
LEAST_PIXELS = 400  # of an object; of less nobody would say that it is what the picture shows
MIDDLE = 0.15  # of the side: σ of where the middle of what is pasted lies; photographers aim
CROP = (0.4, 1.0)  # side of the piece of a photo, as a share of its shorter side


def pasted(
    image: Array, instance: Array, photos: Sequence[str], random: np.random.Generator
) -> tuple[Array, Array]:
    """Frames (T, H, W, 3) with a few of the objects of `image` in front of pieces of photos, and where they are.

    instance: (T, H, W) ids, 0 what isn't an object. photos: paths of pictures that can be read. The second array
    is `foreground` (T, H, W), 0 or 255; all 0 in a frame without an object that is large enough.
    """
    shown, where = np.empty_like(image), np.zeros(instance.shape, np.uint8)
    for t, ids in enumerate(instance):
        names, pixels = np.unique(ids[ids > 0], return_counts=True)
        names = names[pixels >= LEAST_PIXELS]
        count = min(len(names), int(random.integers(OBJECTS[0], OBJECTS[1] + 1)))
        mask = (
            np.isin(ids, random.choice(names, count, replace=False)) if count else np.zeros(ids.shape, bool)
        )
        behind = _piece(photos[int(random.integers(len(photos)))], image.shape[1:3], random)
        shift = _towards_middle(mask, random)
        where[t] = _shifted(mask.astype(np.uint8) * 255, shift)
        shown[t] = np.where(where[t][..., None] > 0, _shifted(image[t], shift), behind)
    return shown, where


def _towards_middle(mask: Array, random: np.random.Generator) -> tuple[int, int]:
    """Pixels down and right that take the middle of a mask (H, W) near that of the frame."""
    aim = (0.5 + random.normal(0, MIDDLE, 2)) * mask.shape
    if not mask.any():
        return 0, 0
    down, right = aim - [(at.min() + at.max() + 1) / 2 for at in np.nonzero(mask)]
    return round(down), round(right)


def _shifted(values: Array, shift: tuple[int, int]) -> Array:
    """Bytes (H, W, ...) moved down and right; 0 where nothing comes in."""
    move = np.array([[1, 0, shift[1]], [0, 1, shift[0]]], np.float64)
    return np.asarray(cv2.warpAffine(values, move, values.shape[1::-1], flags=cv2.INTER_NEAREST))


def _piece(path: str, size: tuple[int, int], random: np.random.Generator) -> Array:
    """A random square of a photo, resized to (height, width)."""
    read = cv2.imread(path, cv2.IMREAD_COLOR)
    if read is None:
        raise ValueError(f"{path}: can't be read as a picture")
    height, width = read.shape[:2]
    side = max(1, int(min(height, width) * random.uniform(*CROP)))
    y, x = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
    piece = cv2.cvtColor(read[y : y + side, x : x + side], cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.resize(piece, size[::-1], interpolation=cv2.INTER_AREA))
