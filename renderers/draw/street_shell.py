"""The shell of a street: a road with kerbs and markings, pavements, rows of buildings with windows and doors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from freelabels.renderers.draw.layouts import block_factory
from freelabels.renderers.scene.scene import Block

REACH = 42.0  # metres of street to both sides of the middle
GROUND_SIDE = 240.0
KERB = 0.13  # metres, height of the pavement
DEEP = 8.0  # metres, of buildings

Make = Callable[..., Block]


def draw_street(rng: np.random.Generator, road: float, pavement: float) -> tuple[Block, ...]:
    """The blocks of a street along x; road, pavement: their widths in metres."""
    block = block_factory()
    made = [block("road", "road", "road", (GROUND_SIDE, GROUND_SIDE, 0.0), (0.0, 0.0, 0.0))]
    made += _markings(rng, block, road)
    for side in (-1, 1):
        y = side * (road / 2 + pavement / 2 + 0.07)
        made.append(
            block("pavement", "pavement", "pavement", (2 * REACH, pavement - 0.14, KERB), (0.0, y, KERB / 2))
        )
        kerb = side * (road / 2 + 0.07)
        made.append(
            block("kerb", "pavement", "facade", (2 * REACH, 0.14, KERB + 0.01), (0.0, kerb, KERB / 2 + 0.005))
        )
        front = side * (road / 2 + pavement)
        lawn = (2 * REACH, 60.0, KERB)
        made.append(block("lawn", "ground", "ground", lawn, (0.0, front + side * 30.0, KERB / 2)))
        x = -REACH
        while x < REACH:
            wide = rng.uniform(6.0, 15.0)
            if rng.random() < 0.15:
                x += 0.6 * wide  # a gap
                continue
            made += _building(rng, block, f"building {side} {x:.0f}", x, wide, front, side)
            x += wide + (rng.uniform(0.5, 4.0) if rng.random() < 0.3 else 0.0)
    # Far ends: another row of buildings, so that a street does not end in nothing.
    for end in (-1, 1):
        if rng.random() < 0.6:
            high = rng.uniform(5, 14)
            place = (end * (REACH + 14.0), rng.uniform(-8, 8), high / 2)
            made.append(
                block(
                    f"end {end}", "building", "facade", (DEEP, rng.uniform(20, 50), high), place, solid=False
                )
            )
    return tuple(made)


def _markings(rng: np.random.Generator, block: Make, road: float) -> list[Block]:
    """Dashes along the middle and a crossing, as thin as paint."""
    made = []
    if rng.random() < 0.7:
        dash, gap = rng.uniform(1.5, 3.0), rng.uniform(2.0, 5.0)
        for x in np.arange(-REACH, REACH, dash + gap):
            made.append(_paint(block, (dash, 0.12), (float(x), 0.0)))
    if rng.random() < 0.4:
        at = rng.uniform(-10, 10)
        for y in np.arange(-road / 2 + 0.5, road / 2 - 0.3, 1.0):
            made.append(_paint(block, (3.0, 0.5), (at, float(y))))
    return made


def _paint(block: Make, sides: tuple[float, float], at: tuple[float, float]) -> Block:
    return block("markings", "road", "marking", (*sides, 0.006), (*at, 0.003), solid=False)


def _building(
    rng: np.random.Generator, block: Make, name: str, x: float, wide: float, front: float, side: int
) -> list[Block]:
    """A house of a few storeys with a grid of windows, a door or a shop front, and a roof."""
    u = rng.uniform
    storeys, storey = int(rng.integers(2, 6)), u(2.9, 3.5)
    high, back = storeys * storey + 0.4, u(0.0, 0.6)
    middle, face = x + wide / 2, front + side * back
    made = [block(name, "building", "facade", (wide, DEEP, high), (middle, face + side * DEEP / 2, high / 2))]

    def onto(
        surface: str,
        kind: str,
        substance: str,
        sides: tuple[float, float],
        at: tuple[float, float],
        out: float,
    ) -> None:
        """A slab on the front: its width and height, its place along x and up, how far it stands out."""
        place = (at[0], face - side * (out / 2 - 0.02), at[1])
        made.append(block(surface, kind, substance, (sides[0], out + 0.04, sides[1]), place, solid=False))

    columns = max(1, int(wide / u(2.0, 3.2)))
    step = wide / columns
    pane = (min(u(0.8, 1.4), step - 0.5), u(1.2, 1.75))
    bars, sills, trims = int(rng.integers(0, 3)), rng.random() < 0.7, f"trims {int(rng.integers(3))}"
    shop, entrance = rng.random() < 0.35, int(rng.integers(columns))
    for floor in range(storeys):
        for column in range(columns):
            at = (x + (column + 0.5) * step, floor * storey + 0.55 * storey + 0.3)
            if floor == 0 and column == entrance:
                onto(trims, "door", "trim", (1.25, 2.45), (at[0], 1.225 + KERB), 0.05)
                onto(f"doors {int(rng.integers(3))}", "door", "door", (1.0, 2.2), (at[0], 1.1 + KERB), 0.07)
                continue
            if floor == 0 and shop:
                onto("panes", "window", "pane", (step - 0.3, storey - 1.1), (at[0], (storey - 0.1) / 2), 0.05)
                continue
            onto(trims, "window", "trim", (pane[0] + 0.18, pane[1] + 0.18), at, 0.04)
            onto("panes", "window", "pane", pane, at, 0.055)
            for k in range(bars):
                onto(
                    trims,
                    "window",
                    "trim",
                    (0.05, pane[1]),
                    (at[0] + pane[0] * ((k + 1) / (bars + 1) - 0.5), at[1]),
                    0.075,
                )
            if bars:
                onto(trims, "window", "trim", (pane[0], 0.05), (at[0], at[1] + 0.17 * pane[1]), 0.07)
            if sills:
                onto(trims, "window", "trim", (pane[0] + 0.3, 0.07), (at[0], at[1] - pane[1] / 2 - 0.1), 0.14)
    if shop:
        onto(f"sign {name}", "building", "paint", (wide - 0.4, 0.6), (middle, storey - 0.15), 0.12)
    if storeys <= 3 and rng.random() < 0.7:
        ridge = u(1.8, 3.2)
        place = (middle, face + side * DEEP / 2, high + ridge / 2)
        made.append(
            block(
                f"roof {int(rng.integers(3))}",
                "roof",
                "roof",
                (wide + 0.2, DEEP + 0.9, ridge),
                place,
                shape="gable",
                solid=False,
            )
        )
    else:
        onto(trims, "building", "trim", (wide, 0.35), (middle, high - 0.2), 0.22)
    return made
