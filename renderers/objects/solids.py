"""The solids that made things consist of: what is seen of them, and what they collide as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import trimesh
from numpy.typing import NDArray

from freelabels.renderers.engines import bullet
from freelabels.renderers.surfaces import meshes
from freelabels.renderers.surfaces.appearance import Substance, Vector

Floats = NDArray[np.float64]
Rng = np.random.Generator
HULL = "hull"
UPRIGHT = (0.0, 0.0, 0.0, 1.0)
ALONG_X = (0.0, 2**-0.5, 0.0, 2**-0.5)  # quaternions that lay an upright solid down
ALONG_Y = (2**-0.5, 0.0, 0.0, 2**-0.5)


@dataclass(frozen=True)
class Solid:
    """One solid of a thing.

    mesh: what is seen, in the thing's frame, metres. collides: URDF geometry it collides as, `HULL` for its convex
    hull, "" for nothing. at, turn: pose of that geometry.
    """

    mesh: trimesh.Trimesh
    collides: str = HULL
    at: Vector = (0.0, 0.0, 0.0)
    turn: tuple[float, float, float, float] = UPRIGHT


@dataclass(frozen=True)
class Part:
    """What of a thing has one name and one material: all its legs, its seat."""

    name: str
    substance: Substance
    solids: Sequence[Solid]


@dataclass(frozen=True)
class Support:
    """A level place on a thing where others can stand: its middle (x, y, z), sides along x and y, room above."""

    at: Vector
    sides: tuple[float, float]
    room: float = 1.0


@dataclass(frozen=True)
class Thing:
    """A made thing: it stands on z = 0 and looks along x."""

    parts: Sequence[Part]
    supports: Sequence[Support] = ()


def _placed(
    corners: Floats, faces: NDArray[np.integer], at: Vector, turn: Sequence[float]
) -> trimesh.Trimesh:
    turned = meshes.moved(meshes.snapped(corners), bullet.matrix(at, turn))
    return trimesh.Trimesh(turned, faces, process=False)


def box(
    sides: Sequence[float], at: Vector, bevel: float = 0.0, turn: tuple[float, float, float, float] = UPRIGHT
) -> Solid:
    """A box about its middle `at`; bevel: metres cut off its edges."""
    half = np.asarray(sides, np.float64) / 2
    if bevel > 0:
        bevel = min(bevel, 0.45 * float(half.min()) * 2)
        signs = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
        cut = bevel * (1 - np.eye(3))
        corners = np.concatenate([signs * (half - row) for row in cut])
        shape = trimesh.Trimesh(corners, process=False).convex_hull
    else:
        shape = trimesh.creation.box(half * 2)
    size = " ".join(f"{side:.6g}" for side in half * 2)
    return Solid(_placed(np.array(shape.vertices), shape.faces, at, turn), f'<box size="{size}"/>', at, turn)


def cylinder(
    radius: float,
    height: float,
    at: Vector,
    turn: tuple[float, float, float, float] = UPRIGHT,
    sections: int = 20,
) -> Solid:
    """An upright cylinder about its middle `at`."""
    shape = trimesh.creation.cylinder(radius, height, sections=sections)
    geometry = f'<cylinder radius="{radius:.6g}" length="{height:.6g}"/>'
    return Solid(_placed(np.array(shape.vertices), shape.faces, at, turn), geometry, at, turn)


def ball(radius: float, at: Vector, squash: Vector = (1.0, 1.0, 1.0), detail: int = 2) -> Solid:
    """A ball, or an ellipsoid whose half axes are `squash` times the radius."""
    shape = trimesh.creation.icosphere(subdivisions=detail, radius=radius)
    geometry = f'<sphere radius="{radius:.6g}"/>' if squash == (1.0, 1.0, 1.0) else HULL
    return Solid(_placed(np.array(shape.vertices) * squash, shape.faces, at, UPRIGHT), geometry, at)


def lathe(
    profile: Sequence[tuple[float, float]],
    at: Vector = (0.0, 0.0, 0.0),
    sections: int = 24,
    turn: tuple[float, float, float, float] = UPRIGHT,
    collides: str = HULL,
) -> Solid:
    """A solid of revolution about z; profile: (radius, height) from below, outside and back inside if hollow."""
    shape = trimesh.creation.revolve(np.asarray(profile, np.float64), sections=sections)
    return Solid(_placed(np.array(shape.vertices), shape.faces, at, turn), collides)


def cushion(
    sides: Sequence[float],
    at: Vector,
    power: float = 4.0,
    turn: tuple[float, float, float, float] = UPRIGHT,
    detail: int = 3,
) -> Solid:
    """A box gone soft: the superellipsoid of an even-ish `power`, 2 is an ellipsoid."""
    shape = trimesh.creation.icosphere(subdivisions=detail)
    unit = np.array(shape.vertices)
    # By repeated squaring, whose bits are the same everywhere; `power` is 4 or 2.
    grown = np.square(np.square(unit)) if power > 3 else np.square(unit)
    length = np.sqrt(np.sqrt(grown.sum(axis=1))) if power > 3 else np.sqrt(grown.sum(axis=1))
    corners = unit / length[:, None] * (np.asarray(sides, np.float64) / 2)
    size = " ".join(f"{side:.6g}" for side in sides)
    return Solid(_placed(corners, shape.faces, at, turn), f'<box size="{size}"/>', at, turn)


def tube(path: Sequence[Vector], radius: float, sections: int = 8, collides: str = "") -> Solid:
    """A round bar along a path that lies in one plane."""
    points = np.asarray(path, np.float64)
    ahead = np.gradient(points, axis=0)
    ahead /= np.sqrt((ahead * ahead).sum(axis=1, keepdims=True))
    spread = points - points.mean(axis=0)
    flat = np.cross(spread[0], spread[len(points) // 2])
    if (flat * flat).sum() < 1e-12:  # straight
        flat = np.cross(ahead[0], np.eye(3)[int(np.argmin(np.abs(ahead[0])))])
    flat = flat / np.sqrt((flat * flat).sum())
    side = np.cross(ahead, flat)
    angle = 2 * np.pi * np.arange(sections) / sections
    ring = np.cos(angle)[:, None] * flat + np.sin(angle)[:, None] * side[:, None]
    corners = (points[:, None] + radius * ring).reshape(-1, 3)
    index = np.arange(len(points) * sections).reshape(len(points), sections)
    here, there = index[:-1], index[1:]
    after, beyond = np.roll(here, -1, axis=1), np.roll(there, -1, axis=1)
    faces = [np.stack([here, after, beyond], -1), np.stack([here, beyond, there], -1)]
    caps = [
        np.stack([np.full(sections - 2, row[0]), row[1:-1], row[2:]], -1)
        for row in (index[0][::-1], index[-1])
    ]
    triangles = np.concatenate([*(part.reshape(-1, 3) for part in faces), *caps])
    return Solid(trimesh.Trimesh(meshes.snapped(corners), triangles, process=False), collides)


def leaf(start: Vector, tip: Vector, width: float, droop: float, steps: int = 4) -> Solid:
    """A leaf, two rows of triangles without a thickness, from its stalk to its tip; droop: metres."""
    begin, end = np.asarray(start, np.float64), np.asarray(tip, np.float64)
    share = np.linspace(0, 1, steps + 1)
    middle = begin + (end - begin) * share[:, None]
    middle[:, 2] += droop * 4 * share * (1 - share)
    across = np.cross(end - begin, (0.0, 0.0, 1.0))
    across /= max(float(np.sqrt((across * across).sum())), 1e-9)
    half = width / 2 * np.sqrt(np.maximum(share * (1 - share), 0)) * 2
    half[0] = half[-1] = 1e-3 * width
    sunk = np.array([0.0, 0.0, -0.25]) * half[:, None]
    left, right = middle + across * half[:, None] - sunk, middle - across * half[:, None] - sunk
    corners = np.concatenate([left, middle, right])
    count = steps + 1
    rows = np.arange(steps)
    quads = [(0, count), (count, 2 * count)]
    faces = [
        triangle
        for one, other in quads
        for k in rows
        for triangle in ((one + k, one + k + 1, other + k + 1), (one + k, other + k + 1, other + k))
    ]
    return Solid(trimesh.Trimesh(meshes.snapped(corners), np.array(faces), process=False), "")


def folds(wide: float, high: float, deep: float, waves: float, steps: int = 40) -> Solid:
    """A hanging cloth without a thickness, in folds that are deeper below; it faces x."""
    y = np.linspace(-wide / 2, wide / 2, steps)
    x = deep * np.sin(np.linspace(0, 2 * np.pi * waves, steps))
    low, top = np.stack([0.06 + x, y, 0 * y], 1), np.stack([0.06 + 0.5 * x, y, 0 * y + high], 1)
    k = np.arange(steps - 1)
    faces = [np.stack([k, k + 1, k + 1 + steps], 1), np.stack([k, k + 1 + steps, k + steps], 1)]
    corners = meshes.snapped(np.concatenate([low, top]))
    return Solid(trimesh.Trimesh(corners, np.concatenate(faces), process=False), "")


def ghost(solid: Solid) -> Solid:
    """The same, but nothing collides with it."""
    return replace(solid, collides="")


def tilted(axis: Vector, degrees: float) -> tuple[float, float, float, float]:
    """Quaternion (x, y, z, w) of a turn about a unit axis."""
    half = np.radians(degrees) / 2
    x, y, z = (float(np.rint(value * np.sin(half) * 1e9) / 1e9) for value in axis)
    return x, y, z, float(np.rint(np.cos(half) * 1e9) / 1e9)


def rpy(turn: Sequence[float]) -> str:
    """A quaternion as URDF's roll, pitch and yaw."""
    rotation = bullet.matrix((0.0, 0.0, 0.0), turn)[:3, :3]
    pitch = np.arcsin(np.clip(-rotation[2, 0], -1, 1))
    roll = np.arctan2(rotation[2, 1], rotation[2, 2])
    yaw = np.arctan2(rotation[1, 0], rotation[0, 0])
    return " ".join(f"{angle:.9g}" for angle in (roll, pitch, yaw))


def hollow(outside: list[tuple[float, float]], thick: float) -> list[tuple[float, float]]:
    """The profile of a vessel: an outline from the foot's middle to the rim, and back inside."""
    inside = [(max(r - thick, 0.0), z + thick * (k == 0)) for k, (r, z) in enumerate(outside[1:])]
    return [*outside, *inside[::-1], (0.0, outside[1][1] + thick)]


def one_of(rng: Rng, *choices: Substance) -> Substance:
    """One of some substances; named twice it is as likely as two."""
    return choices[int(rng.integers(len(choices)))]
