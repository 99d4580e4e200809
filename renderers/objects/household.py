"""Small things that stand on tables and shelves, lie about and fall down."""

from __future__ import annotations

import numpy as np

from freelabels.renderers.objects.solids import (
    ALONG_X,
    ALONG_Y,
    Part,
    Rng,
    Solid,
    Thing,
    ball,
    box,
    cushion,
    cylinder,
    ghost,
    hollow,
    lathe,
    leaf,
    one_of,
    tilted,
    tube,
)
from freelabels.renderers.surfaces.appearance import Vector


def _handle(radius: float, low: float, top: float, reach: float, thick: float) -> Solid:
    angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
    middle, half = (low + top) / 2, (top - low) / 2
    points: list[Vector] = [
        (0.0, float(radius - 0.003 + reach * np.cos(a)), float(middle + half * np.sin(a))) for a in angle
    ]
    return tube(points, thick)


def _cup(rng: Rng) -> Thing:
    u = rng.uniform
    high, wide = u(0.07, 0.11), u(0.033, 0.046)
    foot = wide * u(0.6, 1.0)
    body = lathe(hollow([(0.0, 0.0), (foot, 0.0), (0.9 * wide, 0.4 * high), (wide, high)], 0.004))
    kind = one_of(rng, "ceramic", "ceramic", "metal", "plastic")
    parts = [Part("body", kind, [body])]
    if rng.random() < 0.8:
        parts.append(
            Part("handle", kind, [_handle(0.93 * wide, 0.25 * high, 0.8 * high, u(0.02, 0.03), 0.005)])
        )
    return Thing(parts)


def _bottle(rng: Rng) -> Thing:
    u = rng.uniform
    high, wide = u(0.18, 0.32), u(0.028, 0.045)
    neck, shoulder = wide * u(0.3, 0.45), high * u(0.5, 0.68)
    outline = [(0.0, 0.0), (0.93 * wide, 0.0), (wide, 0.008), (wide, shoulder)]
    outline += [
        (0.9 * wide, shoulder + 0.18 * (high - shoulder)),
        (neck, shoulder + 0.55 * (high - shoulder)),
    ]
    outline += [(neck, high), (0.0, high)]
    label = lathe(
        [
            (0.0, 0.2 * high),
            (wide + 0.0006, 0.2 * high),
            (wide + 0.0006, 0.8 * shoulder),
            (0.0, 0.8 * shoulder),
        ]
    )
    cap = cylinder(neck * 1.15, 0.02, (0.0, 0.0, high), sections=16)
    parts = [
        Part("body", one_of(rng, "glass", "glass", "plastic"), [lathe(outline)]),
        Part("cap", one_of(rng, "metal", "plastic", "bark"), [cap]),
    ]
    if rng.random() < 0.7:
        parts.append(Part("label", "print", [ghost(label)]))
    return Thing(parts)


def _glass(rng: Rng) -> Thing:
    u = rng.uniform
    if rng.random() < 0.5:
        high, wide = u(0.09, 0.15), u(0.03, 0.04)
        return Thing(
            [Part("body", "glass", [lathe(hollow([(0.0, 0.0), (0.85 * wide, 0.0), (wide, high)], 0.003))])]
        )
    high, wide, stem = u(0.16, 0.22), u(0.035, 0.045), u(0.07, 0.1)
    foot = lathe(
        [(0.0, 0.0), (0.9 * wide, 0.0), (0.9 * wide, 0.003), (0.005, 0.008), (0.004, stem), (0.0, stem)]
    )
    bowl = [
        (0.0, stem),
        (0.7 * wide, stem + 0.2 * (high - stem)),
        (wide, stem + 0.5 * (high - stem)),
        (0.8 * wide, high),
    ]
    return Thing([Part("stem", "glass", [foot]), Part("bowl", "glass", [lathe(hollow(bowl, 0.002))])])


def _bowl(rng: Rng) -> Thing:
    u = rng.uniform
    wide, high = u(0.07, 0.14), u(0.045, 0.08)
    outline = [(0.0, 0.0), (0.4 * wide, 0.0), (0.42 * wide, 0.006), (0.75 * wide, 0.35 * high), (wide, high)]
    parts = [
        Part(
            "bowl",
            one_of(rng, "ceramic", "wood", "metal", "plastic"),
            [lathe(hollow(outline, 0.005), sections=28)],
        )
    ]
    if rng.random() < 0.4:
        fruit = [
            ghost(
                ball(
                    0.3 * wide, (0.38 * wide * float(np.cos(a)), 0.38 * wide * float(np.sin(a)), 0.75 * high)
                )
            )
            for a in np.arange(3) * 2.1 + u(0, 2)
        ]
        parts.append(Part("fruit", "fruit", fruit))
    return Thing(parts)


def _plate(rng: Rng) -> Thing:
    u = rng.uniform
    wide = u(0.08, 0.14)
    count = int(rng.integers(1, 5))
    plates = []
    for k in range(count):
        z = 0.012 * k
        edge = [(0.0, z), (0.6 * wide, z), (0.65 * wide, z + 0.004), (wide, z + 0.016)]
        plates.append(lathe(hollow(edge, 0.004), sections=32))
    return Thing([Part("plates", "ceramic", plates)])


def _vase(rng: Rng) -> Thing:
    u = rng.uniform
    high, wide = u(0.15, 0.4), u(0.04, 0.1)
    z = np.linspace(0, 1, 9)
    bulge, neck = u(0.3, 0.6), u(0.3, 0.6)
    r = wide * (neck + (1 - neck) * np.exp(-(((z - bulge) / 0.33) ** 2)))
    outline = [(0.0, 0.0), *((float(a), float(b * high)) for a, b in zip(r, z, strict=True))]
    parts = [
        Part("body", one_of(rng, "ceramic", "ceramic", "glass", "wood"), [lathe(hollow(outline, 0.005))])
    ]
    if rng.random() < 0.6:
        count = int(rng.integers(3, 8))
        stems, heads, leaves = [], [], []
        for k in range(count):
            a, out, up = 2 * np.pi * k / count + u(0, 0.6), u(0.2, 0.9) * wide + 0.03, high + u(0.08, 0.25)
            tip = (float(out * 1.6 * np.cos(a)), float(out * 1.6 * np.sin(a)), float(up))
            mid = (0.45 * tip[0], 0.45 * tip[1], high + 0.4 * (up - high))
            stems.append(tube([(0.0, 0.0, 0.1 * high), mid, tip], 0.003, 6))
            heads.append(ghost(ball(u(0.012, 0.03), tip, (1.0, 1.0, 0.7), 1)))
            leaves.append(leaf(mid, (mid[0] * 2.2, mid[1] * 2.2, mid[2] + 0.03), 0.03, 0.02))
        parts += [Part("stems", "leaf", stems + leaves), Part("flowers", "fruit", heads)]
    return Thing(parts)


def _jar(rng: Rng) -> Thing:
    u = rng.uniform
    high, wide = u(0.07, 0.18), u(0.03, 0.055)
    body = lathe(
        [
            (0.0, 0.0),
            (0.95 * wide, 0.0),
            (wide, 0.01),
            (wide, 0.85 * high),
            (0.8 * wide, 0.95 * high),
            (0.0, 0.95 * high),
        ]
    )
    lid = cylinder(0.86 * wide, 0.16 * high, (0.0, 0.0, 0.96 * high))
    return Thing(
        [
            Part("body", one_of(rng, "glass", "ceramic", "print"), [body]),
            Part("lid", one_of(rng, "metal", "wood", "plastic"), [lid]),
        ]
    )


def _can(rng: Rng) -> Thing:
    u = rng.uniform
    high, wide = u(0.08, 0.17), u(0.028, 0.05)
    side = cylinder(wide, 0.94 * high, (0.0, 0.0, high / 2))
    ends = [
        cylinder(0.93 * wide, 0.034 * high, (0.0, 0.0, z), sections=20) for z in (0.016 * high, 0.984 * high)
    ]
    return Thing([Part("side", "print", [side]), Part("ends", "metal", ends)])


def _book(rng: Rng) -> Thing:
    """A book that lies, its back along y."""
    u = rng.uniform
    deep, wide, thick = u(0.12, 0.2), u(0.17, 0.28), u(0.012, 0.045)
    board = 0.0025
    pages = [box((deep - 0.006, wide - 0.008, thick - 2 * board), (0.002, 0.0, thick / 2))]
    cover = [box((deep, wide, board), (0.0, 0.0, z)) for z in (board / 2, thick - board / 2)]
    cover.append(box((board, wide, thick), (-deep / 2, 0.0, thick / 2)))
    return Thing(
        [Part("cover", one_of(rng, "print", "print", "cloth"), cover), Part("pages", "paper", pages)]
    )


def _books(rng: Rng) -> Thing:
    """A row of books that stand, or a pile; each is a part."""
    u = rng.uniform
    count = int(rng.integers(3, 10))
    parts, along = [], 0.0
    pile = rng.random() < 0.25
    for k in range(count if not pile else min(count, 5)):
        thick, high, deep = u(0.012, 0.045), u(0.17, 0.27), u(0.12, 0.18)
        if pile:
            turn = tilted((0.0, 0.0, 1.0), u(-25, 25))
            solid = box((deep, high, thick), (0.0, 0.0, along + thick / 2), 0.001, turn)
        else:
            solid = box((deep, thick, high), ((0.18 - deep) / 2, along + thick / 2, high / 2), 0.001)
        along += thick + 0.0008
        parts.append(Part(f"book {k + 1}", one_of(rng, "print", "cloth", "paint"), [solid]))
    return Thing(parts)


def _carton(rng: Rng) -> Thing:
    u = rng.uniform
    sides = (u(0.05, 0.35), u(0.08, 0.45), u(0.06, 0.35))
    body = [box(sides, (0.0, 0.0, sides[2] / 2), 0.001)]
    parts = [Part("body", one_of(rng, "print", "paper", "paper"), body)]
    if min(sides) > 0.12:
        tape = [box((0.05, sides[1] + 0.001, 0.0006), (0.0, 0.0, sides[2] + 0.0002))]
        parts.append(Part("tape", "plastic", [ghost(strip) for strip in tape]))
    return Thing(parts)


def _toy_ball(rng: Rng) -> Thing:
    radius = float(np.exp(rng.uniform(*np.log((0.03, 0.14)))))
    return Thing(
        [
            Part(
                "ball",
                one_of(rng, "plastic", "print", "rubber", "cloth"),
                [ball(radius, (0.0, 0.0, radius), detail=3)],
            )
        ]
    )


def _fruit(rng: Rng) -> Thing:
    u = rng.uniform
    r = u(0.028, 0.05)
    if rng.random() < 0.25:  # a banana
        angle = np.linspace(-0.8, 0.8, 9)
        path: list[Vector] = [(0.1 * float(np.cos(a)) - 0.08, 0.12 * float(np.sin(a)), 0.018) for a in angle]
        return Thing([Part("fruit", "fruit", [tube(path, 0.017, 10, "hull")])])
    tall = u(0.85, 1.3)
    body = ball(r, (0.0, 0.0, r * tall), (1.0, 1.0, tall), 3)
    stalk = [
        tube(
            [
                (0.0, 0.0, 1.9 * r * tall),
                (0.002, 0.0, 2 * r * tall + 0.006),
                (0.006, 0.0, 2 * r * tall + 0.012),
            ],
            0.0018,
            6,
        )
    ]
    return Thing([Part("fruit", "fruit", [body]), Part("stalk", "bark", stalk)])


def _laptop(rng: Rng) -> Thing:
    u = rng.uniform
    wide = u(0.28, 0.38)
    deep, open_ = 0.68 * wide, u(5, 30)
    base = [box((deep, wide, 0.016), (0.0, 0.0, 0.008), 0.003)]
    keys = [ghost(box((0.017, 0.9 * wide, 0.003), (-0.32 * deep + 0.021 * k, 0.0, 0.0168))) for k in range(5)]
    turn = tilted((0.0, 1.0, 0.0), -open_)
    slope = float(np.tan(np.radians(open_)))
    mid = (-deep / 2 - 0.5 * deep * slope * 0.9, 0.0, 0.012 + deep * 0.46)
    lid = [box((0.007, wide, deep * 0.97), mid, 0.002, turn)]
    glass = [ghost(box((0.001, 0.93 * wide, deep * 0.85), (mid[0] + 0.0042, 0.0, mid[2]), 0.0, turn))]
    case = one_of(rng, "metal", "plastic")
    return Thing(
        [
            Part("base", case, base),
            Part("keys", "rubber", keys),
            Part("lid", case, lid),
            Part("screen", "screen", glass),
        ]
    )


def _clock(rng: Rng) -> Thing:
    u = rng.uniform
    r = u(0.05, 0.12)
    rim = lathe(
        [(0.85 * r, 0.0), (r, 0.0), (r, 0.03), (0.9 * r, 0.034), (0.88 * r, 0.02), (0.85 * r, 0.0)],
        (0.0, 0.0, r),
        turn=ALONG_X,
    )
    face = [cylinder(0.9 * r, 0.02, (0.01, 0.0, r), ALONG_X, 28)]
    hands = [
        ghost(box((0.002, 0.006, 0.6 * r), (0.022, 0.0, 1.25 * r))),
        ghost(box((0.002, 0.4 * r, 0.006), (0.022, 0.18 * r, r))),
    ]
    foot = [box((0.03, 1.2 * r, 0.01), (0.01, 0.0, 0.005))]
    return Thing(
        [
            Part("rim", one_of(rng, "metal", "plastic", "wood"), [rim, *foot]),
            Part("face", "paper", face),
            Part("hands", "rubber", hands),
        ]
    )


def _basket(rng: Rng) -> Thing:
    u = rng.uniform
    r, high = u(0.12, 0.22), u(0.2, 0.4)
    body = lathe(hollow([(0.0, 0.0), (0.8 * r, 0.0), (r, high)], 0.008), sections=28)
    return Thing([Part("body", one_of(rng, "cloth", "plastic", "metal", "wood"), [body])])


def _shoe(rng: Rng) -> Thing:
    u = rng.uniform
    long, wide = u(0.22, 0.3), u(0.08, 0.1)
    sole = [box((long, wide, 0.025), (0.0, 0.0, 0.0125), 0.01)]
    upper = [
        cushion((0.62 * long, wide * 0.95, 0.1), (0.16 * long, 0.0, 0.05)),
        cushion((0.5 * long, wide * 0.9, u(0.16, 0.22)), (-0.22 * long, 0.0, 0.09)),
    ]
    return Thing(
        [
            Part("sole", one_of(rng, "rubber", "plastic"), sole),
            Part("upper", one_of(rng, "cloth", "paint"), upper),
        ]
    )


def _toy_truck(rng: Rng) -> Thing:
    u = rng.uniform
    long, wide, wheel = u(0.12, 0.25), u(0.06, 0.1), u(0.015, 0.025)
    cab = [box((0.3 * long, wide, 0.5 * long), (0.33 * long, 0.0, wheel + 0.25 * long), 0.006)]
    load = [box((0.62 * long, wide, 0.3 * long), (-0.15 * long, 0.0, wheel + 0.15 * long), 0.004)]
    wheels = [
        cylinder(wheel, 0.018, (x * long, y * wide / 2, wheel), ALONG_Y, 18)
        for x in (-0.3, 0.3)
        for y in (-1, 1)
    ]
    return Thing(
        [
            Part("cab", "plastic", cab),
            Part("load", one_of(rng, "plastic", "wood"), load),
            Part("wheels", "rubber", wheels),
        ]
    )


HOUSEHOLD = {
    "cup": _cup,
    "bottle": _bottle,
    "glass": _glass,
    "bowl": _bowl,
    "plate": _plate,
    "vase": _vase,
    "jar": _jar,
    "can": _can,
    "book": _book,
    "books": _books,
    "carton": _carton,
    "ball": _toy_ball,
    "fruit": _fruit,
    "laptop": _laptop,
    "clock": _clock,
    "basket": _basket,
    "shoe": _shoe,
    "toy": _toy_truck,
}
