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
    for thing in range(objects):
        region = _region(thing, now, lens, size) if thing else np.ones(size, bool)
        index = np.flatnonzero(region.ravel() & ~masks[thing])
        towards = seen.towards.take(index, 0)
        if now.motion is not None and seen.rolled is not None:
            origin, seconds = seen.rolled.origin.take(index, 0), seen.rolled.seconds[index]
            masks[thing, index] = covers_moving(now.motion, now.surfaces, thing, origin, towards, seconds)
        else:
            masks[thing, index] = covers(now.surfaces, thing, towards)
    return masks


def _region(thing: int, now: Instant, lens: Lens, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) pixels that may see an object: the rectangles around its parts' projected bounding boxes."""
    region = np.zeros(size, bool)
    surfaces = now.surfaces
    mine = np.flatnonzero(surfaces.part_of_geometry.object == thing)
    seen = product(surfaces.geometry_box[mine] - surfaces.origin, now.camera_pose[:3, :3])
    if now.motion is not None and now.rolls:
        seen = _swept(surfaces.geometry_box[mine], mine, now.motion, now.camera_pose)
    for corners in seen:
        z = corners[:, 2]
        if z.max() <= 0:
            continue
        if z.min() <= 1e-3:
            region[:] = True
            continue
        x, y = _rectangle(corners[:, 0] / z, corners[:, 1] / z, lens, size)
        left, right = np.clip([np.floor(x.min()), np.ceil(x.max())], 0, size[1]).astype(int)
        top, bottom = np.clip([np.floor(y.min()), np.ceil(y.max())], 0, size[0]).astype(int)
        region[top:bottom, left:right] = True
    return region


def _swept(boxes: Floats, numbers: NDArray[np.integer], motion: Motion, pose: Floats) -> Floats:
    """Corners (n, 24, 3) of geometries' boxes (n, 8, 3) while a picture is taken, in its rows' cameras' axes."""
    found = []
    for share in (-0.55, 0.0, 0.55):  # things hardly leave the straight between
        after = np.full(8 * len(boxes), share * motion.readout)
        there = motion.on(np.repeat(numbers, 8), after, boxes.reshape(-1, 3))
        found.append(motion.seen_from(pose, after, there).reshape(-1, 8, 3))
    return np.concatenate(found, axis=1)


def _rectangle(x: Floats, y: Floats, lens: Lens, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Places in the image among which everything lies that is seen along rays (x, y, 1) and between them."""
    if not lens.bends:
        return lens.land(x, y)
    # Lines come out bent: what counts is the whole border of the rectangle of rays, as far as the image reaches.
    low, high = lens.bounds(size)
    left, right = np.clip([x.min(), x.max()], low[0], high[0])
    top, bottom = np.clip([y.min(), y.max()], low[1], high[1])
    share = np.linspace(0.0, 1.0, BORDER)
    across, down = left + share * (right - left), top + share * (bottom - top)
    border = [np.stack([across, np.full(BORDER, end)]) for end in (top, bottom)]
    border += [np.stack([np.full(BORDER, end), down]) for end in (left, right)]
    x, y = lens.land(*np.concatenate(border, axis=1))
    slack = max(size) / BORDER**2
    return np.array([x.min() - slack, x.max() + slack]), np.array([y.min() - slack, y.max() + slack])


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
