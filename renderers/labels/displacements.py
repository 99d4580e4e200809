"""Where surface points go from one frame to the next: flow, visibility and motion of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import VISIBILITY
from freelabels.generators.contract.geometry import invert_pose, pixel_centres
from freelabels.generators.contract.products import picked, product, put, times
from freelabels.renderers.engines.drift import INFINITY, NEAREST, placed
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.moving import occluded_moving
from freelabels.renderers.engines.raycast import Floats, occluded
from freelabels.renderers.engines.rectangles import before
from freelabels.renderers.engines.screens import hideable
from freelabels.renderers.engines.windows import Window
from freelabels.renderers.labels.half import half
from freelabels.renderers.labels.looks import Instant, PixelHits
from freelabels.renderers.surfaces.surface_points import dot

Index = NDArray[np.integer]
MOVING = 0.5  # pixels a surface point's own motion takes it, from one frame to the next, to count as moving
STILL = 0.1  # pixels that are too few to see, whatever the direction
SAME_POINT = 1e-4  # share of its distance by which a ray may fall short of a point and still see it
FAR = 6e4  # pixels: a displacement beyond float16
VISIBLE, OCCLUDED, OUT_OF_VIEW = (VISIBILITY.index(v) for v in ("visible", "occluded", "out of view"))


@dataclass(frozen=True)
class _Step:
    """How points in the camera frame of one instant come to lie in that of another.

    camera: (3, 4) what stands still. parts: (G + 1, 3, 4) what each geometry's points do, the last row what lies
    at infinity, which only turns. moves: (G + 1,) where that differs from `camera`.
    """

    camera: Floats
    parts: Floats
    moves: NDArray[np.bool_]

    def __call__(self, geometry: Index, point: Floats) -> Floats:
        """PixelHits (N, 3) of geometries (N,), moved."""
        out = times(point, self.camera[:, :3].T)
        out += self.camera[:, 3]
        apart = np.flatnonzero(self.moves[geometry])
        put(out, apart, placed(self.parts, geometry[apart], picked(point, apart)))
        return out


def _step(one: Instant, other: Instant) -> _Step:
    to_world, from_world = one.camera_pose, invert_pose(other.camera_pose)
    before, after = one.surfaces.geometry_pose, other.surfaces.geometry_pose
    camera = product(from_world, to_world)[:3]
    moves = np.append(np.any(before != after, axis=(1, 2)), True)
    parts = np.tile(camera, (len(moves), 1, 1))
    some = np.flatnonzero(moves[:-1])
    parts[some] = product(from_world, after[some], invert_pose(before[some]), to_world)[:, :3]
    parts[-1, :, 3] = 0.0
    return _Step(camera, parts, moves)


def flow_to(
    seen: PixelHits, point: Floats, now: Instant, other: Instant, lens: Lens, window: Window
) -> tuple[NDArray[np.float16], NDArray[np.uint8], NDArray[np.bool_]]:
    """Displacement (N, 2) of every surface point to the other image, whether it is seen there, where known."""
    step = _step(now, other)
    there = step(seen.geometry, point)
    in_front = there[:, 2] > NEAREST
    rolling = None
    if other.motion is not None and other.rolls:
        world = times(there, other.camera_pose[:3, :3].T) + np.where(seen.hit, other.camera_pose[:3, 3:], 0).T
        rolling = other.motion.lands(world, seen.geometry, seen.hit, other.camera_pose, lens, window.size[0])
        x, y, in_front = rolling.x, rolling.y, rolling.in_front
    else:
        z = there[:, 2] if in_front.all() else np.where(in_front, there[:, 2], 1.0)
        x, y = lens.land(there[:, 0] / z, there[:, 1] / z)
    flow = np.empty((2, len(point)))
    for way, to, of in zip(flow, (x, y), _centres(window.shape), strict=True):
        np.subtract(to, of, out=way)
    known = in_front
    if not np.abs(flow).max(initial=0) < FAR:  # or one is NaN
        known = in_front & (np.abs(flow[0]) < FAR) & (np.abs(flow[1]) < FAR)
    if not known.all():
        flow[:, ~known] = np.nan
    height, width = window.size
    within = in_front & (x >= 0) & (x < width) & (y >= -window.top) & (y < height - window.top)
    inside = np.flatnonzero(within)
    visibility = np.where(within, np.uint8(VISIBLE), np.uint8(OUT_OF_VIEW))
    if rolling is not None and other.motion is not None:
        origins, seconds = picked(rolling.origin, inside), rolling.seconds[inside]
        towards = (picked(rolling.point, inside) - origins).astype(np.float32)
        hidden = occluded_moving(other.motion, origins, towards, seconds, 0.0, 1 - SAME_POINT)
    else:
        right, down = (where if within.all() else where[inside] for where in (x, y))
        spot = (down.astype(np.int64) + window.top) * width + right.astype(np.int64)
        if seen.rolled is None and np.array_equal(now.camera_pose, other.camera_pose):
            # The camera stays where it is: only what has moved may hide what has not.
            moved = np.flatnonzero(step.moves[:-1])
            front = before(other.surfaces, moved, other.camera_pose, lens, window).ravel()
            asked = np.flatnonzero(step.moves[seen.geometry[inside]] | front[spot])
            inside, spot = inside[asked], spot[asked]
        hidden = _hidden(seen, there, inside, spot, other, lens, window)
    visibility[inside[hidden]] = OCCLUDED
    return half(flow).T, visibility, known


@lru_cache(maxsize=2)
def _centres(size: tuple[int, int]) -> Floats:
    """Places x, y (2, N) of a window's pixel centres; not to be written to."""
    table = np.ascontiguousarray(pixel_centres(*size).reshape(-1, 2).T)
    table.flags.writeable = False
    return table


def _hidden(
    seen: PixelHits, there: Floats, index: Index, spot: Index, other: Instant, lens: Lens, window: Window
) -> NDArray[np.bool_]:
    """Whether those of the points (N, 3), other camera's axes, that an index (M,) names are hidden there.

    spot: (M,) the picture's pixels that would show them.
    """
    turn, few = other.camera_pose[:3, :3].astype(np.float32), len(index) < len(there)
    points = there.astype(np.float32)
    towards = times(picked(points, index) if few else points, turn.T)
    missed = np.flatnonzero(~(seen.hit[index] if few else seen.hit))
    if len(missed):
        put(towards, missed, picked(towards, missed) * np.float32(INFINITY))
    depth = points[:, 2][index] if few else points[:, 2].copy()
    depth[missed] = np.inf
    some = hideable(other.surfaces, other.camera_pose, lens, window, spot, depth, towards)
    return occluded(other.surfaces, other.surfaces.origin, towards, 0.0, 1 - SAME_POINT, some)


def own_motion(
    seen: PixelHits, point: Floats, now: Instant, others: Sequence[Instant], lens: Lens
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """255 where the surface point itself moves, whatever the camera does, and where that is beyond doubt.

    It moves if that alone takes it `MOVING` pixels or more across the image to one of the neighbouring frames; it
    is still if it could not look `STILL` pixels far from any side. What lies between is for nobody to tell.
    """
    moving, still = np.zeros(len(point), bool), np.ones(len(point), bool)
    for other in others:
        step = _step(now, Instant(other.surfaces, now.camera_pose))
        index = np.flatnonzero(step.moves[seen.geometry] & seen.hit)
        start = picked(point, index)
        there = step(seen.geometry[index], start)
        z = there[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = (
                after - before for after, before in zip(lens.project(there), lens.project(start), strict=True)
            )
            moving[index] |= (z <= 0) | (x * x + y * y >= MOVING**2)
        shift = (there - start) * (lens.focal / start[:, 2:])
        still[index] &= dot(shift, shift) < STILL**2
    return moving * np.uint8(255), moving | still
