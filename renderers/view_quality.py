"""Whether a view is worth rendering, tested by a coarse grid of rays in a few frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from freelabels.generators.contract.geometry import intrinsics_from_fov, rays
from freelabels.generators.contract.products import times
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.engines.raycast import NOTHING, Floats, Surfaces, cast

GRID = 40  # rays along the longer side
BORDERS = 0.02  # least share of neighbouring rays that hit different things


@dataclass(frozen=True)
class CoarseView:
    """What a coarse look shows: objects in sight, their share of the pixels, least depth, borders' share."""

    objects: int
    share: float
    nearest: float
    borders: float


def look_roughly(surfaces: Surfaces, fov: float, pose: Floats, size: tuple[int, int]) -> CoarseView:
    """Cast a coarse grid of rays over the image of a camera of `fov` degrees at `pose` (4, 4)."""
    height, width = (max(2, round(GRID * side / max(size))) for side in size)
    ray = rays(intrinsics_from_fov(fov, width, height), height, width).reshape(-1, 3)
    towards = times(ray, pose[:3, :3].T)
    hits = cast(surfaces, pose[:3, 3], towards)
    seen = np.where(hits.geometry != NOTHING, surfaces.part_of_geometry.object[hits.geometry], 0)
    surface = hits.geometry.reshape(height, width)
    borders = (np.diff(surface, axis=0) != 0).mean() + (np.diff(surface, axis=1) != 0).mean()
    found, pixels = np.unique(seen[seen > 0], return_counts=True)
    return CoarseView(
        objects=int((pixels >= 3).sum()) if len(found) else 0,
        share=float((seen > 0).mean()),
        nearest=float(hits.t.min()),
        borders=float(borders / 2),
    )


def shortfall(views: Sequence[CoarseView], placed: int, ranges: SceneRanges) -> float:
    """How far views of one clip fall short of what is asked: 0 = worth having. placed: objects in the scene."""
    worst = 0.0
    low, high = ranges.object_share
    for view in views:
        wanted = min(ranges.seen_objects, placed)
        misses = max(wanted - view.objects, 0) / max(wanted, 1)
        if wanted:
            misses += max(low - view.share, 0) / max(low, 1e-6)
        misses += max(view.share - high, 0) + max(ranges.nearest - view.nearest, 0) * 4
        misses += max(BORDERS - view.borders, 0) if wanted else 0
        worst = max(worst, misses)
    return worst
