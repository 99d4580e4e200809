"""How far each object reaches in the image: amodal masks, the share that is seen, boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from freelabels.generators.contract.fields import Array
from freelabels.generators.contract.products import product
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.moving import Motion, covers_moving
from freelabels.renderers.engines.raycast import Floats, Ints, covers
from freelabels.renderers.labels.looks import Instant, PixelHits

BORDER = 17  # places on each side of a rectangle of rays that tell where a lens shows it


def amodal_masks(
    seen: PixelHits, now: Instant, instance: Ints, lens: Lens, size: tuple[int, int], objects: int
) -> NDArray[np.bool_]:
    """(objects, N) every object's full extent, seen or not; row 0 is the static scene's."""
    masks = np.zeros((objects, len(instance)), bool)
    masks[instance, np.arange(len(instance))] = True
    masks[0] &= seen.hit
    pixels = np.arange(len(instance), dtype=np.int32).reshape(size)
    for thing in range(objects):
        index = pixels.ravel() if not thing else _region(thing, now, lens, pixels)
        index = index[~masks[thing, index]]
        towards = seen.towards.take(index, 0)
        if now.motion is not None and seen.rolled is not None:
            origin, seconds = seen.rolled.origin.take(index, 0), seen.rolled.seconds[index]
            masks[thing, index] = covers_moving(now.motion, now.surfaces, thing, origin, towards, seconds)
        else:
            masks[thing, index] = covers(now.surfaces, thing, towards)
    return masks


def _region(thing: int, now: Instant, lens: Lens, pixels: Ints) -> Ints:
    """Those of the pixels (H, W) that may see an object: the rectangles around its parts' projected boxes."""
    size = pixels.shape
    surfaces = now.surfaces
    mine = np.flatnonzero(surfaces.part_of_geometry.object == thing)
    seen = product(surfaces.geometry_box[mine] - surfaces.origin, now.camera_pose[:3, :3])
    if now.motion is not None and now.rolls:
        seen = _swept(surfaces.geometry_box[mine], mine, now.motion, now.camera_pose)
    z = seen[..., 2]
    nearest = z.min(axis=1)
    if (nearest[z.max(axis=1) > 0] <= 1e-3).any():
        return pixels.ravel()
    corners = seen[nearest > 1e-3]
    if not len(corners):
        return np.zeros(0, pixels.dtype)
    x, y = _rectangles(corners[..., 0] / corners[..., 2], corners[..., 1] / corners[..., 2], lens, size)
    left, right = (np.clip(f, 0, size[1]).astype(int) for f in (np.floor(x[0]), np.ceil(x[1])))
    top, bottom = (np.clip(f, 0, size[0]).astype(int) for f in (np.floor(y[0]), np.ceil(y[1])))
    rows, columns = slice(top.min(), bottom.max()), slice(left.min(), right.max())
    if len(corners) == 1:
        return pixels[rows, columns].ravel()
    region = np.zeros(size, bool)
    for part in zip(top, bottom, left, right, strict=True):
        region[part[0] : part[1], part[2] : part[3]] = True
    return pixels[rows, columns][region[rows, columns]]


def _swept(boxes: Floats, numbers: NDArray[np.integer], motion: Motion, pose: Floats) -> Floats:
    """Corners (n, 24, 3) of geometries' boxes (n, 8, 3) while a picture is taken, in its rows' cameras' axes."""
    found = []
    for share in (-0.55, 0.0, 0.55):  # things hardly leave the straight between
        after = np.full(8 * len(boxes), share * motion.readout)
        there = motion.on(np.repeat(numbers, 8), after, boxes.reshape(-1, 3))
        found.append(motion.seen_from(pose, after, there).reshape(-1, 8, 3))
    return np.concatenate(found, axis=1)


def _rectangles(x: Floats, y: Floats, lens: Lens, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """The least and largest x and y, (2, n) each, of what is seen along and between rays (x, y, 1), (n, k)."""
    if not lens.bends:
        x, y = lens.land(x, y)
        return np.array([x.min(axis=1), x.max(axis=1)]), np.array([y.min(axis=1), y.max(axis=1)])
    # Lines come out bent: what counts is the whole border of the rectangle of rays, as far as the image reaches.
    low, high = lens.bounds(size)
    left, right = np.clip([x.min(axis=1), x.max(axis=1)], low[0], high[0])[..., None]
    top, bottom = np.clip([y.min(axis=1), y.max(axis=1)], low[1], high[1])[..., None]
    share = np.linspace(0.0, 1.0, BORDER)
    across, down, one = left + share * (right - left), top + share * (bottom - top), np.ones(BORDER)
    x, y = lens.land(
        np.concatenate([across, across, one * left, one * right], axis=1),
        np.concatenate([one * top, one * bottom, down, down], axis=1),
    )
    slack = max(size) / BORDER**2
    return (
        np.array([x.min(axis=1) - slack, x.max(axis=1) + slack]),
        np.array([y.min(axis=1) - slack, y.max(axis=1) + slack]),
    )


def shares_and_boxes(instance: Array, amodal: Array) -> dict[str, Array]:
    """Visible share of each amodal mask (0 for what is not in the image), and visible boxes (NaN unseen).

    instance: (H, W). amodal: (objects, H, bytes) as stored. The result by field name.
    """
    objects = len(amodal)
    visible = np.bincount(instance.ravel(), minlength=objects)
    full = np.array([np.bitwise_count(mask).sum(dtype=np.int64) for mask in amodal])
    share = np.divide(visible, full, out=np.zeros(objects), where=full > 0)
    share[0] = min(share[0], 1.0)  # where nothing is hit counts as instance 0 but belongs to no mask
    boxes = np.full((objects, 4), np.nan, np.float32)
    for index, found in enumerate(find_objects(instance.astype(np.int32) + 1)):
        if found is not None:
            rows, columns = found
            boxes[index] = columns.start, rows.start, columns.stop, rows.stop
    return {"object_visible": share.astype(np.float32), "object_box": boxes}
