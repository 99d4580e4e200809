"""What moves while a picture is taken: camera and geometries, each at a constant velocity about an instant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freelabels.generators.contract.products import times
from freelabels.renderers.engines.lens import Lens

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]
Mask = NDArray[np.bool_]
INFINITY = 1e4  # metres: farther than anything in a scene
NEAREST = 1e-6  # metres before the camera from where on something is seen
ROUNDS = 5  # in which the row that sees a moving point is found
TERMS = 9  # of the series of sines and cosines: exact to the last digit up to a turn of 2 radians


def rotations(spin: Floats, seconds: ArrayLike) -> Floats:
    """(…, 3, 3) turns by spins (…, 3), rad/s, in so many seconds (…); up to 2 radians.

    By series: the same on every processor.
    """
    w = spin * np.asarray(seconds, np.float64)[..., None]
    square = (w[..., 0] * w[..., 0] + w[..., 1] * w[..., 1]) + w[..., 2] * w[..., 2]
    sine, cosine = np.ones_like(square), np.full_like(square, 0.5)  # sin x / x, (1 − cos x) / x²
    first, second = np.ones_like(square), np.full_like(square, 0.5)
    for k in range(1, TERMS):
        first = first * -square / ((2 * k) * (2 * k + 1))
        second = second * -square / ((2 * k + 1) * (2 * k + 2))
        sine, cosine = sine + first, cosine + second
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
    return np.stack(
        [
            (turn[:, i, 0] * vectors[:, 0] + turn[:, i, 1] * vectors[:, 1]) + turn[:, i, 2] * vectors[:, 2]
            for i in range(3)
        ],
        axis=1,
    )


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

    def spin_of(self, geometry: Ints) -> Floats:
        """Spins (N, 3) of geometries (N,), 0 of nothing."""
        return np.where(self.moves[geometry][:, None], self.geometry[geometry, 3:], 0.0)

    def back(
        self, geometry: Ints, seconds: Floats, points: Floats, directions: Floats
    ) -> tuple[Floats, Floats]:
        """Points and directions (N, 3) of the world after so many seconds (N,), as geometries (N,) see them.

        That is: brought to where, at the instant, they lie relative to each geometry.
        """
        index = np.flatnonzero(self.moves[geometry])
        if not len(index):
            return points, directions
        points, directions = points.copy(), directions.copy()
        of, after = geometry[index], seconds[index]
        turn = rotations(-self.geometry[of, 3:], after)
        away = points[index] - self.place[of] - self.geometry[of, :3] * after[:, None]
        points[index] = self.place[of] + turned_by(turn, away)
        directions[index] = turned_by(turn, directions[index])
        return points, directions

    def on(self, geometry: Ints, seconds: Floats, points: Floats) -> Floats:
        """Points (N, 3) of geometries (N,), world at the instant, after so many seconds (N,)."""
        index = np.flatnonzero(self.moves[geometry])
        if not len(index):
            return points
        points = points.copy()
        of, after = geometry[index], seconds[index]
        turn = rotations(self.geometry[of, 3:], after)
        points[index] = (
            self.place[of]
            + self.geometry[of, :3] * after[:, None]
            + turned_by(turn, points[index] - self.place[of])
        )
        return points

    def lands(
        self, points: Floats, geometry: Ints, near: Mask, pose: Floats, lens: Lens, rows: int
    ) -> Landed:
        """Where points (N, 3) of geometries (N,), world at the instant, are seen by the rows of a picture.

        Each is seen by the row that is taken while the point is there. near: those that are no directions to what
        lies at infinity. pose: the camera's at the instant, (4, 4). lens: of a window of the picture. rows: the
        picture's.
        """
        if not self.readout:
            away = points.copy()
            away[near] -= pose[:3, 3]
            seen = times(away, pose[:3, :3])
            in_front = seen[:, 2] > NEAREST
            x, y = lens.project(np.where(in_front[:, None], seen, (0.0, 0.0, 1.0)))
            origin = np.broadcast_to(pose[:3, 3], points.shape)
            far = np.where(near[:, None], points, origin + INFINITY * points)
            return Landed(x, y, seen[:, 2], np.zeros(len(points)), origin, far, in_front)
        y = np.full(len(points), rows / 2 - lens.top)
        for _ in range(ROUNDS):
            # Rows far beyond the picture would be taken long before or after it.
            seconds = self.when(np.clip(y + lens.top, -rows, 2 * rows), rows)
            cameras = self.cameras(pose, seconds)
            there = self.on(np.where(near, geometry, -1), seconds, points)
            away = np.where(near[:, None], there - cameras[:, :3, 3], points)
            seen = turned_by(np.swapaxes(cameras[:, :3, :3], 1, 2), away)
            in_front = seen[:, 2] > NEAREST
            x, y = lens.project(np.where(in_front[:, None], seen, (0.0, 0.0, 1.0)))
        far = np.where(near[:, None], there, cameras[:, :3, 3] + INFINITY * points)
        return Landed(x, y, seen[:, 2], seconds, cameras[:, :3, 3], far, in_front)


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
