"""Pixels: the posed world and its appearance → a photograph, by rays through the labels' own lattice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generators.geometry import rays
from renderers import environment
from renderers.appearance import Appearance
from renderers.raycast import Hits, Surfaces, cast
from renderers.sensor import develop
from renderers.shading import Floats, Ints, Points, join, shade

# Four samples a pixel on a turned grid: no two share a row or column, so near-level edges get all steps.
SAMPLES = np.array([(-1, -3), (3, -1), (-3, 1), (1, 3)], np.float32) / 8


def render_image(
    surfaces: Surfaces,
    appearance: Appearance,
    camera_K: NDArray[np.float64],
    camera_pose: NDArray[np.float64],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """A photograph uint8 (H, W, 3), sRGB, of the world at one instant.

    camera_K: (3, 3) pixels; camera_pose: (4, 4) camera → world, OpenCV axes; size: (height, width). The same
    generator state gives the same bytes.
    """
    light = render_radiance(surfaces, appearance, camera_K, camera_pose, size, rng)
    return develop(light, appearance.sensor, rng)


def render_radiance(
    surfaces: Surfaces,
    appearance: Appearance,
    camera_K: NDArray[np.float64],
    camera_pose: NDArray[np.float64],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Floats:
    """Linear sRGB radiance float32 (H, W, 3) that reaches the camera; arguments as `render_image`.

    Every pixel is sampled four times; where all four see one smooth surface it is shaded once, with texture
    and shadows filtered to the pixel, elsewhere each sample by itself.
    """
    view = _View.of(camera_K, camera_pose, size)
    hits = [cast(surfaces, view.centre, view.directions(offset)) for offset in SAMPLES]
    whole, mixed = _sorted_pixels(hits, view)
    points = [_whole_points(surfaces, hits, whole, view)]
    points += [
        _sample_points(surfaces, hit, mixed, view, offset) for hit, offset in zip(hits, SAMPLES, strict=True)
    ]
    everything = join(points)
    colours = shade(surfaces, appearance, everything, len(whole), size, rng)

    spread = float(1 / camera_K[0, 0])
    out = np.empty((size[0] * size[1], 3), np.float32)
    empty = np.ones(len(out), bool)
    empty[whole] = empty[mixed] = False
    background = np.flatnonzero(empty)
    out[background] = _behind(appearance, view.directions((0, 0))[background], spread)
    out[whole] = colours[: len(whole)]
    out[mixed] = 0
    start = len(whole)
    for hit, offset, part in zip(hits, SAMPLES, points[1:], strict=True):
        out[part.pixel] += colours[start : start + len(part.pixel)] / len(SAMPLES)
        missed = mixed[hit.geometry[mixed] < 0]
        out[missed] += _behind(appearance, view.directions(offset)[missed], spread) / len(SAMPLES)
        start += len(part.pixel)
    return out.reshape(*size, 3)


@dataclass(frozen=True)
class _View:
    """The camera's rays: `middle` (N, 3) world directions with z-depth 1 through all pixel centres."""

    centre: NDArray[np.float64]
    middle: Floats
    right: Floats
    down: Floats

    @staticmethod
    def of(K: NDArray[np.float64], pose: NDArray[np.float64], size: tuple[int, int]) -> _View:
        turn = pose[:3, :3]
        middle = (rays(K, *size).reshape(-1, 3) @ turn.T).astype(np.float32)
        right, down = (turn[:, 0] / K[0, 0]).astype(np.float32), (turn[:, 1] / K[1, 1]).astype(np.float32)
        return _View(pose[:3, 3], middle, right, down)

    def directions(self, offset: tuple[float, float] | Floats) -> Floats:
        """(N, 3) through places (x, y) pixels off the centres."""
        return np.asarray(self.middle + (offset[0] * self.right + offset[1] * self.down))


def _behind(appearance: Appearance, towards: Floats, spread: float) -> Floats:
    unit = towards / np.linalg.norm(towards, axis=1, keepdims=True)
    return environment.radiance(appearance.background, appearance.lights, unit, spread)


SAME_NORMAL = 0.92  # cosine between normals of one smooth surface within a pixel


def _sorted_pixels(hits: list[Hits], view: _View) -> tuple[Ints, Ints]:
    """Pixels whose samples all see one smooth surface, and those whose samples differ; both (N,) indices."""
    first = hits[0]
    same = np.ones(len(first.t), bool)
    seen = first.geometry >= 0
    for hit in hits[1:]:
        same &= hit.geometry == first.geometry
        seen |= hit.geometry >= 0
    face = same.copy()
    for hit in hits[1:]:
        face &= hit.primitive == first.primitive
    curved = np.flatnonzero(same & seen & ~face)
    along = view.middle[curved]
    for hit in hits[1:]:
        alike = np.einsum("ni,ni->n", hit.normal[curved], first.normal[curved]) > SAME_NORMAL
        # A fold that hides part of itself: the second point lies off the first one's plane.
        step = (hit.t[curved] - first.t[curved])[:, None] * along
        off_plane = np.abs(np.einsum("ni,ni->n", step, first.normal[curved]))
        slope = np.abs(np.einsum("ni,ni->n", along, first.normal[curved]))
        reach = first.t[curved] * np.float32(np.linalg.norm(view.right)) * 2
        same[curved] &= alike & (off_plane < reach * np.maximum(slope, 0.3) * 2)
    return np.flatnonzero(same & seen), np.flatnonzero(~same)


def _whole_points(surfaces: Surfaces, hits: list[Hits], pixels: Ints, view: _View) -> Points:
    """One point in the middle of what the samples of each pixel see."""
    at = np.zeros((len(pixels), 3), np.float32)
    for hit, offset in zip(hits, SAMPLES, strict=True):
        at += view.directions(offset)[pixels] * (hit.t[pixels] / len(hits))[:, None]
    return _points(surfaces, hits[0], pixels, at, view)


def _sample_points(surfaces: Surfaces, hit: Hits, mixed: Ints, view: _View, offset: Floats) -> Points:
    """The points that one sample sees in those of the pixels where it hits anything."""
    pixels = mixed[hit.geometry[mixed] >= 0]
    return _points(surfaces, hit, pixels, view.directions(offset)[pixels] * hit.t[pixels, None], view)


def _points(surfaces: Surfaces, hit: Hits, pixels: Ints, sight: Floats, view: _View) -> Points:
    """Points at `sight` (N, 3) from the camera, with the normals of the hits."""
    geometry, depth = hit.geometry[pixels], hit.t[pixels]
    distance = np.sqrt(np.einsum("ni,ni->n", sight, sight))
    viewer = sight / -distance[:, None]
    flat = hit.normal[pixels]
    facing = np.einsum("ni,ni->n", flat, viewer)
    flat = flat * np.where(facing < 0, np.float32(-1), np.float32(1))[:, None]
    normal = smooth_normals(surfaces, geometry, hit.primitive[pixels], hit.uv[pixels], flat)
    away = np.einsum("ni,ni->n", normal, viewer) < 0.02
    normal[away] = flat[away]
    # On the surface's plane the neighbouring pixel sees the point sight + z·(step − sight·(n·step)/(n·sight)).
    slope = np.maximum(np.abs(facing), np.float32(0.03))
    across = []
    for step in (view.right, view.down):
        lean = (flat @ step) / slope * depth
        across.append(step * depth[:, None] + viewer * lean[:, None])
    at = sight + view.centre.astype(np.float32)
    return Points(pixels, geometry, at, normal, flat, viewer, distance, np.stack(across))


def smooth_normals(surfaces: Surfaces, geometry: Ints, primitive: Ints, uv: Floats, flat: Floats) -> Floats:
    """Unit normals (N, 3), world, interpolated over each triangle, on the side of `flat` (N, 3)."""
    corner = surfaces.corner_normal[surfaces.first_face[geometry] + primitive]
    u, v = uv[:, :1], uv[:, 1:]
    local = corner[:, 0] * (1 - u - v) + corner[:, 1] * u + corner[:, 2] * v
    turn = surfaces.geometry_pose[:, :3, :3].astype(np.float32)
    normal = np.empty_like(local)
    order = np.argsort(geometry, kind="stable")
    bounds = np.flatnonzero(np.diff(geometry[order], prepend=-1, append=np.iinfo(np.int32).max))
    for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
        chosen = order[start:stop]
        normal[chosen] = local[chosen] @ turn[geometry[chosen[0]]].T
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), np.float32(1e-6))
    side = np.where(np.einsum("ni,ni->n", normal, flat) < 0, np.float32(-1), np.float32(1))
    return np.asarray(normal * side[:, None])
