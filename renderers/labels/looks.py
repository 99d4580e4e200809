"""The world at one instant, and what the rays through all pixel centres hit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.products import product, times
from freelabels.renderers.engines.drift import rotations, turned_by
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.moving import Motion, cast_moving
from freelabels.renderers.engines.raycast import NOTHING, Floats, Hits, Surfaces, cast
from freelabels.renderers.engines.screens import reaching
from freelabels.renderers.engines.windows import whole
from freelabels.renderers.surfaces.surface_points import dot


@dataclass(frozen=True)
class Instant:
    """The world and the camera at one instant; the surfaces' origin is the camera's centre.

    camera_pose: (4, 4) camera → world, OpenCV axes. motion: what moves while the picture
    is taken.
    """

    surfaces: Surfaces
    camera_pose: Floats
    motion: Motion | None = None

    @property
    def rolls(self) -> bool:
        """Whether rows are taken one after the other."""
        return self.motion is not None and self.motion.readout > 0


@dataclass(frozen=True)
class PixelHits:
    """What the rays through all N = H·W pixel centres hit; camera axes, float64.

    ray: (N, 3) with z = 1; towards: the same in world axes, float32. hits: what was hit along those. face: (N,)
    row of the face tables, 0 where nothing is hit. depth: (N,) z, +inf where nothing is hit. normal: (N, 3)
    facing the camera, 0 where nothing is hit. rolled: of a rolling shutter; all of the above but
    `towards` and depth is then brought to the instant, with what was hit.
    """

    ray: Floats
    towards: NDArray[np.float32]
    hits: Hits
    face: NDArray[np.int64]
    depth: Floats
    normal: Floats
    rolled: Rolled | None = None

    @cached_property
    def point(self) -> Floats:
        """(N, 3) what is seen, in the camera's axes at the instant; of what is nothing, the way to it."""
        depth = self.depth if self.hit.all() else np.where(self.hit, self.depth, 1.0)
        point: Floats = depth[:, None] * self.ray
        return point if self.rolled is None else point + self.hit[:, None] * self.rolled.eye

    @cached_property
    def geometry(self) -> NDArray[np.int64]:
        """What is hit, (N,), `NOTHING` where nothing is; NumPy takes three times as long to look up by int32."""
        return self.hits.geometry.astype(np.int64)

    @cached_property
    def hit(self) -> NDArray[np.bool_]:
        """Where something is hit."""
        return np.asarray(self.geometry != NOTHING)


@dataclass(frozen=True)
class Rolled:
    """When and from where rays of a rolling shutter leave.

    seconds: (N,) after the instant. eye: (N, 3) where each leaves from, and to_row: (N, 3, 3) what turns vectors
    into the axes of its row's camera, both in the camera's axes at the instant and relative to what was hit.
    origin: (N, 3) where it leaves from, world.
    """

    seconds: Floats
    eye: Floats
    to_row: Floats
    origin: Floats


def look(now: Instant, lens: Lens | Floats, size: tuple[int, int]) -> PixelHits:
    """Cast a ray through every pixel centre of a lens, or of a pinhole's K, and solve for the point in float64.

    Embree finds the triangle in float32; where the ray meets its plane follows exactly.
    """
    surfaces, rotation = now.surfaces, now.camera_pose[:3, :3]
    lens = Lens.of(lens)
    if now.motion is not None and now.rolls:
        return _look_rolling(now, now.motion, lens, size)
    ray = lens.rays(size)
    towards = lens.world_rays(rotation, size)
    near = reaching(surfaces, now.camera_pose, lens, whole(size))
    apart = None if near is None else np.flatnonzero(near)
    hits = cast(surfaces, surfaces.origin, towards, apart)
    face, depth, normal = _met(surfaces, rotation, hits, ray, 0.0)
    return PixelHits(ray, towards, hits, face, depth, normal)


def _met(
    surfaces: Surfaces, rotation: Floats, hits: Hits, ray: Floats, eye: Floats | float
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Faces, depths and normals as of `PixelHits`, of rays from `eye`, in the camera's axes."""
    geometry = hits.geometry.astype(np.int64)
    hit = geometry != NOTHING
    face = np.where(hit, surfaces.first_face[geometry] + hits.primitive, 0)
    planes, row = _planes(surfaces, rotation, face)
    row = row.take(face)
    normal, offset = planes[:3].take(row, 1).T, planes[3].take(row)
    slant = dot(normal, ray)
    start = dot(normal, eye) if isinstance(eye, np.ndarray) else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = (offset - start) / slant
        # A triangle seen edge-on has no well-defined plane distance; the float32 hit is the better answer.
        depth = np.where(np.abs(depth - hits.t) <= 1e-3 * hits.t, depth, hits.t)
    normal *= np.where(hit, -np.sign(slant), 0)[:, None]
    return face, np.where(hit, depth, np.inf), normal


def _planes(
    surfaces: Surfaces, rotation: Floats, face: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.int64]]:
    """Normals and distances (4, M) of the planes of those faces that occur in (N,), as the camera sees them.

    And the column (F,) of each of them: a picture has far fewer faces than pixels.
    """
    occurs = np.zeros(len(surfaces.face_distance), bool)
    occurs[face] = True
    some = np.flatnonzero(occurs)
    column = np.empty(len(occurs), np.int64)
    column[some] = np.arange(len(some))
    geometry = np.searchsorted(surfaces.first_face, some, side="right") - 1
    # A part's axes and origin as the camera sees them, the origin apart from it.
    place, away = surfaces.geometry_pose, surfaces.geometry_pose[:, :3, 3] - surfaces.origin
    seen = [product(rotation.T, place[:, :3, :3]).reshape(-1, 9), product(away, rotation)]
    part = np.concatenate(seen, axis=1).T.take(geometry, 1)
    x, y, z = surfaces.face_normal.take(some, 1)
    planes = np.empty((4, len(some)))
    for axis, k in enumerate((0, 3, 6)):
        planes[axis] = (part[k] * x + part[k + 1] * y) + part[k + 2] * z
    planes[3] = surfaces.face_distance[some] + dot(planes[:3].T, part[9:].T)
    return planes, column


def _look_rolling(now: Instant, motion: Motion, lens: Lens, size: tuple[int, int]) -> PixelHits:
    """What each row's rays hit at its own time, brought to the instant with what they hit."""
    surfaces, rotation, width = now.surfaces, now.camera_pose[:3, :3], size[1]
    after = motion.when(np.arange(size[0]) + 0.5 + lens.top, lens.rows or size[0])
    cameras = motion.cameras(now.camera_pose, after)  # (H, 4, 4)
    seconds = np.repeat(after, width)
    row_turn, origin = (
        np.repeat(cameras[:, :3, :3], width, axis=0),
        np.repeat(cameras[:, :3, 3].T, width, axis=1).T,
    )
    ahead = turned_by(row_turn, lens.rays(size))
    towards = ahead.astype(np.float32)
    hits = cast_moving(motion, origin, towards, seconds)
    start, way = motion.back(hits.geometry, seconds, origin, ahead)
    eye, ray = times(start - surfaces.origin, rotation), times(way, rotation)
    face, depth, normal = _met(surfaces, rotation, hits, ray, eye)
    # Instant's camera → world → moved with what was hit → row's camera.
    to_row = np.repeat(product(np.swapaxes(cameras[:, :3, :3], 1, 2), rotation), width, axis=0)
    index = np.flatnonzero(motion.moves[hits.geometry])
    moved = rotations(motion.geometry[hits.geometry[index], 3:], seconds[index])
    to_row[index] = product(np.swapaxes(row_turn[index], 1, 2), moved, rotation)
    return PixelHits(ray, towards, hits, face, depth, normal, Rolled(seconds, eye, to_row, origin))
