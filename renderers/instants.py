"""Simulated world → each frame's instant, ready for rays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freelabels.renderers.engines.mesh import Mesh
from freelabels.renderers.engines.moving import motion_of
from freelabels.renderers.engines.raycast import Floats, Posed, pose, pose_surfaces
from freelabels.renderers.labels.looks import Instant
from freelabels.renderers.scene.scene import Camera
from freelabels.renderers.simulate.simulate import Simulation
from freelabels.renderers.simulate.world import World

STILL_FACES = 3000  # triangles from which on what never moves is posed once for all frames
CELL = 32.0  # metres: what never moves is kept relative to the nearest multiple, exact to some micrometres


def instant(
    world: World,
    motion: Simulation,
    poses: Floats,
    row: int,
    still: Posed | None,
    camera: Camera,
    sways: Floats,
) -> Instant:
    """Row `row` of a simulation (0: the frame before the first): posed, with what moves while it is taken.

    poses, sways: (T + 2, …) poses and velocities of the camera. still: what never moves, posed once for all.
    """
    pose, places = poses[row], motion.geometry_pose[row]
    surfaces = pose_surfaces(world.meshes, places, world.parts, pose[:3, 3], still)
    if not (camera.readout or camera.exposure or camera.aperture):
        return Instant(surfaces, pose)
    parts = part_velocity(motion)[row].astype(np.float64)
    drift = motion_of(
        world.meshes,
        places,
        world.parts.object,
        still,
        camera=sways[row],
        geometry=parts,
        readout=camera.readout,
        exposure=camera.exposure,
    )
    return Instant(surfaces, pose, drift)


def instants_around(rows: int, reach: int, make: Callable[[int], Instant]) -> Iterator[Mapping[int, Instant]]:
    """For each frame of a simulation of `rows`, the instants up to `reach` frames off by how much later they are.

    make: row → instant; asked once a row.
    """
    made: dict[int, Instant] = {}
    for row in range(1, rows - 1):
        near = range(max(row - reach, 0), min(row + reach + 1, rows))
        made = {other: made[other] if other in made else make(other) for other in near}
        yield {other - row: made[other] for other in near}


def part_velocity(motion: Simulation) -> NDArray[np.float32]:
    """(T + 2, G, 6) of the parts, 0 where a simulation does not tell."""
    known = motion.geometry_velocity
    return known if known is not None else np.zeros((*motion.geometry_pose.shape[:2], 6), np.float32)


def still_part(world: World, near: ArrayLike) -> Posed | None:
    """What never moves, posed for all frames; None where that is so little that it isn't worth asking it apart.

    near: (3,) world, metres, where it is looked at from. The last one is kept: a scene is looked for in the same
    world in which it is rendered.
    """
    count = int((world.body < 0).sum())  # the first geometries
    if sum(len(mesh.triangles) for mesh in world.meshes[:count]) < STILL_FACES:
        return None
    x, y, z = (float(cell) * CELL for cell in np.rint(np.asarray(near, np.float64) / CELL))
    owners = world.parts.object[:count]
    return _still(world.meshes[:count], world.static_pose[:count].tobytes(), owners.tobytes(), (x, y, z))


@lru_cache(maxsize=1)
def _still(meshes: tuple[Mesh, ...], poses: bytes, owners: bytes, base: tuple[float, float, float]) -> Posed:
    places = np.frombuffer(poses).reshape(-1, 4, 4)
    return pose(meshes, places, np.frombuffer(owners, np.int32), base)
