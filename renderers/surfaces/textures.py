"""Albedo of materials: solid textures evaluated in the part's own frame, for meshes without texture maps.

Every pattern is filtered to the pixel: edges are box-filtered in closed form (after I. Quilez, "Filterable
procedurals"), noise loses the octaves a pixel can't show, photos are looked up in a pyramid. A footprint of 0
gives the pattern itself, un-antialiased.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from freelabels.generators.contract.geometry import Floats
from freelabels.generators.contract.products import times
from freelabels.renderers.surfaces.appearance import Material
from freelabels.renderers.surfaces.patterns import PATTERNS, TexturePoints
from freelabels.renderers.surfaces.pictures import mean_photo


def albedo(material: Material, points: Floats, normals: Floats, footprint: Floats, extent: float) -> Floats:
    """Linear sRGB albedo (N, 3) in [0, 1] of a material.

    points, normals: (N, 3) in the part's frame, metres. footprint: (N, 3) metres between the points of
    neighbouring pixels along each axis of the part, 0 for no filtering. extent: the part's longest side,
    metres. Raises ValueError for a photo that can't be read.
    """
    size = material.scale * (extent if material.scale_in == "extent" else 1.0)
    turn = cv2.Rodrigues(np.asarray(material.turn, np.float64))[0] / size
    shift = np.random.Generator(np.random.PCG64(material.seed)).uniform(0, 16, 3)
    frame = np.asarray(turn.T, np.float32)
    where = TexturePoints(
        at=times(points, frame) + shift.astype(np.float32),
        normal=times(normals, turn.T * size),
        footprint=times(footprint, np.abs(frame)),
    )
    colours: Floats = np.clip(PATTERNS[material.texture](material, where), 0, 1)
    return colours


@lru_cache(maxsize=2048)
def mean_albedo(material: Material) -> Floats:
    """One colour (3,) for the whole material, as light that bounces off it takes along."""
    if material.photo:
        return mean_photo(material.photo)
    shown = 2 if material.texture in ("checker", "stripes") else 1
    return np.asarray(np.mean(material.colours[:shown], axis=0), np.float32)
