"""Plants, from grass and what grows in pots to trees."""

from __future__ import annotations

import numpy as np
import trimesh

from freelabels.renderers.objects.solids import (
    Part,
    Rng,
    Solid,
    Thing,
    box,
    cylinder,
    ghost,
    hollow,
    lathe,
    leaf,
    one_of,
    tube,
)
from freelabels.renderers.surfaces import meshes


def _clump(rng: Rng, radius: float, centre: tuple[float, float, float]) -> Solid:
    """Foliage: a ball whose surface goes in and out."""
    shape = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    bumps = 1 + rng.uniform(-0.2, 0.16, len(shape.vertices))
    corners = meshes.snapped(np.array(shape.vertices) * bumps[:, None] * (1, 1, 0.8) + centre)
    return Solid(trimesh.Trimesh(corners, shape.faces, process=False), "")


def _houseplant(rng: Rng) -> Thing:
    u = rng.uniform
    r, high = u(0.07, 0.18), u(0.1, 0.3)
    pot = lathe(hollow([(0.0, 0.0), (0.7 * r, 0.0), (r, high)], 0.008))
    soil = [cylinder(0.9 * r, 0.02, (0.0, 0.0, 0.88 * high), sections=16)]
    leaves, tall = [], u(0.15, 0.5)
    count = int(rng.integers(12, 28))
    for k in range(count):
        a, out, up = 2.4 * k + u(0, 0.4), u(0.3, 1.0) * tall, u(0.25, 1.0) * tall
        base = (0.2 * r * float(np.cos(a)), 0.2 * r * float(np.sin(a)), 0.88 * high + 0.3 * up * u(0, 1))
        tip = (out * float(np.cos(a)), out * float(np.sin(a)), high + up)
        leaves.append(leaf(base, tip, u(0.2, 0.4) * tall * 0.5, u(0.05, 0.3) * tall))
    return Thing(
        [
            Part("pot", one_of(rng, "ceramic", "plastic", "bark"), [pot]),
            Part("soil", "soil", [ghost(s) for s in soil]),
            Part("leaves", "leaf", leaves),
        ]
    )


def _tree(rng: Rng) -> Thing:
    u = rng.uniform
    high, crown = u(3.0, 8.0), u(1.0, 2.4)
    thick = 0.03 * high
    trunk = [
        lathe(
            [
                (0.0, 0.0),
                (1.5 * thick, 0.0),
                (thick, 0.15 * high),
                (0.6 * thick, 0.85 * high),
                (0.0, 0.85 * high),
            ],
            sections=12,
        )
    ]
    if rng.random() < 0.25:  # a conifer
        cones = [
            lathe(
                [
                    (0.0, z * high),
                    (crown * (1.05 - z) * 0.8, z * high - 0.1),
                    (0.05, (z + 0.3) * high),
                    (0.0, (z + 0.3) * high),
                ],
                sections=14,
                collides="",
            )
            for z in (0.25, 0.42, 0.59, 0.74)
        ]
        return Thing([Part("trunk", "bark", trunk), Part("crown", "leaf", cones)])
    tops = []
    for k in range(int(rng.integers(6, 12))):
        a, out, z = 2.4 * k, u(0.2, 0.75) * crown, u(0.55, 1.0) * high
        centre = (float(out * np.cos(a)), float(out * np.sin(a)), float(z))
        tops.append(_clump(rng, u(0.45, 0.75) * crown, centre))
        trunk.append(
            tube(
                [
                    (0.0, 0.0, 0.45 * high),
                    (0.5 * centre[0], 0.5 * centre[1], 0.55 * high + 0.25 * (z - 0.5 * high)),
                    centre,
                ],
                0.3 * thick,
                6,
            )
        )
    return Thing([Part("trunk", "bark", trunk), Part("crown", "leaf", tops)])


def _bush(rng: Rng) -> Thing:
    u = rng.uniform
    size = u(0.3, 0.8)
    clumps = [
        _clump(rng, u(0.5, 0.8) * size, (float(u(-0.6, 0.6) * size), float(u(-0.8, 0.8) * size), 0.5 * size))
        for _ in range(int(rng.integers(2, 5)))
    ]
    stem = [cylinder(0.06 * size, 0.6 * size, (0.0, 0.0, 0.3 * size), sections=8)]
    return Thing([Part("leaves", "leaf", clumps), Part("stem", "bark", stem)])


def _grass_tuft(rng: Rng) -> Thing:
    u = rng.uniform
    blades = []
    for k in range(int(rng.integers(14, 26))):
        a, out, up = 2.4 * k, u(0.03, 0.2), u(0.15, 0.45)
        base = (0.04 * float(np.cos(a)), 0.04 * float(np.sin(a)), 0.0)
        blades.append(leaf(base, (out * float(np.cos(a)), out * float(np.sin(a)), up), 0.02, 0.05, 3))
    root = [cylinder(0.03, 0.02, (0.0, 0.0, 0.01), sections=8)]
    return Thing([Part("blades", "leaf", blades), Part("root", "soil", root)])


def _planter(rng: Rng) -> Thing:
    u = rng.uniform
    sides = (u(0.4, 0.6), u(0.8, 1.6), u(0.4, 0.6))
    tub = [box(sides, (0.0, 0.0, sides[2] / 2), 0.02)]
    clumps = [
        _clump(rng, u(0.2, 0.32), (0.0, float(y), sides[2] + 0.08))
        for y in np.linspace(-sides[1] / 2 + 0.2, sides[1] / 2 - 0.2, int(rng.integers(3, 6)))
    ]
    return Thing([Part("tub", one_of(rng, "bark", "wood", "ceramic"), tub), Part("leaves", "leaf", clumps)])


PLANTS = {
    "houseplant": _houseplant,
    "tree": _tree,
    "bush": _bush,
    "grass": _grass_tuft,
    "planter": _planter,
}
