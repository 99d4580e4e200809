"""The posed world at one instant, ready for rays: the only file that talks to Open3D's Embree scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import open3d as o3d
from numpy.typing import ArrayLike, NDArray

from freelabels.generators.contract.products import times

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
GRAZING = 0.02  # cosine to the viewer below which a smooth normal gives way to the triangle's own
NOTHING = -1  # the geometry id of a ray that hits nothing


@dataclass(frozen=True)
class Skin:
    """A texture map: the path of its picture, and places in it (F, corner, 2), u to the right and v upwards."""

    picture: str
    uv: Floats


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles of one rigid part in its own frame.

    vertices: (V, 3) float64 metres. triangles: (F, 3) uint32. patch: (F,) int32, faces that meet without a
    crease share an id. skin: the texture map it came with, if any.
    """

    vertices: Floats
    triangles: NDArray[np.uint32]
    patch: Ints
    skin: Skin | None = None

    @cached_property
    def skin_maps(self) -> NDArray[np.float32] | None:
        """(F, 2, 4): each face's places in the texture map are its matrix · (x, y, z, 1), in the part's frame."""
        if self.skin is None:
            return None
        return affine_maps(self.vertices[self.triangles], self.skin.uv).astype(np.float32)

    @cached_property
    def planes(self) -> tuple[Floats, Floats]:
        """Unit normals (F, 3) of the faces and their planes' distances (F,) from the frame's origin."""
        corner = self.vertices[self.triangles]  # (F, corner, 3)
        normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        return normal, np.einsum("fi,fi->f", normal, corner[:, 0])

    @cached_property
    def box(self) -> Floats:
        """The corners (8, 3) of the bounding box, the lowest first and the highest last."""
        low, high = self.vertices.min(axis=0), self.vertices.max(axis=0)
        share = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(8, 3)
        return np.asarray(np.where(share, high, low))

    @cached_property
    def corner_normal(self) -> NDArray[np.float32]:
        """(F, corner, 3) unit normals for smooth shading: the mean, by area, over the patch around a corner."""
        corner = np.asarray(self.vertices, np.float64)[self.triangles]
        face = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        shared = np.asarray(self.patch, np.int64)[:, None] * len(self.vertices) + self.triangles
        _, index = np.unique(shared, return_inverse=True)
        index = index.reshape(shared.shape)
        total = np.zeros((int(index.max(initial=-1)) + 1, 3))
        np.add.at(total, index, face[:, None])
        length = np.linalg.norm(total, axis=1, keepdims=True)
        normal = (total / np.where(length > 0, length, 1))[index]
        # Where the mean leans far off the face (a thin sheet, a fold) the face's own normal is better.
        flat = face / np.maximum(np.linalg.norm(face, axis=1, keepdims=True), 1e-300)
        leans = np.einsum("fci,fi->fc", normal, flat) < 0.5
        return np.where(leans[..., None], flat[:, None], normal).astype(np.float32)

    @cached_property
    def curved(self) -> bool:
        """Whether smooth shading changes anything."""
        normal = self.corner_normal
        return bool(np.abs(normal - normal[:, :1]).max(initial=0) > 1e-3)


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


@dataclass(frozen=True)
class Posed:
    """Geometries, `first` and those after it, at their poses and ready for rays.

    base: (3,) world, metres, which the triangles for rays are relative to. whole holds all of them, alone those of
    each object by instance id, the static scene's being 0. normal: (F, 3) unit, world axes. distance: (F,) metres
    of the faces' planes from the world's origin. extent: (G,) and box: (G, 8, 3) as of `Surfaces`.
    """

    first: int
    base: Floats
    whole: o3d.t.geometry.RaycastingScene
    alone: Mapping[int, o3d.t.geometry.RaycastingScene]
    normal: Floats
    distance: Floats
    extent: Floats
    box: Floats


@dataclass(frozen=True)
class Surfaces:
    """The posed world at one instant.

    posed: all geometries in order, in one piece or, what never moves apart from the rest, in two. origin: (3,)
    world, metres, the camera's centre. geometry_pose: (G, 4, 4) part → world; textures live in the part's frame.
    geometry_extent: (G,) longest side of the part in metres. geometry_box: (G, 8, 3) world, metres, the corners of
    a box around each part. first_face: (G,) row of each geometry's first triangle in the face tables. face_normal:
    (F, 3) unit, world axes. face_offset: (F,) metres, the face's plane is face_normal · (x − origin) =
    face_offset. face_patch: (F,) see `Mesh.patch`. corner_normal: (F, corner, 3) float32 as `Mesh.corner_normal`,
    in the part's frame. curved: (G,) as `Mesh.curved`. skins, skin_maps: of each geometry, None without a map.
    """

    posed: tuple[Posed, ...]
    origin: Floats
    part_of_geometry: Parts
    geometry_pose: Floats
    geometry_extent: Floats
    geometry_box: Floats
    first_face: NDArray[np.int64]
    face_normal: Floats
    face_offset: Floats
    face_patch: Ints
    corner_normal: NDArray[np.float32]
    curved: NDArray[np.bool_]
    skins: tuple[Skin | None, ...]
    skin_maps: tuple[NDArray[np.float32] | None, ...]


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


def affine_maps(corner: Floats, values: Floats) -> Floats:
    """(F, C, 4) matrices that take the corners (F, 3, 3) of triangles, as (x, y, z, 1), to values (F, 3, C)."""
    one, other = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    normal = np.cross(one, other)
    square = np.maximum((normal * normal).sum(axis=1, keepdims=True), 1e-300)
    # The dual basis: 1 along one side, 0 along the other.
    along, across = np.cross(other, normal) / square, np.cross(normal, one) / square
    rise = values[:, 1:] - values[:, :1]
    slope = rise[:, 0, :, None] * along[:, None] + rise[:, 1, :, None] * across[:, None]
    level = values[:, 0] - (slope * corner[:, None, 0]).sum(axis=-1)
    return np.concatenate([slope, level[..., None]], axis=-1)


def pose(
    meshes: Sequence[Mesh], poses: Floats, owners: NDArray[np.integer], base: ArrayLike, first: int = 0
) -> Posed:
    """Geometries at poses (G, 4, 4), part → world; owners: (G,) their instance ids; as of `Posed`."""
    base = np.asarray(base, np.float64)
    whole = o3d.t.geometry.RaycastingScene(nthreads=1)
    alone = {int(owner): o3d.t.geometry.RaycastingScene(nthreads=1) for owner in np.unique(owners)}
    normals, distances, extents, boxes = [np.zeros((0, 3))], [np.zeros(0)], [], []
    for mesh, place, owner in zip(meshes, poses, owners, strict=True):
        turn = place[:3, :3]
        vertices = times(mesh.vertices, turn.T) + (place[:3, 3] - base)
        corners = o3d.core.Tensor.from_numpy(vertices.astype(np.float32))
        triangles = o3d.core.Tensor.from_numpy(mesh.triangles)
        for scene in (whole, alone[int(owner)]):
            scene.add_triangles(corners, triangles)
        normal, distance = mesh.planes
        normals.append(times(normal, turn.T))
        distances.append(distance + times(normals[-1], place[:3, 3:])[:, 0])
        extents.append((mesh.box[-1] - mesh.box[0]).max())
        boxes.append(times(mesh.box, turn.T) + place[:3, 3])
    return Posed(
        first,
        base,
        whole,
        alone,
        np.concatenate(normals),
        np.concatenate(distances),
        np.array(extents, np.float64),
        np.array(boxes, np.float64).reshape(-1, 8, 3),
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
    normal = np.concatenate([part.normal for part in posed])
    faces = [len(mesh.triangles) for mesh in meshes]
    return Surfaces(
        posed=posed,
        origin=origin,
        part_of_geometry=parts,
        geometry_pose=np.asarray(poses, np.float64),
        geometry_extent=np.concatenate([part.extent for part in posed]),
        geometry_box=np.concatenate([part.box for part in posed]),
        first_face=np.cumsum([0, *faces[:-1]], dtype=np.int64),
        face_normal=normal,
        face_offset=np.concatenate([part.distance for part in posed]) - times(normal, origin[:, None])[:, 0],
        face_patch=np.concatenate([mesh.patch for mesh in meshes]),
        corner_normal=np.concatenate([mesh.corner_normal for mesh in meshes]),
        curved=np.array([mesh.curved for mesh in meshes]),
        skins=tuple(mesh.skin for mesh in meshes),
        skin_maps=tuple(mesh.skin_maps for mesh in meshes),
    )


def _rays(posed: Posed, origins: ArrayLike, directions: ArrayLike) -> o3d.core.Tensor:
    """Rays (N, 6) float32 relative to the base; `origins` may be one point (3,) for all rays."""
    directions = np.asarray(directions)
    rays = np.empty((len(directions), 6), np.float32)
    start = np.asarray(origins)
    for axis in range(3):  # a column at a time: NumPy is slow along short axes
        rays[:, axis] = start[..., axis] - posed.base[axis]
        rays[:, 3 + axis] = directions[:, axis]
    return o3d.core.Tensor.from_numpy(rays)


def cast(surfaces: Surfaces, origins: ArrayLike, directions: ArrayLike) -> Hits:
    """First hits of rays from `origins`, (N, 3) or (3,) metres, along `directions` (N, 3); world axes."""
    nearest, *others = (_cast(posed, origins, directions) for posed in surfaces.posed)
    for other in others:
        index = np.flatnonzero(other.t < nearest.t)
        for name in ("t", "geometry", "primitive", "normal", "uv"):
            getattr(nearest, name)[index] = getattr(other, name)[index]
    return nearest


def _cast(posed: Posed, origins: ArrayLike, directions: ArrayLike) -> Hits:
    hits = posed.whole.cast_rays(_rays(posed, origins, directions), nthreads=1)
    geometry = hits["geometry_ids"].numpy().view(np.int32)
    return Hits(
        t=hits["t_hit"].numpy(),
        geometry=np.where(geometry >= 0, geometry + posed.first, NOTHING) if posed.first else geometry,
        primitive=hits["primitive_ids"].numpy().view(np.int32),
        normal=hits["primitive_normals"].numpy(),
        uv=hits["primitive_uvs"].numpy(),
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
    corner = surfaces.corner_normal[surfaces.first_face[geometry] + primitive]
    local = corner[:, 0] + (corner[:, 1] - corner[:, 0]) * uv[:, :1]
    local += (corner[:, 2] - corner[:, 0]) * uv[:, 1:]
    turn = surfaces.geometry_pose[:, :3, :3].astype(np.float32)[geometry]  # (N, world, part)
    normal = turn[:, :, 0] * local[:, :1] + turn[:, :, 1] * local[:, 1:2] + turn[:, :, 2] * local[:, 2:]
    length = np.sqrt(normal[:, 0] ** 2 + normal[:, 1] ** 2 + normal[:, 2] ** 2)
    lean = normal[:, 0] * flat[:, 0] + normal[:, 1] * flat[:, 1] + normal[:, 2] * flat[:, 2]
    sign = np.copysign(np.float32(1), lean)
    return np.asarray(normal * (sign / np.maximum(length, np.float32(1e-6)))[:, None])


def occluded(
    surfaces: Surfaces, origins: ArrayLike, directions: ArrayLike, near: float, far: float
) -> NDArray[np.bool_]:
    """Whether rays as in `cast` meet anything between `near` and `far`, in lengths of their directions."""
    directions, origins = np.asarray(directions), np.asarray(origins)
    hit = np.zeros(len(directions), bool)
    for posed in surfaces.posed:
        left = np.flatnonzero(~hit) if posed.first else slice(None)
        rays = _rays(posed, origins[left] if origins.ndim > 1 else origins, directions[left])
        hit[left] = posed.whole.test_occlusions(rays, near, far, nthreads=1).numpy()
    return hit


def covers(
    surfaces: Surfaces, thing: int, directions: ArrayLike, origins: ArrayLike | None = None
) -> NDArray[np.bool_]:
    """Whether rays along `directions` (N, 3) meet object `thing`, seen or not; they leave the surfaces' origin."""
    origins = surfaces.origin if origins is None else origins
    hit = np.zeros(len(np.asarray(directions)), bool)
    for posed in surfaces.posed:
        if thing in posed.alone:
            rays = _rays(posed, origins, directions)
            hit |= posed.alone[thing].test_occlusions(rays, nthreads=1).numpy()
    return hit
