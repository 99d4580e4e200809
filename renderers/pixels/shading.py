"""What light a surface sends to the camera: albedo, direct light with soft shadows, indirect light, gloss."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.geometry import Floats
from freelabels.generators.contract.products import picked, put, times
from freelabels.renderers.engines.mesh import Skin
from freelabels.renderers.engines.raycast import Surfaces, cast, occluded
from freelabels.renderers.pixels import environment
from freelabels.renderers.pixels.lights import arriving, disc_sample, grown, light_rays, reflected
from freelabels.renderers.pixels.projector import Projector
from freelabels.renderers.surfaces import pictures, textures
from freelabels.renderers.surfaces.appearance import SKIN, Appearance, Light
from freelabels.renderers.surfaces.surface_points import Lattice, SurfacePoints, by_geometry, dot, largest

Ints = NDArray[np.integer]
Mask = NDArray[np.bool_]

SHADOW_RAYS = 8  # a light and pixel, where a shadow's edge is near
GLOSSY = 0.45  # smoother surfaces mirror the scene itself, rougher ones only how bright it is that way
FAINT = 0.03  # share of a mirror image that is not worth a ray
ACROSS, DOWN = 0.7548776662, 0.5698402910  # steps of Roberts' R2 sequence
PRIOR = 3.0  # rays of indirect light that the wider surroundings count as
TILE = 8  # the directions of indirect light repeat after this many pixels both ways


def shade(
    surfaces: Surfaces,
    appearance: Appearance,
    points: SurfacePoints,
    whole: int,
    size: tuple[int, int],
    dither: float,
    projector: Projector | None = None,
) -> Floats:
    """Linear sRGB radiance (N, 3) from points to the camera.

    The first `whole` points stand for whole pixels, the others for one sample each. size: (height, width). dither:
    in [0, 1), sets the noise of shadows and of indirect light. projector: throws dots, which light nothing else.
    """
    materials = [appearance.materials[k] for k in surfaces.part_of_geometry.material]
    base = albedo(
        surfaces, appearance, points.geometry, points.primitive, points.at, points.flat, points.across
    )
    roughness = np.array([m.roughness for m in materials], np.float32)[points.geometry]
    specular = np.tile(np.array([m.specular for m in materials], np.float32)[points.geometry], (3, 1)).T
    metal = np.flatnonzero(np.array([m.metal for m in materials])[points.geometry])
    put(specular, metal, picked(base, metal))
    put(base, metal, np.zeros((len(metal), 3), np.float32))

    turn = _dither(points.pixel, size[1], dither)
    lattice = Lattice(points, whole, size)
    # Smoothly shaded facets must not shadow each other: shadow rays start where they have left the facets behind.
    lean = dot(points.normal, points.flat)
    past = np.sqrt(np.maximum(2 - 2 * lean, 0))
    past *= surfaces.geometry_extent.astype(np.float32)[points.geometry]
    total = np.zeros_like(base)
    for light in appearance.lights:
        towards, given, apparent = arriving(light, points.at)
        # A light of some size widens the highlight (Karis 2013).
        wide = np.minimum(roughness + np.float32(0.35) * apparent, 1)
        cosine, fresnel, lobe = reflected(points.normal, points.viewer, towards, wide, specular)
        lit = visibility(surfaces, light, lattice, towards, past, cosine > 0, turn) * cosine
        total += (
            given * lit[:, None] * (base * np.float32(1 / np.pi) * (1 - fresnel) + fresnel * lobe[:, None])
        )

    if projector is not None:
        total += projector.irradiance(surfaces, points)[:, None] * base * np.float32(1 / np.pi)
    scene = _Bounce(surfaces, appearance)
    around = indirect(scene, lattice, turn)
    grazing = 1 - np.clip(dot(points.normal, points.viewer), 0, 1)
    fresnel = grown(specular, roughness, np.square(np.square(grazing)) * grazing)
    total += base * np.float32(1 / np.pi) * (1 - fresnel) * around
    total += fresnel * mirrored(scene, points, roughness, fresnel, around, turn)
    return total


def albedo(
    surfaces: Surfaces,
    appearance: Appearance,
    geometry: Ints,
    primitive: Ints,
    at: Floats,
    normal: Floats,
    across: Floats | None = None,
) -> Floats:
    """Linear albedo (N, 3) of surface points (N, 3), world metres, with unit normals (N, 3), world axes.

    geometry, primitive: (N,) ids. across: (2, N, 3) world vectors between neighbouring pixels' points, over which
    the texture is filtered; None gives it un-antialiased.
    """
    made = np.empty((3, len(at)), np.float32).T
    for number, chosen in by_geometry(geometry):
        pose = surfaces.geometry_pose[number]
        turn = pose[:3, :3].astype(np.float32)
        steps = np.zeros((2, 3, len(chosen)), np.float32).transpose(0, 2, 1)
        if across is not None:
            for step, whole in zip(steps, across, strict=True):
                step[:] = times(picked(whole, chosen), turn)
        material = appearance.materials[surfaces.part_of_geometry.material[number]]
        local = times(picked(at, chosen) - pose[:3, 3].astype(np.float32), turn)
        skin, maps = surfaces.skins[number], surfaces.skin_maps[number]
        if material.texture == SKIN and skin is not None and maps is not None:
            put(made, chosen, _skinned(skin, maps[primitive[chosen]], local, steps))
            continue
        right, down = steps
        footprint = np.sqrt(right * right + down * down)
        extent = float(surfaces.geometry_extent[number])
        colours = textures.albedo(material, local, times(picked(normal, chosen), turn), footprint, extent)
        put(made, chosen, colours)
    return made


def mean_colours(surfaces: Surfaces, appearance: Appearance) -> Floats:
    """The mean linear albedo (G, 3) of each geometry."""
    looks = [appearance.materials[k] for k in surfaces.part_of_geometry.material]
    mean = [
        pictures.mean_photo(skin.picture)
        if look.texture == SKIN and skin is not None
        else textures.mean_albedo(look)
        for look, skin in zip(looks, surfaces.skins, strict=True)
    ]
    return np.array(mean, np.float32)


def _skinned(skin: Skin, maps: Floats, local: Floats, steps: Floats) -> Floats:
    """Colours (N, 3) of a texture map at places (N, 3) of faces whose maps are (N, 2, 4); steps: (2, N, 3)."""
    place = np.stack([dot(maps[:, k, :3], local) + maps[:, k, 3] for k in (0, 1)], axis=1)
    spread = np.stack([np.stack([dot(maps[:, k, :3], step) for k in (0, 1)], axis=1) for step in steps], 1)
    return pictures.skin_colours(skin, place, spread)


def _dither(pixel: Ints, width: int, start: float) -> Floats:
    """A number in [0, 1) per pixel, far from its neighbours' (Roberts' R2 sequence)."""
    row, column = np.divmod(pixel, width)
    return np.asarray((column * ACROSS + row * DOWN + start) % 1, np.float32)


def visibility(
    surfaces: Surfaces,
    light: Light,
    lattice: Lattice,
    towards: Floats,
    past: Floats,
    facing: Mask,
    turn: Floats,
) -> Floats:
    """The share (N,) of a light that points see; 0 where they don't face it.

    towards: (N, 3) unit, to the light. past: (N,) metres along it at which rays start. One ray each, and
    `SHADOW_RAYS` from all over the pixel to all over the light for whole pixels where a neighbour's ray went the
    other way. Wide penumbras are smoothed.
    """
    points, whole = lattice.points, lattice.whole
    seen = np.zeros(len(points.at), np.float32)
    first = np.flatnonzero(facing)
    start = picked(points.above, first)
    bent = np.flatnonzero(past[first] > 0)
    put(start, bent, picked(start, bent) + towards[first[bent]] * past[first[bent], None])
    # Any three by three pixels hold every part of the light, so that no penumbra goes unnoticed.
    row, column = np.divmod(points.pixel[first], lattice.size[1])
    part = (column + 3 * row) % SHADOW_RAYS
    part[first >= whole] = first[first >= whole] % SHADOW_RAYS
    seen[first] = _free(surfaces, light, start, disc_sample(part, SHADOW_RAYS, turn[first]))

    known = facing[:whole]
    highest = cv2.dilate(lattice.map(np.where(known, seen[:whole], 0), 0), _square(3))
    lowest = cv2.erode(lattice.map(np.where(known, seen[:whole], 1), 1), _square(3))
    differs = (lowest < highest).astype(np.uint8)
    here = np.flatnonzero((first < whole) & (differs.reshape(-1)[points.pixel[first]] > 0))
    edge, start = first[here], picked(start, here)
    right, down = (picked(step, edge) for step in points.across)
    counted = np.zeros(len(edge), np.float32)
    for k, (x, y) in enumerate(_SPREAD):
        counted += _free(
            surfaces, light, start + x * right + y * down, disc_sample(k, SHADOW_RAYS, turn[edge])
        )
    seen[edge] = counted / SHADOW_RAYS

    # Of the pixels that see a part of the light an opening leaves wide penumbras, and nothing of sharp edges.
    partly = lattice.map(((seen[:whole] > 0) & (seen[:whole] < 1)).astype(np.uint8), 0)
    wide = cv2.morphologyEx(
        cv2.morphologyEx(partly, cv2.MORPH_CLOSE, _square(3)), cv2.MORPH_ERODE, _square(3)
    )
    wide = cv2.dilate(wide, _square(7))
    soft = np.flatnonzero((wide.reshape(-1)[points.pixel] > 0) & facing)
    if len(soft):
        seen[soft] = lattice.mean(seen[:, None], np.flatnonzero(known), 6)[soft, 0]
    return seen


def _square(side: int) -> NDArray[np.uint8]:
    return np.ones((side, side), np.uint8)


# Where on the pixel each shadow ray leaves: a Latin square, so that level shadow edges get all steps too.
_SPREAD = (np.stack([np.arange(8), np.array([3, 6, 1, 4, 7, 2, 5, 0])], 1).astype(np.float32) - 3.5) / 8
_SPREAD = _SPREAD[[3, 7, 0, 4, 2, 6, 1, 5]]


def _free(surfaces: Surfaces, light: Light, points: Floats, disc: Floats) -> Floats:
    towards, far = light_rays(light, points, disc)
    return 1 - occluded(surfaces, points, towards, 0.0, far).astype(np.float32)


class _Bounce:
    """Radiance of the scene along rays that start on it, with every surface in its mean colour."""

    def __init__(self, surfaces: Surfaces, appearance: Appearance) -> None:
        self.surfaces, self.appearance = surfaces, appearance
        self.albedo = mean_colours(surfaces, appearance)

    def along(self, start: Floats, towards: Floats, disc: Floats) -> tuple[NDArray[np.bool_], Floats]:
        """Whether each ray meets a surface, and the radiance (M, 3) of those surfaces."""
        hits = cast(self.surfaces, start, towards)
        met = hits.geometry >= 0
        index = np.flatnonzero(met)
        towards, normal = picked(towards, index), picked(hits.normal, index)
        normal *= np.copysign(np.float32(1), -dot(normal, towards))[:, None]
        at = picked(start, index) + towards * hits.t[index, None] + normal * np.float32(1e-3)
        look = self.appearance
        # Two surfaces close to each other hide each other's sky.
        extent = self.surfaces.geometry_extent.astype(np.float32)[hits.geometry[index]]
        near = hits.t[index] / (hits.t[index] + np.float32(0.3) * np.minimum(extent, 1))
        fill = look.background.fill
        around = (
            environment.irradiance(look.background, look.lights, normal)
            if fill is None
            else np.asarray(fill, np.float32) * np.float32(np.pi)
        )
        arrived = around * near[:, None]
        for light in look.lights:
            where, given, _ = arriving(light, at)
            cosine = dot(normal, where)
            facing = np.flatnonzero(cosine > 0)
            free = _free(self.surfaces, light, picked(at, facing), disc.take(index[facing], 0))
            weight = cosine[facing] * free
            for to, of in zip(arrived.T, given.T, strict=True):
                to[facing] += of[facing] * weight
        return met, arrived * picked(self.albedo, hits.geometry[index]) * np.float32(1 / np.pi)


def indirect(scene: _Bounce, lattice: Lattice, turn: Floats) -> Floats:
    """Irradiance (N, 3) from the background, as far as it is not hidden, and from other surfaces.

    One ray for every second of the whole pixels, like the black fields of a chess board, its direction one of
    those that cover the hemisphere; the mean over a tile of the same surface then holds them all, and the mean of
    such means leaves no block where one ray met something bright.
    """
    look, points = scene.appearance, lattice.points
    arrived = environment.irradiance(look.background, look.lights, points.normal)
    row, column = np.divmod(lattice.pixel, lattice.size[1])
    black = np.flatnonzero((row + column) % 2 == 0)
    row, column = row[black] % TILE, column[black] % TILE
    square = _TILED[(row * TILE + column) // 2]
    towards = _about(
        picked(points.normal, black), square + turn[black, None] * np.asarray((2 / TILE**2, 0), np.float32)
    )
    # Directions below the flat triangle of a smooth normal would start inside: turn them over.
    flat = picked(points.flat, black)
    towards -= flat * (np.minimum(dot(towards, flat), 0) * np.float32(2))[:, None]
    met, bounced = scene.along(picked(points.above, black), towards, disc_sample(0, 1, turn[black]))
    put(arrived, black[met], bounced * np.float32(np.pi))
    return lattice.mean(lattice.mean(arrived, black, TILE, PRIOR), np.arange(lattice.whole), TILE)


def _hemisphere_tile() -> Floats:
    """(TILE² / 2, 2) places in the unit square, a Hammersley set in random order, for a tile's black fields."""
    count = TILE**2 // 2
    index = np.arange(count)
    reverse = np.array([int(f"{k:05b}"[::-1], 2) for k in range(count)]) / count
    points = np.stack([index / count, reverse], 1)
    order = np.random.Generator(np.random.PCG64(3)).permutation(count)
    return points[order].astype(np.float32)


_TILED = _hemisphere_tile()


def _about(normal: Floats, square: Floats) -> Floats:
    """Unit directions (N, 3) about normals, by cosine; square: (N, 2) in [0, 1].

    The frame is that of Duff et al., "Building an Orthonormal Basis, Revisited" (JCGT 2017).
    """
    sign = np.where(normal[:, 2] < 0, np.float32(-1), np.float32(1))
    a = -1 / (sign + normal[:, 2])
    b = normal[:, 0] * normal[:, 1] * a
    first = np.stack([1 + sign * normal[:, 0] ** 2 * a, sign * b, -sign * normal[:, 0]])
    second = np.stack([b, sign + normal[:, 1] ** 2 * a, -normal[:, 1]])
    share = np.minimum(square[:, 0], 1)
    angle = np.float32(2 * np.pi) * square[:, 1]
    flat = np.sqrt(share)
    return np.asarray(
        first * (flat * np.cos(angle)) + second * (flat * np.sin(angle)) + normal.T * np.sqrt(1 - share),
        np.float32,
    ).T


def mirrored(
    scene: _Bounce, points: SurfacePoints, roughness: Floats, fresnel: Floats, around: Floats, turn: Floats
) -> Floats:
    """Radiance (N, 3) from where a mirror would show it; rough surfaces see the indirect light's mean."""
    look = scene.appearance
    seen = around * np.float32(1 / np.pi)
    # Towards the limit of gloss the mirror image gives way to the mean.
    share = 1 - np.minimum(roughness / np.float32(GLOSSY), 1) ** 2
    glossy = np.flatnonzero(share * largest(fresnel) > FAINT)
    if len(glossy):
        normal, viewer = picked(points.normal, glossy), picked(points.viewer, glossy)
        rays = normal * (2 * dot(normal, viewer))[:, None] - viewer
        met, bounced = scene.along(picked(points.above, glossy), rays, disc_sample(0, 1, turn[glossy]))
        found = np.empty_like(rays)
        found[met] = bounced
        found[~met] = environment.radiance(look.background, look.lights, rays[~met], 0.05)
        there = picked(seen, glossy)
        put(seen, glossy, there + (found - there) * share[glossy, None])
    return seen
