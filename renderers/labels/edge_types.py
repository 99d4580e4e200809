"""Boundaries between neighbouring pixels and what makes them, from what their rays hit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import EDGE_TYPES, Array

OCCLUDING, CREASE, CONTACT, SHADOW, TEXTURE = (
    EDGE_TYPES.index(name) for name in ("occluding", "crease", "contact", "shadow", "texture")
)
SURFACE_EDGES = (
    OCCLUDING,
    CREASE,
    CONTACT,
)  # what the field "edges" tells; shadow and texture lie on surfaces
PRIORITY = (TEXTURE, SHADOW, CREASE, CONTACT, OCCLUDING)  # the strongest last, where several meet in a pixel
GAP = 1.5  # pixel footprints by which two surfaces may miss one another and still meet
STEEPEST = 6.0  # slope, in pixel footprints per pixel, up to which two *things* are extended to meet
ALBEDO_STEP = 0.08  # change of linear albedo, in any channel, that makes a texture edge


Index = NDArray[np.integer]


@dataclass(frozen=True)
class Seen:
    """What each pixel's centre ray hits, (H, W) each.

    face: numbers of triangles, −1 where nothing is hit. inverse_depth: 1 / z, 0 where nothing is hit.
    slope: (2, H, W) its change per pixel along x and y over the plane hit. thing, patch: ids, −1 where nothing is
    hit; a thing is an instance or the static scene. These two and slope are told at `borders` of faces alone.
    geometry: ids likewise, of all pixels. lit: (H, W, L) whether light l is seen. facing: (H, W, L) whether the
    surface is turned to light l. albedo, filtered: (H, W, 3) linear, at the point and over the pixel, or None.
    Of nothing they are false and 0.
    """

    face: NDArray[np.integer]
    inverse_depth: NDArray[np.float64]
    slope: NDArray[np.float64]
    thing: NDArray[np.int32]
    geometry: NDArray[np.integer]
    patch: NDArray[np.int32]
    lit: NDArray[np.bool_]
    facing: NDArray[np.bool_]
    albedo: NDArray[np.float32] | None = None
    filtered: NDArray[np.float32] | None = None


def edge_types(seen: Seen, focal: float) -> NDArray[np.uint8]:
    """(H, W) edge types: a boundary between two neighbours is marked on one of the two.

    Occluding boundaries are marked on the nearer side, contacts on the thing with the higher id (an object rather
    than the floor it stands on), others on the right or lower pixel. Two neighbours hit
    one continuous surface if they hit one triangle, or if their planes meet between them or miss by less than
    `GAP` pixel footprints; otherwise the boundary is occluding. A continuous one is a contact between two things,
    a crease between faces that bend, a shadow's border where a light begins to be seen, a texture edge where
    albedo steps. focal: pixels.
    """
    rank = np.zeros(seen.face.size, np.uint8)
    order = np.zeros(len(EDGE_TYPES), np.uint8)
    order[list(PRIORITY)] = np.arange(1, len(PRIORITY) + 1)
    for axis in (0, 1):
        first, second, kind, on_first = _between(seen, focal, axis)
        for side, some in ((first, on_first), (second, ~on_first)):
            at = side[some]  # no pixel twice: it has one neighbour on each side
            rank[at] = np.maximum(rank[at], order[kind[some]])
    return np.array([0, *PRIORITY], np.uint8)[rank].reshape(seen.face.shape)


def borders(face: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(H, W) the pixels beside which a neighbour hits another triangle, numbers (H, W)."""
    near = np.zeros(face.shape, bool)
    for axis in (0, 1):
        before, after = _sides(face, axis)
        differs = before != after
        for side in _sides(near, axis):
            np.logical_or(side, differs, out=side)
    return near


def _sides(values: Array, axis: int) -> tuple[Array, Array]:
    """Views of the left (upper) and the right (lower) pixels of all pairs of neighbours."""
    return (values[:-1], values[1:]) if axis == 0 else (values[:, :-1], values[:, 1:])


def _between(
    seen: Seen, focal: float, axis: int
) -> tuple[Index, Index, NDArray[np.uint8], NDArray[np.bool_]]:
    """Pairs of neighbours between which there is a boundary: which pixels (M,) they are, counted row by row.

    Its type, and whether it is marked on the first of them.
    """
    face, other_face = _sides(seen.face, axis)
    apart = face != other_face
    shadow, texture = np.zeros_like(apart), np.zeros_like(apart)
    for light in range(seen.lit.shape[-1]):
        lit, other_lit = _sides(seen.lit[..., light], axis)
        facing, other_facing = _sides(seen.facing[..., light], axis)
        shadow |= (lit != other_lit) & facing & other_facing
    if seen.albedo is not None and seen.filtered is not None:
        # The pattern steps between the two points, and is not too fine to be seen at this distance.
        texture = _steps(seen.albedo, axis, ALBEDO_STEP) & _steps(seen.filtered, axis, ALBEDO_STEP / 3)
    where = np.flatnonzero(apart | shadow | texture)
    kind = texture.ravel()[where] * np.uint8(TEXTURE)
    kind[shadow.ravel()[where]] = SHADOW
    on_first = np.zeros(len(where), bool)
    width = seen.face.shape[1]
    first = where if axis == 0 else where // (width - 1) * width + where % (width - 1)
    second = first + (width if axis == 0 else 1)
    differ = np.flatnonzero(apart.ravel()[where])
    kind[differ], on_first[differ] = _told(seen, focal, 1 - axis, first[differ], second[differ], kind[differ])
    return first, second, kind, on_first


def _told(
    seen: Seen, focal: float, along: int, first: Index, second: Index, drawn: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The types of boundaries between pixels (M,) that hit two triangles; whether they are marked on the first.

    along: 0 for neighbours along x, 1 along y. drawn: what there is between them if both are of one surface.
    """
    near, far = (seen.inverse_depth.ravel()[of] for of in (first, second))
    slope_near, slope_far = (seen.slope[along].ravel()[of] for of in (first, second))
    thing, other_thing = (seen.thing.ravel()[of] for of in (first, second))
    geometry, other_geometry = (seen.geometry.ravel()[of] for of in (first, second))
    patch, other_patch = (seen.patch.ravel()[of] for of in (first, second))
    one_thing = thing == other_thing
    footprint = np.maximum(near, far) / focal  # one pixel's width, in inverse depth
    limit = np.where(one_thing, np.inf, STEEPEST * footprint)
    step = far - near
    slope_near, slope_far = np.clip(slope_near, -limit, limit), np.clip(slope_far, -limit, limit)
    low, high = np.minimum(slope_near, slope_far), np.maximum(slope_near, slope_far)
    tolerance = GAP * footprint
    meets = (step >= low - tolerance) & (step <= high + tolerance) & (geometry >= 0) & (other_geometry >= 0)
    kind = drawn.copy()
    kind[(geometry != other_geometry) | (patch != other_patch)] = CREASE
    kind[~one_thing] = CONTACT
    kind[~meets] = OCCLUDING
    return kind, ((kind == OCCLUDING) & (near > far)) | ((kind == CONTACT) & (thing > other_thing))


def near_steps(albedo: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(H, W) the pixels between which albedo (H, W, 3) steps."""
    near = np.zeros(albedo.shape[:2], bool)
    for axis in (0, 1):
        steps = _steps(albedo, axis, ALBEDO_STEP)
        for side in _sides(near, axis):
            np.logical_or(side, steps, out=side)
    return near


def _steps(albedo: NDArray[np.float32], axis: int, least: float) -> NDArray[np.bool_]:
    """Where albedo changes by more than `least`, in any channel, between neighbours."""
    before, after = _sides(albedo, axis)
    change = np.abs(after - before)
    return np.asarray((change[..., 0] > least) | (change[..., 1] > least) | (change[..., 2] > least))
