"""The posed world at one instant, ready for rays: the only file that talks to Open3D's Embree scene."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import open3d as o3d
from numpy.typing import ArrayLike, NDArray

from freelabels.generators.contract.products import picked, put, times
from freelabels.renderers.engines.mesh import Mesh, Skin

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
GRAZING = 0.02  # cosine to the viewer below which a smooth normal gives way to the triangle's own
NOTHING = -1  # the geometry id of a ray that hits nothing


@dataclass(frozen=True)
class Parts:
    """What each geometry is, as int32 arrays (G,) indexed by geometry id.

    object: instance id, 0 for the static scene. part: link id within its object, 1 = base, 0 for the static
    scene. semantic: class id. material: index into the appearance's materials.
    """

    object: Ints
    part: Ints
    semantic: Ints
    material: Ints


@dataclass(frozen=True, eq=False)
class Posed:
    """Geometries, `first` and those after it, at their poses and ready for rays.

    base: (3,) world, metres, which the triangles for rays are relative to. whole holds all of them. owner: (G,)
    instance ids, the static scene's being 0. extent: (G,) and box: (G, 8, 3) as of `Surfaces`. shape: of each
    geometry, vertices and triangles for rays. meshes: of each, at poses (G, 4, 4), part → world.
    """

    first: int
    base: Floats
    whole: o3d.t.geometry.RaycastingScene
    owner: NDArray[np.integer]
    extent: Floats
    box: Floats
    shape: tuple[tuple[o3d.core.Tensor, o3d.core.Tensor], ...]
    meshes: tuple[Mesh, ...]
    poses: Floats

    @cached_property
    def pieces(self) -> tuple[Floats, NDArray[np.int64]]:
        """The corners (P, 8, 3), world, metres, of boxes around all there is, and the geometry (P,) of each.

        The static scene's surfaces are of blocks far apart: there is a box for each block.
        """
        corners = [
            times(mesh.pieces.reshape(-1, 3), place[:3, :3].T).reshape(-1, 8, 3) + place[:3, 3]
            if owner == 0
            else box[None]
            for mesh, place, owner, box in zip(self.meshes, self.poses, self.owner, self.box, strict=True)
        ]
        return np.concatenate(corners), np.repeat(np.arange(len(corners)), [len(some) for some in corners])

    @cached_property
    def _alone(self) -> dict[int, o3d.t.geometry.RaycastingScene]:
        return {}

    def alone(self, thing: int) -> o3d.t.geometry.RaycastingScene | None:
        """An object's geometries by themselves, made when first asked for; None where it has none here."""
        if thing not in self._alone:
            mine = np.flatnonzero(self.owner == thing)
            if not len(mine):
                return None
            scene = o3d.t.geometry.RaycastingScene(nthreads=1)
            for number in mine:
                scene.add_triangles(*self.shape[number])
            self._alone[thing] = scene
        return self._alone[thing]


@dataclass(frozen=True)
class Surfaces:
    """The posed world at one instant.

    posed: all geometries in order, in one piece or, what never moves apart from the rest, in two. origin: (3,)
    world, metres, the camera's centre. geometry_pose: (G, 4, 4) part → world; textures live in the part's frame.
    geometry_extent: (G,) longest side of the part in metres. geometry_box: (G, 8, 3) world, metres, the corners of
    a box around each part. first_face: (G,) row of each geometry's first triangle in the face tables. face_normal:
    (3, F) unit, in the part's frame. face_distance: (F,) metres of the face's plane from that frame's origin.
    face_patch: (F,) see `Mesh.patch`. corner_normal: (corner, 3, F) float32 as `Mesh.corner_normal`, in the part's
    frame. curved: (G,) as `Mesh.curved`. skins, skin_maps: of each geometry, None without a map.
    resting: how many of the first geometries are posed once for all instants. trees: see `_Trees`.
    """

    posed: tuple[Posed, ...]
    origin: Floats
    part_of_geometry: Parts
    geometry_pose: Floats
    geometry_extent: Floats
    geometry_box: Floats
    first_face: NDArray[np.int64]
    face_normal: Floats
    face_distance: Floats
    face_patch: Ints
    corner_normal: NDArray[np.float32]
    curved: NDArray[np.bool_]
    skins: tuple[Skin | None, ...]
    skin_maps: tuple[NDArray[np.float32] | None, ...]
    resting: int
    trees: _Trees

    @cached_property
    def reached(self) -> dict[Hashable, Any]:
        """What `screens` has found, by what it was asked."""
        return {}


@dataclass(frozen=True)
class Hits:
    """First hits of N rays.

    t: (N,) float32 in lengths of the ray's direction, +inf where nothing is hit. geometry, primitive: (N,)
    int32, `NOTHING` where nothing is hit. normal: (N, 3) float32, unit, geometric, world axes, by the winding
    of the triangle (turn it against the ray where the side matters). uv: (N, 2) float32 barycentric.
    """

    t: NDArray[np.float32]
    geometry: Ints
    primitive: Ints
    normal: NDArray[np.float32]
    uv: NDArray[np.float32]


def pose(
    meshes: Sequence[Mesh], poses: Floats, owners: NDArray[np.integer], base: ArrayLike, first: int = 0
) -> Posed:
    """Geometries at poses (G, 4, 4), part → world; owners: (G,) their instance ids; as of `Posed`."""
    base = np.asarray(base, np.float64)
    whole = o3d.t.geometry.RaycastingScene(nthreads=1)
    extents, boxes, shapes = [], [], []
    for mesh, place in zip(meshes, poses, strict=True):
        turn = place[:3, :3]
        vertices = times(mesh.vertices, turn.T) + (place[:3, 3] - base)
        corners = o3d.core.Tensor.from_numpy(np.ascontiguousarray(vertices, np.float32))
        shapes.append((corners, o3d.core.Tensor.from_numpy(mesh.triangles)))
        whole.add_triangles(*shapes[-1])
        extents.append(mesh.extent)
        boxes.append(times(mesh.box, turn.T) + place[:3, 3])
    return Posed(
        first,
        base,
        whole,
        np.asarray(owners),
        np.array(extents, np.float64),
        np.array(boxes, np.float64).reshape(-1, 8, 3),
        tuple(shapes),
        tuple(meshes),
        np.asarray(poses, np.float64),
    )


class _Trees:
    """Meshes ready for rays in their own frames, each made when first asked for."""

    def __init__(self, meshes: Sequence[Mesh]) -> None:
        self._meshes = meshes
        self._made: dict[int, o3d.t.geometry.RaycastingScene] = {}

    def __getitem__(self, geometry: int) -> o3d.t.geometry.RaycastingScene:
        if geometry not in self._made:
            scene, mesh = o3d.t.geometry.RaycastingScene(nthreads=1), self._meshes[geometry]
            corners = o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.vertices, np.float32))
            scene.add_triangles(corners, o3d.core.Tensor.from_numpy(mesh.triangles))
            self._made[geometry] = scene
        return self._made[geometry]


@dataclass(frozen=True)
class _Tables:
    """What `Surfaces` says of meshes wherever they are."""

    first_face: NDArray[np.int64]
    face_normal: Floats
    face_distance: Floats
    face_patch: Ints
    corner_normal: NDArray[np.float32]
    curved: NDArray[np.bool_]
    skins: tuple[Skin | None, ...]
    skin_maps: tuple[NDArray[np.float32] | None, ...]
    trees: _Trees


@lru_cache(maxsize=2)
def _tables(meshes: tuple[Mesh, ...]) -> _Tables:
    """Once for all frames of a clip."""
    faces = [len(mesh.triangles) for mesh in meshes]
    normals = [mesh.corner_normal.reshape(-1, 9).T for mesh in meshes]
    return _Tables(
        np.cumsum([0, *faces[:-1]], dtype=np.int64),
        np.concatenate([mesh.planes[0].T for mesh in meshes], axis=1),
        np.concatenate([mesh.planes[1] for mesh in meshes]),
        np.concatenate([mesh.patch for mesh in meshes]),
        np.ascontiguousarray(np.concatenate(normals, axis=1)).reshape(3, 3, -1),
        np.array([mesh.curved for mesh in meshes]),
        tuple(mesh.skin for mesh in meshes),
        tuple(mesh.skin_maps for mesh in meshes),
        _Trees(meshes),
    )


def pose_surfaces(
    meshes: Sequence[Mesh], poses: Floats, parts: Parts, origin: ArrayLike, still: Posed | None = None
) -> Surfaces:
    """The world of `meshes` (one geometry each) at poses (G, 4, 4), part → world, seen from `origin` (3,).

    still: the first geometries, posed once for all instants because they never move.
    """
    origin = np.asarray(origin, np.float64)
    done = 0 if still is None else len(still.extent)
    rest = (
        pose(meshes[done:], poses[done:], parts.object[done:], origin, done) if done < len(meshes) else None
    )
    posed = tuple(part for part in (still, rest) if part is not None)
    return Surfaces(
        posed=posed,
        origin=origin,
        part_of_geometry=parts,
        geometry_pose=np.asarray(poses, np.float64),
        geometry_extent=np.concatenate([part.extent for part in posed]),
        geometry_box=np.concatenate([part.box for part in posed]),
        resting=done,
        **vars(_tables(tuple(meshes))),
    )


def _rays(base: Floats, origins: ArrayLike, directions: ArrayLike) -> o3d.core.Tensor:
    """Rays (N, 6) float32 relative to a base (3,); `origins` may be one point (3,) for all rays."""
    directions = np.asarray(directions)
    rays = np.empty((len(directions), 6), np.float32)
    start = np.asarray(origins)
    for axis in range(3):  # a column at a time: NumPy is slow along short axes
        rays[:, axis] = start[..., axis] - base[axis]
        rays[:, 3 + axis] = directions[:, axis]
    return o3d.core.Tensor.from_numpy(rays)


def cast(
    surfaces: Surfaces,
    origins: ArrayLike,
    directions: NDArray[np.floating],
    apart: NDArray[np.integer] | None = None,
) -> Hits:
    """First hits of rays from `origins`, (N, 3) or (3,) metres, along `directions` (N, 3); world axes.

    apart: (M,) those of rays from one place that alone may meet what is posed apart from the first geometries;
    None: any may.
    """
    nearest = _cast(surfaces.posed[0], origins, directions)
    for posed in surfaces.posed[1:]:
        other = _cast(posed, origins, directions if apart is None else picked(directions, apart))
        chosen = np.flatnonzero(other.t < (nearest.t if apart is None else nearest.t[apart]))
        index = chosen if apart is None else apart[chosen]
        for name in ("t", "geometry", "primitive"):
            getattr(nearest, name)[index] = getattr(other, name)[chosen]
        put(nearest.normal, index, picked(other.normal, chosen))
        put(nearest.uv, index, picked(other.uv, chosen))
    return nearest


def _cast(posed: Posed, origins: ArrayLike, directions: ArrayLike) -> Hits:
    hits = posed.whole.cast_rays(_rays(posed.base, origins, directions), nthreads=1)
    geometry = hits["geometry_ids"].numpy().view(np.int32)
    return Hits(
        t=hits["t_hit"].numpy(),
        geometry=np.where(geometry >= 0, geometry + posed.first, NOTHING) if posed.first else geometry,
        primitive=hits["primitive_ids"].numpy().view(np.int32),
        normal=np.asfortranarray(hits["primitive_normals"].numpy()),
        uv=np.asfortranarray(hits["primitive_uvs"].numpy()),
    )


def smooth_normals(
    surfaces: Surfaces,
    geometry: NDArray[np.integer],
    primitive: NDArray[np.integer],
    uv: NDArray[np.floating],
    flat: NDArray[np.floating],
) -> NDArray[np.floating]:
    """Unit normals (N, 3) of the surfaces that triangles stand for, world axes, on the side of `flat` (N, 3).

    geometry, primitive: (N,), uv: (N, 2) as in `Hits`. Interpolated between the corners' normals (Phong 1975).
    """
    corners = surfaces.corner_normal.reshape(9, -1)
    first, second, third = corners.take(surfaces.first_face[geometry] + primitive, 1).reshape(3, 3, -1)
    x, y, z = first + (second - first) * uv[:, 0] + (third - first) * uv[:, 1]
    turns = np.ascontiguousarray(surfaces.geometry_pose[:, :3, :3].reshape(-1, 9).T, np.float32)
    turn = turns.take(geometry, 1).reshape(3, 3, -1)  # (world, part, N)
    normal = turn[:, 0] * x + turn[:, 1] * y + turn[:, 2] * z
    length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
    lean = normal[0] * flat[:, 0] + normal[1] * flat[:, 1] + normal[2] * flat[:, 2]
    sign = np.copysign(np.float32(1), lean)
    return np.asarray(normal * (sign / np.maximum(length, np.float32(1e-6)))).T


def occluded(
    surfaces: Surfaces,
    origins: ArrayLike,
    directions: NDArray[np.floating],
    near: float,
    far: float,
    some: Sequence[NDArray[np.integer] | None] | None = None,
) -> NDArray[np.bool_]:
    """Whether rays as in `cast` meet anything between `near` and `far`, in lengths of their directions.

    some: of each part of what is posed, (M,) those of the rays that alone may meet it; None: any may.
    """
    origins, hit = np.asarray(origins), np.zeros(len(directions), bool)
    for number, posed in enumerate(surfaces.posed):
        asked = None if some is None else some[number]
        left = np.flatnonzero(~hit) if asked is None else asked[~hit[asked]]
        rays = _rays(
            posed.base, picked(origins, left) if origins.ndim > 1 else origins, picked(directions, left)
        )
        hit[left] = posed.whole.test_occlusions(rays, near, far, nthreads=1).numpy()
    return hit


def covers(
    surfaces: Surfaces, thing: int, directions: NDArray[np.floating], origins: ArrayLike | None = None
) -> NDArray[np.bool_]:
    """Whether rays along `directions` (N, 3) meet object `thing`, seen or not; they leave the surfaces' origin."""
    origins = np.asarray(surfaces.origin if origins is None else origins)
    hit = np.zeros(len(directions), bool)
    if not len(directions):
        return hit
    mine = np.flatnonzero(surfaces.part_of_geometry.object == thing)
    if len(mine) and mine[0] < surfaces.resting:
        still = surfaces.posed[0]
        scene = still.alone(thing)
        if scene is not None:
            hit |= scene.test_occlusions(_rays(still.base, origins, directions), nthreads=1).numpy()
    for geometry in mine[mine >= surfaces.resting]:  # as each of its parts sees them
        place = surfaces.geometry_pose[geometry]
        start = times(np.atleast_2d(origins - place[:3, 3]), place[:3, :3])
        rays = _rays(np.zeros(3), start if len(start) > 1 else start[0], times(directions, place[:3, :3]))
        hit |= surfaces.trees[int(geometry)].test_occlusions(rays, nthreads=1).numpy()
    return hit
