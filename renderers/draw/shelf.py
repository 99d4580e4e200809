"""Shelves: a row of bookcases full of things, as in a shop, a larder or a library, and a camera before them."""

from __future__ import annotations

import dataclasses

import numpy as np

from freelabels.renderers.draw.layouts import (
    GAP,
    Draws,
    Layout,
    Room,
    aimed,
    half_sides,
    moving_camera,
    pick,
    standing,
    vector,
)
from freelabels.renderers.draw.props import fall_about
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.draw.room import keep_doors_free, lit_room
from freelabels.renderers.draw.room_shell import Shell, draw_shell
from freelabels.renderers.draw.values import choose
from freelabels.renderers.objects.solids import Support
from freelabels.renderers.scene.assets import Library
from freelabels.renderers.scene.loading import Asset
from freelabels.renderers.scene.scene import Body, Camera

# What the whole row is for, and what stands on it then.
STOCKS = {
    "larder": {"bottle": 2.0, "jar": 2.5, "can": 2.5, "carton": 2.0, "fruit": 0.7, "basket": 0.5},
    "kitchen": {"cup": 2.0, "glass": 1.5, "bowl": 2.0, "plate": 1.0, "jar": 1.0, "vase": 0.7, "bottle": 0.7},
    "library": {"books": 5.0, "book": 0.7, "vase": 0.4, "clock": 0.3, "houseplant": 0.4},
    "nursery": {"toy": 2.5, "books": 1.0, "ball": 1.5, "basket": 1.0, "carton": 0.7},
}
UNITS = (1, 3)  # of a row
BEFORE = 2.6  # metres of floor before it
LOOSE = 0.12  # share of the things that physics moves
SAME = 0.55  # share of things that are of the sort of the one beside them
FILLED = 0.85  # share of shelves that have things on them
EMPTY = 0.1  # share of places on them where something has been taken away


def lay_shelf(draws: Draws, ranges: SceneRanges, assets: Library, left_out: dict[str, str]) -> Layout:
    """A room with a row of shelves along a wall or across the floor, and things that fall before it."""
    rng = draws("surroundings")
    shell = draw_shell(rng, ranges)
    room = Room()
    keep_doors_free(shell, room)
    row = _row(draws("furniture"), shell, assets, room)
    things = _stocked(draws("clutter"), ranges, row, assets)
    for body in things:
        half = half_sides(asset := assets.load(body.asset), body.size / asset.extent, _yaw(body))
        room.take(np.array(body.position) - half, np.array(body.position) + half)
    half = np.array([shell.sides[0] / 2 - 0.3, shell.sides[1] / 2 - 0.3, 0.0])
    falling = fall_about(draws("placement"), ranges, assets, room, (-half, half), 1.6, left_out)
    clutter = [body for _, body in row] + [body for body in things if body.fixed]
    bodies = [body for body in things if not body.fixed] + falling
    bounds = vector((-half[0], -half[1], 0.3)), vector((half[0], half[1], shell.height - 0.2))
    targets = tuple(body.position for body in (things or [body for _, body in row]))
    setting = lit_room(draws("details"), shell)
    return Layout(shell.blocks, tuple(clutter), tuple(bodies), setting, room, targets, bounds)


def shelf_camera(rng: np.random.Generator, ranges: SceneRanges, layout: Layout) -> Camera:
    """Before the shelves, near enough to read labels or far enough to see most of them, and level or nearly so."""
    low, high = (np.array(corner) for corner in layout.bounds)
    middle = np.mean([*layout.targets, (0.0, 0.0, 1.0)][:-1] or [(0.0, 0.0, 1.0)], axis=0)
    # They look to where there is more floor.
    ahead = _facing(layout)
    target = eye = middle
    for _ in range(24):
        target = (
            np.array(layout.targets[int(rng.integers(len(layout.targets)))]) if layout.targets else middle
        )
        away, aside = np.exp(rng.uniform(*np.log((0.5, 2.4)))), rng.normal(0, 0.35)
        eye = target + away * (ahead + aside * np.array([-ahead[1], ahead[0], 0.0]))
        eye[2] = np.clip(target[2] + rng.normal(0.15, 0.3), 0.35, 1.9)
        if bool((eye > low).all() and (eye < high).all()) and layout.taken.free(eye, eye, 0.2):
            break
    eye[:2] = np.clip(eye[:2], low[:2], high[:2])
    return moving_camera(rng, ranges, vector(target), aimed(eye, target))


def _facing(layout: Layout) -> np.ndarray:
    """The level direction in which the first of the clutter, a unit of the row, opens."""
    angle = _yaw(layout.clutter[0]) if layout.clutter else 0.0
    return np.array([np.cos(angle), np.sin(angle), 0.0])


def _yaw(body: Body) -> float:
    return 2 * float(np.arctan2(body.orientation[2], body.orientation[3]))


def _row(rng: np.random.Generator, shell: Shell, assets: Library, room: Room) -> list[tuple[Asset, Body]]:
    """Units of one make side by side, their backs to a wall without windows, or free in the room."""
    unit = pick(rng, assets, {"bookcase": 1.0})
    if unit is None:
        return []
    deep, wide, high = unit.upper - unit.lower
    scale = min(rng.uniform(0.95, 1.05), (shell.height - 0.05) / high)
    deep, wide = deep * scale, (wide + 0.004) * scale
    count = int(rng.integers(UNITS[0], UNITS[1] + 1))
    for wall in [int(w) for w in rng.permutation(4)]:
        fits = min(count, int((shell.length(wall) - 0.1) / wide))
        free = shell.sides[wall % 2] > deep + BEFORE - 0.6
        if not free or fits < 1 or any(hole.wall == wall for hole in shell.openings):
            continue
        slack = shell.length(wall) / 2 - fits * wide / 2
        return _units(rng, shell, unit, scale, wall, rng.uniform(-slack, slack), fits, 0.02, room)
    wall = int(rng.integers(4))  # free in the room, parallel to a wall
    fits = max(1, min(count, int((shell.length(wall) - 1.2) / wide)))
    off = max(min(shell.sides[wall % 2] / 2 - deep, shell.sides[wall % 2] - BEFORE - deep), 0.1)
    return _units(rng, shell, unit, scale, wall, 0.0, fits, off, room)


def _units(
    rng: np.random.Generator,
    shell: Shell,
    unit: Asset,
    scale: float,
    wall: int,
    middle: float,
    count: int,
    off: float,
    room: Room,
) -> list[tuple[Asset, Body]]:
    deep, wide, _ = (unit.upper - unit.lower) * scale
    found = []
    for k in range(count):
        along = middle + (k - (count - 1) / 2) * (wide + 0.004)
        x, y, _ = shell.place(wall, along, off + deep / 2, 0.0)
        body = standing(unit, scale, x, y, 0.0, wall * np.pi / 2)
        half = half_sides(unit, scale, wall * np.pi / 2)
        lower, upper = np.array(body.position) - half, np.array(body.position) + half
        if room.free(lower, upper, 0.0):
            room.take(lower, upper)
            found.append((unit, body))
    return found


def _stocked(
    rng: np.random.Generator, ranges: SceneRanges, row: list[tuple[Asset, Body]], assets: Library
) -> list[Body]:
    """Things side by side on the boards, some of a sort in a row, until there are enough."""
    stock = STOCKS[choose(rng, dict.fromkeys(STOCKS, 1.0))]
    most = int(rng.integers(ranges.shelved[0], ranges.shelved[1] + 1))
    boards = [(unit, body, support) for unit, body in row for support in unit.supports]
    found: list[Body] = []
    for k in rng.permutation(len(boards)).tolist():
        unit, body, board = boards[k]
        if rng.random() < FILLED:
            found += _filled(rng, body, body.size / unit.extent, board, stock, assets, most - len(found))
    return found


def _filled(
    rng: np.random.Generator,
    carrier: Body,
    scale: float,
    board: Support,
    stock: dict[str, float],
    assets: Library,
    most: int,
) -> list[Body]:
    """Things on one board from one end to the other, `most` at most."""
    angle = _yaw(carrier)
    cosine, sine = np.cos(angle), np.sin(angle)
    deep, wide = np.array(board.sides) * scale
    at, found = -wide / 2 + rng.uniform(0.005, 0.05), list[Body]()
    asset: Asset | None = None
    for _ in range(4 * most):
        if len(found) >= most:
            break
        if asset is None or rng.random() > SAME:
            asset = pick(rng, assets, stock)
        if asset is None:
            break
        size, turn = rng.uniform(0.92, 1.08), rng.normal(0, 0.12)
        half = half_sides(asset, size, turn)
        if at + 2 * half[1] > wide / 2:
            break
        if 2 * half[2] > board.room * scale - 0.01 or 2 * half[0] > deep:
            asset = None
            continue
        place = at + half[1]
        at += 2 * half[1] + rng.uniform(0.004, 0.03)
        if rng.random() < EMPTY:
            continue
        # Nearer to the front than to the back.
        out = (deep / 2 - half[0]) * rng.uniform(-0.2, 1.0)
        x, y = board.at[0] * scale + out, board.at[1] * scale + place
        loose = rng.random() < LOOSE and asset.cls not in ("books", "book", "houseplant", "clock")
        thing = standing(
            asset,
            size,
            carrier.position[0] + cosine * x - sine * y,
            carrier.position[1] + sine * x + cosine * y,
            carrier.position[2] + board.at[2] * scale + GAP * loose,
            angle + turn,
        )
        found.append(dataclasses.replace(thing, fixed=False, behaviour="rest") if loose else thing)
    return found
