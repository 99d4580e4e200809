"""Patterns of solid textures: colours at places in space, filtered to what a pixel can show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.geometry import Floats
from freelabels.renderers.surfaces.appearance import SKIN, Material
from freelabels.renderers.surfaces.noise import kept, layered_noise, stones
from freelabels.renderers.surfaces.pictures import photo_colours
from freelabels.renderers.surfaces.surface_points import largest


@dataclass(frozen=True)
class TexturePoints:
    """Where a texture is evaluated, in features of the pattern.

    at: (N, 3). normal: (N, 3) unit. footprint: (N, 3) distance between neighbouring pixels along each axis.
    """

    at: Floats
    normal: Floats
    footprint: Floats

    @cached_property
    def spread(self) -> Floats:
        """(N,) one footprint for patterns without direction."""
        return np.asarray(largest(self.footprint) * np.float32(0.5))

    def scaled(self, *factors: float) -> TexturePoints:
        """Stretched along the axes."""
        by = np.asarray(factors, np.float32)
        return TexturePoints(self.at * by, self.normal, self.footprint * by)


def _mix(first: Floats, second: Floats, share: Floats) -> Floats:
    """Colours (N, 3) between two, (3,) or (N, 3); computed by channel, as NumPy is slow along short axes."""
    low, high = (colour[:, None] if colour.ndim == 1 else colour.T for colour in (first, second))
    return (low + (high - low) * share).T


def _colours(material: Material) -> tuple[Floats, Floats, Floats]:
    first, second, third = np.asarray(material.colours, np.float32)
    return first, second, third


def _step(distance: Floats, footprint: Floats) -> Floats:
    """0 below and 1 above `distance` = 0, box-filtered over the footprint."""
    return np.clip(distance / np.maximum(footprint, np.float32(1e-6)) + np.float32(0.5), 0, 1)


def _square_wave(x: Floats, footprint: Floats) -> Floats:
    """−1 and 1 in turn, half a unit each, box-filtered over the footprint."""
    width = np.maximum(footprint, np.float32(1e-6)).astype(np.float64)

    def integral(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.abs(at - np.floor(at) - 0.5)

    wave = (integral(x - width / 2) - integral(x + width / 2)) / width
    return np.clip(wave, -1, 1).astype(np.float32)


def _grooves(x: Floats, width: float, footprint: Floats) -> Floats:
    """1 between and 0 within grooves of a width at every integer, box-filtered over the footprint."""
    off_middle = np.abs(x - np.rint(x))
    span = np.maximum(footprint, np.float32(1e-6))
    inside = np.minimum(off_middle + span / 2, np.float32(width / 2))
    inside = inside - np.maximum(off_middle - span / 2, np.float32(-width / 2))
    keep = kept(footprint)  # the mean, where a pixel spans whole cells
    return np.asarray(1 - np.clip(inside / span, 0, 1) * keep - np.float32(width) * (1 - keep))


def _unit_hash(seed: int, *ids: Floats) -> Floats:
    """A number in [0, 1) for each tuple of whole numbers, the same for the same."""
    mixed = np.full(ids[0].shape, seed & 0xFFFFFFFF, np.uint32)
    for entry in ids:
        mixed ^= entry.astype(np.int64).astype(np.uint32)
        mixed *= np.uint32(0x9E3779B1)
        mixed ^= mixed >> np.uint32(15)
        mixed *= np.uint32(0x85EBCA77)
        mixed ^= mixed >> np.uint32(13)
    return (mixed >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def _planar(points: TexturePoints) -> tuple[TexturePoints, Floats]:
    """Flat coordinates on the side of a cube each point faces: (u, v, other), v upwards on walls; the side."""
    side = np.argmax(np.abs(points.normal), axis=1)
    at, footprint = np.empty_like(points.at), np.empty_like(points.footprint)
    for axis, order in enumerate(((1, 2, 0), (0, 2, 1), (0, 1, 2))):
        chosen = np.flatnonzero(side == axis)
        at[chosen], footprint[chosen] = points.at[chosen][:, order], points.footprint[chosen][:, order]
    return TexturePoints(at, points.normal, footprint), side.astype(np.float32)


def _plain(material: Material, points: TexturePoints) -> Floats:
    return np.broadcast_to(_colours(material)[0], points.at.shape)


def _worn(material: Material, points: TexturePoints) -> Floats:
    first, _, _ = _colours(material)
    stain = layered_noise(points.at * np.float32(0.7), points.spread * np.float32(0.7), 4, 0.6)
    return np.asarray(first * (1 + np.float32(0.05) * stain[:, None]))


def _checker(material: Material, points: TexturePoints) -> Floats:
    first, second, _ = _colours(material)
    waves = [_square_wave(points.at[:, k] / 2, points.footprint[:, k] / 2) for k in range(3)]
    return _mix(first, second, np.float32(0.5) + np.float32(0.5) * waves[0] * waves[1] * waves[2])


def _stripes(material: Material, points: TexturePoints) -> Floats:
    first, second, third = _colours(material)
    x, footprint = points.at[:, 0], points.footprint[:, 0]
    wide = _square_wave(x / 2, footprint / 2)
    thin = 1 - _grooves(x / 2 + np.float32(0.25), 0.08, footprint / 2)
    return _mix(_mix(first, second, np.float32(0.5) + np.float32(0.5) * wide), third, thin)


def _wood(material: Material, points: TexturePoints) -> Floats:
    first, second, third = _colours(material)
    slow = points.scaled(1.0, 1.0, 0.18)
    wobble = layered_noise(slow.at, slow.spread, 2)
    radius = np.hypot(points.at[:, 0], points.at[:, 1]) * 3 + np.float32(0.45) * wobble
    ring = radius - np.floor(radius)
    # Early wood darkens slowly into late wood, then a new year begins at once.
    year = np.where(ring < 0.8, ring / np.float32(0.8), (1 - ring) * 5).astype(np.float32)
    keep = kept(points.spread * 3)
    year = year**2 * keep + (1 - keep) * np.float32(0.35)
    fine = points.scaled(14, 14, 0.9)
    grain = layered_noise(fine.at, fine.footprint[:, :2].max(1), 2)
    colour = _mix(
        _mix(first, third, np.clip(0.25 * wobble + np.float32(0.4), 0, 1)), second, year * np.float32(0.8)
    )
    return np.asarray(colour * (1 + np.float32(0.05) * grain[:, None]))


def _marble(material: Material, points: TexturePoints) -> Floats:
    first, second, third = _colours(material)
    fold = layered_noise(points.at, points.spread, 5, 0.6)
    folded = points.at * np.float32(0.8) + 9 + fold[:, None] * np.float32(0.35)
    ridge = 1 - np.abs(layered_noise(folded, points.spread, 3))
    keep = kept(points.spread)
    vein = np.clip(ridge * 3 - 2, 0, 1) ** 2 * keep + np.float32(0.12) * (1 - keep)
    cloud = np.clip(np.float32(0.5) + np.float32(0.25) * fold, 0, 1)
    return _mix(_mix(third, first, cloud), second, vein * np.float32(0.8))


def _speckle(material: Material, points: TexturePoints) -> Floats:
    first, second, third = _colours(material)
    rough = layered_noise(points.at, points.spread, 6, 0.8)
    fine = points.scaled(24, 24, 24)
    grain = layered_noise(fine.at, fine.spread, 2, 0.8)
    tone = rough * np.float32(0.32) + grain * np.float32(0.14)
    return np.asarray(first + (third - second) * tone[:, None])


def _laid(
    material: Material, points: TexturePoints, size: tuple[float, float], joint: float, offset: float
) -> tuple[TexturePoints, Floats, Floats]:
    """Rows of equal pieces: flat coordinates in features, a number in [0, 1) per piece, 1 off the joints."""
    flat, side = _planar(points)
    row = flat.at[:, 1] / np.float32(size[1])
    course = np.floor(row)
    along = flat.at[:, 0] / np.float32(size[0])
    along = along + (
        np.float32(offset) * course if offset < 1 else 7 * _unit_hash(material.seed + 1, course, side)
    )
    piece = _unit_hash(material.seed, course, np.floor(along), side)
    off_joint = np.minimum(
        _grooves(along, joint / size[0], flat.footprint[:, 0] / np.float32(size[0])),
        _grooves(row, joint / size[1], flat.footprint[:, 1] / np.float32(size[1])),
    )
    keep = kept(np.maximum(flat.footprint[:, 0] / size[0], flat.footprint[:, 1] / size[1]).astype(np.float32))
    return flat, np.float32(0.5) + (piece - np.float32(0.5)) * keep, off_joint


def _brick(material: Material, points: TexturePoints) -> Floats:
    first, second, third = _colours(material)
    _, piece, off_joint = _laid(material, points, (1.0, 0.33), 0.05, 0.5)
    rough = layered_noise(points.at * 5, points.spread * 5, 4, 0.7)
    face = _mix(first, second, piece * np.float32(1.4)) * (1 + np.float32(0.12) * rough[:, None])
    return _mix(third * (np.float32(0.9) + np.float32(0.06) * rough[:, None]), face, off_joint)


def _tiles(material: Material, points: TexturePoints) -> Floats:
    first, second, third = _colours(material)
    _, piece, off_joint = _laid(material, points, (1.0, 1.0), 0.025, 0.0)
    cloud = layered_noise(points.at * 2, points.spread * 2, 4, 0.6)
    face = _mix(first, second, piece) * (1 + np.float32(0.05) * cloud[:, None])
    return _mix(third * np.float32(0.8), face, off_joint)


def _planks(material: Material, points: TexturePoints) -> Floats:
    first, second, third = _colours(material)
    flat, piece, off_joint = _laid(material, points, (6.0, 0.7), 0.02, 1.0)
    shifted = flat.at + piece[:, None] * 37
    along = np.asarray((0.35, 3.0, 1.0), np.float32)
    wave = layered_noise(shifted * along, flat.footprint[:, 1] * 3, 3, 0.6)
    lines = np.sin(wave * 7 + shifted[:, 1] * 6) * kept(flat.footprint[:, 1] * 6)
    fine = np.asarray((1.5, 30.0, 1.0), np.float32)
    grain = layered_noise(shifted * fine, flat.footprint[:, 1] * 30, 2, 0.7)
    tone = _mix(_mix(first, third, piece), second, np.clip(np.float32(0.3) + np.float32(0.22) * lines, 0, 1))
    tone = tone * (1 + np.float32(0.06) * grain[:, None] + np.float32(0.06) * wave[:, None])
    return _mix(second * np.float32(0.35), tone, off_joint)


def _terrazzo(material: Material, points: TexturePoints) -> Floats:
    colours = _colours(material)
    ground = colours[0] * (1 + np.float32(0.03) * layered_noise(points.at, points.spread, 4)[:, None])
    choice = np.stack([colours[1], colours[2], colours[1] * np.float32(0.5), colours[2] * np.float32(1.3)])
    for frequency, margin in ((9.0, 0.16), (4.0, 0.12)):
        fine = points.scaled(*([frequency] * 3))
        inside, number = stones(fine.at + np.float32(frequency))
        keep = kept(fine.spread)
        chip = _step(inside - np.float32(margin), fine.spread) * (number < 0.7)
        tone = np.float32(0.8) + np.float32(0.4) * (number * 37 % 1)
        colour = choice[(number * 997).astype(np.int64) % len(choice)] * tone[:, None]
        colour = _mix(choice.mean(0), colour, keep)
        ground = _mix(ground, colour, chip * keep + np.float32(0.2) * (1 - keep))
    return ground


def _fabric(material: Material, points: TexturePoints) -> Floats:
    first, second, third = _colours(material)
    flat, _ = _planar(points)
    threads = np.float32(12)
    u, v = flat.at[:, 0] * threads, flat.at[:, 1] * threads
    over = (np.floor(u) + np.floor(v)) % 2
    bulge = np.where(over > 0, np.sin(np.pi * (u - np.floor(u))), np.sin(np.pi * (v - np.floor(v))))
    keep = kept(np.maximum(flat.footprint[:, 0], flat.footprint[:, 1]) * threads)
    weave = (bulge.astype(np.float32) - np.float32(0.64)) * keep
    yarn = np.where(over > 0, np.float32(1), np.float32(-1)) * keep
    wear = layered_noise(points.at, points.spread, 5, 0.7)
    colour = _mix(first, third, np.float32(0.5) + np.float32(0.3) * yarn)
    return np.asarray(
        _mix(second, colour, np.clip(np.float32(0.75) + np.float32(0.4) * weave, 0, 1))
        * (1 + np.float32(0.07) * wear[:, None])
    )


def _plaster(material: Material, points: TexturePoints) -> Floats:
    first, _, _ = _colours(material)
    stain = layered_noise(points.at * np.float32(0.35), points.spread * np.float32(0.35), 4, 0.6)
    fine = points.scaled(16, 16, 16)
    grain = layered_noise(fine.at, fine.spread, 2, 0.8)
    tone = 1 + np.float32(0.035) * stain + np.float32(0.03) * grain
    return np.asarray(first * tone[:, None])


def _wallpaper(material: Material, points: TexturePoints) -> Floats:
    """Motifs of petals in rows that are set off against each other, on a faintly striped ground."""
    first, second, third = _colours(material)
    flat, _ = _planar(points)
    footprint = np.maximum(flat.footprint[:, 0], flat.footprint[:, 1])
    row = np.floor(flat.at[:, 1])
    u = flat.at[:, 0] + np.float32(0.5) * (row % 2)
    u, v = u - np.floor(u) - np.float32(0.5), flat.at[:, 1] - row - np.float32(0.5)
    radius = np.hypot(u, v)
    # The cosine of so many times the angle, by powers of u + iv: the same bits on every processor.
    real, imaginary = u, v
    for _ in range(2 + material.seed % 4):
        real, imaginary = real * u - imaginary * v, real * v + imaginary * u
    power = np.sqrt(np.maximum(real * real + imaginary * imaginary, np.float32(1e-12)))
    edge = np.float32(0.2) + np.float32(0.11) * real / power
    inside = _step(edge - radius, footprint)
    heart = _step(np.float32(0.07) - radius, footprint)
    keep = kept(footprint)
    inside = inside * keep + np.float32(0.14) * (1 - keep)
    heart = heart * keep + np.float32(0.015) * (1 - keep)
    ground = (
        first * (1 + np.float32(0.03) * _square_wave(flat.at[:, 0] * 2, flat.footprint[:, 0] * 2))[:, None]
    )
    return _mix(_mix(ground, second, inside), third, heart)


def _parquet(material: Material, points: TexturePoints) -> Floats:
    """Squares of five strips of wood, turned by a quarter from one square to the next."""
    first, second, third = _colours(material)
    flat, side = _planar(points)
    u, v = flat.at[:, 0], flat.at[:, 1]
    across = (np.floor(u) + np.floor(v)) % 2 > 0
    along, over = np.where(across, u, v).astype(np.float32), np.where(across, v, u).astype(np.float32)
    strip = over * 5
    footprint = np.maximum(flat.footprint[:, 0], flat.footprint[:, 1])
    piece = _unit_hash(material.seed, np.floor(u), np.floor(v), np.floor(strip), side)
    grain = layered_noise(np.stack([along * 2, over * 40, piece * 31], 1), footprint * 20, 3, 0.7)
    off_joint = np.minimum(_grooves(strip, 0.05, footprint * 5), _grooves(along, 0.012, footprint))
    keep = kept(footprint * 5)
    tone = _mix(second, third, np.float32(0.5) + (piece - np.float32(0.5)) * keep * np.float32(0.9))
    tone = _mix(first, tone, np.full(len(u), 0.6, np.float32)) * (1 + np.float32(0.07) * grain[:, None])
    return _mix(second * np.float32(0.4), tone, off_joint)


def _carpet(material: Material, points: TexturePoints) -> Floats:
    first, second, third = _colours(material)
    pile = points.scaled(30, 30, 30)
    tuft = layered_noise(pile.at, pile.spread, 2, 0.9)
    worn = layered_noise(points.at * np.float32(0.6), points.spread * np.float32(0.6), 3)
    tone = tuft * np.float32(0.2) + worn * np.float32(0.06)
    return np.asarray(first + (third - second) * tone[:, None])


def _asphalt(material: Material, points: TexturePoints) -> Floats:
    """Chippings in tar, with patches laid later, stains and cracks."""
    first, second, third = _colours(material)
    fine = points.scaled(110, 110, 110)
    grain = layered_noise(fine.at, fine.spread, 2, 0.9)
    stain = layered_noise(points.at, points.spread, 4, 0.6)
    inside, number = stones(points.at)
    keep = kept(points.spread)
    crack = _step(np.float32(0.012) - inside, points.spread) * keep + np.float32(0.007) * (1 - keep)
    patch = (number < 0.12) * keep + np.float32(0.12) * (1 - keep)
    colour = _mix(first, second, patch * np.float32(0.5))
    colour = colour * (1 + np.float32(0.16) * grain + np.float32(0.09) * stain)[:, None]
    return _mix(colour, third * np.float32(0.35), crack * np.float32(0.3))


def _foliage(material: Material, points: TexturePoints) -> Floats:
    """Leaves by the hundred: cells of many greens, darker where they meet, and light and shade among them."""
    first, second, third = _colours(material)
    deep = layered_noise(points.at, points.spread, 3, 0.6)
    inside, number = stones(points.at * 3)
    keep = kept(points.spread * 3)
    tone = np.float32(0.5) + (number - np.float32(0.5)) * keep
    colour = _mix(second, third, tone)
    colour = _mix(colour, first, np.full(len(tone), 0.35, np.float32))
    gap = np.clip(inside * 6, np.float32(0.35), 1) * keep + np.float32(0.594) * (1 - keep)
    light = np.clip(1 + np.float32(0.25) * deep, np.float32(0.3), np.float32(1.6))
    return np.asarray(colour * (gap * light)[:, None])


def _bark(material: Material, points: TexturePoints) -> Floats:
    first, second, third = _colours(material)
    long = points.scaled(6, 6, 1.2)
    ridge = 1 - np.abs(layered_noise(long.at, long.footprint[:, :2].max(1), 3, 0.6))
    keep = kept(long.spread)
    crack = np.clip(ridge * 2 - np.float32(0.9), 0, 1) * keep + np.float32(0.234) * (1 - keep)
    moss = layered_noise(points.at, points.spread, 3)
    colour = _mix(first, third, np.clip(np.float32(0.4) + np.float32(0.3) * moss, 0, 1))
    return _mix(colour, second * np.float32(0.6), crack)


def _photo(material: Material, points: TexturePoints) -> Floats:
    """A photo projected along the three axes, blended where the surface turns from one to the next."""
    weight = np.square(np.square(np.square(points.normal)))
    weight /= (weight[:, 0] + weight[:, 1] + weight[:, 2])[:, None]
    total = np.zeros_like(points.at)
    for axis, (u, v) in enumerate(((1, 2), (0, 2), (0, 1))):
        seen = np.flatnonzero(weight[:, axis] > 0.02)
        if len(seen):
            place = np.stack([points.at[seen, u], -points.at[seen, v]], 1)
            spread = np.maximum(points.footprint[seen, u], points.footprint[seen, v])
            total[seen] += photo_colours(material.photo, place, spread) * weight[seen, axis, None]
    return np.asarray(total / np.maximum((weight * (weight > 0.02)).sum(1, keepdims=True), np.float32(1e-3)))


PATTERNS: dict[str, Callable[[Material, TexturePoints], Floats]] = {
    "plain": _plain,
    "worn": _worn,
    "checker": _checker,
    "stripes": _stripes,
    "wood": _wood,
    "marble": _marble,
    "noise": _speckle,
    "brick": _brick,
    "tiles": _tiles,
    "planks": _planks,
    "terrazzo": _terrazzo,
    "fabric": _fabric,
    "plaster": _plaster,
    "wallpaper": _wallpaper,
    "parquet": _parquet,
    "carpet": _carpet,
    "asphalt": _asphalt,
    "foliage": _foliage,
    "bark": _bark,
    "photo": _photo,
    SKIN: _plain,  # on a part without a texture map
}
