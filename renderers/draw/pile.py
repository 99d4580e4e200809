"""Piles: many things tipped into a heap on a floor or into a low bin, where they lie on and hide one another."""

from __future__ import annotations

import dataclasses

import numpy as np

from freelabels.renderers.draw.layouts import (
    GAP,
    Draws,
    Layout,
    Room,
    any_turn,
    moving_camera,
    number,
    rotated,
    vector,
)
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.draw.room import lit_room
from freelabels.renderers.draw.room_shell import draw_shell
from freelabels.renderers.draw.table import choose_bodies
from freelabels.renderers.scene.assets import Library
from freelabels.renderers.scene.scene import Block, Body, Camera

BINS = 0.5  # share of piles that lie in a bin
BOARD = 0.02  # metres, of a bin's boards
SETTLED = 0.7  # share of piles that have come to rest, or nearly, when the clip begins
TRIES = 100
SIZES = (0.08, 0.26)  # metres, of the things
STEEP = 2.0  # a heap on a floor rises so much for each metre that its layers grow narrower
GRIP = (0.75, 1.0), (0.01, 0.03), (0.0, 0.05)  # friction, rolling friction and bounce of what lies in heaps


def lay_pile(draws: Draws, ranges: SceneRanges, assets: Library, left_out: dict[str, str]) -> Layout:
    """An empty room in whose middle things fall onto one another, in layers so that none starts in another."""
    shell = draw_shell(draws("surroundings"), ranges)
    rng = draws("furniture")
    side, high = float(rng.uniform(0.55, 0.95)), float(rng.uniform(0.12, 0.3))
    inside = np.array([side, side * float(rng.uniform(0.7, 1.0))])
    angle = float(rng.uniform(0, np.pi))
    boards = _bin(inside, high, angle, shell.blocks) if rng.random() < BINS else ()
    settled = rng.uniform(1.8, 2.6) if rng.random() < SETTLED else rng.uniform(0.5, 1.1)
    count = int(rng.integers(ranges.piled[0], ranges.piled[1] + 1))
    groups = {**ranges.groups, "articulated": 0.0}
    if sum(groups.values()) <= 0:
        groups = dict(ranges.groups)
    many = dataclasses.replace(
        ranges, objects=(count, count), size=SIZES, articulated_size=(0.2, 0.3), groups=groups
    )
    chosen = choose_bodies(draws("choice"), many, assets, left_out)
    placing = draws("placement")
    bodies: list[Body] = []
    taken, level = Room(), high if boards else 0.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for child, (asset, body) in zip(placing.spawn(len(chosen)), chosen, strict=True):
        scale = body.size / asset.extent
        half = (asset.upper - asset.lower) / 2
        radius = float(np.sqrt((half * half).sum())) * scale
        reach = np.maximum(inside / 2 - radius, 0.0)
        for _ in range(TRIES):
            spread = reach if boards else np.maximum(reach - level / STEEP / 2, 0.1)
            flat = child.uniform(-spread, spread)
            x, y = (turn * flat).sum(axis=1)
            place = np.array([x, y, level + radius + GAP])
            if taken.free(place - radius, place + radius):
                break
            level += 0.006  # the next layer begins before this one is full
        else:
            continue
        if place[2] + radius > shell.height - 0.1:
            continue
        taken.take(place - radius, place + radius)
        orientation = any_turn(child)
        middle = rotated(orientation, (asset.lower + asset.upper) / 2 * scale)
        body = dataclasses.replace(
            body, position=vector(place - middle), orientation=orientation, behaviour="drop"
        )
        friction, rolling, bounce = (number(child.uniform(*interval)) for interval in GRIP)
        bodies.append(
            dataclasses.replace(body, friction=friction, rolling_friction=rolling, restitution=bounce)
        )
    walls = np.array([shell.sides[0] / 2 - 0.25, shell.sides[1] / 2 - 0.25, 0.0])
    bounds = vector((-walls[0], -walls[1], 0.3)), vector((walls[0], walls[1], shell.height - 0.2))
    setting = lit_room(draws("details"), shell)
    return Layout(
        (*shell.blocks, *boards), (), tuple(bodies), setting, Room(), (), bounds, settle=number(settled)
    )


def pile_camera(rng: np.random.Generator, ranges: SceneRanges, layout: Layout) -> Camera:
    """From about a metre, as one who looks into a box or across a heap."""
    _, high = layout.bounds
    most = min(high[0], high[1], 1.5)
    distance = float(np.exp(rng.uniform(*np.log((0.75, most)))))
    elevation = float(np.radians(rng.uniform(18, 75)))
    target = vector((rng.normal(0, 0.08), rng.normal(0, 0.08), rng.uniform(0.05, 0.2)))
    return moving_camera(
        rng, ranges, target, (number(distance), number(rng.uniform(-np.pi, np.pi)), number(elevation))
    )


def _bin(inside: np.ndarray, high: float, angle: float, others: tuple[Block, ...]) -> tuple[Block, ...]:
    """Four boards around a middle of so many metres each way."""
    surface = 1 + max(block.surface for block in others)
    found = []
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
        away = np.zeros(2)
        away[axis] = sign * (inside[axis] + BOARD) / 2
        x = np.cos(angle) * away[0] - np.sin(angle) * away[1]
        y = np.sin(angle) * away[0] + np.cos(angle) * away[1]
        sides = np.array([BOARD, inside[1] + 2 * BOARD]) if axis == 0 else np.array([inside[0], BOARD])
        place = vector((x, y, high / 2))
        found.append(Block("wall", vector((*sides, high)), place, number(angle), surface, "wood"))
    return tuple(found)
