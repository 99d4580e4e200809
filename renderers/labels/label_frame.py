"""Exact labels of one frame: rays through pixel centres, and the recorded motion of what they hit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import EDGE_TYPES, Array, confidence_name
from freelabels.generators.contract.geometry import invert_pose
from freelabels.generators.contract.products import picked, product, put, times
from freelabels.renderers.engines import beams
from freelabels.renderers.engines.drift import placed, turned_by
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.raycast import GRAZING, NOTHING, Floats, occluded, smooth_normals
from freelabels.renderers.engines.windows import Window, whole
from freelabels.renderers.labels.displacements import flow_to, own_motion
from freelabels.renderers.labels.edge_types import SURFACE_EDGES, Seen, borders, edge_types, near_steps
from freelabels.renderers.labels.extents import amodal_masks, shares_and_boxes
from freelabels.renderers.labels.half import half
from freelabels.renderers.labels.looks import Instant, PixelHits
from freelabels.renderers.labels.shadows import shown, strongest, trusted_shadow
from freelabels.renderers.pixels import environment
from freelabels.renderers.pixels.exposure import Blur, blur_of, extents, reaches
from freelabels.renderers.pixels.shading import albedo
from freelabels.renderers.surfaces.appearance import PHOTO, SKIN, Appearance, Light
from freelabels.renderers.surfaces.surface_points import dot

Index = NDArray[np.int64]
BLURRED = 4.0  # pixels of blur in which an edge, or a shadow, is lost
SAME_NORMAL = np.cos(np.radians(15))  # of the angle between a triangle and the surface it stands for
SMALL_LIGHT = np.radians(4.0)  # a light of a larger angular radius has no border of shadow to speak of
FAINT_LIGHT = 0.1  # share of all lights' irradiance below which a light's shadows are not told
LIFT = 1e-4  # shadow rays start off the surface by this share of its distance from the camera
EDGES = np.isin(np.arange(len(EDGE_TYPES)), SURFACE_EDGES) * np.uint8(255)  # by type, the field "edges"
PATTERNED = frozenset(
    (
        "checker",
        "stripes",
        "brick",
        "tiles",
        "planks",
        "terrazzo",
        "wallpaper",
        "parquet",
        "foliage",
        PHOTO,
        SKIN,
    )
)  # with borders


@dataclass(frozen=True)
class Drawn:
    """What a picture shows beside surfaces: patterns on them, shadows, something behind them, blur."""

    textures: bool = True
    shadows: bool = True
    background: bool = True
    blur: bool = True


@dataclass(frozen=True)
class Known:
    """What is known about the geometries beside `Surfaces`.

    objects: how many instance ids there are, the static scene's 0 included. canonical: (G, 4, 4) part → object's
    box. appearance: for edges of shadows and textures and for what the background shows; None: none of these.
    drawn: which of them the picture has.
    """

    objects: int
    canonical: Floats
    appearance: Appearance | None = None
    drawn: Drawn = Drawn()


def label_frame(
    before: Instant,
    now: Instant,
    after: Instant,
    seen: PixelHits,
    lens: Lens | Floats,
    size: tuple[int, int],
    known: Known,
) -> dict[str, Array]:
    """All labels of one frame by field name with their confidences, in the contract's shapes and dtypes.

    before, after: the neighbouring frames. seen: what `look` shows of this one. lens: or K (3, 3) of a
    pinhole, pixels. size: (height, width). Tables about objects have a row for every instance id; row 0 is the
    static scene.
    """
    lens = Lens.of(lens)
    blur = blur_of(now.motion, seen.point, seen.geometry, seen.depth, now.camera_pose, lens, size)
    labels = label_window(before, now, after, seen, lens, whole(size), known, blur)
    labels["shadow_confidence"] = trusted_shadow(labels["shadow"], labels["shadow_confidence"])
    return labels | shares_and_boxes(labels["instance"], labels["amodal"])


def label_window(
    before: Instant,
    now: Instant,
    after: Instant,
    seen: PixelHits,
    lens: Lens | Floats,
    window: Window,
    known: Known,
    blur: Blur | None = None,
) -> dict[str, Array]:
    """The per-pixel labels of a window as of `label_frame`; its outermost rows may lack edges towards outside.

    lens: or K, of the window. seen: what `look` shows of it. blur: of it, None: all is sharp.
    """
    lens, size = Lens.of(lens), window.shape
    parts = now.surfaces.part_of_geometry
    hit, geometry = seen.hit, seen.geometry
    point = seen.point
    # The last for what is nothing.
    instance = np.append(parts.object, 0).astype(np.int64)[geometry]
    part = np.append(parts.part, 0).astype(np.uint16)[geometry]
    semantic = np.append(parts.semantic, 0).astype(np.uint8)[geometry]
    flow, visibility, known_flow = flow_to(seen, point, now, after, lens, window)
    backward, backward_visibility, known_backward = flow_to(seen, point, now, before, lens, window)
    normal, plain = _normals(seen, now)
    if seen.rolled is not None:
        normal = turned_by(seen.rolled.to_row, normal)
    moving, sure = own_motion(seen, point, now, (before, after), lens)
    told = _seen(seen, point, now, known, lens, size)
    kind = edge_types(told, lens.focal)
    shadow, shadow_known = _shadow(seen, point, now, known, told)
    amodal = amodal_masks(seen, now, instance, lens, size, known.objects)
    labels: dict[str, Array] = {
        "depth": seen.depth.astype(np.float32),
        "disparity": half(told.inverse_depth.ravel()),
        "normals": half(normal),
        "flow": flow,
        "flow_backward": backward,
        "flow_visibility": visibility,
        "flow_backward_visibility": backward_visibility,
        "motion": moving,
        "foreground": (instance > 0) * np.uint8(255),
        "instance": instance.astype(np.uint16),
        "part": part,
        "semantic": semantic,
        "object_coordinates": _canonical(seen, point, now, instance, known),
        "edge_type": kind.ravel(),
        "edges": EDGES[kind].ravel(),
        "shadow": shadow * np.uint8(255),
    }
    known_where = {
        "depth": hit,
        "normals": plain,
        "flow": known_flow,
        "flow_backward": known_backward,
        "object_coordinates": instance > 0,
        "motion": sure,
        "shadow": shadow_known,
        **_known_behind(seen, now, known),
    }
    if blur is not None and known.drawn.blur:
        plain_to_see = ~_blurred(blur, size)
        for name in ("edges", "edge_type", "shadow"):
            known_where[name] = np.asarray(known_where.get(name, True)) & plain_to_see
    for name in list(labels):
        certain = np.asarray(known_where.get(name, True), np.uint8) * np.uint8(255)
        labels[confidence_name(name)] = np.broadcast_to(certain, hit.shape)
    labels = {name: values.reshape(*size, *values.shape[1:]) for name, values in labels.items()}
    labels["amodal"] = np.packbits(amodal.reshape(-1, *size), axis=-1)
    return labels


def _blurred(blur: Blur, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(N,) where the open shutter or lens spreads things too far for edges to be seen."""
    extent = extents(blur.smear, blur.circle)
    return np.asarray(reaches(extent, size, BLURRED).reshape(-1) > 0)


def _known_behind(seen: PixelHits, now: Instant, known: Known) -> dict[str, NDArray[np.bool_]]:
    """Where labels that say "nothing here" hold: a background may show things and edges that nobody labelled."""
    if known.appearance is None or not known.drawn.background:
        return {}
    behind = np.flatnonzero(~seen.hit)
    towards = picked(seen.towards, behind)
    towards /= np.sqrt(dot(towards, towards))[:, None]
    things, edges = np.ones(len(seen.hit), bool), np.ones(len(seen.hit), bool)
    things[behind] = known.appearance.background.kind not in ("photo", "map")
    edges[behind] = environment.without_edges(known.appearance.background, towards)
    return {
        **dict.fromkeys(("foreground", "instance", "part", "semantic"), things),
        **dict.fromkeys(("edges", "edge_type"), edges),
    }


def _normals(seen: PixelHits, now: Instant) -> tuple[Floats, NDArray[np.bool_]]:
    """Normals (N, 3) of the surfaces as pictures shade them, camera axes, and where they are beyond doubt.

    A curved surface is made of triangles; its own normal is the one between their corners'. Where the triangle's
    normal is far from it the mesh is too coarse to say which of the two is right.
    """
    surfaces, turn = now.surfaces, now.camera_pose[:3, :3]
    normal, plain = seen.normal, seen.hit
    curved = np.flatnonzero(seen.hit & surfaces.curved[seen.geometry])
    if not len(curved):
        return normal, plain
    flat = picked(seen.normal, curved)
    hits = seen.hits
    in_world = smooth_normals(
        surfaces,
        seen.geometry[curved],
        hits.primitive[curved],
        picked(hits.uv, curved),
        times(flat.astype(np.float32), turn.T),
    )
    smooth = times(np.asarray(in_world, np.float64), turn)
    sight = picked(seen.ray, curved)
    shown = dot(smooth, sight) < -GRAZING * np.sqrt(dot(sight, sight))
    normal, plain = normal.copy(order="F"), plain.copy()
    put(normal, curved[shown], smooth[shown])
    plain[curved] = ~shown | (dot(smooth, flat) > SAME_NORMAL)
    return normal, plain


def _canonical(
    seen: PixelHits, point: Floats, now: Instant, instance: Index, known: Known
) -> NDArray[np.float16]:
    """Position in the object's own box (N, 3), 0 on the static scene."""
    out = np.zeros((3, len(point)), np.float16).T
    index = np.flatnonzero(instance)
    to_box = product(known.canonical, invert_pose(now.surfaces.geometry_pose), now.camera_pose)
    put(out, index, np.clip(placed(to_box[:, :3], seen.geometry[index], picked(point, index)), 0, 1))
    return out


def _seen(
    seen: PixelHits, point: Floats, now: Instant, known: Known, lens: Lens, size: tuple[int, int]
) -> Seen:
    """What edges are told from."""
    surfaces = now.surfaces
    face = np.where(seen.hit, seen.face, NOTHING)
    index = np.flatnonzero(borders(face.reshape(size)))
    flat, at, geometry = picked(seen.normal, index), picked(point, index), seen.geometry[index]
    # On a plane n·X = c, 1/z = n·ray / c: linear in the image of a pinhole.
    if seen.rolled is None:
        normal, offset = flat, dot(flat, at)
    else:
        normal, offset = (
            turned_by(seen.rolled.to_row[index], flat),
            dot(flat, at - picked(seen.rolled.eye, index)),
        )
    hit = geometry != NOTHING
    steps = lens.steps(size)
    slope = np.empty((2, len(point)))
    slope[:, index] = _along(
        normal[:, :2] / np.where(hit, offset, 1.0)[:, None],
        steps.take(index, 2) if steps.shape[2] > 1 else steps,
    ).T
    thing, patch = np.empty((2, len(point)), np.int32)
    thing[index] = np.where(hit, surfaces.part_of_geometry.object[geometry], NOTHING)
    patch[index] = np.where(hit, surfaces.face_patch[face[index]], NOTHING)
    appearance = known.appearance
    lit, facing = _lit(
        seen, point, now, appearance.lights if appearance is not None and known.drawn.shadows else ()
    )
    bare = filtered = None
    if appearance is not None and known.drawn.textures:
        bare, filtered = _albedo(seen, point, now, appearance, lens, size)
    return Seen(
        face=face.reshape(size),
        inverse_depth=(1.0 / seen.depth).reshape(size),
        slope=slope.reshape(2, *size),
        thing=thing.reshape(size),
        geometry=seen.geometry.reshape(size),
        patch=patch.reshape(size),
        lit=lit.T.reshape(-1, *size).transpose(1, 2, 0),
        facing=facing.T.reshape(-1, *size).transpose(1, 2, 0),
        albedo=bare,
        filtered=filtered,
    )


def _along(slope: Floats, steps: Floats) -> Floats:
    """The change (N, 2) per pixel to the right and down of what changes by (N, 2) along x and y of rays."""
    out = np.empty_like(slope)
    for axis, (x, y) in enumerate(steps):
        out[:, axis] = slope[:, 0] * x + slope[:, 1] * y
    return out


def _albedo(
    seen: PixelHits, point: Floats, now: Instant, appearance: Appearance, lens: Lens, size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Linear albedo (H, W, 3) at the points hit and, where it steps there, filtered over the pixels.

    0 on surfaces whose texture has no borders, and where nothing is hit.
    """
    surfaces, turn = now.surfaces, now.camera_pose[:3, :3]
    patterned = np.array([material.texture in PATTERNED for material in appearance.materials])
    index = np.flatnonzero(seen.hit & patterned[surfaces.part_of_geometry.material[seen.geometry]])
    at = (times(picked(point, index), turn.T) + surfaces.origin).astype(np.float32)
    normal = times(picked(seen.normal, index), turn.T).astype(np.float32)
    bare = np.zeros((*size, 3), np.float32)
    bare.reshape(-1, 3)[index] = albedo(
        surfaces, appearance, seen.geometry[index], seen.hits.primitive[index], at, normal
    )
    chosen = np.flatnonzero(near_steps(bare).ravel()[index])
    filtered = bare.copy()
    index = index[chosen]
    # The next pixel sees the same plane at the point plus depth · (step − ray · (n·step) / (n·ray)).
    flat, ray = picked(seen.normal, index), picked(seen.ray, index)
    slant = dot(flat, ray)
    depth = seen.depth[index, None]
    by = lens.steps(size)
    by = by.take(index, 2) if by.shape[2] > 1 else by
    lean = depth * _along(flat[:, :2], by) / np.minimum(slant, -0.03)[:, None]
    steps = (-lean.T[:, None] * ray.T).transpose(0, 2, 1)
    steps[:, :, :2] += depth * by.transpose(0, 2, 1)
    filtered.reshape(-1, 3)[index] = albedo(
        surfaces,
        appearance,
        seen.geometry[index],
        seen.hits.primitive[index],
        picked(at, chosen),
        picked(normal, chosen),
        np.stack([times(step, turn.T).T for step in steps]).astype(np.float32).transpose(0, 2, 1),
    )
    return bare, filtered


def _shadow(
    seen: PixelHits, point: Floats, now: Instant, known: Known, told: Seen
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where (N,) the strongest light is kept from a surface turned to it, and where the picture shows whether."""
    nowhere = np.zeros(len(point), bool)
    look = known.appearance
    if look is None or not known.drawn.shadows:
        return nowhere, nowhere
    lights, main = _with_borders(look.lights), strongest(look.lights)
    if main is None or main not in lights:
        return nowhere, nowhere
    column = lights.index(main)
    facing, lit = told.facing[..., column].ravel(), told.lit[..., column].ravel()
    albedo = None if told.albedo is None else told.albedo.reshape(-1, 3)
    return facing & ~lit, shown(seen, point, facing, now, look, main, albedo)


def _with_borders(lights: Sequence[Light]) -> list[Light]:
    """Those of the lights that are neither too large nor too faint to cast a shadow with a border."""
    total = sum(sum(light.irradiance) for light in lights)
    return [
        light
        for light in lights
        if light.size <= SMALL_LIGHT * _reach(light) and sum(light.irradiance) >= FAINT_LIGHT * total
    ]


def _lit(
    seen: PixelHits, point: Floats, now: Instant, lights: Sequence[Light]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each point sees the centre of each light, and whether its surface is turned to it, (N, L) each.

    Lights too large or too faint to cast a shadow with a border are left out.
    """
    told = _with_borders(lights)
    lit, facing = np.zeros((2, len(told), len(point)), bool).transpose(0, 2, 1)
    if not told:
        return lit, facing
    # Camera axes and float32 throughout: only the rays themselves are turned into the world.
    start = (point + LIFT * np.where(seen.hit, seen.depth, 0.0)[:, None] * seen.normal).astype(np.float32)
    normal = seen.normal.astype(np.float32)
    turn = now.camera_pose[:3, :3].astype(np.float32)
    for column, light in enumerate(told):
        if light.kind == "sun":
            place = np.asarray([light.place], np.float32)
            facing[:, column] = times(normal, times(place, turn).T)[:, 0] > 0  # false where nothing is hit
        else:
            centre = product([np.asarray(light.place) - now.surfaces.origin], now.camera_pose[:3, :3])
            towards = centre.astype(np.float32) - start
            facing[:, column] = dot(towards, normal) > 0
        index = np.flatnonzero(facing[:, column])
        far = np.inf if light.kind == "sun" else 1.0
        origins = times(picked(start, index), turn.T) + now.surfaces.origin.astype(np.float32)
        if light.kind == "sun":
            rays_to = np.broadcast_to(place, origins.shape)
            apart = [beams.to_sun(posed.box, origins, light.place) for posed in now.surfaces.posed[1:]]
        else:
            rays_to = times(picked(towards, index), turn.T)
            apart = [beams.to_lamp(posed.box, rays_to, light.place) for posed in now.surfaces.posed[1:]]
        lit[index, column] = ~occluded(now.surfaces, origins, rays_to, 0.0, far, [None, *apart])
    return lit, facing


def _reach(light: Light) -> float:
    """Distance from the world's origin, at which a light's size counts."""
    return 1.0 if light.kind == "sun" else float(np.linalg.norm(light.place))
