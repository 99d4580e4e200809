"""What stands and drives in a street: vehicles, lamps, signs, seats and people."""

from __future__ import annotations

import numpy as np
import trimesh

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
    lathe,
    one_of,
    tilted,
    tube,
)
from freelabels.renderers.surfaces import meshes


def _loft(outline: list[tuple[float, float]], wide: float, top_share: float) -> Solid:
    """A side view (x, z) given a width, that narrows upwards to `top_share`."""
    points = np.asarray(outline, np.float64)
    low, top = points[:, 1].min(), points[:, 1].max()
    half = wide / 2 * (1 - (1 - top_share) * (points[:, 1] - low) / (top - low))
    left = np.stack([points[:, 0], half, points[:, 1]], 1)
    # Sides are fans about their middles: outlines of cars are seen whole from there.
    centre = np.array([[points[:, 0].mean(), half.mean(), points[:, 1].mean()]])
    mirror = (1, -1, 1)
    corners = meshes.snapped(np.concatenate([left, left * mirror, centre, centre * mirror]))
    count = len(points)
    k = np.arange(count)
    after = (k + 1) % count
    faces = [
        np.stack([k, k + count, after + count], 1),
        np.stack([k, after + count, after], 1),
        np.stack([k, after, np.full(count, 2 * count)], 1),
        np.stack([after + count, k + count, np.full(count, 2 * count + 1)], 1),
    ]
    return Solid(trimesh.Trimesh(corners, np.concatenate(faces), process=False))


def _car(rng: Rng) -> Thing:
    u = rng.uniform
    van = rng.random() < 0.25
    long, wide = (u(4.4, 5.4), u(1.8, 2.0)) if van else (u(3.7, 4.8), u(1.65, 1.85))
    high, belt, clear, wheel = (
        (u(1.8, 2.3), 1.05, 0.25, 0.34) if van else (u(1.38, 1.6), u(0.8, 0.92), 0.2, u(0.29, 0.34))
    )
    half = long / 2
    if van:
        body = [
            (-half, clear),
            (-half, high - 0.1),
            (-half + 0.1, high),
            (0.45 * half, high),
            (0.72 * half, belt + 0.05),
            (half - 0.04, belt - 0.12),
            (half, 0.55),
            (half, clear),
        ]
        glass = [
            (-0.1 * half, belt + 0.1),
            (-0.1 * half, high - 0.2),
            (0.43 * half, high - 0.13),
            (0.7 * half, belt + 0.1),
        ]
        shells = [_loft(body, wide, 0.9)]
        cabin = _loft(glass, wide * 0.945 + 0.012, 0.975)
    else:
        estate = rng.random() < 0.5
        rear = -half + (0.1 if estate else u(0.5, 0.75))
        body = [
            (-half, 0.38),
            (-half + 0.03, belt - 0.12),
            (-half + 0.15, belt),
            (0.42 * half, belt),
            (half - 0.12, belt - 0.16),
            (half, 0.5),
            (half - 0.02, clear),
            (-half + 0.05, clear),
        ]
        shells = [_loft(body, wide, 0.94)]
        cabin = _loft(
            [
                (rear, belt - 0.02),
                (rear + u(0.15, 0.4), high - 0.05),
                (0.1 * half, high - 0.05),
                (0.5 * half, belt - 0.02),
            ],
            wide * 0.92,
            0.82,
        )
        shells.append(
            box(
                (0.1 * half - rear - 0.45, 0.73 * wide, 0.05),
                ((0.1 * half + rear + 0.4) / 2, 0.0, high - 0.025),
                0.02,
            )
        )
        pillars = (rear + 0.35, 0.1 * half - 0.05)
        shells += [
            ghost(
                box(
                    (0.06, 0.86 * wide, high - belt - 0.03),
                    ((pillars[0] + pillars[1]) / 2, 0.0, (high + belt) / 2 - 0.02),
                )
            )
        ]
    axles = (-0.6 * half, 0.62 * half)
    tyres = [
        cylinder(wheel, 0.2, (x, s * (wide / 2 - 0.09), wheel), ALONG_Y, 24) for x in axles for s in (-1, 1)
    ]
    hubs = [
        ghost(cylinder(0.6 * wheel, 0.21, (x, s * (wide / 2 - 0.09), wheel), ALONG_Y, 16))
        for x in axles
        for s in (-1, 1)
    ]
    lamps = [ghost(box((0.05, 0.3, 0.12), (half - 0.05, s * (0.36 * wide), 0.62), 0.01)) for s in (-1, 1)]
    tails = [ghost(box((0.05, 0.22, 0.14), (-half + 0.02, s * (0.38 * wide), 0.68), 0.01)) for s in (-1, 1)]
    trim = [box((0.08, wide * 0.96, 0.12), (x, 0.0, 0.34), 0.02) for x in (-half, half - 0.01)]
    plates = [ghost(box((0.01, 0.5, 0.11), (x, 0.0, 0.45))) for x in (-half - 0.04 + 0.035, half + 0.02)]
    return Thing(
        [
            Part("body", "paint", shells),
            Part("windows", "pane", [ghost(cabin)] if van else [cabin]),
            Part("tyres", "rubber", tyres),
            Part("hubs", "metal", hubs),
            Part("headlamps", "glass", lamps),
            Part("tail lamps", "fruit", tails),
            Part("bumpers", one_of(rng, "rubber", "plastic"), trim),
            Part("plates", "paper", plates),
        ]
    )


def _bicycle_rack(rng: Rng) -> Thing:
    count = int(rng.integers(2, 6))
    bars = []
    for k in range(count):
        y = 0.8 * (k - (count - 1) / 2)
        a = np.linspace(0, np.pi, 9)
        bars.append(tube([(float(0.35 * np.cos(t)), y, float(0.75 * np.sin(t))) for t in a], 0.025, 10))
    post = [
        cylinder(0.03, 0.02, (x, 0.8 * (k - (count - 1) / 2), 0.01))
        for k in range(count)
        for x in (-0.35, 0.35)
    ]
    return Thing([Part("bars", one_of(rng, "metal", "paint"), bars), Part("feet", "metal", post)])


def _street_lamp(rng: Rng) -> Thing:
    u = rng.uniform
    high, reach = u(3.5, 6.5), u(0.0, 1.4)
    pole = [
        lathe([(0.0, 0.0), (0.11, 0.0), (0.1, 0.5), (0.06, 0.55), (0.045, high), (0.0, high)], sections=12)
    ]
    if reach > 0.5:
        a = np.linspace(0, np.pi / 2, 6)
        arm = [(float(reach * np.sin(t)), 0.0, float(high - 0.02 + 0.3 * (1 - np.cos(t)))) for t in a]
        pole.append(tube(arm, 0.035))
        head = [box((0.5, 0.2, 0.1), (reach + 0.15, 0.0, high + 0.27), 0.03)]
    else:
        head = [lathe([(0.0, 0.0), (0.12, 0.0), (0.2, 0.35), (0.1, 0.45), (0.0, 0.45)], (0.0, 0.0, high), 12)]
    return Thing(
        [
            Part("pole", one_of(rng, "metal", "paint"), pole),
            Part("head", one_of(rng, "glass", "plastic"), [ghost(h) for h in head]),
        ]
    )


def _sign(rng: Rng) -> Thing:
    u = rng.uniform
    high, size = u(2.0, 2.6), u(0.3, 0.45)
    pole = [cylinder(0.03, high, (0.0, 0.0, high / 2), sections=12)]
    style = int(rng.integers(3))
    at = (0.035, 0.0, high - size / 2)
    if style == 0:
        board = cylinder(size, 0.01, at, ALONG_X, 32)
        inner = cylinder(0.78 * size, 0.012, at, ALONG_X, 32)
    elif style == 1:
        board = cylinder(size, 0.01, at, ALONG_X, 3)
        inner = cylinder(0.7 * size, 0.012, at, ALONG_X, 3)
    else:
        board = box((0.01, 1.6 * size, 1.1 * size), at)
        inner = box((0.012, 1.45 * size, 0.95 * size), at)
    return Thing(
        [
            Part("pole", "metal", pole),
            Part("board", "fruit", [ghost(board)]),
            Part("face", one_of(rng, "paper", "print", "paint"), [ghost(inner)]),
        ]
    )


def _bollard(rng: Rng) -> Thing:
    u = rng.uniform
    high, r = u(0.7, 1.0), u(0.06, 0.11)
    post = [
        lathe(
            [(0.0, 0.0), (1.2 * r, 0.0), (r, 0.1), (r, 0.85 * high), (0.7 * r, high), (0.0, high)],
            sections=16,
        )
    ]
    band = [ghost(cylinder(1.03 * r, 0.1, (0.0, 0.0, 0.7 * high)))]
    return Thing([Part("post", one_of(rng, "metal", "paint", "rubber"), post), Part("band", "paper", band)])


def _cone(rng: Rng) -> Thing:
    u = rng.uniform
    high, r = u(0.45, 0.75), u(0.13, 0.18)
    body = [
        box((2.4 * r, 2.4 * r, 0.03), (0.0, 0.0, 0.015), 0.01),
        lathe([(0.0, 0.03), (r, 0.03), (0.03, high), (0.0, high)], sections=20),
    ]

    def at(share: float) -> float:
        return r + (0.03 - r) * (share * high - 0.03) / (high - 0.03) + 0.002

    bands = [
        ghost(
            lathe(
                [
                    (0.0, s * high),
                    (at(s), s * high),
                    (at(s + 0.15), (s + 0.15) * high),
                    (0.0, (s + 0.15) * high),
                ],
                sections=20,
            )
        )
        for s in (0.35, 0.65)
    ]
    return Thing([Part("body", "fruit", body), Part("bands", "paper", bands)])


def _bin_(rng: Rng) -> Thing:
    u = rng.uniform
    if rng.random() < 0.5:
        high, wide, deep = u(0.95, 1.15), u(0.5, 0.65), u(0.6, 0.8)
        body = [box((deep, wide, high - 0.12), (0.0, 0.0, 0.06 + (high - 0.12) / 2), 0.03)]
        lid = [box((deep + 0.06, wide + 0.04, 0.06), (0.02, 0.0, high - 0.03), 0.02)]
        wheels = [
            cylinder(0.1, 0.05, (-deep / 2 + 0.06, s * (wide / 2 - 0.04), 0.1), ALONG_Y) for s in (-1, 1)
        ]
        return Thing(
            [Part("body", "plastic", body), Part("lid", "plastic", lid), Part("wheels", "rubber", wheels)]
        )
    high, r = u(0.7, 1.0), u(0.2, 0.3)
    body = [lathe([(0.0, 0.0), (0.9 * r, 0.0), (r, high), (0.92 * r, high), (0.85 * r, 0.1), (0.0, 0.1)])]
    rim = [
        lathe(
            [
                (0.9 * r, high),
                (1.05 * r, high),
                (1.05 * r, high + 0.04),
                (0.9 * r, high + 0.04),
                (0.9 * r, high),
            ]
        )
    ]
    return Thing(
        [
            Part("body", one_of(rng, "metal", "paint"), body),
            Part("rim", "metal", [ghost(ring) for ring in rim]),
        ]
    )


def _person(rng: Rng) -> Thing:
    """Somebody who stands or is about to walk, as a shop-window dummy would."""
    u = rng.uniform
    high = u(1.55, 1.9)
    hip, shoulder, stride, swing = 0.5 * high, 0.82 * high, u(-0.22, 0.22), u(-0.2, 0.2)
    legs, shoes = [], []
    for side in (-1, 1):
        y, x = side * 0.09, side * stride
        legs.append(tube([(0.0, y, hip), (x / 2, y, hip / 2), (x, y, 0.08)], 0.07, 10, "hull"))
        shoes.append(cushion((0.26, 0.1, 0.1), (x + 0.05, y, 0.05), detail=2))
    torso = [cushion((0.26, 0.42, shoulder - hip + 0.1), (0.0, 0.0, (shoulder + hip) / 2), detail=2)]
    hands = []
    for side in (-1, 1):
        y, x = side * 0.24, -side * swing
        elbow = (x / 2, y * 1.15, 0.66 * high)
        torso.append(tube([(0.0, y * 0.85, shoulder - 0.04), elbow, (x, y * 1.1, hip)], 0.05, 10))
        hands.append(ghost(ball(0.05, (x, y * 1.1, hip - 0.04), detail=1)))
    head = [
        ball(0.1, (0.01, 0.0, high - 0.13), (1.0, 0.8, 1.25)),
        cylinder(0.05, 0.12, (0.0, 0.0, shoulder + 0.03), sections=10),
    ]
    hair = [ghost(ball(0.108, (-0.015, 0.0, high - 0.1), (1.0, 0.85, 1.05)))]
    return Thing(
        [
            Part("legs", "cloth", legs),
            Part("shoes", "rubber", shoes),
            Part("torso", "cloth", torso),
            Part("head", "flesh", head + hands),
            Part("hair", "bark", hair),
        ]
    )


def _bench(rng: Rng) -> Thing:
    u = rng.uniform
    wide, high, deep = u(1.2, 1.9), u(0.42, 0.47), u(0.38, 0.48)
    slats = [box((deep / 4 - 0.012, wide, 0.03), ((k - 1.5) * deep / 4, 0.0, high), 0.005) for k in range(4)]
    turn = tilted((0.0, 1.0, 0.0), -10)
    slats += [
        box((0.03, wide, 0.09), (-deep / 2 - 0.02 - 0.03 * k, 0.0, high + 0.14 + 0.12 * k), 0.005, turn)
        for k in range(3)
    ]
    ends = []
    for side in (-1, 1):
        y = side * (wide / 2 - 0.12)
        ends += [
            box((deep, 0.05, 0.05), (0.0, y, high - 0.035)),
            box((0.05, 0.05, high), (deep / 2 - 0.04, y, high / 2)),
            box((0.05, 0.05, high + 0.42), (-deep / 2 - 0.01, y, (high + 0.42) / 2)),
        ]
    return Thing([Part("slats", "wood", slats), Part("frame", one_of(rng, "metal", "paint"), ends)])


OUTDOORS = {
    "car": _car,
    "bicycle rack": _bicycle_rack,
    "street lamp": _street_lamp,
    "sign": _sign,
    "bollard": _bollard,
    "cone": _cone,
    "bin": _bin_,
    "person": _person,
    "bench": _bench,
}
