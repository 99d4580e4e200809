"""Seed → scene: draws a `Scene` from ranges and a library of assets, without an engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from freelabels.renderers.draw.appearances import draw_appearance
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.draw.values import choose, rounded, rounded_vector
from freelabels.renderers.scene.assets import Library
from freelabels.renderers.scene.loading import Asset, Group
from freelabels.renderers.scene.scene import Body, Camera, Drive, Physics, Scene, Vector, Wall
from freelabels.renderers.simulate.world import material_roles
from freelabels.renderers.surfaces.appearance import SKIN, Appearance

_number, _vector = partial(rounded, digits=9), partial(rounded_vector, digits=9)
# Each component draws from its own stream, so that a change to one leaves the others as they were.
COMPONENTS = ("surroundings", "physics", "choice", "placement", "camera", "appearance", "clutter", "skins")
BOLTED = ("arm",)  # classes made to be fixed to the floor
SKIN_SHARE = 0.8  # of things that bring a texture map along: how many keep it
GAP = 0.004  # metres between things at the start
PLACEMENTS = 12  # tries before a thing is put on top of all others


def draw_scene(
    seed: int,
    clip: int,
    ranges: SceneRanges,
    assets: Library,
    redraws: Mapping[str, int] | None = None,
) -> Scene:
    """The scene of clip number `clip` under root `seed` (any integer ≥ 0).

    redraws: draws already turned down, by reason; "physics" moves the placements and "view" the camera on to
    their next draws. Things overlap nowhere at the start: their bounding spheres are disjoint. Assets that
    can't be used are replaced by others and named in `Scene.left_out`. Raises ValueError if none can be used.
    """
    redraws = {"overlap": 0, "physics": 0, "view": 0, **(redraws or {})}

    def stream(component: str, attempt: int = 0) -> np.random.Generator:
        key = (clip, COMPONENTS.index(component), *([attempt] if attempt else []))
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))

    left_out: dict[str, str] = {}
    walls = _draw_walls(stream("surroundings"), ranges)
    physics, fps = _draw_physics(stream("physics"), ranges)
    chosen = _choose_bodies(stream("choice"), ranges, assets, left_out)
    taken: list[tuple[NDArray[np.float64], float]] = []  # bounding spheres in use
    clutter = _draw_clutter(stream("clutter", redraws["physics"]), ranges, assets, taken)
    bodies, overlaps = _place_bodies(stream("placement", redraws["physics"]), ranges, chosen, taken)
    camera = _draw_camera(stream("camera", redraws["view"]), ranges)
    roles = material_roles(walls, clutter, bodies, assets)
    appearance = draw_appearance(stream("appearance"), roles, assets.photos, ranges.appearance)
    things = (*clutter, *bodies)
    kept = stream("skins").random(len(things)) < SKIN_SHARE
    appearance = _with_skins(appearance, things, kept, assets)
    return Scene(
        seed=seed,
        clip=clip,
        fps=fps,
        physics=physics,
        walls=walls,
        clutter=clutter,
        bodies=bodies,
        camera=camera,
        appearance=appearance,
        redraws={**redraws, "overlap": overlaps},
        left_out=left_out,
    )


def _with_skins(
    appearance: Appearance, things: Sequence[Body], kept: NDArray[np.bool_], assets: Library
) -> Appearance:
    """The look of a scene in which some things, in the order of their materials, keep their texture maps."""
    links = [
        (link, keeps)
        for body, keeps in zip(things, kept, strict=True)
        for link in assets.load(body.asset).links
    ]
    materials = list(appearance.materials)
    for number, (link, keeps) in enumerate(links, start=len(materials) - len(links)):
        if keeps and link.mesh.skin is not None:
            materials[number] = dataclasses.replace(materials[number], texture=SKIN, photo="", metal=False)
    return dataclasses.replace(appearance, materials=tuple(materials))


def _draw_walls(rng: np.random.Generator, ranges: SceneRanges) -> tuple[Wall, ...]:
    count = int(rng.integers(ranges.walls[0], ranges.walls[1] + 1))
    first = rng.uniform(0, 2 * np.pi)
    height = _number(rng.uniform(*ranges.wall_height))
    distances = [_number(rng.uniform(*ranges.wall_distance)) for _ in range(count)]
    width = 2 * max(distances, default=0.0) + 1.0  # neighbours meet in the corners
    return tuple(Wall(_number(first + i * np.pi / 2), distances[i], width, height) for i in range(count))


def _draw_physics(rng: np.random.Generator, ranges: SceneRanges) -> tuple[Physics, int]:
    physics = Physics(
        gravity=_number(rng.uniform(*ranges.gravity)),
        friction=_number(rng.uniform(*ranges.friction)),
        restitution=_number(rng.uniform(*ranges.restitution)),
        warm_up=_number(rng.uniform(*ranges.warm_up)),
    )
    return physics, int(ranges.fps[int(rng.integers(len(ranges.fps)))])


def _choose_bodies(
    rng: np.random.Generator, ranges: SceneRanges, assets: Library, left_out: dict[str, str]
) -> list[tuple[Asset, Body]]:
    """What lies about, how big and of what substance; where is decided later."""
    names = {group: assets.names(group) for group in get_args(Group)}
    weights = {group: ranges.groups.get(group, 0.0) * bool(found) for group, found in names.items()}
    if sum(weights.values()) <= 0:
        raise ValueError("groups: none of the groups with a weight above 0 has an asset in this library")
    chosen = []
    for child in rng.spawn(int(rng.integers(ranges.objects[0], ranges.objects[1] + 1))):
        group = choose(child, weights)
        asset = _usable(child, names[group], assets, left_out)
        size = ranges.articulated_size if asset.joints else ranges.size
        drives = tuple(_draw_drive(child, joint.lower, joint.upper, ranges) for joint in asset.joints)
        body = Body(
            asset=asset.name,
            size=_number(np.exp(child.uniform(*np.log(size)))),
            position=(0.0, 0.0, 0.0),
            orientation=(0.0, 0.0, 0.0, 1.0),
            density=_number(np.exp(child.uniform(*np.log(ranges.density)))),
            friction=_number(child.uniform(*ranges.friction)),
            rolling_friction=_number(child.uniform(*ranges.rolling_friction)),
            restitution=_number(child.uniform(*ranges.restitution)),
            drives=drives,
        )
        chosen.append((asset, body))
    return chosen


def _usable(rng: np.random.Generator, names: list[str], assets: Library, left_out: dict[str, str]) -> Asset:
    """An asset that can be loaded; those that can't are noted in `left_out`."""
    for index in rng.permutation(len(names)):
        try:
            return assets.load(names[index])
        except ValueError as error:
            left_out[names[index]] = str(error)
    raise ValueError(f"none of {len(names)} assets can be used; the first: {next(iter(left_out.values()))}")


def _draw_drive(rng: np.random.Generator, lower: float, upper: float, ranges: SceneRanges) -> Drive:
    amplitude = rng.uniform(*ranges.swing) * (upper - lower) / 2
    centre = rng.uniform(lower + amplitude, upper - amplitude) if upper - lower > 2 * amplitude else 0.0
    if lower < 0 < upper:
        centre = np.clip(0.4 * centre, lower + amplitude, upper - amplitude)  # near the pose it was made in
    hertz, phase = rng.uniform(*ranges.swing_hertz), rng.uniform(0, 2 * np.pi)
    return Drive(_number(centre), _number(amplitude), _number(hertz), _number(phase))


def _draw_clutter(
    rng: np.random.Generator,
    ranges: SceneRanges,
    assets: Library,
    taken: list[tuple[NDArray[np.float64], float]],
) -> tuple[Body, ...]:
    """Static boxes, ramps and posts on the floor; those that would overlap are left away."""
    names = ("cube", "brick", "slab", "pillar", "cylinder", "wedge")
    placed = []
    for child in rng.spawn(int(rng.integers(ranges.clutter[0], ranges.clutter[1] + 1))):
        asset = assets.load(f"primitive/{names[int(child.integers(len(names)))]}")
        size = np.exp(child.uniform(*np.log(ranges.clutter_size)))
        orientation = _yaw(child.uniform(0, 2 * np.pi))
        distance, azimuth = child.uniform(*ranges.clutter_distance), child.uniform(0, 2 * np.pi)
        half = (asset.upper - asset.lower) / 2 * size / asset.extent
        centre = np.array([distance * np.cos(azimuth), distance * np.sin(azimuth), half[2]])
        if _is_free(centre, np.linalg.norm(half), taken):
            taken.append((centre, float(np.linalg.norm(half))))
            body = Body(
                asset.name, _number(size), _vector(centre), orientation, fixed=True, behaviour="stand"
            )
            placed.append(body)
    return tuple(placed)


def _place_bodies(
    rng: np.random.Generator,
    ranges: SceneRanges,
    chosen: list[tuple[Asset, Body]],
    taken: list[tuple[NDArray[np.float64], float]],
) -> tuple[tuple[Body, ...], int]:
    """Poses and velocities with disjoint bounding spheres, and how many draws overlapped."""
    overlaps = 0
    placed = []
    arena = rng.uniform(*ranges.arena)
    for child, (asset, body) in zip(rng.spawn(len(chosen)), chosen, strict=True):
        scale = body.size / asset.extent
        radius = float(np.linalg.norm(asset.upper - asset.lower)) / 2 * scale
        behaviour = choose(child, ranges.behaviours)
        if asset.joints:
            behaviour = "stand"
        for attempt in range(PLACEMENTS + 1):
            flat = arena * np.sqrt(child.uniform())
            azimuth = child.uniform(0, 2 * np.pi)
            upright = behaviour in ("rest", "stand")
            orientation = _yaw(child.uniform(0, 2 * np.pi)) if upright else _any_turn(child)
            half = _half_height(asset, orientation) * scale
            height = GAP if upright or behaviour == "roll" else child.uniform(*ranges.drop_height)
            if attempt == PLACEMENTS:  # above everything else there is always room
                height = max((c[2] + r for c, r in taken), default=0.0) + radius - half + GAP
            centre = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), height + half])
            if _is_free(centre, radius, taken):
                break
            overlaps += 1
        taken.append((centre, radius))
        middle = _rotate(orientation, (asset.lower + asset.upper) / 2 * scale)
        velocity, spin = _draw_motion(child, behaviour, centre, radius, ranges)
        placed.append(
            dataclasses.replace(
                body,
                position=_vector(centre - middle),
                orientation=orientation,
                velocity=velocity,
                spin=spin,
                behaviour=behaviour,
                fixed=asset.cls in BOLTED and bool(child.random() < ranges.bolted_share),
            )
        )
    return tuple(placed), overlaps


def _draw_motion(
    rng: np.random.Generator, behaviour: str, centre: NDArray[np.float64], radius: float, ranges: SceneRanges
) -> tuple[Vector, Vector]:
    """Velocity (m/s) and spin (rad/s) at the start; what is thrown or rolls goes roughly to the middle."""
    spin = np.radians(rng.uniform(*ranges.spin)) * _unit(rng.normal(size=3))
    away = np.arctan2(centre[1], centre[0]) + np.pi + rng.normal(0, 0.5)
    ahead = np.array([np.cos(away), np.sin(away), 0.0])
    if behaviour == "throw":
        up = np.array([0.0, 0.0, rng.uniform(0, 0.8)])
        return _vector(rng.uniform(*ranges.throw_speed) * _unit(ahead + up)), _vector(spin)
    if behaviour == "roll":
        speed = rng.uniform(*ranges.roll_speed)
        return _vector(speed * ahead), _vector(speed / radius * np.cross((0, 0, 1), ahead))
    return (0.0, 0.0, 0.0), _vector(spin) if behaviour == "drop" else (0.0, 0.0, 0.0)


def _draw_camera(rng: np.random.Generator, ranges: SceneRanges) -> Camera:
    path: Any = choose(rng, ranges.paths)
    off, azimuth = rng.uniform(*ranges.look_at), rng.uniform(0, 2 * np.pi)
    target = (off * np.cos(azimuth), off * np.sin(azimuth), rng.uniform(*ranges.look_at_height))
    side = rng.choice((-1.0, 1.0))
    speeds = {
        "orbit": side * np.radians(rng.uniform(*ranges.orbit_speed)),
        "dolly": rng.uniform(*ranges.dolly_speed),
    }
    direction = _unit(rng.normal(size=3) * (1, 1, 0.3))
    shake, turn = rng.uniform(*ranges.shake), np.radians(rng.uniform(*ranges.shake_angle))
    wobble = tuple(
        _vector((shake if row < 3 else turn, rng.uniform(*ranges.shake_hertz), rng.uniform(0, 2 * np.pi)))
        for row in range(6)
    )
    return Camera(
        fov=_number(rng.uniform(*ranges.fov)),
        target=_vector(target),
        distance=_number(rng.uniform(*ranges.distance)),
        azimuth=_number(rng.uniform(0, 2 * np.pi)),
        elevation=_number(np.radians(rng.uniform(*ranges.elevation))),
        roll=_number(np.radians(rng.uniform(*ranges.roll))),
        path=path,
        speed=_number(speeds.get(path, 0.0)),
        direction=_vector(direction) if path == "dolly" else (0.0, 0.0, 0.0),
        wobble=wobble if path == "handheld" else (),
    )


def _is_free(
    centre: NDArray[np.float64], radius: Any, taken: list[tuple[NDArray[np.float64], float]]
) -> bool:
    return all(np.linalg.norm(centre - other) >= radius + size + GAP for other, size in taken)


def _half_height(asset: Asset, orientation: tuple[float, ...]) -> float:
    """How far the turned bounding box reaches below its middle, natural size."""
    x, y, z, w = orientation
    row = np.array([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)])
    return float((np.abs(row) * (asset.upper - asset.lower)).sum() / 2)


def _rotate(orientation: tuple[float, ...], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    axis, w = np.array(orientation[:3]), orientation[3]
    rotated: NDArray[np.float64] = vector + 2 * np.cross(axis, np.cross(axis, vector) + w * vector)
    return rotated


def _yaw(angle: float) -> tuple[float, float, float, float]:
    return 0.0, 0.0, _number(np.sin(angle / 2)), _number(np.cos(angle / 2))


def _any_turn(rng: np.random.Generator) -> tuple[float, float, float, float]:
    x, y, z, w = (_number(value) for value in _unit(rng.normal(size=4)))
    return x, y, z, w


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vector / np.linalg.norm(vector)
    return unit
