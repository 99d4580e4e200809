"""Furniture: what one sits on, lies on, eats at and puts things into."""

from __future__ import annotations

import numpy as np

from freelabels.renderers.objects.solids import (
    ALONG_Y,
    Part,
    Rng,
    Solid,
    Support,
    Thing,
    ball,
    box,
    cushion,
    cylinder,
    ghost,
    lathe,
    one_of,
    tilted,
)
from freelabels.renderers.surfaces.appearance import Substance


def _legs(rng: Rng, x: float, y: float, height: float, thick: float, count: int = 4) -> list[Solid]:
    """Legs under a board of which the outermost stand at (±x, ±y)."""
    places = [(i * x, j * y) for i in (-1, 1) for j in (-1, 1)]
    if count == 3:
        places = [(x, 0.0), (-0.5 * x, 0.87 * y), (-0.5 * x, -0.87 * y)]
    style = int(rng.integers(3))
    if style == 0:
        return [box((thick, thick, height), (a, b, height / 2), 0.004) for a, b in places]
    if style == 1:
        return [cylinder(thick / 2, height, (a, b, height / 2), sections=14) for a, b in places]
    taper = [(0.0, 0.0), (0.32 * thick, 0.0), (0.55 * thick, height), (0.0, height)]
    return [lathe(taper, (a, b, 0.0), 12) for a, b in places]


def _ring(radius: float, thick: float, steps: int = 8) -> list[tuple[float, float]]:
    angle = np.linspace(0, 2 * np.pi, steps + 1)
    return [(float(radius + thick * np.cos(a)), float(thick * np.sin(a))) for a in angle]


def _chair(rng: Rng) -> Thing:
    u = rng.uniform
    wide, deep, high, board = u(0.38, 0.5), u(0.38, 0.48), u(0.42, 0.48), u(0.02, 0.045)
    back, lean = u(0.35, 0.6), u(4, 14)
    frame = one_of(rng, "wood", "wood", "metal", "plastic", "paint")
    soft = rng.random() < 0.45
    thick = u(0.025, 0.045)
    legs = _legs(rng, deep / 2 - thick, wide / 2 - thick, high - board / 2, thick)
    if rng.random() < 0.4:
        legs += [
            box((deep - 2 * thick, 0.018, 0.025), (0.0, side * (wide / 2 - thick), high * 0.4))
            for side in (-1, 1)
        ]
    seat = [box((deep, wide, board), (0.0, 0.0, high), 0.008)]
    if soft:
        seat = [cushion((deep, wide, 0.08), (0.0, 0.0, high + 0.02))]
    turn = tilted((0.0, 1.0, 0.0), -lean)
    slope = float(np.tan(np.radians(lean)))
    x = -deep / 2 + 0.015

    def behind(up: float) -> float:
        return x - up * slope

    parts = [Part("legs", frame, legs), Part("seat", "cloth" if soft else one_of(rng, "wood", frame), seat)]
    style = int(rng.integers(3))
    posts = [
        box((0.028, 0.03, back), (behind(back / 2), side * (wide / 2 - 0.02), high + back / 2), 0.005, turn)
        for side in (-1, 1)
    ]
    if style == 0:  # ladder
        count = int(rng.integers(2, 5))
        slats = [
            box((0.018, wide - 0.03, u(0.03, 0.07)), (behind(z), 0.0, high + z), 0.003, turn)
            for z in np.linspace(0.3 * back, 0.93 * back, count)
        ]
        parts.append(Part("back", frame, posts + slats))
    elif style == 1:  # spindles
        bars = [
            cylinder(0.008, 0.85 * back, (behind(0.45 * back), y, high + 0.45 * back), turn, 8)
            for y in np.linspace(-wide / 2 + 0.06, wide / 2 - 0.06, int(rng.integers(4, 8)))
        ]
        rail = [box((0.025, wide, 0.05), (behind(0.95 * back), 0.0, high + 0.95 * back), 0.01, turn)]
        parts.append(Part("back", frame, posts + [ghost(bar) for bar in bars] + rail))
    else:
        panel = (0.07 if soft else 0.022, wide, 0.7 * back)
        at = (behind(0.62 * back), 0.0, high + 0.62 * back)
        made = cushion(panel, at, turn=turn) if soft else box(panel, at, 0.008, turn)
        parts += [Part("back", "cloth" if soft else frame, [made]), Part("posts", frame, posts)]
    if rng.random() < 0.25:
        rest = high + u(0.18, 0.24)
        arms = [
            solid
            for side in (-1, 1)
            for solid in (
                box((deep * 0.9, 0.045, 0.025), (-0.02, side * (wide / 2 + 0.01), rest), 0.006),
                box((0.03, 0.03, rest - high), (deep * 0.3, side * wide / 2, (rest + high) / 2)),
            )
        ]
        parts.append(Part("arms", frame, arms))
    return Thing(parts)


def _stool(rng: Rng) -> Thing:
    u = rng.uniform
    radius, high = u(0.15, 0.2), u(0.42, 0.75)
    thick = u(0.02, 0.04)
    legs = _legs(rng, 0.75 * radius, 0.75 * radius, high - 0.01, thick, 3 if rng.random() < 0.4 else 4)
    ring = [ghost(lathe(_ring(0.75 * radius * 1.3, 0.007), (0.0, 0.0, 0.35 * high)))]
    seat = (
        [cylinder(radius, 0.035, (0.0, 0.0, high), sections=28)]
        if rng.random() < 0.6
        else [cushion((2 * radius, 2 * radius, 0.08), (0.0, 0.0, high))]
    )
    frame = one_of(rng, "wood", "metal", "paint")
    top = Support((0.0, 0.0, high + 0.0175), (radius, radius))
    return Thing(
        [
            Part("legs", frame, legs + (ring if frame == "metal" else [])),
            Part("seat", one_of(rng, "wood", "cloth", "plastic"), seat),
        ],
        [top],
    )


def _table(rng: Rng) -> Thing:
    u = rng.uniform
    high, board, thick = u(0.68, 0.78), u(0.02, 0.05), u(0.04, 0.09)
    frame = one_of(rng, "wood", "wood", "metal", "paint")
    top_of = one_of(rng, "wood", "wood", "wood", "plastic", "glass") if frame != "wood" else "wood"
    if rng.random() < 0.25:  # round, on a column
        radius = u(0.35, 0.65)
        column = [
            cylinder(thick / 1.5, high, (0.0, 0.0, high / 2)),
            lathe([(0.0, 0.0), (0.55 * radius, 0.0), (0.5 * radius, 0.03), (thick, 0.08), (0.0, 0.08)]),
        ]
        top = [cylinder(radius, board, (0.0, 0.0, high), sections=40)]
        side = 1.35 * radius
        return Thing(
            [Part("column", frame, column), Part("top", top_of, top)],
            [Support((0.0, 0.0, high + board / 2), (side, side))],
        )
    deep, wide = u(0.55, 0.95), u(0.9, 1.9)
    legs = _legs(rng, deep / 2 - thick, wide / 2 - thick, high - board / 2, thick)
    if rng.random() < 0.7:
        drop = u(0.05, 0.1)
        z = high - board / 2 - drop / 2 + 0.002
        legs += [box((0.02, wide - 2 * thick, drop), (s * (deep / 2 - thick), 0.0, z)) for s in (-1, 1)]
        legs += [box((deep - 2 * thick, 0.02, drop), (0.0, s * (wide / 2 - thick), z)) for s in (-1, 1)]
    parts = [Part("legs", frame, legs)]
    parts.append(Part("top", top_of, [box((deep, wide, board), (0.0, 0.0, high), 0.006)]))
    return Thing(parts, [Support((0.0, 0.0, high + board / 2), (deep - 0.06, wide - 0.06))])


def _coffee_table(rng: Rng) -> Thing:
    u = rng.uniform
    deep, wide, high, board = u(0.45, 0.7), u(0.7, 1.2), u(0.32, 0.46), u(0.02, 0.04)
    frame = one_of(rng, "wood", "metal", "paint")
    legs = _legs(rng, deep / 2 - 0.04, wide / 2 - 0.04, high - board / 2, u(0.03, 0.06))
    parts = [Part("legs", frame, legs)]
    parts.append(
        Part("top", one_of(rng, "wood", "glass", "wood"), [box((deep, wide, board), (0.0, 0.0, high), 0.006)])
    )
    if rng.random() < 0.5:
        parts.append(Part("shelf", frame, [box((deep - 0.1, wide - 0.1, 0.018), (0.0, 0.0, 0.35 * high))]))
    return Thing(parts, [Support((0.0, 0.0, high + board / 2), (deep - 0.06, wide - 0.06))])


def _sofa(rng: Rng) -> Thing:
    u = rng.uniform
    seats = int(rng.integers(1, 4))
    seat, deep, arm, high = u(0.55, 0.7), u(0.75, 0.95), u(0.1, 0.22), u(0.4, 0.46)
    wide = seats * seat + 2 * arm
    back = u(0.72, 0.92)
    feet = u(0.05, 0.14)
    cloth: Substance = "cloth"
    base = [box((deep, wide, 0.2), (0.0, 0.0, feet + 0.1), 0.03)]
    base += [box((0.2, wide, back - feet), (-deep / 2 + 0.1, 0.0, (back + feet) / 2), 0.05)]
    sides = high + u(0.1, 0.22)
    base += [
        box((deep, arm, sides - feet), (0.0, s * (wide - arm) / 2, (sides + feet) / 2), 0.04) for s in (-1, 1)
    ]
    middles = (np.arange(seats) - (seats - 1) / 2) * seat
    cushions = [cushion((deep - 0.18, seat - 0.01, 0.2), (0.08, float(y), high - 0.04)) for y in middles]
    turn = tilted((0.0, 1.0, 0.0), -12)
    cushions += [
        cushion((0.2, seat - 0.02, 0.5), (-deep / 2 + 0.26, float(y), high + 0.2), turn=turn) for y in middles
    ]
    stand = [
        box((0.05, 0.05, feet + 0.02), (i * (deep / 2 - 0.06), j * (wide / 2 - 0.08), (feet + 0.02) / 2))
        for i in (-1, 1)
        for j in (-1, 1)
    ]
    parts = [
        Part("frame", cloth, base),
        Part("cushions", cloth, cushions),
        Part("feet", one_of(rng, "wood", "metal"), stand),
    ]
    for k in range(int(rng.integers(0, 3))):
        y = float(u(-0.4, 0.4) * wide)
        pillow = cushion((0.13, 0.42, 0.42), (-0.05 * k, y, high + 0.22), turn=tilted((0.0, 1.0, 0.0), -25))
        parts.append(Part(f"pillow {k + 1}", cloth, [ghost(pillow)]))
    return Thing(parts, [Support((0.15, 0.0, high + 0.06), (0.3, 0.5 * wide))])


def _bed(rng: Rng) -> Thing:
    u = rng.uniform
    wide, long, high = u(0.9, 1.7), u(1.9, 2.1), u(0.25, 0.4)
    frame = [box((long, wide, 0.12), (0.0, 0.0, high - 0.06), 0.01)]
    frame += _legs(rng, long / 2 - 0.08, wide / 2 - 0.08, high - 0.08, 0.07)
    frame += [box((0.05, wide + 0.04, u(0.7, 1.1)), (-long / 2, 0.0, 0.45), 0.015)]
    mattress = [cushion((long - 0.06, wide - 0.04, 0.24), (0.02, 0.0, high + 0.1))]
    cover = [cushion((long * u(0.6, 0.75), wide + 0.06, 0.26), (long * 0.14, 0.0, high + 0.12))]
    pillows = [
        cushion((0.4, 0.6, 0.16), (-long / 2 + 0.3, y, high + 0.26))
        for y in ((-wide / 4, wide / 4) if wide > 1.3 else (0.0,))
    ]
    return Thing(
        [
            Part("frame", one_of(rng, "wood", "paint", "cloth"), frame),
            Part("mattress", "paper", mattress),
            Part("cover", "cloth", cover),
            Part("pillows", "cloth", [ghost(p) for p in pillows]),
        ],
        [Support((long * 0.15, 0.0, high + 0.25), (0.5, 0.5))],
    )


def _bookcase(rng: Rng) -> Thing:
    u = rng.uniform
    deep, wide, high, board = u(0.24, 0.38), u(0.6, 1.3), u(0.8, 2.1), u(0.018, 0.03)
    rows = max(2, round(high / u(0.3, 0.42)))
    levels = np.linspace(board / 2, high - board / 2, rows + 1)
    shelves = [box((deep, wide - 2 * board, board), (0.0, 0.0, float(z))) for z in levels]
    sides = [box((deep, board, high), (0.0, s * (wide - board) / 2, high / 2), 0.002) for s in (-1, 1)]
    back = [box((0.008, wide - 0.004, high - 0.004), (-deep / 2 + 0.004, 0.0, high / 2))]
    wood = one_of(rng, "wood", "wood", "paint", "metal")
    clear = float(levels[1] - levels[0]) - board
    supports = [
        Support((0.02, 0.0, float(z) + board / 2), (deep - 0.07, wide - 2 * board - 0.04), clear)
        for z in levels[:-1]
    ]
    supports.append(Support((0.0, 0.0, high), (deep - 0.06, wide - 0.06)))
    return Thing(
        [
            Part("boards", wood, shelves),
            Part("sides", wood, sides),
            Part("back", one_of(rng, "wood", wood), back),
        ],
        supports,
    )


def _cabinet(rng: Rng) -> Thing:
    u = rng.uniform
    deep, wide, high, foot = u(0.35, 0.5), u(0.5, 1.6), u(0.5, 1.1), u(0.03, 0.15)
    wood = one_of(rng, "wood", "paint", "wood")
    body = [box((deep, wide, high - foot), (0.0, 0.0, (high + foot) / 2), 0.004)]
    feet = _legs(rng, deep / 2 - 0.04, wide / 2 - 0.05, foot + 0.01, 0.045)
    columns, rows = max(1, round(wide / u(0.4, 0.6))), int(rng.integers(1, 4))
    step, rise = wide / columns, (high - foot) / rows
    fronts, handles = [], []
    for i in range(columns):
        for j in range(rows):
            y, z = -wide / 2 + (i + 0.5) * step, foot + (j + 0.5) * rise
            fronts.append(box((0.02, step - 0.012, rise - 0.012), (deep / 2 + 0.008, y, z), 0.003))
            knob = (deep / 2 + 0.03, y, z + 0.25 * rise)
            handles.append(
                ghost(ball(0.014, knob, detail=1))
                if rows == 1
                else ghost(cylinder(0.006, 0.4 * step, knob, ALONG_Y, 8))
            )
    return Thing(
        [
            Part("body", wood, body),
            Part("fronts", one_of(rng, wood, "paint"), fronts),
            Part("handles", one_of(rng, "metal", "wood"), handles),
            Part("feet", wood, feet),
        ],
        [Support((0.0, 0.0, high), (deep - 0.06, wide - 0.06))],
    )


FURNITURE = {
    "chair": _chair,
    "stool": _stool,
    "table": _table,
    "coffee table": _coffee_table,
    "sofa": _sofa,
    "bed": _bed,
    "bookcase": _bookcase,
    "cabinet": _cabinet,
}
