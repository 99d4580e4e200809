"""Rooms: furniture along the walls and in the middle, things on it, pictures above it, something that falls."""

from __future__ import annotations

import numpy as np

from freelabels.renderers.draw.appearances import Setting
from freelabels.renderers.draw.layouts import (
    Draws,
    Floats,
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
from freelabels.renderers.draw.props import fall_about, furnish
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.draw.room_shell import Shell, draw_shell, inward
from freelabels.renderers.scene.assets import Library
from freelabels.renderers.scene.loading import Asset
from freelabels.renderers.scene.scene import Body, Camera, Vector

ALONG_WALLS = {
    "bookcase": 2.0, "cabinet": 2.0, "sofa": 1.5, "bed": 0.8, "table": 1.0, "floor lamp": 1.0, "houseplant": 1.0,
    "radiator": 0.6, "chair": 0.8, "basket": 0.5, "carton": 0.6, "stool": 0.3,
}  # fmt: skip
SPACE = 0.35  # metres around a camera
CLOSE = 0.35  # share of views that look closely at something
TRIES = 8


def lay_room(draws: Draws, ranges: SceneRanges, assets: Library, left_out: dict[str, str]) -> Layout:
    """A furnished room about the world's axis, lit by its windows or by lamps under its ceiling."""
    rng = draws("surroundings")
    shell = draw_shell(rng, ranges)
    room = Room()
    keep_doors_free(shell, room)
    rng = draws("furniture")
    placed = _in_the_middle(rng, shell, assets, room)
    for child in rng.spawn(int(rng.integers(ranges.furniture[0], ranges.furniture[1] + 1))):
        asset = pick(child, assets, ALONG_WALLS)
        if asset is not None and (found := _against_a_wall(child, shell, asset, room)) is not None:
            placed.append((asset, found))
    hung = _on_the_walls(draws("details"), shell, assets, room)
    things = furnish(draws("clutter"), ranges, assets, placed, room)
    clutter = [body for _, body in placed] + hung + [body for body in things if body.fixed]
    bodies = [body for body in things if not body.fixed]
    half = np.array([shell.sides[0] / 2 - 0.3, shell.sides[1] / 2 - 0.3, 0.0])
    bodies += fall_about(draws("placement"), ranges, assets, room, (-half, half), 1.6, left_out)
    targets = tuple(body.position for body in (*clutter, *bodies))
    bounds = vector((-half[0], -half[1], 0.3)), vector((half[0], half[1], shell.height - 0.2))
    return Layout(
        shell.blocks, tuple(clutter), tuple(bodies), lit_room(draws("details"), shell), room, targets, bounds
    )


def keep_doors_free(shell: Shell, room: Room) -> None:
    """Nothing may stand where people come in."""
    for hole in shell.openings:
        if hole.kind == "door":
            one, other = (
                np.array(shell.place(hole.wall, along, away, 0.0))
                for along, away in ((hole.start, 0.0), (hole.stop, 0.8))
            )
            room.take(np.minimum(one, other), np.maximum(one, other) + np.array([0, 0, 2.0]))


def lit_room(rng: np.random.Generator, shell: Shell) -> Setting:
    """The light of a room: through its windows by day, else from lamps under its ceiling."""
    windows = []
    for hole in shell.openings:
        if hole.kind == "window":
            place = shell.place(hole.wall, (hole.start + hole.stop) / 2, 0.06, (hole.low + hole.top) / 2)
            windows.append((place, (*inward(hole.wall), 0.0)))
    # The largest light comes from few of many windows; each costs rays.
    kept = tuple(windows[int(k)] for k in sorted(rng.permutation(len(windows))[:2]))
    x, y = (side / 2 * float(rng.uniform(-0.4, 0.4)) for side in shell.sides)
    lamps: list[Vector] = [(number(x), number(y), number(shell.height - rng.uniform(0.03, 0.5)))]
    if rng.random() < 0.4:
        lamps.append((number(-x), number(-y), lamps[0][2]))
    return Setting("daylight" if rng.random() < 0.65 else "lamps", tuple(lamps), kept)


def _box(asset: Asset, body: Body, angle: float) -> tuple[Floats, Floats]:
    half = half_sides(asset, body.size / asset.extent, angle)
    middle = np.array(body.position)
    return middle - half, middle + half


def _against_a_wall(rng: np.random.Generator, shell: Shell, asset: Asset, room: Room) -> Body | None:
    """The asset with its back to some wall, before no window that it would hide."""
    scale = rng.uniform(0.95, 1.05)
    x, y, z = (asset.upper - asset.lower) / 2 * scale
    for _ in range(TRIES):
        wall = int(rng.integers(4))
        angle = wall * np.pi / 2
        reach = shell.length(wall) / 2 - y - 0.03
        if reach <= 0 or 2 * z > shell.height - 0.05:
            continue
        along = rng.uniform(-reach, reach)
        hides = any(
            hole.wall == wall and hole.low < 2 * z - 0.05 and hole.start < along + y and hole.stop > along - y
            for hole in shell.openings
        )
        px, py, _z = shell.place(wall, along, x + rng.uniform(0.02, 0.07), 0.0)
        body = standing(asset, scale, px, py, 0.0, angle + rng.normal(0, 0.01))
        lower, upper = _box(asset, body, angle)
        if not hides and room.free(lower, upper, 0.03):
            room.take(lower, upper)
            return body
    return None


def _in_the_middle(
    rng: np.random.Generator, shell: Shell, assets: Library, room: Room
) -> list[tuple[Asset, Body]]:
    """A table with chairs around it, or a low table on a rug, or nothing."""
    kind = rng.random()
    if kind > 0.85:
        return []
    found: list[tuple[Asset, Body]] = []
    angle = float(rng.integers(4)) * np.pi / 2 + rng.normal(0, 0.04)
    x, y = (side * rng.uniform(-0.15, 0.15) for side in shell.sides)
    table = pick(rng, assets, {"table": 1.0} if kind < 0.55 else {"coffee table": 1.0})
    if table is None:
        return []
    body = standing(table, 1.0, x, y, 0.013 if kind >= 0.55 else 0.0, angle)
    found.append((table, body))
    room.take(*_box(table, body, angle))
    if kind >= 0.55:
        rug = pick(rng, assets, {"rug": 1.0})
        if rug is not None:
            found.append((rug, standing(rug, 1.0, x, y, 0.0, angle)))
        return found
    chair = pick(rng, assets, {"chair": 1.0})
    half = (table.upper - table.lower) / 2
    places = [(0.0, half[0], 1), (0.0, -half[0], -1), (half[1], 0.0, 2), (-half[1], 0.0, -2)]
    if half[1] > 0.6:
        places += [(s * 0.5 * half[1], t * half[0], t) for s in (-1, 1) for t in (1, -1)]
        places = places[2:]
    for along, across, side in places:
        if chair is None or rng.random() < 0.25:
            continue
        deep = float((chair.upper - chair.lower)[0]) / 2
        out = rng.uniform(-0.1, 0.3) + deep
        local = (
            (across + np.sign(side) * out, along) if abs(side) == 1 else (across, along + np.sign(side) * out)
        )
        turn = {1: np.pi, -1: 0.0, 2: -np.pi / 2, -2: np.pi / 2}[side] + rng.normal(0, 0.15)
        c, s = np.cos(angle), np.sin(angle)
        px, py = x + c * local[0] - s * local[1], y + s * local[0] + c * local[1]
        body = standing(chair, 1.0, px, py, 0.0, angle + turn)
        lower, upper = _box(chair, body, angle + turn)
        # Chairs stand partly under the table: only other chairs and what stands along the walls is in their way.
        if all(abs(v) + 0.3 < side_ / 2 for v, side_ in zip((px, py), shell.sides, strict=True)):
            found.append((chair, body))
            room.take(lower, upper)
    return found


def _on_the_walls(rng: np.random.Generator, shell: Shell, assets: Library, room: Room) -> list[Body]:
    """Pictures, clocks and curtains."""
    found = []
    for child in rng.spawn(int(rng.integers(0, 6))):
        asset = pick(child, assets, {"picture": 1.0})
        if asset is None:
            continue
        wall = int(child.integers(4))
        deep, wide, high = (asset.upper - asset.lower) / 2
        along = child.uniform(-1, 1) * max(shell.length(wall) / 2 - wide - 0.1, 0.0)
        up = child.uniform(1.35, 1.7) - high
        clear = all(
            hole.wall != wall or hole.start - 0.1 > along + wide or hole.stop + 0.1 < along - wide
            for hole in shell.openings
        )
        x, y, _ = shell.place(wall, along, deep + 0.002, 0.0)
        body = standing(asset, 1.0, x, y, up, wall * np.pi / 2)
        lower, upper = _box(asset, body, wall * np.pi / 2)
        if clear and up + 2 * high < shell.height and room.free(lower, upper, 0.05):
            room.take(lower, upper)
            found.append(body)
    curtain = pick(rng, assets, {"curtain": 1.0}) if rng.random() < 0.5 else None
    for hole in [o for o in shell.openings if o.kind == "window"][:2] if curtain is not None else []:
        assert curtain is not None
        deep, wide, high = (curtain.upper - curtain.lower) / 2
        scale = (hole.top + 0.1 - (0.05 if hole.low < 0.3 else hole.low - 0.1)) / (2 * high)
        for side in (-1, 1):
            along = hole.start - 0.4 * wide if side < 0 else hole.stop + 0.4 * wide
            if abs(along) + wide * scale > shell.length(hole.wall) / 2:
                continue
            x, y, _ = shell.place(hole.wall, along, deep * scale + 0.11, 0.0)
            low = hole.top + 0.1 - 2 * high * scale
            body = standing(curtain, scale, x, y, low, hole.wall * np.pi / 2)
            lower, upper = _box(curtain, body, hole.wall * np.pi / 2)
            if room.free(lower, upper, 0.0):
                room.take(lower, upper)
                found.append(body)
    return found


def room_camera(rng: np.random.Generator, ranges: SceneRanges, layout: Layout) -> Camera:
    """At eye height somewhere free in the room, looking at something; or close to a thing."""
    low, high = (np.array(corner) for corner in layout.bounds)
    target = np.zeros(3)
    eye = np.array([low[0], low[1], 1.5])
    close = rng.random() < CLOSE
    for _ in range(4 * TRIES):
        if layout.targets and rng.random() < 0.9:
            target = np.array(layout.targets[int(rng.integers(len(layout.targets)))])
        else:
            target = rng.uniform(0.5 * low, 0.5 * high)
        target[2] = np.clip(target[2], 0.2, 1.3)
        if close:
            away = rng.normal(size=3) * (1, 1, 0)
            away *= rng.uniform(0.6, 1.3) / np.sqrt((away * away).sum())
            eye = target + away + (0, 0, rng.uniform(0.05, 0.6))
        else:
            eye = np.array(
                [rng.uniform(low[0], high[0]), rng.uniform(low[1], high[1]), rng.uniform(*ranges.eye_height)]
            )
        distance = np.sqrt(((eye - target) ** 2).sum())
        inside = bool((eye > low).all() and (eye < high).all())
        if (
            inside
            and distance > (0.45 if close else 1.3)
            and layout.taken.free(eye, eye, 0.2 if close else SPACE)
        ):
            break
    eye[:2] = np.clip(eye[:2], low[:2], high[:2])
    return moving_camera(rng, ranges, vector(target), aimed(eye, target))
