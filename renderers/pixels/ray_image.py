"""Pixels: the posed world and its appearance → a photograph, by rays through the labels' own lattice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.geometry import Floats
from freelabels.generators.contract.products import picked, put, times
from freelabels.renderers.engines.drift import turned_by
from freelabels.renderers.engines.lens import Lens, turned
from freelabels.renderers.engines.moving import Motion, cast_moving
from freelabels.renderers.engines.raycast import GRAZING, Hits, Surfaces, cast, smooth_normals
from freelabels.renderers.engines.windows import Window, whole
from freelabels.renderers.pixels import environment
from freelabels.renderers.pixels.projector import Projector
from freelabels.renderers.pixels.sensor import develop
from freelabels.renderers.pixels.shading import DOWN, shade
from freelabels.renderers.surfaces.appearance import Appearance
from freelabels.renderers.surfaces.surface_points import SurfacePoints, dot

Ints = NDArray[np.integer]
Mask = NDArray[np.bool_]

# Four samples a pixel on a turned grid: no two share a row or column, so near-level edges get all steps.
SAMPLES = ((-0.125, -0.375), (0.375, -0.125), (-0.375, 0.125), (0.125, 0.375))
SMOOTH = 0.92  # least cosine between neighbouring normals of one smooth surface


def render_image(
    surfaces: Surfaces,
    appearance: Appearance,
    lens: Lens | NDArray[np.float64],
    camera_pose: NDArray[np.float64],
    size: tuple[int, int],
    rng: np.random.Generator,
    centres: Hits | None = None,
) -> NDArray[np.uint8]:
    """A photograph uint8 (H, W, 3), sRGB, of the world at one instant.

    lens: or K (3, 3) of a pinhole, pixels; camera_pose: (4, 4) camera → world, OpenCV axes; size: (height,
    width). centres: first hits of the rays through all pixel centres, where they are known already. The
    same generator state gives the same bytes. Raises ValueError for a photo that can't be read.
    """
    light = render_radiance(surfaces, appearance, lens, camera_pose, size, rng, centres)
    return develop(light, appearance.sensor, rng)


def render_radiance(
    surfaces: Surfaces,
    appearance: Appearance,
    lens: Lens | NDArray[np.float64],
    camera_pose: NDArray[np.float64],
    size: tuple[int, int],
    rng: np.random.Generator,
    centres: Hits | None = None,
) -> Floats:
    """Linear sRGB radiance float32 (H, W, 3) that reaches the camera; arguments as `render_image`."""
    return radiance_window(surfaces, appearance, lens, camera_pose, whole(size), float(rng.random()), centres)


def radiance_window(
    surfaces: Surfaces,
    appearance: Appearance,
    lens: Lens | NDArray[np.float64],
    camera_pose: NDArray[np.float64],
    window: Window,
    dither: float,
    centres: Hits | None = None,
    motion: Motion | None = None,
    projector: Projector | None = None,
) -> Floats:
    """Linear sRGB radiance float32 (H, W, 3) of a window; its margins lack what lies beyond them.

    lens: or K, of the window. motion: by which rows are taken one after the other, if they are. dither: in [0, 1),
    sets the noise of shadows and of indirect light. A pixel
    among others of one smooth surface is shaded once, its texture and shadows filtered; wherever a neighbour
    shows something else, four samples a pixel are. projector: throws dots, if given.
    """
    lens, size = Lens.of(lens), window.shape
    view = _View.of(lens, camera_pose, size, motion)
    centre = _seen(surfaces, view, np.arange(size[0] * size[1]), (0, 0), centres)
    unsure = np.flatnonzero(_borders(centre, view, size))
    samples = [_seen(surfaces, view, unsure, offset) for offset in SAMPLES]
    same = _same_pixel(centre, samples, view)
    split = np.zeros(len(centre.pixel), bool)
    split[unsure[~same]] = True

    plain = np.flatnonzero(~split & centre.met)
    parts = [_points(surfaces, view, centre, plain)]
    parts += [_points(surfaces, view, sample, np.flatnonzero(~same & sample.met)) for sample in samples]
    # The pattern of dither goes on from window to window.
    turn = (dither + window.top * DOWN) % 1
    colours = shade(surfaces, appearance, SurfacePoints.joined(parts), len(plain), size, turn, projector)

    spread = 1 / lens.focal
    out = np.zeros((3, size[0] * size[1]), np.float32).T
    empty = np.flatnonzero(~split & ~centre.met)
    put(out, empty, _background(appearance, picked(centre.towards, empty), spread))
    put(out, plain, colours[: len(plain)])
    start = len(plain)
    for sample, part in zip(samples, parts[1:], strict=True):
        for to, of in zip(out.T, colours[start : start + len(part.pixel)].T, strict=True):
            to[part.pixel] += of / len(SAMPLES)
        start += len(part.pixel)
        missed = np.flatnonzero(~same & ~sample.met)
        out[sample.pixel[missed]] += _background(appearance, sample.towards[missed], spread) / len(SAMPLES)
    return out.reshape(*size, 3)


@dataclass(frozen=True)
class _Roll:
    """What moves, and where (N, 3) and how many seconds after the instant (N,) each pixel's ray leaves."""

    motion: Motion
    origin: NDArray[np.float64]
    seconds: NDArray[np.float64]


@dataclass(frozen=True)
class _View:
    """The camera's rays.

    centre: (3,) world. middle: (N, 3) world directions of z-depth 1 through all pixel centres. right, down:
    (N, 3) or (1, 3), where they are the same for all, steps from one pixel's direction to the next. roll: of a
    rolling shutter.
    """

    centre: NDArray[np.float64]
    middle: Floats
    right: Floats
    down: Floats
    roll: _Roll | None = None

    @staticmethod
    def of(
        lens: Lens, pose: NDArray[np.float64], size: tuple[int, int], motion: Motion | None = None
    ) -> _View:
        right, down = turned(lens.steps(size), pose[:3, :3])
        if motion is not None and motion.readout:
            after = motion.when(np.arange(size[0]) + 0.5 + lens.top, lens.rows or size[0])
            cameras = np.repeat(motion.cameras(pose, after), size[1], axis=0)
            middle = turned_by(cameras[:, :3, :3], lens.rays(size)).astype(np.float32)
            roll = _Roll(motion, np.asfortranarray(cameras[:, :3, 3]), np.repeat(after, size[1]))
            return _View(pose[:3, 3], middle, right, down, roll)
        return _View(pose[:3, 3], lens.world_rays(pose[:3, :3], size), right, down)

    @property
    def step(self) -> float:
        """The distance between neighbouring pixels at depth 1."""
        middle = self.right[len(self.right) // 2]
        return float(np.sqrt((middle * middle).sum()))

    def steps(self, pixels: Ints) -> tuple[Floats, Floats]:
        """The steps to the right and down of some pixels."""
        if len(self.right) == 1:
            return self.right, self.down
        return picked(self.right, pixels), picked(self.down, pixels)


@dataclass(frozen=True)
class _Seen:
    """What N rays met: their pixels and directions, and the hits (`sight` (N, 3): camera → point, world)."""

    pixel: Ints
    towards: Floats
    met: Mask
    depth: Floats
    geometry: Ints
    primitive: Ints
    uv: Floats
    normal: Floats
    sight: Floats


def _seen(
    surfaces: Surfaces, view: _View, pixels: Ints, offset: tuple[float, float], hits: Hits | None = None
) -> _Seen:
    """Cast rays, unless their hits are known, through places `offset` = (x, y) from the centres of some pixels."""
    towards = picked(view.middle, pixels)
    if offset != (0, 0):
        right, down = view.steps(pixels)
        towards += np.float32(offset[0]) * right + np.float32(offset[1]) * down
    if view.roll is not None:
        return _seen_rolling(view, view.roll, pixels, towards, hits)
    hits = cast(surfaces, view.centre, towards) if hits is None else hits
    met = hits.geometry >= 0
    depth = np.where(met, hits.t, np.float32(0))
    sight = towards * depth[:, None]
    return _Seen(pixels, towards, met, depth, hits.geometry, hits.primitive, hits.uv, hits.normal, sight)


def _seen_rolling(view: _View, roll: _Roll, pixels: Ints, towards: Floats, hits: Hits | None) -> _Seen:
    """What is met is lit and shaded where it stands at the instant, as seen from the camera's place then."""
    origin, seconds = picked(roll.origin, pixels), roll.seconds[pixels]
    hits = cast_moving(roll.motion, origin, towards, seconds) if hits is None else hits
    met = hits.geometry >= 0
    depth = np.where(met, hits.t, np.float32(0))
    start, way = roll.motion.back(hits.geometry, seconds, origin, towards.astype(np.float64))
    sight = ((start - view.centre) + way * depth[:, None]).astype(np.float32)
    return _Seen(pixels, towards, met, depth, hits.geometry, hits.primitive, hits.uv, hits.normal, sight)


def _same_surface(one: _Seen, a: Ints, other: _Seen, b: Ints, view: _View) -> Mask:
    """Whether pairs of rays, given by their indices, that met one geometry saw one smooth surface of it."""
    normal = picked(one.normal, a)
    alike = dot(normal, picked(other.normal, b)) > SMOOTH
    # Where a surface hides part of itself, one point lies off the other's plane.
    off_plane = np.abs(dot(picked(other.sight, b) - picked(one.sight, a), normal))
    return np.asarray(alike & (off_plane < one.depth[a] * np.float32(1.5 * view.step)))


def _same_pixel(centre: _Seen, samples: Sequence[_Seen], view: _View) -> Mask:
    """Whether the samples of the pixels they share all saw what the centre saw."""
    pixel = samples[0].pixel
    same = np.ones(len(pixel), bool)
    for sample in samples:
        same &= centre.geometry[pixel] == sample.geometry
        check = np.flatnonzero(same & (centre.primitive[pixel] != sample.primitive))
        same[check] = _same_surface(centre, pixel[check], sample, check, view)
    return same


def _borders(seen: _Seen, view: _View, size: tuple[int, int]) -> Mask:
    """Whether any of the eight pixels around shows another surface, (N,)."""
    index = np.arange(size[0] * size[1]).reshape(size)
    geometry, primitive = seen.geometry.reshape(size), seen.primitive.reshape(size)
    border = np.zeros(size, bool)
    all_but_last, all_but_first, every = slice(None, -1), slice(1, None), slice(None)
    for here, there in (
        ((every, all_but_last), (every, all_but_first)),
        ((all_but_last, every), (all_but_first, every)),
        ((all_but_last, all_but_last), (all_but_first, all_but_first)),
        ((all_but_last, all_but_first), (all_but_first, all_but_last)),
    ):
        other = geometry[here] != geometry[there]
        check = ~other & (primitive[here] != primitive[there])
        other[check] = ~_same_surface(seen, index[here][check], seen, index[there][check], view)
        border[here] |= other
        border[there] |= other
    return border.reshape(-1)


def _background(appearance: Appearance, towards: Floats, spread: float) -> Floats:
    unit = towards / np.sqrt(dot(towards, towards))[:, None]
    return environment.radiance(appearance.background, appearance.lights, unit, spread)


def _points(surfaces: Surfaces, view: _View, seen: _Seen, chosen: Ints) -> SurfacePoints:
    """Some of the hits as points to be shaded."""
    geometry, depth, sight = seen.geometry[chosen], seen.depth[chosen], picked(seen.sight, chosen)
    pixel = seen.pixel[chosen]
    distance = np.sqrt(dot(sight, sight))
    viewer = sight / -distance[:, None]
    flat = picked(seen.normal, chosen)
    facing = dot(flat, viewer)
    flat *= np.copysign(np.float32(1), facing)[:, None]
    normal = flat.copy(order="F")
    curved = np.flatnonzero(surfaces.curved[geometry])
    these = chosen[curved]
    smooth = smooth_normals(
        surfaces, geometry[curved], seen.primitive[these], picked(seen.uv, these), picked(flat, curved)
    )
    turned = dot(smooth, picked(viewer, curved)) > GRAZING
    put(normal, curved[turned], smooth[turned])
    # The next pixel sees the same plane at sight + depth · (step + viewer · (n·step) / (n·viewer)).
    slope = depth / np.maximum(np.abs(facing), np.float32(0.03))
    across = [step.T * depth + viewer.T * (_lean(flat, step) * slope) for step in view.steps(pixel)]
    at, primitive = sight + view.centre.astype(np.float32), seen.primitive[chosen]
    return SurfacePoints(
        pixel, geometry, primitive, at, normal, flat, viewer, distance, np.stack(across).transpose(0, 2, 1)
    )


def _lean(normal: Floats, step: Floats) -> Floats:
    """Inner products (N,) of normals (N, 3) and steps, (N, 3) or (1, 3)."""
    return times(normal, step.T)[:, 0] if len(step) == 1 else dot(normal, step)
