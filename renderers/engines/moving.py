"""The world while a picture is taken: camera and geometries move on from an instant at constant velocities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import open3d as o3d
from numpy.typing import NDArray

from freelabels.generators.contract.products import picked, put, times
from freelabels.renderers.engines.drift import Drift, spun
from freelabels.renderers.engines.mesh import Mesh
from freelabels.renderers.engines.raycast import NOTHING, Hits, Posed, Surfaces, covers

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]
Mask = NDArray[np.bool_]


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


@dataclass(frozen=True, eq=False)
class Motion(Drift):
    """The same with what casts rays at it.

    meshes: at poses (G, 4, 4), part → world. owner: (G,) instance ids. still: the first meshes, posed already.
    """

    meshes: Sequence[Mesh]
    poses: Floats
    owner: Ints
    still: Posed | None = None

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """Everything, in pieces that keep their shape; made when rays first ask: many labels need none."""
        return tuple(_pieces(self))


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
    return Motion(
        readout, exposure, camera, geometry, poses[:, :3, 3], meshes, poses, np.asarray(owner), still
    )


def _pieces(motion: Motion) -> Iterator[Piece]:
    meshes, poses, geometry, done = motion.meshes, motion.poses, motion.geometry, 0
    if motion.still is not None:
        done = len(motion.still.extent)
        yield Piece(motion.still.whole, motion.still.base, np.arange(done, dtype=np.int32))
    # A thing that moves in part is in pieces.
    awake = set(motion.owner[geometry.any(axis=1)].tolist())
    resting = [number for number in range(done, len(meshes)) if int(motion.owner[number]) not in awake]
    if resting:
        base = poses[resting[0], :3, 3]
        scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        for number in resting:
            _add(scene, meshes[number], poses[number], base)
        yield Piece(scene, base, np.array(resting, np.int32))
    for number in sorted(set(range(done, len(meshes))) - set(resting)):
        mesh, place = meshes[number], poses[number, :3, 3]
        scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        _add(scene, mesh, poses[number], place)
        middle, half = (mesh.box[0] + mesh.box[-1]) / 2, (mesh.box[-1] - mesh.box[0]) / 2
        centre = times(middle[None], poses[number, :3, :3].T)[0] + place
        radius = float(np.sqrt((half * half).sum())) * 1.01
        yield Piece(scene, place, np.array([number], np.int32), geometry[number], centre, radius)


def _add(scene: o3d.t.geometry.RaycastingScene, mesh: Mesh, pose: Floats, base: Floats) -> None:
    vertices = times(mesh.vertices, pose[:3, :3].T) + (pose[:3, 3] - base)
    corners = o3d.core.Tensor.from_numpy(vertices.astype(np.float32))
    scene.add_triangles(corners, o3d.core.Tensor.from_numpy(mesh.triangles))


@dataclass(frozen=True)
class _Bundle:
    """Rays that leave `origins` (N, 3), world, along `directions` (N, 3) after `seconds` (N,) each.

    unit: (3, N) their directions of length 1. middle: (3,) amid the origins, none of them farther than `apart`;
    latest: seconds that none of them is farther from the instant.
    """

    origins: Floats
    directions: NDArray[np.float32]
    seconds: Floats
    unit: NDArray[np.float32]
    middle: Floats
    apart: float
    latest: float

    @staticmethod
    def of(origins: Floats, directions: NDArray[np.float32], seconds: Floats) -> _Bundle:
        unit = np.array(directions.T, order="C")
        unit /= np.sqrt((unit[0] * unit[0] + unit[1] * unit[1]) + unit[2] * unit[2])
        some = origins if len(origins) else np.zeros((1, 3))
        low, high = (np.array([f(some[:, k]) for k in range(3)]) for f in (np.min, np.max))
        apart = float(np.sqrt(((high - low) ** 2).sum())) / 2
        latest = float(np.abs(seconds).max(initial=0))
        return _Bundle(origins, directions, seconds, unit, (low + high) / 2, apart, latest)

    def near(self, piece: Piece) -> Ints | None:
        """The rays that may meet a piece that moves; None: all."""
        if piece.centre is None or piece.velocity is None:
            return None
        v, spin = piece.velocity[:3], piece.velocity[3:]
        arm = float(np.sqrt(((piece.centre - piece.base) ** 2).sum()))
        turned = min(float(np.sqrt((spin * spin).sum())) * self.latest, 2.0)
        reach = piece.radius + arm * turned + float(np.sqrt((v * v).sum())) * self.latest + self.apart
        to = piece.centre - self.middle
        far = float(np.sqrt((to * to).sum()))
        if far <= reach:
            return None
        least, (x, y, z) = np.float32(np.sqrt(1 - (reach / far) ** 2) - 1e-5), (to / far).astype(np.float32)
        return np.flatnonzero((self.unit[0] * x + self.unit[1] * y) + self.unit[2] * z >= least)

    def seen_by(self, piece: Piece, chosen: Ints | None) -> o3d.core.Tensor:
        """Some of the rays (M, 6) as a piece sees them."""
        origins, towards, after = self.origins, self.directions, self.seconds
        if chosen is not None:
            origins, towards, after = picked(origins, chosen), picked(towards, chosen), after[chosen]
        start = origins - piece.base
        if piece.velocity is not None and piece.velocity.any():
            v, spin = piece.velocity[:3], piece.velocity[3:]
            start = start - v * after[:, None]
            if spin.any():
                start = spun(-spin, after, start)
                towards = spun(-spin, after, towards.astype(np.float64)).astype(np.float32)
        rays = np.empty((len(towards), 6), np.float32)
        for axis in range(3):  # a column at a time: NumPy is slow along short axes
            rays[:, axis], rays[:, 3 + axis] = start[:, axis], towards[:, axis]
        return o3d.core.Tensor.from_numpy(rays)


def cast_moving(motion: Motion, origins: Floats, directions: NDArray[np.float32], seconds: Floats) -> Hits:
    """First hits of rays that leave `origins` (N, 3), world, along `directions` (N, 3) after `seconds` (N,) each.

    Their normals are those of the instant: what a ray met stands where it stood then, see `Drift.back`.
    """
    count = len(directions)
    out = Hits(
        np.full(count, np.inf, np.float32),
        np.full(count, NOTHING, np.int32),
        np.full(count, NOTHING, np.int32),
        np.zeros((3, count), np.float32).T,
        np.zeros((2, count), np.float32).T,
    )
    bundle = _Bundle.of(origins, directions, seconds)
    for piece in motion.pieces:
        index = bundle.near(piece)
        if index is not None and not len(index):
            continue
        hits = piece.scene.cast_rays(bundle.seen_by(piece, index), nthreads=1)
        t = hits["t_hit"].numpy()
        nearer = np.flatnonzero(t < (out.t if index is None else out.t[index]))
        there = nearer if index is None else index[nearer]
        out.t[there] = t[nearer]
        out.geometry[there] = piece.numbers[hits["geometry_ids"].numpy().view(np.int32)[nearer]]
        out.primitive[there] = hits["primitive_ids"].numpy().view(np.int32)[nearer]
        put(out.normal, there, hits["primitive_normals"].numpy()[nearer])
        put(out.uv, there, hits["primitive_uvs"].numpy()[nearer])
    return out


def occluded_moving(
    motion: Motion, origins: Floats, directions: NDArray[np.float32], seconds: Floats, near: float, far: float
) -> Mask:
    """Whether rays as in `cast_moving` meet anything between `near` and `far`, in lengths of their directions."""
    hit = np.zeros(len(directions), bool)
    bundle = _Bundle.of(origins, directions, seconds)
    for piece in motion.pieces:
        index = bundle.near(piece)
        index = np.flatnonzero(~hit) if index is None else index[~hit[index]]
        if len(index):
            rays = bundle.seen_by(piece, index)
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
    hit, bundle = np.zeros(len(directions), bool), _Bundle.of(origins, directions, seconds)
    for piece in motion.pieces:
        if len(piece.numbers) == 1 and motion.owner[piece.numbers[0]] == thing:
            near = bundle.near(piece)
            index = np.flatnonzero(~hit) if near is None else near[~hit[near]]
            if len(index):
                rays = bundle.seen_by(piece, index)
                hit[index] = piece.scene.test_occlusions(rays, nthreads=1).numpy()
    return hit
