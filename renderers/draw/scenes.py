"""Seed → scene: draws a `Scene` from ranges and a library of assets, without an engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from freelabels.renderers.draw.appearances import draw_appearance
from freelabels.renderers.draw.layouts import Family
from freelabels.renderers.draw.lenses import with_lens, with_shutter
from freelabels.renderers.draw.pile import lay_pile, pile_camera
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.draw.room import lay_room, room_camera
from freelabels.renderers.draw.shelf import lay_shelf, shelf_camera
from freelabels.renderers.draw.street import lay_street, street_camera
from freelabels.renderers.draw.table import lay_table, table_camera
from freelabels.renderers.draw.values import choose, rounded
from freelabels.renderers.scene.assets import Library
from freelabels.renderers.scene.rigs import DepthSensor, Dots, Rig
from freelabels.renderers.scene.scene import Body, Physics, Scene
from freelabels.renderers.simulate.world import substances
from freelabels.renderers.surfaces.appearance import SKIN, Appearance

_number = partial(rounded, digits=9)
# Every sort of place by name; a new one is a file with two functions and a line here.
FAMILIES: Mapping[str, Family] = {
    "pile": Family(lay_pile, pile_camera),
    "room": Family(lay_room, room_camera),
    "shelf": Family(lay_shelf, shelf_camera),
    "street": Family(lay_street, street_camera),
    "table": Family(lay_table, table_camera),
}
# Each component draws from its own stream, so that a change to one leaves the others as they were.
COMPONENTS = (
    *("surroundings", "physics", "choice", "placement", "camera", "appearance", "clutter", "skins"),
    *("family", "furniture", "details", "lens", "shutter", "rig"),
)
PLACED = ("placement", "clutter")  # drawn anew where physics failed
Stereo = Literal["none", "passive", "active"]
SKIN_SHARE = 0.8  # of things that bring a texture map along: how many keep it


def draw_scene(
    seed: int,
    clip: int,
    ranges: SceneRanges,
    assets: Library,
    redraws: Mapping[str, int] | None = None,
) -> Scene:
    """The scene of clip number `clip` under root `seed` (any integer ≥ 0).

    redraws: draws already turned down, by reason; "physics" moves the placements and "view" the camera on to
    their next draws. Things overlap nowhere at the start: their bounding spheres are disjoint. Assets that
    can't be used are replaced by others and named in `Scene.left_out`. Raises ValueError if none can be used.
    """
    redraws = {"overlap": 0, "physics": 0, "view": 0, **(redraws or {})}

    def stream(component: str, attempt: int = 0) -> np.random.Generator:
        key = (clip, COMPONENTS.index(component), *([attempt] if attempt else []))
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))

    def draws(component: str) -> np.random.Generator:
        return stream(component, redraws["physics"] if component in PLACED else 0)

    left_out: dict[str, str] = {}
    name: str = choose(stream("family"), ranges.families)
    family = FAMILIES[name]
    physics, fps = _draw_physics(stream("physics"), ranges)
    layout = family.lay(draws, ranges, assets, left_out)
    if layout.settle > physics.warm_up:
        physics = dataclasses.replace(physics, warm_up=layout.settle)
    camera = family.camera(stream("camera", redraws["view"]), ranges, layout)
    camera = with_lens(camera, stream("lens"), ranges)
    camera = with_shutter(camera, stream("shutter"), ranges, fps)
    things = (*layout.clutter, *layout.bodies)
    made_of = substances(layout.structure, layout.clutter, layout.bodies, assets)
    appearance = draw_appearance(
        stream("appearance"), made_of, assets.photos, ranges.appearance, layout.setting, assets.environments
    )
    kept = stream("skins").random(len(things)) < SKIN_SHARE
    appearance = _with_skins(appearance, things, kept, assets)
    return Scene(
        seed=seed,
        clip=clip,
        family=name,
        fps=fps,
        physics=physics,
        structure=layout.structure,
        clutter=layout.clutter,
        bodies=layout.bodies,
        camera=camera,
        appearance=appearance,
        redraws={**redraws, "overlap": layout.overlaps},
        left_out=left_out,
    )


def draw_rig(scene: Scene, ranges: SceneRanges, stereo: Stereo, sensor: bool = False) -> Rig:
    """What the camera of a drawn scene carries besides; its baseline goes with the distance it looks at."""
    key = (scene.clip, COMPONENTS.index("rig"))
    rng = np.random.default_rng(np.random.SeedSequence(scene.seed, spawn_key=key))
    for_pair, for_dots, for_sensor = rng.spawn(3)
    away = scene.camera.distance
    eye = _draw_sensor(for_sensor, ranges) if sensor else None
    if stereo == "none":
        return Rig(sensor=eye)
    baseline = _number(away * np.exp(for_pair.uniform(*np.log(ranges.baseline))))
    if stereo == "passive":
        return Rig(baseline, sensor=eye)
    pitch = _number(for_dots.uniform(*ranges.dot_pitch))
    power = _number(away * away * np.exp(for_dots.uniform(*np.log(ranges.dot_power))))
    return Rig(baseline, Dots(pitch, power, int(for_dots.integers(2**31))), eye)


def _draw_sensor(rng: np.random.Generator, ranges: SceneRanges) -> DepthSensor:
    baseline, quantum, near, far = (
        _number(np.exp(rng.uniform(*np.log(interval))))
        for interval in (ranges.sensor_baseline, ranges.sensor_quantum, ranges.sensor_near, ranges.sensor_far)
    )
    return DepthSensor(baseline, quantum, (near, far))


def _with_skins(
    appearance: Appearance, things: Sequence[Body], kept: NDArray[np.bool_], assets: Library
) -> Appearance:
    """The look of a scene in which some things, in the order of their materials, keep their texture maps."""
    links = [
        (link, keeps)
        for body, keeps in zip(things, kept, strict=True)
        for link in assets.load(body.asset).links
    ]
    materials = list(appearance.materials)
    for number, (link, keeps) in enumerate(links, start=len(materials) - len(links)):
        if keeps and link.mesh.skin is not None:
            materials[number] = dataclasses.replace(materials[number], texture=SKIN, photo="", metal=False)
    return dataclasses.replace(appearance, materials=tuple(materials))


def _draw_physics(rng: np.random.Generator, ranges: SceneRanges) -> tuple[Physics, int]:
    physics = Physics(
        gravity=_number(rng.uniform(*ranges.gravity)),
        friction=_number(rng.uniform(*ranges.friction)),
        restitution=_number(rng.uniform(*ranges.restitution)),
        warm_up=_number(rng.uniform(*ranges.warm_up)),
    )
    return physics, int(ranges.fps[int(rng.integers(len(ranges.fps)))])
