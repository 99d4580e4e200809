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


@dataclass(frozen=True)
class Seen:
    """What each pixel's centre ray hits, (H, W) each.

    inverse_depth: 1 / z, 0 where nothing is hit. slope: (H, W, 2) its change per pixel along x and y over the
    plane hit. thing, geometry, patch: ids, −1 where nothing is hit; a thing is an instance or the static
    scene. lit: (H, W, L) whether light l is seen. facing: (H, W, L) whether the surface is turned to light l.
    albedo, filtered: (H, W, 3) linear, at the point and over the pixel, or None.
    """

    inverse_depth: NDArray[np.float64]
    slope: NDArray[np.float64]
    thing: NDArray[np.int32]
    geometry: NDArray[np.int32]
    patch: NDArray[np.int32]
    lit: NDArray[np.bool_]
    facing: NDArray[np.bool_]
    albedo: NDArray[np.float32] | None = None
    filtered: NDArray[np.float32] | None = None


def edge_types(seen: Seen, focal: float) -> NDArray[np.uint8]:
    """(H, W) edge types: a boundary between two neighbours is marked on one of the two.

    Occluding boundaries are marked on the nearer side, contacts on the thing with the higher id (an object rather
    than the floor it stands on), others on the right or lower pixel. Two neighbours hit
    one continuous surface if their planes meet between them, or miss by less than `GAP` pixel footprints;
    otherwise the boundary is occluding. A continuous one is a contact between two things, a crease between
    faces that bend, a shadow's border where a light begins to be seen, a texture edge where albedo steps.
    focal: pixels.
    """
    rank = np.zeros(seen.geometry.shape, np.uint8)
    order = np.zeros(len(EDGE_TYPES), np.uint8)
    order[list(PRIORITY)] = np.arange(1, len(PRIORITY) + 1)
    for axis in (0, 1):
        kind, on_first = _between(seen, focal, axis)
        first, second = _sides(rank, axis)
        strength = order[kind]
        np.maximum(first, np.where(on_first, strength, 0), out=first)
        np.maximum(second, np.where(on_first, 0, strength), out=second)
    return np.array([0, *PRIORITY], np.uint8)[rank]


def _sides(values: Array, axis: int) -> tuple[Array, Array]:
    """Views of the left (upper) and the right (lower) pixels of all pairs of neighbours."""
    return (values[:-1], values[1:]) if axis == 0 else (values[:, :-1], values[:, 1:])


def _between(seen: Seen, focal: float, axis: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The type of boundary between each pair of neighbours, and whether it is marked on the first of them."""
    near, far = _sides(seen.inverse_depth, axis)
    slope_near, slope_far = _sides(seen.slope[..., 1 - axis], axis)
    thing, other_thing = _sides(seen.thing, axis)
    geometry, other_geometry = _sides(seen.geometry, axis)
    patch, other_patch = _sides(seen.patch, axis)
    one_thing = thing == other_thing
    footprint = np.maximum(near, far) / focal  # one pixel's width, in inverse depth
    limit = np.where(one_thing, np.inf, STEEPEST * footprint)
    step = far - near
    slope_near, slope_far = np.clip(slope_near, -limit, limit), np.clip(slope_far, -limit, limit)
    low, high = np.minimum(slope_near, slope_far), np.maximum(slope_near, slope_far)
    tolerance = GAP * footprint
    meets = (step >= low - tolerance) & (step <= high + tolerance) & (geometry >= 0) & (other_geometry >= 0)
    kind = np.zeros(step.shape, np.uint8)
    if seen.albedo is not None and seen.filtered is not None:
        # The pattern steps between the two points, and is not too fine to be seen at this distance.
        kind[_steps(seen.albedo, axis, ALBEDO_STEP) & _steps(seen.filtered, axis, ALBEDO_STEP / 3)] = TEXTURE
    for light in range(seen.lit.shape[-1]):
        lit, other_lit = _sides(seen.lit[..., light], axis)
        facing, other_facing = _sides(seen.facing[..., light], axis)
        kind[(lit != other_lit) & facing & other_facing] = SHADOW
    kind[(geometry != other_geometry) | (patch != other_patch)] = CREASE
    kind[~one_thing] = CONTACT
    kind[~meets] = OCCLUDING
    kind[(geometry < 0) & (other_geometry < 0)] = 0
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
