"""What an open shutter and an open lens do to a sharp picture: blur of motion and of depth.

Distributed rays (Cook, Porter and Carpenter, "Distributed ray tracing", SIGGRAPH 1984) say what each pixel sees at
moments of its exposure from places on its lens; the light of what they meet is looked up in the sharp picture,
far cheaper than to shade it anew (Ragan-Kelley et al., "Decoupled sampling for graphics pipelines", 2011).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.products import times
from freelabels.renderers.engines.drift import INFINITY, Drift, shown_at, turned_by
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.moving import Motion, cast_moving
from freelabels.renderers.engines.windows import PIXELS

Floats = NDArray[np.float64]
Light = NDArray[np.float32]
Ints = NDArray[np.integer]
Mask = NDArray[np.bool_]

RAYS = 8  # a pixel
LEVELS = 16  # moments among which each ray of a pixel picks its own
NOTICED = 0.4  # pixels of blur from which on a pixel is blurred
LONGEST = 48  # pixels beyond which borders of blurred things are cut off
SAME_DEPTH = 0.1  # share of its depth by which a place in the sharp picture may be another one of its surface
RINGS = (1.5, 3.0, 6.0, 12.0)  # pixels around within which light is borrowed that the sharp picture hides
ACROSS, DOWN = 0.7548776662, 0.5698402910  # steps of Roberts' R2 sequence
CIRCLE = np.array([(math.cos(2 * math.pi * k / 64), math.sin(2 * math.pi * k / 64)) for k in range(64)])


@dataclass(frozen=True)
class Sharp:
    """A picture at the middle of its exposure through a pinhole, and what each pixel shows; N = H·W.

    light: (N, 3) float32. geometry: (N,) ids, −1 of nothing. depth: (N,) z in its row's camera, +inf of nothing.
    smear: (N, 2) pixels that what it shows moves while the shutter is open. circle: (N,) pixels, diameter of the
    circle of confusion, below 0 before the plane in focus.
    """

    light: Light
    geometry: Ints
    depth: Light
    smear: Light
    circle: Light


def circles(depth: Floats, lens: Lens) -> Floats:
    """Diameters (N,) in pixels of the circle of confusion at z-depths (N,), below 0 nearer than what is in focus.

    Of a thin lens of diameter A focused at F: f A (1 / F − 1 / z), with the focal length f in pixels.
    """
    return np.asarray(lens.focal * lens.aperture * (1 / lens.focus - 1 / depth))


def smears(
    drift: Drift, point: Floats, geometry: Ints, near: Mask, pose: Floats, lens: Lens, size: tuple[int, int]
) -> Floats:
    """Pixels (N, 2) that what each pixel shows moves across the picture from the shutter's opening to its closing.

    point: (N, 3) camera's axes at the instant. near: those that are no directions to what lies at infinity. pose:
    the camera's at the instant. lens, size: of a window.
    """
    if not drift.exposure:
        return np.zeros((2, len(point))).T
    shifts = (-drift.exposure / 2, drift.exposure / 2)
    if drift.readout:
        after = drift.when(np.arange(size[0]) + 0.5 + lens.top, lens.rows or size[0])
        world = times(point, pose[:3, :3].T) + near[:, None] * pose[:3, 3]
        seconds = [np.repeat(after + shift, size[1]) for shift in shifts]
        of = np.where(near, geometry, -1)
        there = [drift.seen_from(pose, late, drift.on(of, late, world), near) for late in seconds]
    else:
        there = [drift.seen_at(pose, shift, geometry, point, near) for shift in shifts]
    ends = [shown_at(points, lens) for points in there]
    return np.stack([ends[1][axis] - ends[0][axis] for axis in (0, 1)]).T


@dataclass(frozen=True)
class Blur:
    """How far shutter and lens spread what each pixel of a window shows; smear and circle as of `Sharp`."""

    smear: Floats
    circle: Floats


def blur_of(
    drift: Drift | None,
    point: Floats,
    geometry: Ints,
    depth: Floats,
    pose: Floats,
    lens: Lens,
    size: tuple[int, int],
) -> Blur | None:
    """The blur of what pixels show, arguments as of `smears`; None where neither shutter nor lens is open."""
    if drift is None or not (drift.exposure or lens.aperture):
        return None
    smear = smears(drift, point, geometry, np.isfinite(depth), pose, lens, size)
    return Blur(smear, circles(depth, lens))


def extents(smear: NDArray[np.floating], circle: NDArray[np.floating]) -> Light:
    """Pixels (N,) over which the blur spreads what a pixel shows."""
    square = smear[:, 0] * smear[:, 0] + smear[:, 1] * smear[:, 1] + circle * circle
    return np.asarray(np.sqrt(square), np.float32)


def reaches(extent: Light, size: tuple[int, int], least: float) -> NDArray[np.uint8]:
    """(H, W) how many pixels far, in powers of two, the widest blur comes from that reaches each pixel, 0: none.

    Blur of up to `least` pixels is none.
    """
    flat, out = extent.reshape(size), np.zeros(size, np.uint8)
    reach = 1
    while reach <= LONGEST:
        wide = flat > max(least, reach if reach > 1 else 0)
        some = (wide & (flat <= 2 * reach)) if 2 * reach <= LONGEST else wide
        if some.any():
            out[cv2.dilate(some.astype(np.uint8), _square(reach)) > 0] = reach
        reach *= 2
    return out


def _square(reach: int) -> NDArray[np.uint8]:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def exposed(
    sharp: Sharp, motion: Motion, pose: Floats, lens: Lens, size: tuple[int, int], dither: float
) -> Light:
    """The light (N, 3) of a picture whose shutter and lens are open; pose: the camera's at the instant."""
    extent = extents(sharp.smear, sharp.circle)
    reach = reaches(extent, size, NOTICED)
    if not reach.any():
        return sharp.light
    ids, alone = sharp.geometry.reshape(size).astype(np.float32), np.zeros(size, bool)
    for far in np.unique(reach[reach > 0]).tolist():
        square = _square(far + 1)
        alone |= (reach == far) & (cv2.dilate(ids, square) == cv2.erode(ids, square))
    out = sharp.light.copy()
    inner, border = (np.flatnonzero((mask & (reach > 0)).reshape(-1)) for mask in (alone, ~alone))
    for some in _blocks(inner):
        out[some] = _averaged(sharp, some, size, dither)
    for some in _blocks(border):
        out[some] = _cast(sharp, some, motion, pose, lens, size, dither)
    return out


def _blocks(pixels: Ints) -> Iterator[Ints]:
    """So many at a time as a window has, so that a large picture takes no more memory."""
    return (pixels[start : start + PIXELS] for start in range(0, len(pixels), PIXELS))


def _numbers(pixel: Ints, width: int, ray: int, dither: float) -> tuple[Floats, Floats, Floats]:
    """Three numbers in [0, 1) of a pixel's ray, far from its neighbours': of moment, place on the lens, angle."""
    row, column = np.divmod(pixel, width)
    first = (column * ACROSS + row * DOWN + dither + ray * 0.732050807569) % 1
    second = (column * DOWN + row * ACROSS + dither + ray * 0.618033988749) % 1
    third = (first * 7.0 + second * 3.0 + ray * 0.414213562373) % 1
    return first, second, third


def _draws(pixel: Ints, width: int, ray: int, dither: float) -> tuple[Ints, Floats, Floats, Floats]:
    """Of each pixel's ray: its moment among RAYS · LEVELS, place on the unit lens (n, 2), offset in the pixel."""
    first, second, third = _numbers(pixel, width, ray, dither)
    moment = ray * LEVELS + (first * LEVELS).astype(np.int64)
    order = (ray * 5 + 3) % RAYS  # rings of the lens in another order than moments
    place = np.sqrt((order + second) / RAYS)[:, None] * CIRCLE[(third * 64).astype(np.int64) % 64]
    return moment, place, (second + ray * ACROSS) % 1 - 0.5, (third + ray * DOWN) % 1 - 0.5


def _averaged(sharp: Sharp, pixel: Ints, size: tuple[int, int], dither: float) -> Light:
    """Light of pixels amid one surface: the mean over where in the sharp picture their rays go."""
    row, column = np.divmod(pixel, size[1])
    smear, circle = sharp.smear[pixel].astype(np.float64), sharp.circle[pixel].astype(np.float64)
    total = np.zeros((len(pixel), 3), np.float32)
    for ray in range(RAYS):
        moment, place, right, down = _draws(pixel, size[1], ray, dither)
        share = ((moment + 0.5) / (RAYS * LEVELS) - 0.5)[:, None]
        away = -place * (circle / 2)[:, None] - smear * share
        light, _ = _looked_up(sharp, column + 0.5 + right + away[:, 0], row + 0.5 + down + away[:, 1], size)
        total += light / RAYS
    return total


def _cast(
    sharp: Sharp, pixel: Ints, motion: Motion, pose: Floats, lens: Lens, size: tuple[int, int], dither: float
) -> Light:
    """Light of pixels by what their rays meet."""
    total = np.zeros((len(pixel), 3), np.float32)
    row = pixel // size[1]
    rows = np.unique(row)
    after = motion.when(rows + 0.5, size[0])
    at = np.searchsorted(rows, row)
    base, steps = lens.rays(size).take(pixel, 0), lens.steps(size)
    steps = steps.take(pixel, 2) if steps.shape[2] > 1 else steps
    for ray in range(RAYS):
        moment, place, right, down = _draws(pixel, size[1], ray, dither)
        level = (ray * LEVELS + np.arange(LEVELS) + 0.5) / (RAYS * LEVELS) - 0.5
        seconds = after[:, None] + motion.exposure * level
        cameras = motion.cameras(pose, seconds).reshape(-1, 4, 4)
        of = at * LEVELS + moment - ray * LEVELS
        sight = base.copy()
        for axis in (0, 1):
            sight[:, axis] += steps[0, axis] * right + steps[1, axis] * down
        turn, origin = cameras[:, :3, :3][of], cameras[:, :3, 3][of]
        if lens.aperture:
            off = np.zeros_like(sight)
            off[:, :2] = place * (lens.aperture / 2)
            origin = origin + turned_by(turn, off)
            sight -= off / lens.focus  # rays of one pixel meet in the plane in focus
        towards, when = turned_by(turn, sight), seconds.reshape(-1)[of]
        hits = cast_moving(motion, origin, towards.astype(np.float32), when)
        near = hits.geometry >= 0
        point = origin + towards * np.where(near, hits.t, 1)[:, None]
        point, _ = motion.back(hits.geometry, when, point, towards)
        point = np.where(near[:, None], point, towards)
        seen = motion.lands(point, hits.geometry, near, pose, lens, size[0])
        depth = np.where(near, seen.z, INFINITY).astype(np.float32)
        light, found = _looked_up(sharp, seen.x, seen.y, size, hits.geometry, depth)
        lost = np.flatnonzero(~(found & seen.in_front))
        light[lost] = _borrowed(sharp, seen.x[lost], seen.y[lost], size, hits.geometry[lost], pixel[lost])
        total += light / RAYS
    return total


def _looked_up(
    sharp: Sharp,
    x: Floats,
    y: Floats,
    size: tuple[int, int],
    geometry: Ints | None = None,
    depth: Light | None = None,
) -> tuple[Light, Mask]:
    """Light (n, 3) at places of the sharp picture, and whether it shows such geometries at such depths there."""
    height, width = size
    left, top = np.clip(x - 0.5, 0, width - 1), np.clip(y - 0.5, 0, height - 1)
    column, row = left.astype(np.int64), top.astype(np.int64)
    fx, fy = (left - column).astype(np.float32), (top - row).astype(np.float32)
    total = np.zeros((len(x), 3), np.float32)
    weights = np.zeros(len(x), np.float32)
    for down in (0, 1):
        for right in (0, 1):
            at = np.minimum(row + down, height - 1) * width + np.minimum(column + right, width - 1)
            weight = (fx if right else 1 - fx) * (fy if down else 1 - fy)
            if geometry is not None and depth is not None:
                weight = weight * _shows(sharp, at, geometry, depth)
            total += sharp.light.take(at, 0) * weight[:, None]
            weights += weight
    found = weights > 0.05
    total[found] /= weights[found, None]
    if geometry is not None:
        found &= (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    return total, found


def _shows(sharp: Sharp, at: Ints, geometry: Ints, depth: Light) -> Mask:
    """Whether pixels show such geometries at such depths."""
    there = sharp.depth[at]
    same = np.abs(np.minimum(there, np.float32(INFINITY)) - depth) < np.float32(SAME_DEPTH) * depth
    return np.asarray((sharp.geometry[at] == geometry) & same)


def _borrowed(
    sharp: Sharp, x: Floats, y: Floats, size: tuple[int, int], geometry: Ints, pixel: Ints
) -> Light:
    """Light (n, 3) of what the sharp picture hides: of the nearest places of the same geometries, if any."""
    light = sharp.light.take(pixel, 0)
    left = np.arange(len(pixel))
    for ring in RINGS:
        total, count = np.zeros((len(left), 3), np.float32), np.zeros(len(left), np.float32)
        for right, down in CIRCLE[::8]:
            column = np.clip(x[left] + right * ring, 0, size[1] - 1).astype(np.int64)
            row = np.clip(y[left] + down * ring, 0, size[0] - 1).astype(np.int64)
            at = row * size[1] + column
            same = sharp.geometry[at] == geometry[left]
            total += sharp.light.take(at, 0) * same[:, None]
            count += same
        found = count > 0
        light[left[found]] = total[found] / count[found, None]
        left = left[~found]
        if not len(left):
            break
    return light
