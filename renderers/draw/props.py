"""Small things: what stands on furniture and pavements, and what drops, flies and rolls about."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from freelabels.renderers.draw.layouts import (
    GAP,
    Floats,
    Room,
    any_turn,
    half_sides,
    pick,
    rotated,
    standing,
    vector,
)
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.draw.table import choose_bodies, draw_motion
from freelabels.renderers.draw.values import choose
from freelabels.renderers.scene.assets import Library
from freelabels.renderers.scene.loading import Asset
from freelabels.renderers.scene.scene import Behaviour, Body

ON_FURNITURE = {
    "cup": 2.0, "bottle": 1.5, "glass": 1.0, "bowl": 1.2, "plate": 1.0, "vase": 1.2, "jar": 0.8, "can": 0.8,
    "book": 1.2, "books": 1.5, "carton": 1.0, "fruit": 0.8, "laptop": 0.8, "clock": 0.6, "desk lamp": 0.8,
    "houseplant": 1.0, "toy": 0.6, "screen": 0.6, "basket": 0.3, "ball": 0.2,
}  # fmt: skip
ON_SHELVES = {
    "books": 5.0, "book": 0.5, "vase": 0.8, "jar": 0.8, "bowl": 0.5, "clock": 0.3, "carton": 0.8, "bottle": 0.4,
    "houseplant": 0.4, "toy": 0.4, "cup": 0.3,
}  # fmt: skip
LOOSE = 0.25  # share of the things on furniture that physics moves
FALLING = ("drop", "throw", "roll")
TRIES = 6


def furnish(
    rng: np.random.Generator,
    ranges: SceneRanges,
    assets: Library,
    placed: Sequence[tuple[Asset, Body]],
    room: Room,
) -> list[Body]:
    """Things on the level places of what stands about; the loose ones are not fixed."""
    places = [(support, asset, body) for asset, body in placed for support in asset.supports]
    found: list[Body] = []
    if not places:
        return found
    for child in rng.spawn(int(rng.integers(ranges.small_things[0], ranges.small_things[1] + 1))):
        support, carrier, body = places[int(child.integers(len(places)))]
        scale = body.size / carrier.extent
        angle = 2 * float(np.arctan2(body.orientation[2], body.orientation[3]))
        asset = pick(child, assets, ON_SHELVES if support.room < 0.6 else ON_FURNITURE)
        if asset is None:
            continue
        size = child.uniform(0.92, 1.08)
        half = (asset.upper - asset.lower) / 2 * size
        if 2 * half[2] > support.room * scale - 0.01:
            continue
        for _ in range(TRIES):
            turn = child.normal(0, 0.25) if support.room < 0.6 else child.uniform(-np.pi, np.pi)
            if asset.cls in ("screen", "laptop", "books", "clock"):
                turn = child.normal(0, 0.1)
            box = half_sides(asset, size, turn)
            reach = np.array(support.sides) * scale / 2 - box[:2]
            if (reach < 0).any():
                continue
            local = child.uniform(-reach, reach) + np.array(support.at[:2]) * scale
            c, s = np.cos(angle), np.sin(angle)
            x = body.position[0] + c * local[0] - s * local[1]
            y = body.position[1] + s * local[0] + c * local[1]
            z = body.position[2] + support.at[2] * scale
            loose = child.random() < LOOSE and asset.cls not in ("books", "screen", "houseplant")
            thing = standing(asset, size, x, y, z + GAP * loose, angle + turn)
            if loose:
                thing = dataclasses.replace(thing, fixed=False, behaviour="rest")
            outer, middle = half_sides(asset, size, angle + turn), np.array(thing.position)
            # The carrier itself is taken: only what stands on it counts.
            others = Room()
            for low, high in zip(room.lower, room.upper, strict=True):
                if low[2] >= z - 0.02:
                    others.take(low, high)
            if others.free(middle - outer, middle + outer):
                room.take(middle - outer, middle + outer)
                found.append(thing)
                break
    return found


def fall_about(
    rng: np.random.Generator,
    ranges: SceneRanges,
    assets: Library,
    room: Room,
    within: tuple[Floats, Floats],
    high: float,
    left_out: dict[str, str],
) -> list[Body]:
    """Things of all groups that drop, fly or roll, in free places of a region (lower, upper corner)."""
    count = int(rng.integers(ranges.falling[0], ranges.falling[1] + 1))
    few = dataclasses.replace(ranges, objects=(count, count), size=(0.1, 0.32), articulated_size=(0.3, 0.5))
    found = []
    chosen = choose_bodies(rng, few, assets, left_out)
    for child, (asset, body) in zip(rng.spawn(len(chosen)), chosen, strict=True):
        radius = float(np.sqrt(((asset.upper - asset.lower) ** 2).sum())) / 2 * body.size / asset.extent
        weights = {name: ranges.behaviours.get(name, 0.0) for name in FALLING}
        behaviour: Behaviour = choose(child, weights) if sum(weights.values()) > 0 else "drop"
        for _ in range(2 * TRIES):
            up = radius + GAP if behaviour == "roll" else radius + child.uniform(GAP, high)
            place = np.array([*child.uniform(within[0][:2], within[1][:2]), up])
            if room.free(place - radius, place + radius):
                room.take(place - radius, place + radius)
                velocity, spin = draw_motion(child, behaviour, place, radius, ranges)
                middle = (asset.lower + asset.upper) / 2 * body.size / asset.extent
                turn = any_turn(child)
                found.append(
                    dataclasses.replace(
                        body,
                        position=vector(place - rotated(turn, middle)),
                        orientation=turn,
                        velocity=velocity,
                        spin=spin,
                        behaviour=behaviour,
                    )
                )
                break
    return found
