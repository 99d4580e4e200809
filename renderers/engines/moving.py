"""The world while a picture is taken: camera and geometries move on from an instant at constant velocities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import open3d as o3d
from numpy.typing import NDArray

from freelabels.generators.contract.products import times
from freelabels.renderers.engines.drift import Drift, rotations, turned_by
from freelabels.renderers.engines.raycast import NOTHING, Hits, Mesh, Posed, Surfaces, covers

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]
Mask = NDArray[np.bool_]


def _dot(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((one[:, 0] * other[:, 0] + one[:, 1] * other[:, 1]) + one[:, 2] * other[:, 2])


@dataclass(frozen=True)
class Piece:
    """Geometries that keep their places to each other, ready for rays.

    scene: their triangles at the instant, relative to base (3,), world. numbers: (n,) of the geometries. velocity:
    (6,) as of `Drift.geometry`, of `base`, None of what stands still. centre: (3,), radius: a ball around it.
    """

    scene: o3d.t.geometry.RaycastingScene
    base: Floats
    numbers: NDArray[np.int32]
    velocity: Floats | None = None
    centre: Floats | None = None
    radius: float = 0.0


@dataclass(frozen=True)
class Motion(Drift):
    """The same with what casts rays at it. owner: (G,) instance ids."""

    owner: Ints
    pieces: tuple[Piece, ...]


def motion_of(
    meshes: Sequence[Mesh],
    poses: Floats,
    owner: Ints,
    still: Posed | None,
    camera: Floats,
    geometry: Floats,
    readout: float = 0.0,
    exposure: float = 0.0,
) -> Motion:
    """The motion of meshes at poses (G, 4, 4); the first of them, `still`, are posed already. As of `Motion`."""
    pieces, done = [], 0
    if still is not None:
        done = len(still.extent)
        pieces.append(Piece(still.whole, still.base, np.arange(done, dtype=np.int32)))
    awake = set(np.asarray(owner)[geometry.any(axis=1)].tolist())  # a thing that moves in part is in pieces
    resting = [number for number in range(done, len(meshes)) if int(owner[number]) not in awake]
    if resting:
        base = poses[resting[0], :3, 3]
        scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        for number in resting:
            _add(scene, meshes[number], poses[number], base)
        pieces.append(Piece(scene, base, np.array(resting, np.int32)))
    for number in sorted(set(range(done, len(meshes))) - set(resting)):
        mesh, place = meshes[number], poses[number, :3, 3]
        scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        _add(scene, mesh, poses[number], place)
        middle, half = (mesh.box[0] + mesh.box[-1]) / 2, (mesh.box[-1] - mesh.box[0]) / 2
        centre = times(middle[None], poses[number, :3, :3].T)[0] + place
        radius = float(np.sqrt((half * half).sum())) * 1.01
        pieces.append(Piece(scene, place, np.array([number], np.int32), geometry[number], centre, radius))
    return Motion(readout, exposure, camera, geometry, poses[:, :3, 3], np.asarray(owner), tuple(pieces))


def _add(scene: o3d.t.geometry.RaycastingScene, mesh: Mesh, pose: Floats, base: Floats) -> None:
    vertices = times(mesh.vertices, pose[:3, :3].T) + (pose[:3, 3] - base)
    corners = o3d.core.Tensor.from_numpy(vertices.astype(np.float32))
    scene.add_triangles(corners, o3d.core.Tensor.from_numpy(mesh.triangles))


def _rays(
    piece: Piece,
    origins: Floats,
    directions: NDArray[np.float32],
    seconds: Floats,
    chosen: Ints | None = None,
) -> tuple[Ints | slice, o3d.core.Tensor]:
    """Which rays may meet a piece, and these rays (M, 6) as it sees them."""
    index: Ints | slice = slice(None) if chosen is None else chosen
    start, towards = (origins - piece.base)[index], directions[index]
    if piece.velocity is not None and piece.centre is not None:
        v, spin, after = piece.velocity[:3], piece.velocity[3:], seconds[index]
        # While it turns it stays within a ball that moves.
        reach = piece.radius + float(np.sqrt(((piece.centre - piece.base) ** 2).sum())) * bool(spin.any())
        arm = piece.centre - piece.base if not spin.any() else np.zeros(3)
        to = (arm + v * after[:, None] - start).astype(np.float32)
        along, long, far = _dot(to, towards), _dot(towards, towards), _dot(to, to)
        near = (far - along * along / long <= np.float32(reach**2)) & ((along > 0) | (far <= reach**2))
        some = np.flatnonzero(near)
        index = some if chosen is None else chosen[some]
        after = after[some]
        start, towards = start[some] - v * after[:, None], towards[some]
        if spin.any():
            turn = rotations(np.broadcast_to(-spin, (len(after), 3)), after)
            start = turned_by(turn, start)
            towards = turned_by(turn, towards.astype(np.float64)).astype(np.float32)
    rays = np.empty((len(towards), 6), np.float32)
    for axis in range(3):  # a column at a time: NumPy is slow along short axes
        rays[:, axis], rays[:, 3 + axis] = start[:, axis], towards[:, axis]
    return index, o3d.core.Tensor.from_numpy(rays)


def cast_moving(motion: Motion, origins: Floats, directions: NDArray[np.float32], seconds: Floats) -> Hits:
    """First hits of rays that leave `origins` (N, 3), world, along `directions` (N, 3) after `seconds` (N,) each.

    Their normals are those of the instant: what a ray met stands where it stood then, see `Drift.back`.
    """
    count = len(directions)
    out = Hits(
        np.full(count, np.inf, np.float32),
        np.full(count, NOTHING, np.int32),
        np.full(count, NOTHING, np.int32),
        np.zeros((count, 3), np.float32),
        np.zeros((count, 2), np.float32),
    )
    for piece in motion.pieces:
        index, rays = _rays(piece, origins, directions, seconds)
        if not len(rays):
            continue
        hits = piece.scene.cast_rays(rays, nthreads=1)
        t = hits["t_hit"].numpy()
        nearer = np.flatnonzero(t < out.t[index])
        there = nearer if isinstance(index, slice) else index[nearer]
        out.t[there] = t[nearer]
        out.geometry[there] = piece.numbers[hits["geometry_ids"].numpy().view(np.int32)[nearer]]
        out.primitive[there] = hits["primitive_ids"].numpy().view(np.int32)[nearer]
        out.normal[there] = hits["primitive_normals"].numpy()[nearer]
        out.uv[there] = hits["primitive_uvs"].numpy()[nearer]
    return out


def occluded_moving(
    motion: Motion, origins: Floats, directions: NDArray[np.float32], seconds: Floats, near: float, far: float
) -> Mask:
    """Whether rays as in `cast_moving` meet anything between `near` and `far`, in lengths of their directions."""
    hit = np.zeros(len(directions), bool)
    for piece in motion.pieces:
        index, rays = _rays(piece, origins, directions, seconds, np.flatnonzero(~hit))
        hit[index] = piece.scene.test_occlusions(rays, near, far, nthreads=1).numpy()
    return hit


def covers_moving(
    motion: Motion,
    surfaces: Surfaces,
    thing: int,
    origins: Floats,
    directions: NDArray[np.float32],
    seconds: Floats,
) -> Mask:
    """Whether rays as in `cast_moving` meet object `thing`, seen or not."""
    if not (motion.geometry[motion.owner == thing] != 0).any():
        return covers(surfaces, thing, directions, origins)
    hit = np.zeros(len(directions), bool)
    for piece in motion.pieces:
        if len(piece.numbers) == 1 and motion.owner[piece.numbers[0]] == thing:
            index, rays = _rays(piece, origins, directions, seconds)
            hit[index] |= piece.scene.test_occlusions(rays, nthreads=1).numpy()
    return hit
