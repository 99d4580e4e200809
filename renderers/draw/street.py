"""Streets: parked and moving cars, trees, lamps and people between two rows of buildings."""

from __future__ import annotations

import dataclasses

import numpy as np

from freelabels.renderers.draw.appearances import Setting
from freelabels.renderers.draw.layouts import (
    GAP,
    Draws,
    Layout,
    Room,
    aimed,
    half_sides,
    moving_camera,
    number,
    pick,
    standing,
    vector,
)
from freelabels.renderers.draw.props import fall_about
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.draw.street_shell import KERB, draw_street
from freelabels.renderers.draw.values import choose
from freelabels.renderers.scene.assets import Library
from freelabels.renderers.scene.scene import Body, Camera

AT_KERB = {"tree": 3.0, "street lamp": 1.5, "sign": 1.0, "bollard": 0.8, "bin": 0.5, "bicycle rack": 0.4}
AT_FRONT = {"bin": 1.0, "planter": 1.0, "bush": 1.0, "bench": 1.0, "carton": 0.4, "grass": 0.4}
ON_PAVEMENT = {"person": 1.0}
ROWS = {"kerb": 3.0, "front": 2.0, "pavement": 2.0}
STRETCH = 26.0  # metres to both sides in which things stand
TRIES = 8


def lay_street(draws: Draws, ranges: SceneRanges, assets: Library, left_out: dict[str, str]) -> Layout:
    """A street along x; things stand in rows on its pavements, cars along its kerbs and in its lanes."""
    rng = draws("surroundings")
    road, pavement = rng.uniform(*ranges.road_width), rng.uniform(*ranges.pavement_width)
    structure = draw_street(rng, road, pavement)
    room = Room()
    clutter = _parked(draws("furniture"), ranges, assets, road, room)
    for child in draws("clutter").spawn(
        int(draws("details").integers(ranges.street_things[0], ranges.street_things[1] + 1))
    ):
        if (thing := _beside(child, assets, road, pavement, room)) is not None:
            clutter.append(thing)
    rng = draws("placement")
    bodies = _driving(rng, ranges, assets, road, room)
    near = np.array([-9.0, -road / 2 - 0.8 * pavement, 0.0]), np.array([9.0, road / 2 + 0.8 * pavement, 0.0])
    # Upper surfaces of pavements are in the way of what lies on the road's height.
    for side in (-1, 1):
        edge = np.sort([side * road / 2, side * (road / 2 + pavement)])
        room.take(np.array([-60.0, edge[0], -1.0]), np.array([60.0, edge[1], KERB]))
    bodies += fall_about(rng, ranges, assets, room, near, 2.5, left_out)
    targets = tuple(body.position for body in (*clutter, *bodies) if abs(body.position[0]) < 18)
    half = road / 2 + pavement - 0.4
    bounds = (-14.0, number(-half), 0.5), (14.0, number(half), 6.0)
    lighting = choose(draws("details"), {"sun": 3.0, "overcast": 1.5})
    return Layout(structure, tuple(clutter), tuple(bodies), Setting(lighting), room, targets, bounds)


def _parked(
    rng: np.random.Generator, ranges: SceneRanges, assets: Library, road: float, room: Room
) -> list[Body]:
    found: list[Body] = []
    for child in rng.spawn(int(rng.integers(ranges.parked[0], ranges.parked[1] + 1))):
        asset = pick(child, assets, {"car": 1.0})
        if asset is None:
            continue
        side = int(child.choice((-1, 1)))
        wide = float((asset.upper - asset.lower)[1])
        angle = (0.0 if side < 0 else np.pi) + child.normal(0, 0.015)
        for _ in range(TRIES):
            x, y = child.uniform(-STRETCH, STRETCH), side * (road / 2 - wide / 2 - child.uniform(0.1, 0.3))
            car = standing(asset, 1.0, x, y, 0.0, angle)
            half = half_sides(asset, 1.0, angle)
            if room.free(np.array(car.position) - half, np.array(car.position) + half, 0.6):
                room.take(np.array(car.position) - half, np.array(car.position) + half)
                found.append(car)
                break
    return found


def _beside(
    rng: np.random.Generator, assets: Library, road: float, pavement: float, room: Room
) -> Body | None:
    """Something on a pavement: in the row along the kerb, in that along the houses, or between them."""
    row = choose(rng, ROWS)
    asset = pick(rng, assets, {"kerb": AT_KERB, "front": AT_FRONT, "pavement": ON_PAVEMENT}[row])
    if asset is None:
        return None
    side, scale = int(rng.choice((-1, 1))), rng.uniform(0.92, 1.08)
    to_road = -side * np.pi / 2
    for _ in range(TRIES):
        turn = {"kerb": to_road, "front": to_road, "pavement": rng.uniform(-np.pi, np.pi)}[row]
        if asset.cls == "sign":
            turn = float(rng.choice((0.0, np.pi)))
        turn += rng.normal(0, 0.05)
        half = half_sides(asset, scale, turn)
        off = {
            "kerb": 0.45,
            "front": pavement - half[1] - 0.08,
            "pavement": rng.uniform(0.6, max(0.7, pavement - 0.5)),
        }[row]
        x, y = rng.uniform(-STRETCH, STRETCH), side * (road / 2 + off)
        body = standing(asset, scale, x, y, KERB, turn)
        middle = np.array(body.position)
        # Crowns and lamps' arms may reach over things: their feet count.
        foot = np.minimum(half, (0.4, 0.4, half[2])) if row == "kerb" else half
        if room.free(middle - foot, middle + foot, 0.1):
            room.take(middle - foot, middle + foot)
            return body
    return None


def _driving(
    rng: np.random.Generator, ranges: SceneRanges, assets: Library, road: float, room: Room
) -> list[Body]:
    """Cars in their lanes, one to a lane; nothing brakes them."""
    found = []
    lanes = [-1, 1]
    for _ in range(int(rng.integers(ranges.driving[0], ranges.driving[1] + 1))):
        asset = pick(rng, assets, {"car": 1.0})
        if asset is None or not lanes:
            break
        lane = lanes.pop(int(rng.integers(len(lanes))))
        ahead = -lane  # on the right
        speed, start = rng.uniform(*ranges.driving_speed), -ahead * rng.uniform(-6.0, 20.0)
        angle = 0.0 if ahead > 0 else np.pi
        y = lane * max(road / 4 - 0.5, 0.95)
        car = standing(asset, 1.0, start, y, GAP, angle)
        half = half_sides(asset, 1.0, angle)
        middle = np.array(car.position)
        if not room.free(middle - half, middle + half):
            continue
        # Where it will be within the next seconds is taken too.
        reach = np.array([ahead * speed * 3.0, 0.0, 0.0])
        room.take(np.minimum(middle, middle + reach) - half, np.maximum(middle, middle + reach) + half)
        found.append(
            dataclasses.replace(
                car,
                fixed=False,
                behaviour="drive",
                velocity=vector((ahead * speed, 0.0, 0.0)),
                friction=0.0,
                rolling_friction=0.0,
                restitution=0.0,
            )
        )
    return found


def street_camera(rng: np.random.Generator, ranges: SceneRanges, layout: Layout) -> Camera:
    """At eye height on a pavement or the road, looking along the street or at something in it."""
    low, high = (np.array(corner) for corner in layout.bounds)
    eye, target = np.array([low[0], 0.0, 1.6]), np.array([0.0, 0.0, 1.5])
    for _ in range(4 * TRIES):
        up = rng.uniform(*ranges.eye_height) + 0.3 if rng.random() < 0.85 else rng.uniform(2.5, 5.5)
        eye = np.array([rng.uniform(low[0], high[0]), rng.uniform(low[1], high[1]), up])
        if layout.targets and rng.random() < 0.5:
            target = np.array(layout.targets[int(rng.integers(len(layout.targets)))])
            target[2] = np.clip(target[2], 0.3, 2.5)
        else:
            heading = rng.choice((0.0, np.pi)) + rng.normal(0, 0.35)
            far = rng.uniform(8, 16)
            target = eye + np.array([far * np.cos(heading), far * np.sin(heading), rng.uniform(-0.8, 1.2)])
        distance = np.sqrt(((eye - target) ** 2).sum())
        if distance > 2.5 and layout.taken.free(eye, eye, 0.7):
            break
    return moving_camera(rng, ranges, vector(target), aimed(eye, target))
