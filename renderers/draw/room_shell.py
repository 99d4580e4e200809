"""The shell of a room: floor, ceiling, walls with windows and a door in them, skirting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from freelabels.renderers.draw.layouts import block_factory, number
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.scene.scene import Block, Vector

THICK = 0.2  # metres, of walls
GROUND_SIDE = 80.0  # metres of ground to be seen through windows


@dataclass(frozen=True)
class Opening:
    """A hole in a wall: from where to where along it and up from the floor, metres."""

    kind: Literal["window", "door"]
    wall: int
    start: float
    stop: float
    low: float
    top: float


@dataclass(frozen=True)
class Shell:
    """A room about the world's axis: sides (x, y) and height within, its holes and its blocks.

    Wall k looks in direction `inward(k)`; places along it are counted along `along(k)` from its middle.
    """

    sides: tuple[float, float]
    height: float
    openings: tuple[Opening, ...]
    blocks: tuple[Block, ...]

    def length(self, wall: int) -> float:
        """Metres of wall within the room."""
        return self.sides[1] if wall % 2 == 0 else self.sides[0]

    def place(self, wall: int, along: float, away: float, height: float) -> Vector:
        """World place by metres along a wall, off it into the room, and up."""
        half = self.sides[wall % 2] / 2
        back, side = inward(wall), sideways(wall)
        x = -back[0] * (half - away) + side[0] * along
        y = -back[1] * (half - away) + side[1] * along
        return number(x), number(y), number(height)


def inward(wall: int) -> tuple[float, float]:
    """The direction in which a wall looks."""
    return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[wall]


def sideways(wall: int) -> tuple[float, float]:
    """The direction along a wall."""
    x, y = inward(wall)
    return -y, x


def draw_shell(rng: np.random.Generator, ranges: SceneRanges) -> Shell:
    """A room of the ranges' size with one door at most and windows in one to three walls."""
    sides = (number(rng.uniform(*ranges.room_sides)), number(rng.uniform(*ranges.room_sides)))
    height = number(rng.uniform(*ranges.room_height))
    bare = Shell(sides, height, (), ())
    openings: list[Opening] = []
    order = [int(wall) for wall in rng.permutation(4)]
    windowed, doored = order[: int(rng.integers(1, 4))], order[3] if rng.random() < 0.8 else -1
    sill, top = rng.uniform(0.5, 0.95), min(rng.uniform(2.0, 2.35), height - 0.15)
    if rng.random() < 0.15:
        sill = 0.08  # a window down to the floor
    for wall in windowed:
        length = bare.length(wall)
        count = int(rng.integers(1, max(2, int(length / 1.6)) + 1))
        bay = length / count
        for k in range(count):
            wide, middle = min(rng.uniform(0.9, 1.7), 0.8 * bay), (k + 0.5) * bay - length / 2
            openings.append(Opening("window", wall, middle - wide / 2, middle + wide / 2, sill, top))
    if doored >= 0:
        length, wide = bare.length(doored), rng.uniform(0.8, 0.95)
        middle = rng.uniform(-1, 1) * (length / 2 - wide / 2 - 0.15)
        openings.append(
            Opening("door", doored, middle - wide / 2, middle + wide / 2, 0.0, min(2.05, height - 0.2))
        )
    return Shell(sides, height, tuple(openings), _blocks(rng, bare, openings))


def _blocks(rng: np.random.Generator, room: Shell, openings: Sequence[Opening]) -> tuple[Block, ...]:
    block = block_factory()
    x, y = room.sides
    storey = rng.uniform(0.1, 0.5) if rng.random() < 0.5 else rng.uniform(2.5, 9.0)
    whole = np.array([x + 2 * THICK, y + 2 * THICK, 0.1])
    made = [
        block("ground", "ground", "ground", (GROUND_SIDE, GROUND_SIDE, 0.0), (0.0, 0.0, -storey)),
        block("floor", "floor", "floor", whole, (0.0, 0.0, -0.05), solid=False),
        block("ceiling", "ceiling", "ceiling", whole, (0.0, 0.0, room.height + 0.05)),
    ]
    accent = int(rng.integers(4)) if rng.random() < 0.25 else -1
    high, deep = rng.uniform(0.05, 0.12), rng.uniform(0.01, 0.02)
    mullions, bars = int(rng.integers(0, 3)), int(rng.integers(0, 2))

    def piece(
        surface: str, kind: str, substance: str, wall: int, span: tuple[float, float], rise: tuple[float, float],
        away: float, thick: float, solid: bool = False,
    ) -> None:  # fmt: skip
        """A block along a wall, `thick` metres deep from `away` metres off its face into the room."""
        along, up = (span[0] + span[1]) / 2, (rise[0] + rise[1]) / 2
        place = room.place(wall, along, away + thick / 2, up)
        lengths = (thick, span[1] - span[0]) if wall % 2 == 0 else (span[1] - span[0], thick)
        made.append(block(surface, kind, substance, (*lengths, rise[1] - rise[0]), place, solid=solid))

    for wall in range(4):
        half = room.length(wall) / 2
        name = "accent" if wall == accent else "walls"
        reach = half + (THICK if wall % 2 == 0 else 0.0)  # two walls go on to the outer corners
        holes = sorted((o for o in openings if o.wall == wall), key=lambda o: o.start)
        edge = -reach
        for hole in holes:
            piece(name, "wall", "wall", wall, (edge, hole.start), (0.0, room.height), -THICK, THICK, True)
            if hole.low > 0:
                piece(
                    name, "wall", "wall", wall, (hole.start, hole.stop), (0.0, hole.low), -THICK, THICK, True
                )
            piece(
                name,
                "wall",
                "wall",
                wall,
                (hole.start, hole.stop),
                (hole.top, room.height),
                -THICK,
                THICK,
                True,
            )
            edge = hole.stop
        piece(name, "wall", "wall", wall, (edge, reach), (0.0, room.height), -THICK, THICK, True)
        edge = -half
        for hole in [o for o in holes if o.kind == "door"]:
            piece("skirting", "wall", "trim", wall, (edge, hole.start - 0.07), (0.0, high), 0.0, deep)
            edge = hole.stop + 0.07
        piece("skirting", "wall", "trim", wall, (edge, half), (0.0, high), 0.0, deep)
    for hole in openings:
        _fill(rng, piece, hole, mullions, bars)
    return tuple(made)


def _fill(rng: np.random.Generator, piece, hole: Opening, mullions: int, bars: int) -> None:  # type: ignore[no-untyped-def]
    """The frame of a window, or a door with its frame and handle."""
    wall, start, stop, low, top = hole.wall, hole.start, hole.stop, hole.low, hole.top
    rim = 0.06
    if hole.kind == "window":
        deep = (-0.13, 0.06)  # from where off the wall's face, how thick
        for span, rise in (
            ((start, start + rim), (low, top)),
            ((stop - rim, stop), (low, top)),
            ((start + rim, stop - rim), (low, low + rim)),
            ((start + rim, stop - rim), (top - rim, top)),
        ):
            piece("frames", "window", "trim", wall, span, rise, *deep)
        for k in range(mullions):
            middle = start + (stop - start) * (k + 1) / (mullions + 1)
            piece(
                "frames",
                "window",
                "trim",
                wall,
                (middle - 0.02, middle + 0.02),
                (low + rim, top - rim),
                -0.12,
                0.04,
            )
        if bars:
            middle = low + 0.68 * (top - low)
            piece(
                "frames",
                "window",
                "trim",
                wall,
                (start + rim, stop - rim),
                (middle - 0.02, middle + 0.02),
                -0.125,
                0.05,
            )
        piece("sills", "window", "trim", wall, (start - 0.05, stop + 0.05), (low - 0.03, low), -0.02, 0.1)
        return
    piece("doors", "door", "door", wall, (start, stop), (low, top), -0.12, 0.045, True)
    inner = (start + 0.12, stop - 0.12)
    for rise in ((0.15, 0.9), (1.05, top - 0.15)):
        piece("doors", "door", "door", wall, inner, rise, -0.078, 0.012)
    handle = stop - 0.1 if rng.random() < 0.5 else start + 0.1
    piece("handles", "door", "metal", wall, (handle - 0.06, handle + 0.06), (1.02, 1.04), -0.06, 0.02)
    for span, rise in (
        ((start - 0.07, start), (0.0, top + 0.07)),
        ((stop, stop + 0.07), (0.0, top + 0.07)),
        ((start, stop), (top, top + 0.07)),
    ):
        piece("door frames", "door", "trim", wall, span, rise, 0.0, 0.025)
