"""What moves while a picture is taken: camera and geometries, each at a constant velocity about an instant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freelabels.generators.contract.geometry import invert_pose
from freelabels.generators.contract.products import picked, product, put, times
from freelabels.renderers.engines.lens import Lens

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]
Mask = NDArray[np.bool_]
INFINITY = 1e4  # metres: farther than anything in a scene
NEAREST = 1e-6  # metres before the camera from where on something is seen
ROUNDS = 4  # in which the row that sees a moving point is found
# What terms of the series of (1 − cos x) / x² leave out after k of them, as a share of x² to the power k + 1.
ERRORS = [1 / math.factorial(2 * k + 4) for k in range(12)]


def _series(square: Floats) -> tuple[Floats, Floats]:
    """Sin x / x and (1 − cos x) / x² of squares x², up to 4."""
    sine, cosine = np.ones_like(square), np.full_like(square, 0.5)
    first, second = np.ones_like(square), np.full_like(square, 0.5)
    largest = float(square.max(initial=0))
    terms = next((k for k, error in enumerate(ERRORS) if error * largest ** (k + 1) < 1e-17), len(ERRORS))
    for k in range(1, terms + 1):
        first = first * -square / ((2 * k) * (2 * k + 1))
        second = second * -square / ((2 * k + 1) * (2 * k + 2))
        sine, cosine = sine + first, cosine + second
    return sine, cosine


def spun(spin: Floats, seconds: Floats, vectors: Floats) -> Floats:
    """Vectors (N, 3) turned by spins (N, 3) or (3,) in so many seconds (N,), as `rotations` turn them.

    By Rodrigues' formula, without the matrices.
    """
    x, y, z = spin.T
    sine, cosine = _series(((x * x + y * y) + z * z) * (seconds * seconds))
    sine, cosine = sine * seconds, cosine * (seconds * seconds)
    a, b, c = np.ascontiguousarray(vectors.T)
    i, j, k = y * c - z * b, z * a - x * c, x * b - y * a  # spin × vector
    return np.stack(
        [
            (a + sine * i) + cosine * (y * k - z * j),
            (b + sine * j) + cosine * (z * i - x * k),
            (c + sine * k) + cosine * (x * j - y * i),
        ]
    ).T


def rotations(spin: Floats, seconds: ArrayLike) -> Floats:
    """(…, 3, 3) turns by spins (…, 3), rad/s, in so many seconds (…); up to 2 radians.

    By series: the same on every processor.
    """
    w = spin * np.asarray(seconds, np.float64)[..., None]
    square = (w[..., 0] * w[..., 0] + w[..., 1] * w[..., 1]) + w[..., 2] * w[..., 2]
    sine, cosine = _series(square)
    out = np.empty((*square.shape, 3, 3))
    x, y, z = w[..., 0], w[..., 1], w[..., 2]
    for i, (row, others) in enumerate(
        (
            ((0 * x, -z, y), (x * x, x * y, x * z)),
            ((z, 0 * y, -x), (x * y, y * y, y * z)),
            ((-y, x, 0 * z), (x * z, y * z, z * z)),
        )
    ):
        for j in range(3):
            out[..., i, j] = sine * row[j] + cosine * others[j]
        out[..., i, i] += 1 - cosine * square
    return out


def moved_poses(poses: Floats, velocity: Floats, seconds: ArrayLike) -> Floats:
    """Poses (…, 4, 4) after so many seconds (…) at velocities (…, 6): m/s of their origins, rad/s about them."""
    seconds = np.asarray(seconds, np.float64)
    turn = rotations(velocity[..., 3:], seconds)
    out = np.zeros((*turn.shape[:-2], 4, 4))
    for i in range(3):
        for j in range(3):
            out[..., i, j] = sum(turn[..., i, k] * poses[..., k, j] for k in range(3))
    out[..., :3, 3] = poses[..., :3, 3] + velocity[..., :3] * seconds[..., None]
    out[..., 3, 3] = 1
    return out


def turned_by(turn: Floats, vectors: Floats) -> Floats:
    """Vectors (N, 3) turned by matrices (N, 3, 3)."""
    x, y, z = np.ascontiguousarray(vectors.T)
    return np.stack([(turn[:, i, 0] * x + turn[:, i, 1] * y) + turn[:, i, 2] * z for i in range(3)]).T


def placed(transforms: Floats, index: Ints, point: Floats) -> Floats:
    """Points (N, 3) under transforms (G, 3 or 4, 4), each by the one its index names."""
    rows = transforms[:, :3].reshape(-1, 12).T.take(index, 1).reshape(3, 4, -1)
    x, y, z = point.T
    return np.stack([((row[0] * x + row[1] * y) + row[2] * z) + row[3] for row in rows]).T


@dataclass(frozen=True)
class Drift:
    """How camera and geometries move around an instant, and when each row of the picture is taken.

    readout: seconds from the upper border to the lower; the picture's middle is taken at the instant. exposure:
    seconds that each row is exposed, half of them before its time. camera: (6,) velocity, world, m/s and rad/s.
    geometry: (G, 6) likewise, of the parts' origins; 0 of what stands still. place: (G, 3) these origins, world.
    """

    readout: float
    exposure: float
    camera: Floats
    geometry: Floats
    place: Floats

    def when(self, y: ArrayLike, rows: int) -> Floats:
        """Seconds after the instant at which places y (pixels from the upper border) of the picture are taken."""
        return np.asarray((np.asarray(y, np.float64) / rows - 0.5) * self.readout)

    def cameras(self, pose: Floats, seconds: Floats) -> Floats:
        """Camera → world (…, 4, 4) after so many seconds (…), given that of the instant."""
        return moved_poses(pose, self.camera, seconds)

    @cached_property
    def moves(self) -> Mask:
        """(G + 1,) which geometries do; the last stands for `NOTHING`."""
        return np.append(self.geometry.any(axis=1), False)

    def back(
        self, geometry: Ints, seconds: Floats, points: Floats, directions: Floats
    ) -> tuple[Floats, Floats]:
        """Points and directions (N, 3) of the world after so many seconds (N,), as geometries (N,) see them.

        That is: brought to where, at the instant, they lie relative to each geometry.
        """
        index = np.flatnonzero(self.moves[geometry])
        if not len(index):
            return points, directions
        points, directions = points.copy(order="F"), directions.copy(order="F")
        of, after = geometry[index], seconds[index]
        place, velocity = self._of(of)
        spin = -velocity[:, 3:]
        away = picked(points, index) - place - velocity[:, :3] * after[:, None]
        put(points, index, place + spun(spin, after, away))
        put(directions, index, spun(spin, after, picked(directions, index)))
        return points, directions

    def _of(self, geometry: Ints) -> tuple[Floats, Floats]:
        """Places and velocities of geometries (N,)."""
        columns = np.ascontiguousarray(np.concatenate([self.place, self.geometry], axis=1).T)
        found = columns.take(geometry, 1)
        return found[:3].T, found[3:].T

    def on(self, geometry: Ints, seconds: Floats, points: Floats) -> Floats:
        """Points (N, 3) of geometries (N,), world at the instant, after so many seconds (N,)."""
        index = np.flatnonzero(self.moves[geometry])
        if not len(index):
            return points
        points = points.copy(order="F")
        of, after = geometry[index], seconds[index]
        place, velocity = self._of(of)
        turned = spun(velocity[:, 3:], after, picked(points, index) - place)
        put(points, index, place + velocity[:, :3] * after[:, None] + turned)
        return points

    def seen_from(self, pose: Floats, seconds: Floats, points: Floats, near: Mask | None = None) -> Floats:
        """Points (N, 3), world, in the axes of the camera after seconds (N,); directions where not `near`."""
        origin = self._eye(pose, seconds)
        away = points - (origin if near is None else near[:, None] * origin)
        if self.camera[3:].any():
            away = spun(-self.camera[3:], seconds, away)
        return times(away, pose[:3, :3])

    def seen_at(self, pose: Floats, seconds: float, geometry: Ints, points: Floats, near: Mask) -> Floats:
        """Points (N, 3) of geometries, camera axes at the instant, as the camera sees all of them at one moment.

        Directions where not `near`.
        """
        to_camera = invert_pose(self.cameras(pose, np.asarray(seconds)))
        still = product(to_camera, pose)
        out = times(points, still[:3, :3].T)
        out += still[:3, 3] if near.all() else near[:, None] * still[:3, 3]
        index = np.flatnonzero(near & self.moves[geometry])
        if len(index):
            origin = np.tile(np.eye(4), (len(self.place), 1, 1))
            origin[:, :3, 3] = self.place
            moved = moved_poses(origin, self.geometry, np.full(len(origin), seconds))
            there = product(to_camera, moved, invert_pose(origin), pose)
            put(out, index, placed(there, geometry[index], picked(points, index)))
        return out

    def _eye(self, pose: Floats, seconds: Floats) -> Floats:
        """Where the camera is (N, 3), world, after so many seconds (N,)."""
        return (pose[:3, 3:] + self.camera[:3, None] * seconds).T

    def lands(
        self, points: Floats, geometry: Ints, near: Mask, pose: Floats, lens: Lens, rows: int
    ) -> Landed:
        """Where points (N, 3) of geometries (N,), world at the instant, are seen by the rows of a picture.

        Each is seen by the row that is taken while the point is there. near: those that are no directions to what
        lies at infinity. pose: the camera's at the instant, (4, 4). lens: of a window of the picture. rows: the
        picture's.
        """
        if not self.readout:
            seen = times(points - near[:, None] * pose[:3, 3], pose[:3, :3])
            x, y, in_front = shown_at(seen, lens)
            origin = np.broadcast_to(pose[:3, 3], points.shape)
            far = np.where(near, points.T, origin.T + INFINITY * points.T).T
            return Landed(x, y, seen[:, 2], np.zeros(len(points)), origin, far, in_front)
        y = np.full(len(points), rows / 2 - lens.top)
        for _ in range(ROUNDS):
            # Rows far beyond the picture would be taken long before or after it.
            seconds = self.when(np.clip(y + lens.top, -rows, 2 * rows), rows)
            there = self.on(np.where(near, geometry, -1), seconds, points)
            seen = self.seen_from(pose, seconds, there, near)
            x, y, in_front = shown_at(seen, lens)
        origin = self._eye(pose, seconds)
        far = np.where(near, there.T, origin.T + INFINITY * points.T).T
        return Landed(x, y, seen[:, 2], seconds, origin, far, in_front)


def shown_at(points: Floats, lens: Lens) -> tuple[Floats, Floats, Mask]:
    """Where points (N, 3), camera axes, are seen: x, y (N,), and whether they are before the camera."""
    x, y, z = points.T
    in_front = z > NEAREST
    if not in_front.all():
        x, y, z = (np.where(in_front, of, other) for of, other in ((x, 0.0), (y, 0.0), (z, 1.0)))
    x, y = lens.land(x / z, y / z)
    return x, y, in_front


@dataclass(frozen=True)
class Landed:
    """Where points are seen: x, y (N,) in the window at depths z, and at which seconds after the instant.

    origin, point: (N, 3) where the camera and the points are then, world. in_front: (N,) of the camera.
    """

    x: Floats
    y: Floats
    z: Floats
    seconds: Floats
    origin: Floats
    point: Floats
    in_front: Mask
