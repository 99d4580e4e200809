"""Mesh files made fit for rays and physics: read, checked, thinned, split into smooth patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import open3d as o3d
import trimesh
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from freelabels.generators.contract.products import times
from freelabels.renderers.engines.mesh import Mesh
from freelabels.renderers.engines.raycast import Floats
from freelabels.renderers.surfaces import skins

CREASE_DEGREES = 35.0  # faces that meet at a sharper angle belong to different smooth patches
FACES = 1500  # of a part; a bigger mesh is thinned, so that posing it anew each frame stays cheap
SKINNED = 10_000  # of a part with a texture map
HUGE = 100_000  # faces beyond which a mesh is first clustered on a grid
SUFFIXES = (".obj", ".glb", ".ply", ".stl")


def read_mesh(path: Path) -> trimesh.Trimesh:
    """All triangles of a mesh file as one mesh. Raises ValueError naming the file if it can't be used."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such mesh file")
    try:
        mesh = trimesh.load_mesh(path, process=False)
    except Exception as error:  # every reader of trimesh raises its own kinds
        raise ValueError(f"{path}: not a readable mesh ({type(error).__name__}: {error})") from error
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise ValueError(f"{path}: has no triangles")
    if path.suffix.lower() == ".glb":  # glTF says that y is up; here it is z
        mesh.vertices = np.asarray(mesh.vertices)[:, [0, 2, 1]] * (1, -1, 1)
    return checked(skins.with_skin(mesh), str(path))


def checked(mesh: trimesh.Trimesh, name: str) -> trimesh.Trimesh:
    """The mesh without unused, doubled or zero-area parts. Raises ValueError naming it if nothing is left."""
    vertices, faces = np.array(mesh.vertices, np.float64), np.array(mesh.faces)
    if not np.isfinite(vertices[faces.ravel()]).all():
        raise ValueError(f"{name}: has vertices that are not numbers (NaN or infinite)")
    skin = skins.skin_of(mesh)
    whole = trimesh.Trimesh(vertices, faces, process=False)
    if len(faces) > HUGE:
        whole = trimesh.Trimesh(*_clustered(vertices, faces), process=False)
        skin = None if skin is None else skins.transferred(skin, mesh, whole)
    mesh = skins.put(whole, skin)
    mesh.remove_unreferenced_vertices()
    mesh.vertices = vertices = snapped(mesh.vertices)
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    smallest = 1e-12 * float(np.ptp(vertices, axis=0).max()) ** 2
    mesh.update_faces(mesh.area_faces > smallest)
    mesh.remove_unreferenced_vertices()
    if len(mesh.faces) == 0:
        raise ValueError(f"{name}: all its triangles have zero area")
    return mesh


def _clustered(vertices: Floats, faces: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Vertices in one cell of a fine grid become one: fast, where collapsing edges would take minutes."""
    cell = float(np.ptp(vertices, axis=0).max()) / 100
    dense = _open3d(vertices, faces).simplify_vertex_clustering(cell)
    return np.array(dense.vertices), np.array(dense.triangles)


def _open3d(vertices: Floats, faces: NDArray[np.int64]) -> o3d.geometry.TriangleMesh:
    return o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(vertices), o3d.utility.Vector3iVector(faces.astype(np.int32))
    )


def thinned(mesh: trimesh.Trimesh, faces: int = FACES) -> trimesh.Trimesh:
    """The mesh with at most about `faces` triangles, by quadric edge collapse (Garland & Heckbert 1997).

    A mesh with a texture map keeps up to `SKINNED`: the map hardly survives the collapse of its seams.
    """
    skin = skins.skin_of(mesh)
    if len(mesh.faces) <= (faces if skin is None else max(faces, SKINNED)):
        return mesh
    few = _open3d(np.array(mesh.vertices), np.array(mesh.faces)).simplify_quadric_decimation(faces)
    made = trimesh.Trimesh(np.array(few.vertices), np.array(few.triangles), process=False)
    return checked(
        made if skin is None else skins.put(made, skins.transferred(skin, mesh, made)), "the thinned mesh"
    )


def moved(points: Floats, pose: Floats) -> Floats:
    """Points (N, 3) under a rigid transform (4, 4), the same bits on every processor."""
    return times(np.asarray(points, np.float64), pose[:3, :3].T) + pose[:3, 3]


def snapped(vertices: Floats) -> Floats:
    """Vertices (V, 3) on a grid of about a hundred-millionth of their extent.

    Sines and square roots may differ in their last bit from one processor to the next; what shapes are made of
    must not.
    """
    extent = float(np.ptp(vertices, axis=0).max())
    # The factor keeps common sizes off the powers of two, at which the grid changes.
    grid = 2.0 ** (np.frexp(1.37 * extent)[1] - 27)
    return np.asarray(np.rint(np.asarray(vertices, np.float64) / grid) * grid)


def smooth_patches(mesh: trimesh.Trimesh, degrees: float = CREASE_DEGREES) -> NDArray[np.int32]:
    """(F,) patch ids: faces connected over edges that bend by less than `degrees` share one."""
    smooth = mesh.face_adjacency[mesh.face_adjacency_angles < np.radians(degrees)]
    count = len(mesh.faces)
    graph = coo_array((np.ones(len(smooth), bool), (smooth[:, 0], smooth[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int32)


def as_mesh(mesh: trimesh.Trimesh) -> Mesh:
    """A checked triangle mesh in the form rays need."""
    vertices, triangles = np.array(mesh.vertices, np.float64), np.array(mesh.faces, np.uint32)
    return Mesh(vertices, triangles, smooth_patches(mesh), skins.skin_of(mesh))


def hull(meshes: Sequence[trimesh.Trimesh], name: str) -> trimesh.Trimesh:
    """Convex hull of all meshes. Raises ValueError naming the asset if it has no volume."""
    points = np.concatenate([mesh.vertices for mesh in meshes])
    thickness = np.ptp(points, axis=0)
    if thickness.min() < 1e-4 * thickness.max():
        raise ValueError(f"{name}: is flat, it has no volume to collide with")
    try:
        return trimesh.Trimesh(points, process=False).convex_hull
    except Exception as error:  # qhull's errors have no public type
        raise ValueError(f"{name}: has no convex hull ({type(error).__name__})") from error
