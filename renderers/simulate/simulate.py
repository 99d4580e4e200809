"""Scene → recorded motion: PyBullet steps the physics, one frame beyond both ends of the clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.products import product
from freelabels.renderers.engines import bullet
from freelabels.renderers.engines.bullet import pybullet
from freelabels.renderers.scene.scene import Body, Scene
from freelabels.renderers.simulate.impacts import Impact, Listener
from freelabels.renderers.simulate.world import World, upright

STEPS = 240  # a second
TOUCH = 1e-3  # metres: closer things are in contact
SUNK = 0.02  # metres two things may sink into one another before the placement counts as impossible
REACH = 70.0  # metres from the world's axis beyond which a body has escaped
SLOW = 2e-3  # m/s of any part of a body below which it counts as standing while a picture is taken
SPEED = 40.0  # m/s no body reaches by falling or being thrown indoors: the solver has failed


@dataclass(frozen=True)
class Simulation:
    """Recorded states at frames −1, 0, …, T (row k holds frame k − 1).

    geometry_pose: (T + 2, G, 4, 4) part → world. body_pose: (T + 2, N, 4, 4) base frame → world. velocity:
    (T + 2, N, 6) m/s and rad/s of the base's centre of mass, world. contact: (T + 2, M + 1, M + 1) bool by
    instance id, clutter included; 0 is the static scene. problems: what makes the run useless, by the index of
    the body to blame. impacts: what struck what, in order. geometry_velocity: (T + 2, G, 6) float32, m/s of the
    parts' origins and rad/s, world; 0 of what all but stands still.
    """

    geometry_pose: NDArray[np.float64]
    body_pose: NDArray[np.float64]
    velocity: NDArray[np.float64]
    contact: NDArray[np.bool_]
    problems: Mapping[int, str]
    impacts: tuple[Impact, ...] = ()
    geometry_velocity: NDArray[np.float32] | None = None


Watch = Callable[[int, Sequence[int], int], None]


def simulate(scene: Scene, world: World, frames: int, watch: Watch | None = None) -> Simulation:
    """Step a scene's physics over a clip of `frames` frames. Raises ValueError if that is no positive number.

    watch: called with the engine's id, the bodies' ids and the frame's number after each frame (−1 to `frames`);
    the bodies then have the visual shapes of their files.

    The same scene gives the same poses bit for bit on one machine: a fresh engine, fixed solver settings,
    ordered contact pairs.
    """
    if frames < 1:
        raise ValueError(f"a clip has at least one frame, not {frames}")
    with bullet.client() as engine:
        static = _load_static(scene, world, engine)
        bodies = [
            _load_body(body, asset.urdf, body.size / asset.extent, engine, visuals=watch is not None)
            for body, asset in zip(scene.bodies, world.assets, strict=True)
        ]
        offsets = [bullet.inertial_offset(body, engine) for body in bodies]
        recorder = _Recorder(scene, world, static, bodies, offsets, engine)
        substeps = STEPS // scene.fps
        warm_up = round(scene.physics.warm_up * STEPS)
        problems = recorder.overlaps()
        clock = 0
        for frame in range(-1, frames + 1):
            # The frame before the first is one frame's time earlier, the warm-up permitting.
            until = warm_up + (frame + 1) * substeps
            while clock < until:
                _drive(scene, world, bodies, clock / STEPS, engine)
                pybullet.stepSimulation(physicsClientId=engine)
                clock += 1
                recorder.listener.listen((clock - warm_up - substeps) / STEPS, 1 / STEPS)
            recorder.record()
            if watch is not None:
                watch(engine, bodies, frame)
        return recorder.finished(problems)


def _settings(scene: Scene, engine: int) -> None:
    pybullet.setPhysicsEngineParameter(
        fixedTimeStep=1 / STEPS,
        numSolverIterations=60,
        numSubSteps=0,
        deterministicOverlappingPairs=1,
        solverResidualThreshold=1e-7,
        physicsClientId=engine,
    )
    pybullet.setGravity(0, 0, -scene.physics.gravity, physicsClientId=engine)


def _load_static(scene: Scene, world: World, engine: int) -> list[int]:
    """The plane z = 0, the place's solid blocks and clutter as bodies without mass."""
    _settings(scene, engine)
    shape = pybullet.createCollisionShape(pybullet.GEOM_PLANE, physicsClientId=engine)
    found = [pybullet.createMultiBody(0, shape, physicsClientId=engine)]
    for block in scene.structure:
        if not (block.solid and block.sides[2]):
            continue
        shape = pybullet.createCollisionShape(
            pybullet.GEOM_BOX, halfExtents=[side / 2 for side in block.sides], physicsClientId=engine
        )
        turn = upright(block.yaw)
        found.append(
            pybullet.createMultiBody(
                0, shape, basePosition=block.position, baseOrientation=turn, physicsClientId=engine
            )
        )
    for body, asset in zip(scene.clutter, world.clutter, strict=True):
        found.append(_load_body(body, asset.urdf, body.size / asset.extent, engine))
    for number in found:
        pybullet.changeDynamics(
            number,
            -1,
            lateralFriction=scene.physics.friction,
            restitution=scene.physics.restitution,
            physicsClientId=engine,
        )
    return found


def _load_body(body: Body, urdf: str, scale: float, engine: int, visuals: bool = False) -> int:
    number = bullet.load_urdf(urdf, engine, scale, body.fixed, visuals)
    start = product(bullet.matrix(body.position, body.orientation), bullet.inertial_offset(number, engine))
    pybullet.resetBasePositionAndOrientation(
        number, list(start[:3, 3]), bullet.quaternion(start), physicsClientId=engine
    )
    pybullet.resetBaseVelocity(number, body.velocity, body.spin, physicsClientId=engine)
    joints = pybullet.getNumJoints(number, physicsClientId=engine)
    if not joints and not body.fixed:
        lower, upper = pybullet.getAABB(number, physicsClientId=engine)
        volume = float(np.prod(np.subtract(upper, lower)))
        pybullet.changeDynamics(number, -1, mass=0.5 * body.density * volume, physicsClientId=engine)
    for link in range(-1, joints):
        pybullet.changeDynamics(
            number,
            link,
            lateralFriction=body.friction,
            rollingFriction=body.rolling_friction,
            spinningFriction=body.rolling_friction,
            restitution=body.restitution,
            linearDamping=0.0,
            angularDamping=0.04,
            physicsClientId=engine,
        )
    return number


def _mass(number: int, engine: int) -> float:
    """Kilograms of a body with all its links."""
    joints = pybullet.getNumJoints(number, physicsClientId=engine)
    return sum(
        float(pybullet.getDynamicsInfo(number, link, physicsClientId=engine)[0]) for link in range(-1, joints)
    )


def _drive(scene: Scene, world: World, bodies: list[int], time: float, engine: int) -> None:
    """Set the motors of all joints for the next step."""
    for number, body, asset in zip(bodies, scene.bodies, world.assets, strict=True):
        if not body.drives:
            continue
        slide = body.size / asset.extent  # sliding joints scale with the body
        targets = [
            (d.centre + d.amplitude * np.sin(2 * np.pi * d.hertz * time + d.phase))
            * (slide if joint.slides else 1)
            for d, joint in zip(body.drives, asset.joints, strict=True)
        ]
        pybullet.setJointMotorControlArray(
            number,
            [joint.index for joint in asset.joints],
            pybullet.POSITION_CONTROL,
            targetPositions=targets,
            forces=[60.0] * len(targets),
            physicsClientId=engine,
        )


class _Recorder:
    """Collects the state of all bodies frame by frame."""

    def __init__(
        self,
        scene: Scene,
        world: World,
        static: list[int],
        bodies: list[int],
        offsets: list[NDArray[np.float64]],
        engine: int,
    ) -> None:
        self.scene, self.world, self.engine = scene, world, engine
        self.bodies, self.offsets = bodies, offsets
        ground, clutter = (
            static[: len(static) - len(world.clutter)],
            static[len(static) - len(world.clutter) :],
        )
        things = [*bodies, *clutter]
        self.object_of = dict.fromkeys(ground, 0) | {b: i + 1 for i, b in enumerate(things)}
        self.resting = self._touching(clutter, ground)
        self.listener = Listener(self.object_of, {b: _mass(b, engine) for b in bodies}, engine)
        self.geometry: list[NDArray[np.float64]] = []
        self.geometry_velocity: list[NDArray[np.float32]] = []
        self.base: list[NDArray[np.float64]] = []
        self.velocity: list[NDArray[np.float64]] = []
        self.contact: list[NDArray[np.bool_]] = []

    def _touching(self, clutter: list[int], ground: list[int]) -> list[tuple[int, int]]:
        """Pairs of instance ids of what never moves and touches; Bullet tells no contacts of these."""
        return [
            (self.object_of[one], self.object_of[other])
            for index, one in enumerate(clutter)
            for other in (*ground, *clutter[:index])
            if pybullet.getClosestPoints(one, other, TOUCH, physicsClientId=self.engine)
        ]

    def overlaps(self) -> dict[int, str]:
        """Bodies that stand inside something at the start."""
        pybullet.performCollisionDetection(physicsClientId=self.engine)
        names = ["the static scene", *(thing.asset for thing in (*self.scene.bodies, *self.scene.clutter))]
        found = {}
        for point in pybullet.getContactPoints(physicsClientId=self.engine) or ():
            one, other = sorted((self.object_of[point[1]], self.object_of[point[2]]))
            if point[8] < -SUNK and one != other:
                if other > len(self.bodies):  # clutter stays, whatever stands in it goes
                    one, other = other, one
                found[other - 1] = f"starts {-point[8]:.3f} m inside {names[one]}"
        return found

    def record(self) -> None:
        poses = np.array(self.world.static_pose)
        moving = np.zeros((len(poses), 6), np.float32)
        base = np.empty((len(self.bodies), 4, 4))
        velocity = np.empty((len(self.bodies), 6))
        for index, (number, offset) in enumerate(zip(self.bodies, self.offsets, strict=True)):
            links = bullet.link_poses(number, self.engine, offset)
            mine = self.world.body == index
            poses[mine] = links[self.world.link[mine] + 1]
            moving[mine] = self._part_velocity(number, poses[mine], self.world.link[mine] + 1, index)
            base[index] = links[0]
            linear, angular = pybullet.getBaseVelocity(number, physicsClientId=self.engine)
            velocity[index] = (*linear, *angular)
        contact = np.zeros((len(self.world.things) + 1,) * 2, bool)
        for one, other in self.resting:
            contact[one, other] = contact[other, one] = True
        for point in pybullet.getContactPoints(physicsClientId=self.engine) or ():
            if point[8] < TOUCH:
                one, other = self.object_of[point[1]], self.object_of[point[2]]
                contact[one, other] = contact[other, one] = one != other
        self.geometry.append(poses)
        self.geometry_velocity.append(moving)
        self.base.append(base)
        self.velocity.append(velocity)
        self.contact.append(contact)

    def _part_velocity(
        self, number: int, poses: NDArray[np.float64], link: NDArray[np.int32], index: int
    ) -> NDArray[np.float32]:
        """(n, 6) of links' origins, and 0 of a body that nowhere moves as fast as `SLOW`."""
        velocity, centre = bullet.link_velocities(number, self.engine)
        spin = velocity[link, 3:]
        origin = velocity[link, :3] + np.cross(spin, poses[:, :3, 3] - centre[link])
        found = np.concatenate([origin, spin], axis=1).astype(np.float32)
        fastest = np.abs(origin).max() + np.abs(spin).max() * self.scene.bodies[index].size
        return found if fastest > SLOW else np.zeros_like(found)

    def finished(self, problems: dict[int, str]) -> Simulation:
        base, velocity = np.array(self.base), np.array(self.velocity)
        for index, body in enumerate(self.scene.bodies):
            place, speed = base[:, index, :3, 3], np.linalg.norm(velocity[:, index, :3], axis=-1)
            if not np.isfinite(base[:, index]).all():
                problems[index] = "has no finite pose"
            elif place[:, 2].min() < -body.size:
                problems[index] = "fell through the floor"
            elif np.abs(place).max() > REACH or speed.max() > SPEED:
                problems[index] = "flew off"
        impacts = tuple(self.listener.impacts)
        return Simulation(
            np.array(self.geometry),
            base,
            velocity,
            np.array(self.contact),
            problems,
            impacts,
            np.array(self.geometry_velocity),
        )
