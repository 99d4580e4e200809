"""What rooms are fitted with: lamps, pictures, rugs, curtains, screens and radiators."""

from __future__ import annotations

import numpy as np

from freelabels.renderers.objects.solids import (
    ALONG_Y,
    Part,
    Rng,
    Thing,
    box,
    cylinder,
    folds,
    ghost,
    lathe,
    one_of,
    tilted,
    tube,
)


def _floor_lamp(rng: Rng) -> Thing:
    u = rng.uniform
    high, foot = u(1.3, 1.8), u(0.12, 0.17)
    wide, tall, top = u(0.15, 0.25), u(0.2, 0.32), u(0.08, 0.2)
    shade = [(wide, -tall), (min(top, wide), 0.0), (min(top, wide) - 0.004, 0.0), (wide - 0.004, -tall)]
    stand = [
        lathe([(0.0, 0.0), (foot, 0.0), (foot, 0.015), (0.02, 0.03), (0.0, 0.03)]),
        cylinder(0.012, high - 0.05, (0.0, 0.0, high / 2), sections=10),
    ]
    return Thing(
        [
            Part("stand", one_of(rng, "metal", "wood", "paint"), stand),
            Part("shade", one_of(rng, "cloth", "paper"), [lathe([*shade, shade[0]], (0.0, 0.0, high))]),
        ]
    )


def _desk_lamp(rng: Rng) -> Thing:
    u = rng.uniform
    foot, low, arm, bend = u(0.07, 0.1), u(0.2, 0.3), u(0.15, 0.28), u(20, 50)
    reach = float(np.sin(np.radians(bend))) * arm
    head = low + float(np.cos(np.radians(bend))) * arm
    stand = [
        lathe([(0.0, 0.0), (foot, 0.0), (foot, 0.02), (0.01, 0.03), (0.0, 0.03)]),
        cylinder(0.008, low, (0.0, 0.0, low / 2), sections=10),
        ghost(tube([(0.0, 0.0, low), (reach / 2, 0.0, (low + head) / 2), (reach, 0.0, head)], 0.008)),
    ]
    cone = [(0.075, -0.11), (0.03, 0.0), (0.0, 0.0), (0.0, -0.006), (0.026, -0.006), (0.071, -0.11)]
    shade = lathe([*cone, cone[0]], (reach, 0.0, head), turn=tilted((0.0, 1.0, 0.0), -u(0, 30)))
    colour = one_of(rng, "paint", "metal", "plastic")
    return Thing([Part("stand", colour, stand), Part("shade", colour, [shade])])


def _picture(rng: Rng) -> Thing:
    """A framed picture, its back at x = 0, hung on a wall by whoever places it."""
    u = rng.uniform
    wide, high, rim, thick = u(0.25, 0.9), u(0.25, 0.8), u(0.015, 0.05), u(0.015, 0.03)
    bars = [
        box((thick, wide, rim), (thick / 2, 0.0, rim / 2)),
        box((thick, wide, rim), (thick / 2, 0.0, high - rim / 2)),
    ]
    bars += [
        box((thick, rim, high - 2 * rim + 0.002), (thick / 2, s * (wide - rim) / 2, high / 2))
        for s in (-1, 1)
    ]
    canvas = [box((0.006, wide - rim, high - rim), (0.005, 0.0, high / 2))]
    return Thing(
        [Part("frame", one_of(rng, "wood", "metal", "paint"), bars), Part("picture", "print", canvas)]
    )


def _rug(rng: Rng) -> Thing:
    u = rng.uniform
    if rng.random() < 0.25:
        return Thing([Part("rug", "cloth", [cylinder(u(0.6, 1.1), 0.012, (0.0, 0.0, 0.006), sections=40)])])
    return Thing([Part("rug", "cloth", [box((u(0.8, 1.8), u(1.2, 2.6), 0.012), (0.0, 0.0, 0.006))])])


def _curtain(rng: Rng) -> Thing:
    """A hanging curtain in folds, its rod at the top; hung before a window by whoever places it."""
    u = rng.uniform
    wide, high, deep = u(0.4, 0.8), u(1.4, 2.2), u(0.03, 0.06)
    cloth = folds(wide, high, deep, u(4, 8))
    rod = cylinder(0.012, wide + 0.15, (0.06, 0.0, high + 0.01), ALONG_Y, 10)
    return Thing([Part("cloth", "cloth", [cloth]), Part("rod", one_of(rng, "metal", "wood"), [rod])])


def _screen(rng: Rng) -> Thing:
    u = rng.uniform
    wide = u(0.5, 1.2)
    high, rise = wide * 0.58, u(0.05, 0.12)
    case = [box((0.03, wide, high), (0.0, 0.0, rise + high / 2), 0.005)]
    glass = [box((0.004, wide - 0.024, high - 0.024), (0.0155, 0.0, rise + high / 2))]
    foot = [
        box((0.18, 0.35 * wide, 0.012), (-0.01, 0.0, 0.006), 0.004),
        box((0.02, 0.06, rise + 0.05), (-0.02, 0.0, (rise + 0.05) / 2)),
    ]
    return Thing(
        [Part("case", "plastic", case), Part("screen", "screen", glass), Part("foot", "plastic", foot)]
    )


def _radiator(rng: Rng) -> Thing:
    u = rng.uniform
    high, ribs = u(0.45, 0.65), int(rng.integers(8, 18))
    wide = 0.055 * ribs
    bars = [
        box((0.07, 0.04, high), (0.04, (k - (ribs - 1) / 2) * 0.055, 0.1 + high / 2), 0.012)
        for k in range(ribs)
    ]
    pipes = [cylinder(0.014, wide, (0.04, 0.0, z), ALONG_Y, 8) for z in (0.14, high + 0.06)]
    return Thing([Part("ribs", "trim", bars), Part("pipes", "trim", [ghost(pipe) for pipe in pipes])])


FITTINGS = {
    "floor lamp": _floor_lamp,
    "desk lamp": _desk_lamp,
    "picture": _picture,
    "rug": _rug,
    "curtain": _curtain,
    "screen": _screen,
    "radiator": _radiator,
}
