"""Things on a floor, now and then before walls: they fall, roll, fly and collide."""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from freelabels.renderers.draw.layouts import GAP, Draws, Layout, any_turn, number, rotated, vector, yaw
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.draw.values import choose
from freelabels.renderers.objects.household import HOUSEHOLD
from freelabels.renderers.scene.assets import Library
from freelabels.renderers.scene.loading import Asset, Group
from freelabels.renderers.scene.scene import Block, Body, Camera, Drive, Vector

FLOOR_SIDE = 60.0  # metres
WALL_THICKNESS = 0.2
BOLTED = ("arm",)  # classes made to be fixed to the floor
PLACEMENTS = 12  # tries before a thing is put on top of all others
TOYS = ("chair", "stool", "desk lamp", "car", "cone", "person")  # made classes that lie about in small


def lay_table(draws: Draws, ranges: SceneRanges, assets: Library, left_out: dict[str, str]) -> Layout:
    """Things with disjoint bounding spheres on a floor of many metres, up to four walls around."""
    walls = _draw_walls(draws("surroundings"), ranges)
    chosen = choose_bodies(draws("choice"), ranges, assets, left_out)
    taken: list[tuple[NDArray[np.float64], float]] = []  # bounding spheres in use
    clutter = _draw_clutter(draws("clutter"), ranges, assets, taken)
    bodies, overlaps = _place_bodies(draws("placement"), ranges, chosen, taken)
    floor = Block("floor", (FLOOR_SIDE, FLOOR_SIDE, 0.0), (0.0, 0.0, 0.0))
    return Layout((floor, *walls), clutter, bodies, overlaps=overlaps)


def _draw_walls(rng: np.random.Generator, ranges: SceneRanges) -> tuple[Block, ...]:
    count = int(rng.integers(ranges.walls[0], ranges.walls[1] + 1))
    first = rng.uniform(0, 2 * np.pi)
    height = number(rng.uniform(*ranges.wall_height))
    distances = [number(rng.uniform(*ranges.wall_distance)) for _ in range(count)]
    width = 2 * max(distances, default=0.0) + 1.0  # neighbours meet in the corners
    walls = []
    for index, distance in enumerate(distances):
        azimuth, away = number(first + index * np.pi / 2), distance + WALL_THICKNESS / 2
        sides = (WALL_THICKNESS, width, height)
        place = vector((away * np.cos(azimuth), away * np.sin(azimuth), height / 2))
        walls.append(Block("wall", sides, place, azimuth, index + 1, "wall"))
    return tuple(walls)


def choose_bodies(
    rng: np.random.Generator, ranges: SceneRanges, assets: Library, left_out: dict[str, str]
) -> list[tuple[Asset, Body]]:
    """What lies about, how big and of what substance; where is decided later."""
    names = {group: assets.names(group) for group in get_args(Group)}
    names["made"] = [name for cls in (*HOUSEHOLD, *TOYS) for name in assets.names("made", cls)]
    weights = {group: ranges.groups.get(group, 0.0) * bool(found) for group, found in names.items()}
    if sum(weights.values()) <= 0:
        raise ValueError("groups: none of the groups with a weight above 0 has an asset in this library")
    chosen = []
    for child in rng.spawn(int(rng.integers(ranges.objects[0], ranges.objects[1] + 1))):
        group = choose(child, weights)
        asset = _usable(child, names[group], assets, left_out)
        size = ranges.articulated_size if asset.joints else ranges.size
        if asset.cls in HOUSEHOLD and group == "made":  # as large as life, where the ranges allow that
            size = (float(np.clip(asset.extent, *size)), float(np.clip(1.25 * asset.extent, *size)))
        drives = tuple(_draw_drive(child, joint.lower, joint.upper, ranges) for joint in asset.joints)
        body = Body(
            asset=asset.name,
            size=number(np.exp(child.uniform(*np.log(size)))),
            position=(0.0, 0.0, 0.0),
            orientation=(0.0, 0.0, 0.0, 1.0),
            density=number(np.exp(child.uniform(*np.log(ranges.density)))),
            friction=number(child.uniform(*ranges.friction)),
            rolling_friction=number(child.uniform(*ranges.rolling_friction)),
            restitution=number(child.uniform(*ranges.restitution)),
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
    return Drive(number(centre), number(amplitude), number(hertz), number(phase))


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
        orientation = yaw(child.uniform(0, 2 * np.pi))
        distance, azimuth = child.uniform(*ranges.clutter_distance), child.uniform(0, 2 * np.pi)
        half = (asset.upper - asset.lower) / 2 * size / asset.extent
        centre = np.array([distance * np.cos(azimuth), distance * np.sin(azimuth), half[2]])
        if _is_free(centre, float(np.linalg.norm(half)), taken):
            taken.append((centre, float(np.linalg.norm(half))))
            body = Body(asset.name, number(size), vector(centre), orientation, fixed=True, behaviour="stand")
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
            orientation = yaw(child.uniform(0, 2 * np.pi)) if upright else any_turn(child)
            half = _half_height(asset, orientation) * scale
            height = GAP if upright or behaviour == "roll" else child.uniform(*ranges.drop_height)
            if attempt == PLACEMENTS:  # above everything else there is always room
                height = max((c[2] + r for c, r in taken), default=0.0) + radius - half + GAP
            centre = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), height + half])
            if _is_free(centre, radius, taken):
                break
            overlaps += 1
        taken.append((centre, radius))
        middle = rotated(orientation, (asset.lower + asset.upper) / 2 * scale)
        velocity, spin = draw_motion(child, behaviour, centre, radius, ranges)
        placed.append(
            dataclasses.replace(
                body,
                position=vector(centre - middle),
                orientation=orientation,
                velocity=velocity,
                spin=spin,
                behaviour=behaviour,
                fixed=asset.cls in BOLTED and bool(child.random() < ranges.bolted_share),
            )
        )
    return tuple(placed), overlaps


def draw_motion(
    rng: np.random.Generator, behaviour: str, centre: NDArray[np.float64], radius: float, ranges: SceneRanges
) -> tuple[Vector, Vector]:
    """Velocity (m/s) and spin (rad/s) at the start; what is thrown or rolls goes roughly to the middle."""
    spin = np.radians(rng.uniform(*ranges.spin)) * _unit(rng.normal(size=3))
    away = np.arctan2(centre[1], centre[0]) + np.pi + rng.normal(0, 0.5)
    ahead = np.array([np.cos(away), np.sin(away), 0.0])
    if behaviour == "throw":
        up = np.array([0.0, 0.0, rng.uniform(0, 0.8)])
        return vector(rng.uniform(*ranges.throw_speed) * _unit(ahead + up)), vector(spin)
    if behaviour == "roll":
        speed = rng.uniform(*ranges.roll_speed)
        return vector(speed * ahead), vector(speed / radius * np.cross((0, 0, 1), ahead))
    return (0.0, 0.0, 0.0), vector(spin) if behaviour == "drop" else (0.0, 0.0, 0.0)


def table_camera(rng: np.random.Generator, ranges: SceneRanges, layout: Layout) -> Camera:
    """A camera that looks at about the middle."""
    path = choose(rng, ranges.paths)
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
        vector((shake if row < 3 else turn, rng.uniform(*ranges.shake_hertz), rng.uniform(0, 2 * np.pi)))
        for row in range(6)
    )
    return Camera(
        fov=number(rng.uniform(*ranges.fov)),
        target=vector(target),
        distance=number(rng.uniform(*ranges.distance)),
        azimuth=number(rng.uniform(0, 2 * np.pi)),
        elevation=number(np.radians(rng.uniform(*ranges.elevation))),
        roll=number(np.radians(rng.uniform(*ranges.roll))),
        path=path,
        speed=number(speeds.get(path, 0.0)),
        direction=vector(direction) if path == "dolly" else (0.0, 0.0, 0.0),
        wobble=wobble if path == "handheld" else (),
    )


def _is_free(
    centre: NDArray[np.float64], radius: float, taken: list[tuple[NDArray[np.float64], float]]
) -> bool:
    return all(np.linalg.norm(centre - other) >= radius + size + GAP for other, size in taken)


def _half_height(asset: Asset, orientation: tuple[float, ...]) -> float:
    """How far the turned bounding box reaches below its middle, natural size."""
    x, y, z, w = orientation
    row = np.array([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)])
    return float((np.abs(row) * (asset.upper - asset.lower)).sum() / 2)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vector / np.linalg.norm(vector)
    return unit
