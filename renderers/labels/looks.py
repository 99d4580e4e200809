"""The world at one instant, and what the rays through all pixel centres hit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.products import times
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.raycast import NOTHING, Floats, Hits, Ints, Surfaces, cast
from freelabels.renderers.surfaces.surface_points import dot


@dataclass(frozen=True)
class Instant:
    """The world and the camera at one instant; the surfaces' origin is the camera's centre.

    camera_pose: (4, 4) camera → world, OpenCV axes.
    """

    surfaces: Surfaces
    camera_pose: Floats


@dataclass(frozen=True)
class PixelHits:
    """What the rays through all N = H·W pixel centres hit; camera axes, float64.

    ray: (N, 3) with z = 1; towards: the same in world axes, float32. hits: what was hit along those. face: (N,)
    row of the face tables, 0 where nothing is hit. depth: (N,) z, +inf where nothing is hit. normal: (N, 3)
    facing the camera, 0 where nothing is hit.
    """

    ray: Floats
    towards: NDArray[np.float32]
    hits: Hits
    face: NDArray[np.int64]
    depth: Floats
    normal: Floats

    @property
    def geometry(self) -> Ints:
        """What is hit, (N,), `NOTHING` where nothing is."""
        return self.hits.geometry

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Where something is hit."""
        return np.asarray(self.geometry != NOTHING)


def look(now: Instant, lens: Lens | Floats, size: tuple[int, int]) -> PixelHits:
    """Cast a ray through every pixel centre of a lens, or of a pinhole's K, and solve for the point in float64.

    Embree finds the triangle in float32; where the ray meets its plane follows exactly.
    """
    surfaces, rotation = now.surfaces, now.camera_pose[:3, :3]
    lens = Lens.of(lens)
    ray = lens.rays(size)
    towards = lens.world_rays(rotation, size)
    hits = cast(surfaces, surfaces.origin, towards)
    hit = hits.geometry != NOTHING
    face = np.where(hit, surfaces.first_face[hits.geometry] + hits.primitive, 0)
    normal = times(surfaces.face_normal, rotation)[face]  # camera axes
    slant = dot(normal, ray)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = surfaces.face_offset[face] / slant
        # A triangle seen edge-on has no well-defined plane distance; the float32 hit is the better answer.
        depth = np.where(np.abs(depth - hits.t) <= 1e-3 * hits.t, depth, hits.t)
    normal *= np.where(hit, -np.sign(slant), 0)[:, None]
    return PixelHits(ray, towards, hits, face, np.where(hit, depth, np.inf), normal)
