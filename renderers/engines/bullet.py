"""A PyBullet client of one's own, without the text Bullet writes past Python."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from freelabels.generators.contract.geometry import invert_pose
from freelabels.generators.contract.products import product
from freelabels.ground.errors import UserError


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing written to the process's standard output and error while inside; Bullet prints from C."""
    ctypes.CDLL(None).fflush(None)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C still holds back
        for number, copy in enumerate(kept, start=1):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)


try:
    with quiet():  # it tells its build time
        import pybullet as pybullet
        import pybullet_data
except ModuleNotFoundError:  # there are wheels for few systems; what doesn't render works without
    pybullet = pybullet_data = None


def data_folder() -> Path:
    """The folder of models that PyBullet brings along. Raises UserError where there is no PyBullet."""
    _require()
    return Path(pybullet_data.getDataPath())


def _require() -> None:
    if pybullet is None:
        raise UserError(
            "rendering needs PyBullet, which has wheels for Python 3.11 on Linux x86-64: use that Python, or "
            "build PyBullet with a C++ compiler (pip install pybullet)"
        )


@contextmanager
def client() -> Iterator[int]:
    """The id of a fresh engine in DIRECT mode; disconnecting frees what it loaded. Raises UserError."""
    _require()
    with quiet():
        number: int = pybullet.connect(pybullet.DIRECT)
    # Bullet would keep every mesh file it has ever read.
    pybullet.setPhysicsEngineParameter(enableFileCaching=0, physicsClientId=number)
    try:
        yield number
    finally:
        with quiet():
            pybullet.disconnect(number)


def load_urdf(path: str, number: int, scale: float = 1.0, fixed: bool = False, visuals: bool = False) -> int:
    """Load a URDF's bodies and joints; its body id. Raises ValueError naming the file."""
    with quiet():
        try:
            body: int = pybullet.loadURDF(
                path,
                useFixedBase=fixed,
                globalScaling=scale,
                flags=0 if visuals else pybullet.URDF_IGNORE_VISUAL_SHAPES,
                physicsClientId=number,
            )
        except pybullet.error as error:
            raise ValueError(f"{path}: PyBullet can't load it ({error})") from error
    return body


def matrix(position: Sequence[float], orientation: Sequence[float]) -> NDArray[np.float64]:
    """(4, 4) rigid transform of a position and a quaternion (x, y, z, w)."""
    four = np.asarray(orientation, np.float64)
    x, y, z, w = four / np.sqrt((four * four).sum())
    out = np.eye(4)
    out[:3, :3] = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    out[:3, 3] = position
    return out


def quaternion(pose: NDArray[np.float64]) -> list[float]:
    """Quaternion (x, y, z, w) of the rotation in a rigid transform (4, 4)."""
    return [float(value) for value in Rotation.from_matrix(pose[:3, :3]).as_quat()]


def inertial_offset(body: int, number: int) -> NDArray[np.float64]:
    """(4, 4) centre-of-mass frame → base link frame; PyBullet poses bases by their centre of mass."""
    info = pybullet.getDynamicsInfo(body, -1, physicsClientId=number)
    return matrix(info[3], info[4])


def link_velocities(body: int, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Velocities (1 + joints, 6) of the links' centres of mass, the base first, and these centres (…, 3)."""
    linear, angular = pybullet.getBaseVelocity(body, physicsClientId=number)
    place, _ = pybullet.getBasePositionAndOrientation(body, physicsClientId=number)
    velocity, centre = [(*linear, *angular)], [place]
    joints = pybullet.getNumJoints(body, physicsClientId=number)
    if joints:
        for state in pybullet.getLinkStates(
            body, range(joints), computeLinkVelocity=True, physicsClientId=number
        ):
            velocity.append((*state[6], *state[7]))
            centre.append(state[0])
    return np.array(velocity, np.float64), np.array(centre, np.float64)


def link_poses(body: int, number: int, offset: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """(1 + joints, 4, 4) link frame → world, the base first; `offset` as of `inertial_offset`."""
    if offset is None:
        offset = inertial_offset(body, number)
    base = matrix(*pybullet.getBasePositionAndOrientation(body, physicsClientId=number))
    joints = pybullet.getNumJoints(body, physicsClientId=number)
    if not joints:
        return product(base, invert_pose(offset))[None]
    states = pybullet.getLinkStates(
        body, range(joints), computeForwardKinematics=True, physicsClientId=number
    )
    return np.stack([product(base, invert_pose(offset)), *(matrix(state[4], state[5]) for state in states)])
