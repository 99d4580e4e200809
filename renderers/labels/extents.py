"""How far each object reaches in the image: amodal masks, the share that is seen, boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from freelabels.generators.contract.fields import Array
from freelabels.generators.contract.products import picked, product
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.moving import Motion, covers_moving
from freelabels.renderers.engines.raycast import Floats, covers
from freelabels.renderers.engines.rectangles import rectangles
from freelabels.renderers.labels.looks import Instant, PixelHits

Index = NDArray[np.int64]
BEYOND = 1e-3  # share of its depth that what is seen lies nearer than it is, to be on the safe side


def amodal_masks(
    seen: PixelHits, now: Instant, instance: Index, lens: Lens, size: tuple[int, int], objects: int
) -> NDArray[np.bool_]:
    """(objects, N) every object's full extent, seen or not; row 0 is the static scene's."""
    masks = np.zeros((objects, len(instance)), bool)
    numbers = np.arange(len(instance))
    masks.ravel()[instance * len(instance) + numbers] = True
    masks[0] &= seen.hit
    pixels = numbers.reshape(size)
    owner = now.surfaces.part_of_geometry.object
    corners = _corners(now, np.flatnonzero(owner))
    owner = owner[owner > 0]  # the static scene may be anywhere
    places, farthest = rectangles(corners, lens, size), corners[..., 2].max(axis=1)
    # What hides nothing of a thing is farther than all of it, and behind what is nothing there is nothing.
    depth = np.where(seen.hit, seen.depth * (1 - BEYOND), np.inf)
    for thing in range(objects):
        mine = owner == thing
        index = pixels.ravel() if not thing else _region(places[mine], pixels)
        within = np.inf if not thing else farthest[mine].max(initial=0)
        index = index[~masks[thing].take(index)]
        index = index[depth.take(index) < within]
        if not len(index):
            continue
        towards = picked(seen.towards, index)
        if now.motion is not None and seen.rolled is not None:
            origin, seconds = picked(seen.rolled.origin, index), seen.rolled.seconds[index]
            masks[thing, index] = covers_moving(now.motion, now.surfaces, thing, origin, towards, seconds)
        else:
            masks[thing, index] = covers(now.surfaces, thing, towards)
    return masks


def _corners(now: Instant, some: NDArray[np.integer]) -> Floats:
    """Of boxes around some geometries, (n, 8, 3) or more while a picture is taken, axes of the camera."""
    boxes = now.surfaces.geometry_box[some]
    if now.motion is not None and now.rolls:
        return _swept(boxes, some, now.motion, now.camera_pose)
    return product(boxes - now.surfaces.origin, now.camera_pose[:3, :3])


def _region(places: NDArray[np.int64], pixels: Index) -> Index:
    """Those of the pixels (H, W) that lie in one of the rectangles (n, 4)."""
    places = places[(places[:, 1] > places[:, 0]) & (places[:, 3] > places[:, 2])]
    if not len(places):
        return np.zeros(0, pixels.dtype)
    first, last = places.min(axis=0).tolist(), places.max(axis=0).tolist()
    rows, columns = slice(first[0], last[1]), slice(first[2], last[3])
    if len(places) == 1:
        return pixels[rows, columns].ravel()
    region = np.zeros((last[1] - first[0], last[3] - first[2]), bool)
    for top, bottom, left, right in (places - (first[0], first[0], first[2], first[2])).tolist():
        region[top:bottom, left:right] = True
    return pixels[rows, columns][region]


def _swept(boxes: Floats, numbers: NDArray[np.integer], motion: Motion, pose: Floats) -> Floats:
    """Corners (n, 24, 3) of geometries' boxes (n, 8, 3) while a picture is taken, in its rows' cameras' axes."""
    found = []
    for share in (-0.55, 0.0, 0.55):  # things hardly leave the straight between
        after = np.full(8 * len(boxes), share * motion.readout)
        there = motion.on(np.repeat(numbers, 8), after, boxes.reshape(-1, 3))
        found.append(motion.seen_from(pose, after, there).reshape(-1, 8, 3))
    return np.concatenate(found, axis=1)


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
    for index, found in enumerate(find_objects(instance + np.int32(1))):
        if found is not None:
            rows, columns = found
            boxes[index] = columns.start, rows.start, columns.stop, rows.stop
    return {"object_visible": share.astype(np.float32), "object_box": boxes}
