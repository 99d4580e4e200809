"""Seed → clip: draws a scene worth having, simulates it, and renders pixels and labels of every frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from freelabels.generators.contract.fields import Array, as_stored, field
from freelabels.generators.contract.geometry import intrinsics_from_fov
from freelabels.generators.contract.products import times as product_of
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.draw.scenes import draw_scene
from freelabels.renderers.draw.values import rounded
from freelabels.renderers.engines import bullet
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.raycast import Floats, Surfaces, pose_surfaces
from freelabels.renderers.engines.windows import Window, whole, windows
from freelabels.renderers.instants import instant, instants_around, part_velocity, still_part
from freelabels.renderers.labels.exact_speed import exact_speed
from freelabels.renderers.labels.extents import shares_and_boxes
from freelabels.renderers.labels.label_frame import Drawn, Known, label_window
from freelabels.renderers.labels.long_flow import long_flow
from freelabels.renderers.labels.looks import Instant, PixelHits, look
from freelabels.renderers.labels.shadows import trusted_shadow
from freelabels.renderers.pixels.depth_sensor import measured
from freelabels.renderers.pixels.exposure import Blur, Sharp, blur_of, exposed
from freelabels.renderers.pixels.pybullet_image import PyBulletCamera
from freelabels.renderers.pixels.ray_image import radiance_window
from freelabels.renderers.pixels.sensor import develop
from freelabels.renderers.rigged import projector_of, rig_labels, right_view
from freelabels.renderers.scene.assets import Library
from freelabels.renderers.scene.rigs import Rig
from freelabels.renderers.scene.scene import (
    Scene,
    camera_poses,
    camera_velocities,
    lens_of,
    pinhole,
    scene_to_json,
)
from freelabels.renderers.simulate.simulate import Simulation, simulate
from freelabels.renderers.simulate.sounding import sounded
from freelabels.renderers.simulate.world import World, build_world
from freelabels.renderers.view_quality import look_roughly, shortfall

ImageBackend = Literal["ray", "tiny", "egl"]
PHYSICS_DRAWS = 6  # of a scene's placements, before what misbehaves is left out
MOVED = 1e-3  # metres a part of an object travels in a clip for the object to count as moving
METERED = (48, 36)  # pixels of the picture by which exposure is set
METERING = 0.85  # of the stops by which that picture is off: dark places stay darker than bright ones
MIDDLE = 0.2  # the radiance that half of the pixels should exceed
BRIGHT = (0.88, 1.2)  # share of the pixels that are to be darker than that radiance
LUMINANCE = np.array([[0.2126], [0.7152], [0.0722]], np.float32)
SPECKS = 2.0  # times white that things shine at most while they are blurred
IMAGE_STREAM = 1000  # component number of the sensor's noise in the seeds
RIGHT, SENSOR = 1, 2  # of the right view's and of the depth sensor's, after the frame's


@dataclass(frozen=True)
class RenderedClip:
    """One clip in the form a shard takes.

    columns: arrays (T, …) by field name, confidences included. record: what made the clip, ready for JSON: kind,
    scene, frames, size, image (backend), objects (a table of dicts id, name, class, asset, moving), classes
    (names of the semantic ids), redraws, left_out.
    """

    columns: dict[str, Array]
    record: dict[str, Any]


def find_scene(
    seed: int, clip: int, ranges: SceneRanges, assets: Library, frames: int, size: int | tuple[int, int] = 256
) -> tuple[Scene, Simulation]:
    """The first scene drawn for a clip whose physics works and whose view is worth having, and its motion.

    Draws turned down are counted in `Scene.redraws`. If no view of `ranges.attempts` is worth having the best of
    them is taken; bodies that misbehave in every draw are left out and named in `Scene.left_out`.
    """
    height, width = _size(size)
    scene, world, motion = _working_scene(seed, clip, ranges, assets, frames)
    times = np.array(sorted({0, frames // 2, frames - 1})) / scene.fps
    still = still_part(world, camera_poses(scene.camera, [0.0])[0, :3, 3])
    instants = [
        pose_surfaces(world.meshes, motion.geometry_pose[row], world.parts, (0, 0, 0), still)
        for row in np.rint(times * scene.fps).astype(int) + 1
    ]
    best = np.inf
    chosen = scene
    for attempt in range(ranges.attempts):
        redraws = {**scene.redraws, "view": attempt}
        camera = draw_scene(seed, clip, ranges, assets, redraws).camera if attempt else scene.camera
        views = [
            look_roughly(surfaces, camera.fov, pose, (height, width))
            for surfaces, pose in zip(instants, camera_poses(camera, times), strict=True)
        ]
        score = shortfall(views, len(world.things), ranges)
        if score < best:
            best, chosen = score, dataclasses.replace(scene, camera=camera, redraws=redraws)
        if not score:
            break
    return _metered(chosen, instants[0]), motion


def _metered(scene: Scene, surfaces: Surfaces) -> Scene:
    """The scene with its exposure set by what the camera sees first, as far as cameras do."""
    width, height = METERED
    (pose,) = camera_poses(scene.camera, [0.0])
    K = intrinsics_from_fov(scene.camera.fov, width, height)
    look = scene.appearance
    light = radiance_window(surfaces, look, K, pose, whole((height, width)), 0.0)
    luminance = np.sort(product_of(light.reshape(-1, 3), LUMINANCE)[:, 0])
    middle, bright = (max(float(luminance[int(len(luminance) * share)]), 1e-3) for share in (0.5, BRIGHT[0]))
    stops = min(METERING * float(np.log2(MIDDLE / middle)), float(np.log2(BRIGHT[1] / bright)))
    sensor = dataclasses.replace(look.sensor, exposure=rounded(look.sensor.exposure + stops, 3))
    return dataclasses.replace(scene, appearance=dataclasses.replace(look, sensor=sensor))


def _working_scene(
    seed: int, clip: int, ranges: SceneRanges, assets: Library, frames: int
) -> tuple[Scene, World, Simulation]:
    for attempt in range(PHYSICS_DRAWS):
        scene = draw_scene(seed, clip, ranges, assets, {"physics": attempt})
        world = build_world(scene, assets)
        motion = simulate(scene, world, frames)
        if not motion.problems:
            break
    while motion.problems:
        scene = _without(scene, world, motion.problems)
        world = build_world(scene, assets)
        motion = simulate(scene, world, frames)
    return scene, world, motion


def _without(scene: Scene, world: World, problems: Mapping[int, str]) -> Scene:
    """The scene without the bodies that have problems."""
    materials = scene.appearance.materials
    kept = tuple(m for m, body in zip(materials, world.body, strict=True) if int(body) not in problems)
    return dataclasses.replace(
        scene,
        bodies=tuple(body for index, body in enumerate(scene.bodies) if index not in problems),
        appearance=dataclasses.replace(scene.appearance, materials=kept),
        left_out={**scene.left_out, **{scene.bodies[i].asset: why for i, why in problems.items()}},
    )


def render_clip(
    scene: Scene,
    assets: Library,
    frames: int,
    size: int | tuple[int, int] = 256,
    image: ImageBackend | None = "ray",
    simulation: Simulation | None = None,
    flow_steps: Sequence[int] = (),
) -> RenderedClip:
    """Pixels and all labels of `frames` frames of a scene.

    size: pixels, one number for a square or (height, width). image: who makes the pixels, None for labels alone;
    PyBullet's engines, rectified pairs and depth sensors see through a pinhole whatever the lens.
    simulation: the scene's motion where known already. flow_steps: some of `STEPS`. The same scene, frames and
    size give the same bytes. Raises ValueError for a size or number of frames below 1, for assets that can't be
    used, for a simulation of another length and for a lens whose picture doesn't reach the corners.
    """
    height, width = _size(size)
    if image in ("tiny", "egl") or scene.rig != Rig():
        scene = dataclasses.replace(scene, camera=pinhole(scene.camera))
    lens = lens_of(scene.camera, (height, width))
    if not lens.covers((height, width)):
        raise ValueError(f"scene.camera.distortion: {lens.distortion} shows nothing in the picture's corners")
    world = build_world(scene, assets)
    motion = simulation if simulation is not None else simulate(scene, world, frames)
    if (held := len(motion.body_pose) - 2) != frames:
        raise ValueError(f"the simulation holds {held} frames, {frames} were asked for")
    poses = camera_poses(scene.camera, np.arange(-1, frames + 1) / scene.fps)
    known = Known(len(world.things) + 1, world.canonical, scene.appearance, _drawn(image))
    columns: dict[str, Array] = {}
    shape = (frames, height, width)
    still = still_part(world, poses[1, :3, 3])
    sways = camera_velocities(scene.camera, np.arange(-1, frames + 1) / scene.fps)
    make = partial(instant, world, motion, poses, still=still, camera=scene.camera, sways=sways)
    for frame, around in enumerate(instants_around(frames + 2, max((1, *flow_steps)), make)):
        noise = _noise(scene, frame) if image == "ray" else None
        _render_frame(columns, shape, frame, around, lens, known, noise, scene.rig, flow_steps)
        if noise is not None and scene.rig.baseline:
            now, beyond = around[0], _noise(scene, frame, RIGHT)
            picture = right_view(scene.rig, now, scene.appearance, lens, (height, width), beyond)
            _put(columns, "right", shape, frame, slice(None), picture)
        if scene.rig.sensor is not None:
            read = columns["sensor_depth"][frame]
            read[:] = measured(scene.rig.sensor, read, _noise(scene, frame, SENSOR))
    if image in ("tiny", "egl"):
        with PyBulletCamera(world, scene, image) as camera:
            columns["image"] = np.stack(
                [
                    camera.image(motion.geometry_pose[frame + 1], lens.K, poses[frame + 1], (height, width))
                    for frame in range(frames)
                ]
            )
    tables = _tables(scene, world, motion, poses, sways, lens, frames)
    columns |= {name: as_stored(name, values) for name, values in tables.items()}
    if frames > 1:
        columns |= sounded(scene, world, motion, frames)
    return RenderedClip(columns, _record(scene, world, assets, motion, frames, (height, width), image))


def _noise(scene: Scene, frame: int, *more: int) -> np.random.Generator:
    key = (scene.clip, IMAGE_STREAM, frame, *more)
    return np.random.default_rng(np.random.SeedSequence(scene.seed, spawn_key=key))


def _render_frame(
    columns: dict[str, Array],
    shape: tuple[int, int, int],
    frame: int,
    around: Mapping[int, Instant],
    lens: Lens,
    known: Known,
    rng: np.random.Generator | None,
    rig: Rig,
    flow_steps: Sequence[int],
) -> None:
    """Labels of the instant in the middle, and given a generator its image, into one frame of the columns.

    Window by window, and into room that is there for all frames: nothing exists twice, however large the picture.
    """
    before, now, after = around[-1], around[0], around[1]
    size = shape[1:]
    dither = float(rng.random()) if rng is not None else 0.0
    radiance = np.empty((*size, 3), np.float32) if rng is not None else None
    shown: list[tuple[Array, ...]] = []  # of what is blurred
    for window in windows(size):
        inner = lens.seen_in(window)
        seen = look(now, inner, window.shape)
        at = (seen.point, seen.geometry, seen.depth, now.camera_pose, inner, window.shape)
        blur = blur_of(now.motion, *at) if known.drawn.blur else None
        made = label_window(before, now, after, seen, inner, window, known, blur)
        made |= rig_labels(rig, now, seen, inner, window, made)
        made |= long_flow(around, flow_steps, seen, inner, window)
        rows = slice(window.first, window.last)
        for name, values in made.items():
            kept = values[:, window.kept] if name == "amodal" else values[window.kept]
            _put(columns, name, shape, frame, rows, kept)
        if radiance is not None and known.appearance is not None:
            dots = projector_of(rig, now.camera_pose)
            view = (inner, now.camera_pose, window, dither, seen.hits, now.motion, dots)
            light = radiance_window(now.surfaces, known.appearance, *view)
            radiance[rows] = light[window.kept]
            if blur is not None:
                shown.append(_shown(seen, blur, window))
    if radiance is not None and rng is not None and known.appearance is not None:
        if now.motion is not None and shown:
            parts = (np.concatenate(part) for part in zip(*shown, strict=True))
            # What is far brighter than white would leave specks where few of a pixel's rays meet it.
            light = np.minimum(radiance, np.float32(SPECKS * 2.0**-known.appearance.sensor.exposure))
            sharp = Sharp(light.reshape(-1, 3), *parts)
            radiance = exposed(sharp, now.motion, now.camera_pose, lens, size, dither).reshape(*size, 3)
        picture = develop(radiance, known.appearance.sensor, rng)
        _put(columns, "image", shape, frame, slice(None), picture)
    trusted = columns["shadow_confidence"][frame]
    trusted[:] = trusted_shadow(columns["shadow"][frame], trusted)
    for name, table in shares_and_boxes(columns["instance"][frame], columns["amodal"][frame]).items():
        columns.setdefault(name, np.empty((shape[0], *table.shape), table.dtype))[frame] = table
    exact = {name: columns[name][frame] for name in ("flow", "depth", "motion")}
    columns.setdefault("speed", np.empty((shape[0], 2), np.float32))[frame] = exact_speed(
        exact, lens, now.camera_pose, after.camera_pose
    )


def _shown(seen: PixelHits, blur: Blur, window: Window) -> tuple[Array, ...]:
    """Geometry, depth, smear and circle of confusion of a window's pixels, as of `Sharp`."""
    size, kept = window.shape, window.kept
    columns = (
        np.where(seen.hit, seen.geometry, -1).astype(np.int32),
        seen.depth.astype(np.float32),
        blur.smear.astype(np.float32),
        blur.circle.astype(np.float32),
    )
    of_rows = (values.reshape(*size, *values.shape[1:])[kept] for values in columns)
    return tuple(values.reshape(-1, *values.shape[2:]) for values in of_rows)


def _put(
    columns: dict[str, Array],
    name: str,
    shape: tuple[int, int, int],
    frame: int,
    rows: slice,
    values: Array,
) -> None:
    """Rows of a picture (H, …) into a column; room for all frames is made once. shape: (frames, H, W)."""
    masks = name == "amodal"  # (object, H, …)
    if name not in columns:
        rest = (len(values), shape[1], *values.shape[2:]) if masks else (shape[1], *values.shape[1:])
        columns[name] = np.empty((shape[0], *rest), field(name).dtype)
    if masks:
        columns[name][frame][:, rows] = values
    else:
        columns[name][frame][rows] = values


def _drawn(image: ImageBackend | None) -> Drawn:
    """What edges the pictures of a backend have beside those of surfaces; labels alone know of lights."""
    return {
        "ray": Drawn(textures=True, shadows=True, background=True),
        None: Drawn(textures=False, shadows=True, background=True),
    }.get(image, Drawn(textures=False, shadows=False, background=False, blur=False))


def _size(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"an image has at least one pixel; {height} × {width} has none")
    return height, width


def _tables(
    scene: Scene, world: World, motion: Simulation, camera: Floats, sways: Floats, lens: Lens, frames: int
) -> dict[str, Array]:
    """What belongs to frames and objects rather than to pixels."""
    inner = slice(1, frames + 1)
    objects, parts = len(world.things) + 1, int(world.parts.part.max()) + 1
    part_pose = np.full((frames, objects, parts, 4, 4), np.nan)
    part_pose[:, world.parts.object, world.parts.part] = motion.geometry_pose[inner]
    part_pose[:, 0, 0] = np.eye(4)  # the static scene, of however many pieces, stays
    speed = np.full((frames, objects, parts, 6), np.nan, np.float32)
    speed[:, world.parts.object, world.parts.part] = part_velocity(motion)[inner]
    speed[:, 0, 0] = 0
    moving = slice(1, len(scene.bodies) + 1)
    object_pose = np.empty((frames, objects, 4, 4))
    object_pose[:, 0] = np.eye(4)
    object_pose[:, moving] = motion.body_pose[inner]
    for number, body in enumerate(scene.clutter, start=moving.stop):
        object_pose[:, number] = bullet.matrix(body.position, body.orientation)
    velocity = np.zeros((frames, objects, 6))
    velocity[:, moving] = motion.velocity[inner]
    return {
        "object_velocity": velocity,
        "camera_K": np.tile(lens.K, (frames, 1, 1)),
        "camera_distortion": np.tile(lens.distortion, (frames, 1)),
        "camera_pose": camera[inner],
        "object_pose": object_pose,
        "part_pose": part_pose,
        "part_velocity": speed,
        "camera_shutter": np.tile((scene.camera.exposure, scene.camera.readout), (frames, 1)),
        "camera_velocity": sways[inner],
        "object_contact": motion.contact[inner],
        "frame_index": np.arange(frames),
        "time": np.arange(frames) / scene.fps,
        "domain": np.ones(frames),
        **({"baseline": np.full(frames, scene.rig.baseline)} if scene.rig.baseline else {}),
    }


def _travelled(poses: Floats, points: Floats) -> Floats:
    """Metres (G,) that points (G, P, 3) of each geometry travel at most under its poses (T, G, 4, 4)."""
    way = poses[:, :, None, :3, 3] + sum(
        points[None, :, :, k, None] * poses[:, :, None, :3, k] for k in range(3)
    )
    span = np.ptp(way, axis=0)  # (G, P, 3)
    return np.asarray(np.sqrt((span * span).sum(axis=-1)).max(axis=-1))


def _record(
    scene: Scene,
    world: World,
    assets: Library,
    motion: Simulation,
    frames: int,
    size: tuple[int, int],
    image: str | None,
) -> dict[str, Any]:
    corners = np.stack([mesh.box for mesh in world.meshes])  # (G, 8, 3)
    moves = _travelled(motion.geometry_pose, corners) > MOVED
    objects = [
        {
            "id": index + 1,
            "name": f"{asset.cls} {index + 1}",
            "class": asset.cls,
            "asset": asset.name,
            "moving": bool(moves[world.parts.object == index + 1].any()),
        }
        for index, asset in enumerate(world.things)
    ]
    return {
        "kind": "render",
        "source": f"seed:{scene.seed}/clip:{scene.clip}",
        "scene": scene_to_json(scene),
        "frames": frames,
        "size": list(size),
        "image": image,
        "objects": objects,
        "classes": list(assets.classes),
        "redraws": dict(scene.redraws),
        "left_out": dict(scene.left_out),
    }
