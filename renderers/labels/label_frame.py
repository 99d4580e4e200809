"""Exact labels of one frame: rays through pixel centres, and the recorded motion of what they hit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from freelabels.generators.contract.fields import VISIBILITY, Array, confidence_name
from freelabels.generators.contract.geometry import invert_pose, pixel_centres, rays
from freelabels.renderers.engines.raycast import NOTHING, Floats, Hits, Ints, Surfaces, cast, covers, occluded
from freelabels.renderers.labels.edge_types import SURFACE_EDGES, Seen, edge_types, near_steps
from freelabels.renderers.pixels.shading import albedo
from freelabels.renderers.surfaces.appearance import Appearance, Light
from freelabels.renderers.surfaces.surface_points import dot

MOVED = 5e-4  # metres a surface point is displaced from one frame to the next to count as moving
SAME_POINT = 1e-4  # share of its distance by which a ray may fall short of a point and still see it
INFINITY = 1e4  # metres: farther than anything in a scene
FAR = 6e4  # pixels: a displacement beyond float16
SMALL_LIGHT = np.radians(4.0)  # a light of a larger angular radius has no border of shadow to speak of
FAINT_LIGHT = 0.1  # share of all lights' irradiance below which a light's shadows are not told
LIFT = 1e-4  # shadow rays start off the surface by this share of its distance from the camera
PATTERNED = frozenset(("checker", "stripes", "brick", "tiles", "planks", "terrazzo", "photo"))  # with borders
VISIBLE, OCCLUDED, OUT_OF_VIEW = (VISIBILITY.index(v) for v in ("visible", "occluded", "out of view"))


@dataclass(frozen=True)
class Instant:
    """The world and the camera at one instant; the surfaces' origin is the camera's centre.

    camera_pose: (4, 4) camera → world, OpenCV axes.
    """

    surfaces: Surfaces
    camera_pose: Floats


@dataclass(frozen=True)
class Known:
    """What is known about the geometries beside `Surfaces`.

    objects: how many instance ids there are, the static scene's 0 included. entity: (G,) thing it belongs to
    (see `World`). canonical: (G, 4, 4) part → object's box. appearance: for edges of shadows and textures; None
    leaves them out. textured: whether to tell edges of textures.
    """

    objects: int
    entity: Ints
    canonical: Floats
    appearance: Appearance | None = None
    textured: bool = True


@dataclass(frozen=True)
class PixelHits:
    """What the rays through all N = H·W pixel centres hit; camera axes, float64.

    ray: (N, 3) with z = 1; towards: the same in world axes, float32. hits: what was hit along those. face: (N,)
    row of the face tables, 0 where nothing is hit. depth: (N,) z, +inf where nothing is hit. normal: (N, 3)
    facing the camera, 0 where nothing is hit.
    """

    ray: Floats
    towards: NDArray[np.float32]
    hits: Hits
    face: NDArray[np.int64]
    depth: Floats
    normal: Floats

    @property
    def geometry(self) -> Ints:
        """What is hit, (N,), `NOTHING` where nothing is."""
        return self.hits.geometry

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Where something is hit."""
        return np.asarray(self.geometry != NOTHING)


def look(now: Instant, K: Floats, size: tuple[int, int]) -> PixelHits:
    """Cast a ray through every pixel centre and solve for the point hit in float64.

    Embree finds the triangle in float32; where the ray meets its plane follows exactly.
    """
    surfaces, rotation = now.surfaces, now.camera_pose[:3, :3]
    ray = rays(K, *size).reshape(-1, 3)
    towards = (ray @ rotation.T).astype(np.float32)
    hits = cast(surfaces, surfaces.origin, towards)
    hit = hits.geometry != NOTHING
    face = np.where(hit, surfaces.first_face[hits.geometry] + hits.primitive, 0)
    normal = (surfaces.face_normal @ rotation)[face]  # camera axes
    slant = dot(normal, ray)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = surfaces.face_offset[face] / slant
        # A triangle seen edge-on has no well-defined plane distance; the float32 hit is the better answer.
        depth = np.where(np.abs(depth - hits.t) <= 1e-3 * hits.t, depth, hits.t)
    normal *= np.where(hit, -np.sign(slant), 0)[:, None]
    return PixelHits(ray, towards, hits, face, np.where(hit, depth, np.inf), normal)


def label_frame(
    before: Instant,
    now: Instant,
    after: Instant,
    seen: PixelHits,
    K: Floats,
    size: tuple[int, int],
    known: Known,
) -> dict[str, Array]:
    """All labels of one frame by field name with their confidences, in the contract's shapes and dtypes.

    before, after: the neighbouring frames. seen: what `look` shows of this one. K: (3, 3) pixels. size: (height,
    width). Tables about objects have a row for every instance id; row 0 is the static scene.
    """
    parts = now.surfaces.part_of_geometry
    hit, geometry = seen.hit, seen.geometry
    point = np.where(hit, seen.depth, 1.0)[:, None] * seen.ray
    instance = np.where(hit, parts.object[geometry], 0)
    part = np.where(hit, parts.part[geometry], 0)
    flow, visibility, known_flow = _flow(seen, point, now, after, K, size)
    backward, backward_visibility, known_backward = _flow(seen, point, now, before, K, size)
    kind = edge_types(_seen(seen, point, now, known, K, size), float(K[0, 0]))
    amodal = _amodal(seen, now, instance, K, size, known.objects)
    labels: dict[str, Array] = {
        "depth": seen.depth.astype(np.float32),
        "disparity": (1.0 / seen.depth).astype(np.float16),
        "normals": seen.normal.astype(np.float16),
        "flow": flow,
        "flow_backward": backward,
        "flow_visibility": visibility,
        "flow_backward_visibility": backward_visibility,
        "motion": _motion(seen, point, now, (before, after)),
        "foreground": np.where(instance > 0, 255, 0).astype(np.uint8),
        "instance": instance.astype(np.uint16),
        "part": part.astype(np.uint16),
        "semantic": np.where(hit, parts.semantic[geometry], 0).astype(np.uint8),
        "object_coordinates": _canonical(seen, point, now, instance, known),
        "edge_type": kind.ravel(),
        "edges": np.where(np.isin(kind, SURFACE_EDGES), 255, 0).astype(np.uint8).ravel(),
    }
    known_where = {
        "depth": hit,
        "normals": hit,
        "flow": known_flow,
        "flow_backward": known_backward,
        "object_coordinates": instance > 0,
    }
    for name in list(labels):
        certain = np.where(known_where.get(name, True), 255, 0).astype(np.uint8)
        labels[confidence_name(name)] = np.broadcast_to(certain, hit.shape)
    labels = {name: values.reshape(*size, *values.shape[1:]) for name, values in labels.items()}
    labels["amodal"] = np.packbits(amodal.reshape(-1, *size), axis=-1)
    labels["object_visible"], labels["object_box"] = _shares(instance.reshape(size), amodal)
    return labels


@dataclass(frozen=True)
class _Step:
    """How points in the camera frame of one instant come to lie in that of another.

    camera: (3, 4) what stands still. parts: (G + 1, 3, 4) what each geometry's points do, the last row what lies
    at infinity, which only turns. moves: (G + 1,) where that differs from `camera`.
    """

    camera: Floats
    parts: Floats
    moves: NDArray[np.bool_]

    def __call__(self, geometry: Ints, point: Floats) -> Floats:
        """Points (N, 3) of geometries (N,), moved."""
        out: Floats = point @ self.camera[:, :3].T + self.camera[:, 3]
        apart = np.flatnonzero(self.moves[geometry])
        out[apart] = _placed(self.parts, geometry[apart], point[apart])
        return out


def _step(one: Instant, other: Instant) -> _Step:
    to_world, from_world = one.camera_pose, invert_pose(other.camera_pose)
    before, after = one.surfaces.geometry_pose, other.surfaces.geometry_pose
    camera = (from_world @ to_world)[:3]
    at_infinity = np.concatenate([camera[:, :3], np.zeros((3, 1))], axis=1)[None]
    parts = np.concatenate([(from_world @ after @ invert_pose(before) @ to_world)[:, :3], at_infinity])
    return _Step(camera, parts, np.append(np.any(before != after, axis=(1, 2)), True))


def _placed(transforms: Floats, index: Ints, point: Floats) -> Floats:
    """Points (N, 3) under transforms (G, 3, 4), each by the one its index names."""
    chosen = transforms[index]
    out: Floats = np.einsum("nij,nj->ni", chosen[:, :, :3], point) + chosen[:, :, 3]
    return out


def _flow(
    seen: PixelHits, point: Floats, now: Instant, other: Instant, K: Floats, size: tuple[int, int]
) -> tuple[NDArray[np.float16], NDArray[np.uint8], NDArray[np.bool_]]:
    """Displacement (N, 2) of every surface point to the other image, whether it is seen there, where known."""
    there = _step(now, other)(seen.geometry, point)
    start = pixel_centres(*size).reshape(-1, 2)
    in_front = there[:, 2] > 1e-6
    z = np.where(in_front, there[:, 2], 1.0)
    x, y = K[0, 0] * there[:, 0] / z + K[0, 2], K[1, 1] * there[:, 1] / z + K[1, 2]
    flow = np.empty((len(point), 2))
    flow[:, 0], flow[:, 1] = x - start[:, 0], y - start[:, 1]
    known = in_front & (np.abs(flow[:, 0]) < FAR) & (np.abs(flow[:, 1]) < FAR)
    flow[~known] = np.nan
    inside = np.flatnonzero(in_front & (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0]))
    turn = other.camera_pose[:3, :3].astype(np.float32)
    towards = there.astype(np.float32).take(inside, 0) @ turn.T
    towards[~seen.hit[inside]] *= INFINITY
    hidden = occluded(other.surfaces, other.surfaces.origin, towards, 0.0, 1 - SAME_POINT)
    visibility = np.full(len(point), OUT_OF_VIEW, np.uint8)
    visibility[inside] = np.where(hidden, OCCLUDED, VISIBLE)
    return flow.astype(np.float16), visibility, known


def _motion(seen: PixelHits, point: Floats, now: Instant, others: Sequence[Instant]) -> NDArray[np.uint8]:
    """255 where the surface point itself moves in the world, whatever the camera does."""
    moving = np.zeros(len(point), bool)
    for other in others:
        step = _step(now, Instant(other.surfaces, now.camera_pose))
        index = np.flatnonzero(step.moves[seen.geometry] & seen.hit)
        start = point.take(index, 0)
        shift = step(seen.geometry[index], start) - start
        moving[index] |= dot(shift, shift) > MOVED**2
    return np.where(moving, 255, 0).astype(np.uint8)


def _canonical(
    seen: PixelHits, point: Floats, now: Instant, instance: Ints, known: Known
) -> NDArray[np.float16]:
    """Position in the object's own box (N, 3), 0 on the static scene."""
    out = np.zeros((len(point), 3), np.float16)
    index = np.flatnonzero(instance)
    to_box = known.canonical @ invert_pose(now.surfaces.geometry_pose) @ now.camera_pose
    out[index] = np.clip(_placed(to_box[:, :3], seen.geometry[index], point[index]), 0, 1)
    return out


def _seen(
    seen: PixelHits, point: Floats, now: Instant, known: Known, K: Floats, size: tuple[int, int]
) -> Seen:
    """What edges are told from."""
    surfaces, hit = now.surfaces, seen.hit
    inverse = 1.0 / seen.depth
    # On a plane n·X = c, 1/z = n·ray / c: linear in the image.
    offset = np.where(hit, dot(seen.normal, point), 1.0)
    slope = seen.normal[:, :2] / offset[:, None] / K[[0, 1], [0, 1]]
    appearance = known.appearance
    lit, facing = _lit(seen, point, now, appearance.lights if appearance is not None else ())
    bare = filtered = None
    if appearance is not None and known.textured:
        bare, filtered = _albedo(seen, point, now, appearance, K, size)
    return Seen(
        inverse_depth=inverse.reshape(size),
        slope=slope.reshape(*size, 2),
        entity=np.where(hit, known.entity[seen.geometry], NOTHING).reshape(size),
        geometry=seen.geometry.reshape(size),
        patch=np.where(hit, surfaces.face_patch[seen.face], NOTHING).reshape(size),
        lit=lit.reshape(*size, -1),
        facing=facing.reshape(*size, -1),
        albedo=bare,
        filtered=filtered,
    )


def _albedo(
    seen: PixelHits, point: Floats, now: Instant, appearance: Appearance, K: Floats, size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Linear albedo (H, W, 3) at the points hit and, where it steps there, filtered over the pixels.

    0 on surfaces whose texture has no borders, and where nothing is hit.
    """
    surfaces, turn = now.surfaces, now.camera_pose[:3, :3]
    patterned = np.array([material.texture in PATTERNED for material in appearance.materials])
    index = np.flatnonzero(seen.hit & patterned[surfaces.part_of_geometry.material[seen.geometry]])
    at = (point.take(index, 0) @ turn.T + surfaces.origin).astype(np.float32)
    normal = (seen.normal.take(index, 0) @ turn.T).astype(np.float32)
    bare = np.zeros((*size, 3), np.float32)
    bare.reshape(-1, 3)[index] = albedo(surfaces, appearance, seen.geometry[index], at, normal)
    chosen = np.flatnonzero(near_steps(bare).ravel()[index])
    filtered = bare.copy()
    index = index[chosen]
    # The next pixel sees the same plane at the point plus depth · (step − ray · (n·step) / (n·ray)).
    slant = dot(seen.normal[index], seen.ray[index])
    depth = seen.depth[index, None]
    lean = depth * seen.normal[index, :2] / K[[0, 1], [0, 1]] / np.minimum(slant, -0.03)[:, None]
    steps = -lean.T[:, :, None] * seen.ray[index]
    steps[[0, 1], :, [0, 1]] += (depth / K[[0, 1], [0, 1]]).T
    filtered.reshape(-1, 3)[index] = albedo(
        surfaces,
        appearance,
        seen.geometry[index],
        at[chosen],
        normal[chosen],
        (steps @ turn.T).astype(np.float32),
    )
    return bare, filtered


def _lit(
    seen: PixelHits, point: Floats, now: Instant, lights: Sequence[Light]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each point sees the centre of each light, and whether its surface is turned to it, (N, L) each.

    Lights too large or too faint to cast a shadow with a border are left out.
    """
    total = sum(sum(light.irradiance) for light in lights)
    told = [
        light
        for light in lights
        if light.size <= SMALL_LIGHT * _reach(light) and sum(light.irradiance) >= FAINT_LIGHT * total
    ]
    lit = np.zeros((len(point), len(told)), bool)
    facing = np.zeros((len(point), len(told)), bool)
    # Camera axes and float32 throughout: only the rays themselves are turned into the world.
    start = (point + LIFT * np.where(seen.hit, seen.depth, 0.0)[:, None] * seen.normal).astype(np.float32)
    normal = seen.normal.astype(np.float32)
    turn = now.camera_pose[:3, :3].astype(np.float32)
    for column, light in enumerate(told):
        if light.kind == "sun":
            towards = np.broadcast_to(np.asarray(light.place, np.float32) @ turn, start.shape)
        else:
            place = (np.asarray(light.place) - now.surfaces.origin) @ now.camera_pose[:3, :3]
            towards = place.astype(np.float32) - start
        facing[:, column] = dot(np.asarray(towards, np.float32), normal) > 0  # false where nothing is hit
        index = np.flatnonzero(facing[:, column])
        far = np.inf if light.kind == "sun" else 1.0
        origins = start.take(index, 0) @ turn.T + now.surfaces.origin.astype(np.float32)
        lit[index, column] = ~occluded(now.surfaces, origins, towards.take(index, 0) @ turn.T, 0.0, far)
    return lit, facing


def _reach(light: Light) -> float:
    """Distance from the world's origin, at which a light's size counts."""
    return 1.0 if light.kind == "sun" else float(np.linalg.norm(light.place))


def _amodal(
    seen: PixelHits, now: Instant, instance: Ints, K: Floats, size: tuple[int, int], objects: int
) -> NDArray[np.bool_]:
    """(objects, N) every object's full extent, seen or not; row 0 is the static scene's."""
    masks = np.zeros((objects, len(instance)), bool)
    masks[instance, np.arange(len(instance))] = True
    masks[0] &= seen.hit
    for thing in range(objects):
        region = _region(thing, now, K, size) if thing else np.ones(size, bool)
        index = np.flatnonzero(region.ravel() & ~masks[thing])
        masks[thing, index] = covers(now.surfaces, thing, seen.towards.take(index, 0))
    return masks


def _region(thing: int, now: Instant, K: Floats, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) pixels that may see an object: the rectangles around its parts' projected bounding boxes."""
    region = np.zeros(size, bool)
    surfaces = now.surfaces
    mine = surfaces.part_of_geometry.object == thing
    for corners in (surfaces.geometry_box[mine] - surfaces.origin) @ now.camera_pose[:3, :3]:
        z = corners[:, 2]
        if z.max() <= 0:
            continue
        if z.min() <= 1e-3:
            region[:] = True
            continue
        x, y = K[0, 0] * corners[:, 0] / z + K[0, 2], K[1, 1] * corners[:, 1] / z + K[1, 2]
        left, right = np.clip([np.floor(x.min()), np.ceil(x.max())], 0, size[1]).astype(int)
        top, bottom = np.clip([np.floor(y.min()), np.ceil(y.max())], 0, size[0]).astype(int)
        region[top:bottom, left:right] = True
    return region


def _shares(instance: Ints, amodal: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Visible share of each amodal mask (0 for what is not in the image), and visible boxes (NaN unseen)."""
    objects = len(amodal)
    visible = np.bincount(instance.ravel(), minlength=objects)
    full = np.count_nonzero(amodal, axis=1)
    share = np.divide(visible, full, out=np.zeros(objects), where=full > 0)
    share[0] = min(share[0], 1.0)  # where nothing is hit counts as instance 0 but belongs to no mask
    boxes = np.full((objects, 4), np.nan, np.float32)
    for index, found in enumerate(find_objects(instance + 1)):
        if found is not None:
            rows, columns = found
            boxes[index] = columns.start, rows.start, columns.stop, rows.stop
    return share.astype(np.float32), boxes
