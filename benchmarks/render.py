"""What rendering costs, whether it is right and whether it lasts.

    python -m benchmarks.render            every part with its defaults
    python -m benchmarks.render speed      CPU-seconds per frame, part by part, at several sizes
    python -m benchmarks.render speed --before CHECKOUT --sizes 256     all of it against another checkout's
    python -m benchmarks.render witness    rays against TinyRenderer's own masks, pixel by pixel
    python -m benchmarks.render steady     memory and speed over many clips in one process
    python -m benchmarks.render residual   flow against depth, poses and object motion

Every library has one thread, as in workers.

Cost: all parts about two CPU minutes.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.tools.command import Part, on_one_thread, run_parts
from benchmarks.tools.process import resident_mib
from benchmarks.tools.render_turns import compare
from freelabels.generators.contract.geometry import intrinsics_from_fov, rays
from freelabels.renderers.draw.ranges import KINDS, SceneRanges
from freelabels.renderers.draw.scenes import Stereo, draw_rig
from freelabels.renderers.engines.bullet import pybullet
from freelabels.renderers.engines.raycast import cast, pose_surfaces
from freelabels.renderers.labels import label_frame as labelling
from freelabels.renderers.labels.label_frame import Drawn, Known, label_frame
from freelabels.renderers.labels.looks import Instant, look
from freelabels.renderers.labels.reprojection import reproject_residual
from freelabels.renderers.pixels import environment, shading
from freelabels.renderers.pixels.pybullet_image import PyBulletCamera, projection_matrix, view_matrix
from freelabels.renderers.pixels.ray_image import render_image
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.assets import Library, library
from freelabels.renderers.scene.scene import Scene, camera_poses
from freelabels.renderers.simulate.simulate import simulate
from freelabels.renderers.simulate.world import build_world
from freelabels.renderers.surfaces.appearance import Appearance

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


class Clock:
    """Adds up CPU time by name."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.spent[name] = self.spent.get(name, 0.0) + time.process_time() - start


def speed(
    sizes: tuple[int, ...] = (128, 256, 512),
    clips: int = 3,
    frames: int = 8,
    objects: int = 10,
    before: Path | None = None,
) -> None:
    """CPU-seconds per frame of each part and in all, over several scenes with that many objects.

    Args:
        sizes: Pixels along a side.
        clips: How many scenes.
        frames: Of each.
        objects: On a floor.
        before: Another checkout of this project, rendered in turns with this one; nothing else is measured then.
    """
    if before is not None:
        for size in sizes:
            against(before, size, clips, frames, objects)
        return
    assets = library()
    ranges = SceneRanges(families={"table": 1.0}, objects=(objects, objects))
    for clip in range(clips):  # read the assets' files once, as a worker does
        find_scene(0, clip, ranges, assets, 1)
    print(f"{clips} clips of {frames} frames with {objects} objects on a floor; CPU-seconds per frame")
    for size in sizes:
        print(
            f"\n{size} × {size}; this processor casts {primary_rays(assets):.1f} million primary rays a second"
        )
        clock = Clock()
        for clip in range(clips):
            with clock.part("draw, physics, view"):
                scene, motion = find_scene(0, clip, ranges, assets, frames, size)
            with clock.part("  of which physics"):
                simulate(scene, build_world(scene, assets), frames)
            with clock.part("all: seed to columns"):
                scene, motion = find_scene(0, clip, ranges, assets, frames, size)
                render_clip(scene, assets, frames, size, simulation=motion)
            with clock.part("labels without image"):
                render_clip(scene, assets, frames, size, image=None, simulation=motion)
            _frame_parts(clock, clip, ranges, assets, frames, size)
        for name, spent in clock.spent.items():
            print(f"  {name:28s} {spent / clips / frames:.4f}")
        families(size, clips, frames, assets)
        cameras(size, clips, frames, assets)
        extras(size, clips, frames, assets)


def against(before: Path, size: int, clips: int, frames: int, objects: int) -> None:
    """Scenes as drawn by default, and as many objects on a floor, against another checkout's on a floor."""
    then: dict[str, Any] = {"objects": [objects, objects]}
    kinds: dict[str, dict[str, Any]] = {"default": {}, "on a floor": {**then, "families": {"table": 1.0}}}
    for name, now in kinds.items():
        (there, there_labels), (here, here_labels) = compare(before, then, now, size, clips, frames)
        print(
            f"{size} × {size}, {name}: all {there:.4f} before, {here:.4f} now, {here / there:.2f} ×; "
            f"labels {there_labels:.4f}, {here_labels:.4f}, {here_labels / there_labels:.2f} ×",
            flush=True,
        )


def families(size: int, clips: int, frames: int, assets: Library) -> None:
    """CPU-seconds per frame of every sort of place, as scenes are by default."""
    for name in KINDS["families"]:
        ranges, clock = SceneRanges(families={name: 1.0}), Clock()
        for clip in range(clips):
            find_scene(0, clip, ranges, assets, 1)  # reads the assets
            with clock.part("drawn"):
                scene, motion = find_scene(0, clip, ranges, assets, frames, size)
            with clock.part("all"):
                render_clip(scene, assets, frames, size, simulation=motion)
            with clock.part("labels"):
                render_clip(scene, assets, frames, size, image=None, simulation=motion)
        drawn, rendered, labels = (clock.spent[part] / clips / frames for part in ("drawn", "all", "labels"))
        print(f"  {name + ', seed to columns':28s} {drawn + rendered:.4f}, labels without image {labels:.4f}")


IDEAL = {"distorted": 0.0, "rolling": 0.0, "blurred": 0.0, "defocused": 0.0}
EFFECTS = {
    "lens that bends": {"distorted": 1.0},
    "rolling shutter": {"rolling": 1.0},
    "motion blur": {"blurred": 1.0},
    "depth of field": {"defocused": 1.0},
    "all four": dict.fromkeys(IDEAL, 1.0),
}


def cameras(size: int, clips: int, frames: int, assets: Library) -> None:
    """What each effect of lens and shutter costs, as a share of the same scenes seen by a pinhole at an instant.

    By default: of all clips that are drawn by default, so with the shares that effects have.
    """
    spent: dict[str, list[float]] = {}
    looks: dict[str, dict[str, Any]] = {
        "ideal": IDEAL,
        **{name: {**IDEAL, **effect} for name, effect in EFFECTS.items()},
        "default": {},
    }
    for clip in range(2 * clips):
        for name, changed in looks.items():
            ranges = dataclasses.replace(SceneRanges(), **changed)
            scene, motion = find_scene(0, clip, ranges, assets, frames, size)
            for image in ("ray", None):
                start = time.process_time()
                render_clip(scene, assets, frames, size, image=image, simulation=motion)
                spent.setdefault(f"{name} {image}", []).append(time.process_time() - start)
    for name in (*EFFECTS, "default"):
        whole, labels = (sum(spent[f"{name} {k}"]) / sum(spent[f"ideal {k}"]) for k in ("ray", None))
        print(f"  {name + ', of an ideal camera':36s} {whole:.2f} ×, labels without image {labels:.2f} ×")


RIGS: dict[str, tuple[Stereo, bool]] = {
    "right view": ("passive", False),
    "right view and dots": ("active", False),
    "depth sensor": ("none", True),
}


def extras(size: int, clips: int, frames: int, assets: Library) -> None:
    """What each thing beside the camera costs, and the bounce and the mask of shadows that all renders have.

    As a share of the same scenes without it, seen by a pinhole at an instant.
    """

    def unbounced(_: Any, lattice: Any, turn: Any) -> Floats:
        look = lattice_look[0]
        return environment.irradiance(look.background, look.lights, lattice.points.normal)

    def untold(_: Any, point: Floats, *__: Any) -> tuple[Mask, Mask]:
        return np.zeros(len(point), bool), np.zeros(len(point), bool)

    without = {
        "one bounce of light": (shading, "indirect", unbounced),
        "mask of shadows": (labelling, "_shadow", untold),
    }
    lattice_look: list[Appearance] = []
    ranges, spent = dataclasses.replace(SceneRanges(), **dict[str, Any](IDEAL)), Clock()
    for clip in range(2 * clips):
        scene, motion = find_scene(0, clip, ranges, assets, frames, size)
        lattice_look[:] = [scene.appearance]
        kinds: dict[str, Scene] = {"plain": scene}
        for name, rig in RIGS.items():
            kinds[name] = dataclasses.replace(scene, rig=draw_rig(scene, ranges, *rig))
        for image in ("ray", None):
            for name, kind in kinds.items():
                with spent.part(f"{name} {image}"):
                    render_clip(kind, assets, frames, size, image=image, simulation=motion)
            for name, change in without.items():
                with mock.patch.object(*change), spent.part(f"{name} {image}"):
                    render_clip(scene, assets, frames, size, image=image, simulation=motion)
    for name in (*RIGS, *without):
        ratios = [spent.spent[f"{name} {k}"] / spent.spent[f"plain {k}"] for k in ("ray", None)]
        whole, labels = (1 / ratio if name in without else ratio for ratio in ratios)
        print(f"  {name + ', of the same without':36s} {whole:.2f} ×, labels without image {labels:.2f} ×")


def primary_rays(assets: Library, repeats: int = 5) -> float:
    """Million rays of one fixed view a CPU-second, at best of some repeats: how fast the processor is now."""
    scene, motion = find_scene(0, 0, SceneRanges(), assets, 1, 256)
    world = build_world(scene, assets)
    (pose,) = camera_poses(scene.camera, [0.0])
    surfaces = pose_surfaces(world.meshes, motion.geometry_pose[1], world.parts, pose[:3, 3])
    towards = rays(intrinsics_from_fov(scene.camera.fov, 512, 512), 512, 512).reshape(-1, 3) @ pose[:3, :3].T
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        cast(surfaces, surfaces.origin, towards.astype(np.float32))
        spent.append(time.process_time() - start)
    return len(towards) / min(spent) / 1e6


def _frame_parts(
    clock: Clock, clip: int, ranges: SceneRanges, assets: Library, frames: int, size: int
) -> None:
    scene, motion = find_scene(0, clip, ranges, assets, frames, size)
    world = build_world(scene, assets)
    K = intrinsics_from_fov(scene.camera.fov, size, size)
    poses = camera_poses(scene.camera, np.arange(-1, frames + 1) / scene.fps)
    instants = []
    for row, pose in enumerate(poses):
        with clock.part("pose surfaces, build BVH"):
            surfaces = pose_surfaces(world.meshes, motion.geometry_pose[row], world.parts, pose[:3, 3])
            instants.append(Instant(surfaces, pose))
            look(instants[-1], K, (1, 1))
    known = Known(len(world.things) + 1, world.canonical, scene.appearance)
    bare = dataclasses.replace(known, drawn=Drawn(textures=False))
    for before, now, after in zip(instants, instants[1:], instants[2:], strict=False):
        with clock.part("primary rays"):
            seen = look(now, K, (size, size))
        with clock.part("labels"):
            label_frame(before, now, after, seen, K, (size, size), bare)
        with clock.part("labels and texture edges"):
            label_frame(before, now, after, seen, K, (size, size), known)
        with clock.part("image"):
            rng = np.random.default_rng(0)
            render_image(now.surfaces, scene.appearance, K, now.camera_pose, (size, size), rng, seen.hits)


def witness(scenes: int = 20, size: int = 256) -> None:
    """Ids by rays against PyBullet's TinyRenderer: of the same meshes, and of the files' own visual shapes."""
    assets = library()
    wrong, outlines, own_wrong, worst = 0, 0, 0, 0.0
    for clip in range(scenes):
        scene, _ = find_scene(11, clip, SceneRanges(), assets, 1, size)
        world = build_world(scene, assets)
        K = intrinsics_from_fov(scene.camera.fov, size, size)
        (pose,) = camera_poses(scene.camera, [0.0])
        masks: list[np.ndarray] = []

        def shoot(engine: int, bodies: Sequence[int], frame: int) -> None:
            if frame == 0:
                *_, mask = pybullet.getCameraImage(
                    size,
                    size,
                    viewMatrix=view_matrix(pose),  # noqa: B023
                    projectionMatrix=projection_matrix(K, (size, size), "tiny"),  # noqa: B023
                    renderer=pybullet.ER_TINY_RENDERER,
                    physicsClientId=engine,
                )
                numbers = np.zeros(1000, int)
                numbers[list(bodies)] = np.arange(1, len(bodies) + 1)
                masks.append(numbers[np.reshape(mask, (size, size))])  # noqa: B023

        motion = simulate(scene, world, 1, watch=shoot)
        surfaces = pose_surfaces(world.meshes, motion.geometry_pose[1], world.parts, pose[:3, 3])
        ids = look(Instant(surfaces, pose), K, (size, size)).geometry.reshape(size, size)
        with PyBulletCamera(world, scene, "tiny") as tiny:
            seen = tiny.geometry_ids(motion.geometry_pose[1], K, pose, (size, size))
        wrong += int((seen != ids).sum())
        worst = max(worst, float((seen != ids).mean()))
        instance = np.where(ids >= 0, world.parts.object[ids], 0)
        # Clutter has no visual shapes in the second witness: what it hides is not compared.
        compared = (instance <= len(scene.bodies)) & (ids >= 0)
        differs = (masks[0] != instance) & compared
        border = np.zeros((size, size), np.uint8)
        border[:, 1:] |= instance[:, 1:] != instance[:, :-1]
        border[1:] |= instance[1:] != instance[:-1]
        near = cv2.dilate(border, np.ones((5, 5), np.uint8)) > 0
        own_wrong += int(differs.sum())
        outlines += int((differs & near).sum())
    pixels = scenes * size * size
    print(f"{scenes} scenes at {size} × {size}")
    print(f"same meshes: {wrong} of {pixels} part ids differ ({wrong / pixels:.2e}), worst scene {worst:.2e}")
    print(
        f"PyBullet's own loading: {own_wrong / pixels:.2e} of instance ids differ; "
        f"{outlines / max(own_wrong, 1):.1%} of these within 2 pixels of an outline (thinned meshes)"
    )


def steady(clips: int = 300, frames: int = 2, size: int = 32) -> None:
    """Resident memory and CPU time over many small clips in one process."""
    assets = library()
    memory, spent = [], []
    for clip in range(clips):
        start = time.process_time()
        scene, motion = find_scene(0, clip, SceneRanges(), assets, frames, size)
        render_clip(scene, assets, frames, size, simulation=motion)
        spent.append(time.process_time() - start)
        memory.append(resident_mib())
        if (clip + 1) % max(clips // 10, 1) == 0:
            print(f"clip {clip + 1}: {memory[-1]:.0f} MiB, {np.mean(spent[-100:]):.3f} s a clip")
    half = clips // 2
    growth = 1024 * (memory[-1] - memory[half]) / (clips - half)
    tenth = max(clips // 10, 1)
    print(f"growth in the second half: {growth:.1f} KiB a clip")
    print(f"last tenth against first: {np.mean(spent[-tenth:]) / np.mean(spent[:tenth]):.3f} of the time")


def residual(clips: int = 10, frames: int = 4, size: int = 256) -> None:
    """Flow against depth, poses and object motion in many clips."""
    assets = library()
    worst = 0.0
    for clip in range(clips):
        scene, motion = find_scene(5, clip, SceneRanges(), assets, frames, size)
        columns = render_clip(scene, assets, frames, size, image=None, simulation=motion).columns
        found = reproject_residual(columns)
        worst = max(worst, found.p99)
        longest = np.nanmax(np.abs(columns["flow"].astype(np.float32)))
        print(f"clip {clip}: p50 {found.median:.5f}, p99 {found.p99:.5f} px; longest flow {longest:.0f} px")
    print(f"worst p99: {worst:.5f} px")


if __name__ == "__main__":
    on_one_thread()
    cv2.setNumThreads(1)
    parts: dict[str, Part] = {"speed": speed, "witness": witness, "steady": steady, "residual": residual}
    run_parts(__doc__, parts)
