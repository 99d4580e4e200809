"""Positive controls: tasks that little data can't teach, on clips made so that their cue can't be missed.

    python -m benchmarks.pretexts controls                         makes the clips once, then trains each
    python -m benchmarks.pretexts controls --only avts --seconds 60

What is to be shown is that the task learns what it asks for: a score better than the trivial answer by three
standard errors, and .80 of the arrow of time and of sound, where chance is .50. `falls`: one thing falls on a
floor. `thuds`: a large one does, at any time of the clip, and is heard. `pitches`: things of one make but of very
different sizes do, and the small ones sound high. These two are in one look of floor, thing and light, so that a
clip can't be known by that, and are seen in that light: changes of it hide what moves from short trainings.
`passes`: a ball slides through the view. `breaks`: a column of bricks is struck by a ball and comes apart. The
camera stands still, and nothing in a clip but what moves and what is heard tells the answer. `tours`: a camera
moves around or along still things on a floor, all in strong patterns. `dotted`: two cameras side by side see
still things of one colour each, on which dots are projected; `pairs`: the same without dots. Scores are of clips
kept from training, *gap* is as for `video`; rows that are finished are kept in --out, and so are shards of clips.

Cost: about 85 minutes of one core with the defaults, of which 29 are for the clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.pretexts.video import HEADING, configured, finished, line
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import Array
from freelabels.generators.sound_texture import SoundTexture
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.stages.joining import joined
from freelabels.renderers.draw.ranges import AppearanceRanges, SceneRanges
from freelabels.renderers.draw.scenes import Stereo, draw_rig
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.assets import library
from freelabels.renderers.scene.scene import Body, Scene
from freelabels.renderers.surfaces.appearance import RGB
from freelabels.train.config import AugmentConfig, LoaderConfig
from freelabels.train.tasks.tasks import tasks

SEED = 11
STORED = 72  # side of the clips, pixels
PART = 40  # clips of a shard
FRAMES = 16  # of a clip: two thirds of a second, in which a fall of up to 1.2 m ends
WANTED = 0.8  # of the answers, of tasks that only a control can teach at this size
HARD = ("arrow_of_time", "look_listen_learn", "avts", "audio_visual")
ANY_LIGHT = AugmentConfig(crop=(0.85, 1.0))
ONE_LIGHT = replace(ANY_LIGHT, light=0.0, colour=0.0, grey=0.0, blur=0.0)
QUIET_VIEW: dict[str, Any] = {  # nothing but things that move, seen by a camera that stands
    "families": {"table": 1.0},
    "groups": {"primitive": 1.0},
    "behaviours": {"drop": 1.0},
    "warm_up": (0.0, 0.0),
    "fps": (24,),
    "walls": (0, 0),
    "clutter": (0, 0),
    "fov": (50.0, 50.0),
    "distance": (2.2, 2.2),
    "elevation": (8.0, 20.0),
    "roll": (0.0, 0.0),
    "look_at": (0.0, 0.0),
    "look_at_height": (0.45, 0.45),
    "paths": {"static": 1.0},
    "distorted": 0.0,
    "rolling": 0.0,
    "blurred": 0.0,
    "defocused": 0.0,
    "off_centre": (0.0, 0.0),
    "seen_objects": 1,
    "object_share": (0.005, 0.8),
}
LANDS: dict[str, Any] = {**QUIET_VIEW, "objects": (1, 1), "spin": (0.0, 90.0), "restitution": (0.0, 0.1)}
FALLS = SceneRanges(**LANDS, size=(0.1, 0.5), arena=(0.1, 0.3), drop_height=(0.3, 1.2))
THUDS = SceneRanges(**LANDS, size=(0.3, 0.6), arena=(0.1, 0.3), drop_height=(0.05, 1.2))
PITCHES = SceneRanges(**LANDS, size=(0.08, 0.64), arena=(0.0, 0.1), drop_height=(0.05, 0.5))
BREAKS = SceneRanges(**QUIET_VIEW, objects=(4, 6))
PASSES = SceneRanges(**LANDS, size=(0.3, 0.5))
TOURS = SceneRanges(
    **{
        **QUIET_VIEW,
        "behaviours": {"rest": 1.0},
        "fps": (6,),  # what is seen moves by some three pixels of 64, about a place of a map at stride 4
        "elevation": (35.0, 60.0),
        "look_at_height": (0.0, 0.2),
        "paths": {"orbit": 1.0, "dolly": 1.0},
        "object_share": (0.02, 0.8),
    },
    objects=(3, 5),
    size=(0.2, 0.5),
    arena=(0.6, 1.1),
    orbit_speed=(15.0, 60.0),
    dolly_speed=(0.3, 1.0),
    appearance=AppearanceRanges(
        outdoor={"overcast": 1.0}, full_well=(20000, 20000), read_noise=(0.0005, 0.0005), jpeg_share=0.0
    ),
)


PAIRS = SceneRanges(
    **{
        **QUIET_VIEW,
        "behaviours": {"rest": 1.0},
        "elevation": (20.0, 45.0),
        "look_at_height": (0.0, 0.2),
        "object_share": (0.02, 0.8),
    },
    objects=(3, 5),
    size=(0.2, 0.5),
    arena=(0.4, 0.9),
    baseline=(0.08, 0.12),  # some seven pixels of disparity of 64
    dot_pitch=(0.04, 0.05),  # some three pixels
    dot_power=(12.0, 24.0),  # seen all over the floor
    appearance=AppearanceRanges(
        outdoor={"overcast": 1.0},
        full_well=(20000, 20000),
        read_noise=(0.0005, 0.0005),
        jpeg_share=0.0,
        ground_textures={"plain": 1.0},
        floor_textures={"plain": 1.0},
        object_textures={"plain": 1.0},
    ),
)


def as_drawn(scene: Scene) -> Scene:
    """The scene itself."""
    return scene


@cache
def stage() -> Scene:
    """The scene whose look others take."""
    return find_scene(SEED, 0, FALLS, library(None, None, "all", None), FRAMES, STORED)[0]


def on_one_stage(scene: Scene) -> Scene:
    """The scene in the look of one, so that nothing but the thing itself tells clips apart."""
    first = stage()
    camera = replace(first.camera, azimuth=scene.camera.azimuth)
    return replace(scene, appearance=first.appearance, camera=camera)


def of_one_make(scene: Scene) -> Scene:
    """On that stage, and all things ring in the same modes, higher by as much as they are smaller."""
    return replace(on_one_stage(scene), clip=stage().clip)


def patterned(scene: Scene) -> Scene:
    """The scene with floor and things in dark and light patterns, which tell every place from those beside it."""
    rng = np.random.default_rng([scene.seed, scene.clip])

    def colour(low: float, high: float) -> RGB:
        red, green, blue = rng.uniform(low, high, 3).tolist()
        return red, green, blue

    materials = []
    for material in scene.appearance.materials:
        colours = (colour(0.0, 0.2), colour(0.6, 0.9), colour(0.2, 0.6))
        texture, scale = (("noise", 0.4), ("terrazzo", 1.2))[rng.integers(2)]
        scale *= rng.uniform(0.6, 1.2)
        look = replace(material, texture=texture, colours=colours, scale=float(scale))
        materials.append(replace(look, roughness=0.9, metal=False))
    return replace(scene, appearance=replace(scene.appearance, materials=tuple(materials)))


def seen_twice(stereo: Stereo, scene: Scene) -> Scene:
    """The scene seen by two cameras side by side, with dots projected on it or without."""
    return replace(scene, rig=draw_rig(scene, PAIRS, stereo))


def passing(scene: Scene) -> Scene:
    """The scene's thing, now a ball that slides through the view from one side to the other, ever as fast."""
    rng = np.random.default_rng([scene.seed, scene.clip])
    azimuth, side = scene.camera.azimuth, rng.choice([-1.0, 1.0])
    across = side * np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    towards = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    [ball] = scene.bodies
    start = rng.uniform(-0.3, 0.3) * towards - rng.uniform(0.6, 0.9) * across
    ball = replace(
        ball,
        asset="primitive/sphere",
        position=(float(start[0]), float(start[1]), ball.size / 2 + 1e-3),
        orientation=(0.0, 0.0, 0.0, 1.0),
        velocity=tuple((rng.uniform(1.2, 2.0) * across).tolist()),
        spin=(0.0, 0.0, 0.0),
        friction=0.0,
        rolling_friction=0.0,
    )
    return replace(scene, bodies=(ball,))


def struck(scene: Scene) -> Scene:
    """A column of the scene's things, now bricks, and the last of them a ball on its way to strike it."""
    rng = np.random.default_rng([scene.seed, scene.clip])
    side, azimuth = rng.uniform(0.15, 0.25), rng.uniform(0, 2 * np.pi)
    *bricks, ball = scene.bodies
    column: list[Body] = []
    for level, body in enumerate(bricks):
        turn = rng.uniform(-0.2, 0.2)
        column.append(
            replace(
                body,
                asset="primitive/cube",
                size=side,
                position=(0.0, 0.0, side * (level + 0.5) + 1e-3 * level),
                orientation=(0.0, 0.0, float(np.sin(turn / 2)), float(np.cos(turn / 2))),
                velocity=(0.0, 0.0, 0.0),
                spin=(0.0, 0.0, 0.0),
            )
        )
    away = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    height = np.array([0.0, 0.0, side * len(bricks) * rng.uniform(0.4, 0.8)])
    speed = rng.uniform(3.0, 5.0)
    sooner = rng.uniform(0.1, 0.4)  # seconds before it strikes
    ball = replace(
        ball,
        asset="primitive/sphere",
        size=side,
        position=tuple((height + away * (side + speed * sooner)).tolist()),
        velocity=tuple((np.array([0.0, 0.0, 9.81 * sooner / 2]) - speed * away).tolist()),
        spin=(0.0, 0.0, 0.0),
        density=2000.0,
    )
    return replace(scene, bodies=(*column, ball))


@dataclass(frozen=True)
class Sort:
    """Clips of one sort.

    ranges: what their scenes are drawn from. change: what is done to each. frames: of a clip. size: side at which
    they are seen, pixels. augment: how views of them differ.
    """

    ranges: SceneRanges
    change: Callable[[Scene], Scene] = as_drawn
    frames: int = FRAMES
    size: int = 32
    augment: AugmentConfig = ANY_LIGHT


SORTS: Mapping[str, Sort] = {
    "falls": Sort(FALLS),
    "thuds": Sort(THUDS, on_one_stage, augment=ONE_LIGHT),
    "pitches": Sort(PITCHES, of_one_make, augment=ONE_LIGHT),
    "passes": Sort(PASSES, passing, frames=20),
    "breaks": Sort(BREAKS, struck),
    "tours": Sort(TOURS, patterned, frames=8, size=64),
    "dotted": Sort(PAIRS, partial(seen_twice, "active"), frames=1, size=64),
    "pairs": Sort(PAIRS, partial(seen_twice, "passive"), frames=1, size=64),
}
ON_PASSES = (
    *("shuffle_learn", "lstm_permute", "opn", "order_policy", "video_jigsaw", "rotation_3d", "cubic_puzzles"),
    *("transitive", "un_lstm", "conv_lstm", "mcnet", "video_colorization", "pose_action", "cross_model"),
    "cross_pixel",
)
ON_TOURS = (
    *("flow_net", "flow_net2", "un_flow", "geo_net", "df_net", "lstm_dynamics"),
    *("tied_ego_motion", "visual_odometry"),
)
# Of `sfm_learner` on tours: too strong a relief stands for the camera's way while little has been seen.
SMOOTH = ("smooth=0.05",)
# How many times --seconds a task takes, where not once.
LONGER = {"learn_by_move": 1.5, "sfm_learner": 2.0, "un_flow": 2.0}
# A task, the sort of clips it learns from, and parameters of its own.
CONTROLS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("arrow_of_time", "falls", ()),
    ("arrow_of_time", "breaks", ()),
    ("look_listen_learn", "pitches", ("frames=16",)),
    ("avts", "thuds", ()),
    ("audio_visual", "thuds", ()),
    ("ambient_sound", "pitches", ("clusters=4",)),
    *((name, "passes", ()) for name in ON_PASSES),
    ("o3n", "passes", ("span=0.6",)),
    ("temporal_coherence", "passes", ("span=0.75",)),
    *((name, "tours", ()) for name in ON_TOURS),
    ("sfm_learner", "tours", SMOOTH),
    ("learn_by_move", "tours", ("metres=0.4", "degrees=10")),
    ("active_stereo", "dotted", ()),
)


@dataclass(frozen=True)
class Training:
    """How tasks are trained.

    folder: of the clips, the runs and the finished rows. seconds: of CPU, of each; those that `LONGER` names take
    a multiple. clips: how many are made of each sort. batch: samples of a step, of frames of 32 pixels. settings:
    of tasks, NAME.PARAMETER=VALUE. real: a dataset on which scores are told beside; "" for none.
    """

    folder: Path
    seconds: float
    clips: int
    batch: int
    backbone: str
    settings: tuple[str, ...] = ()
    real: str = ""

    def row(self, name: str, sort: str, own: Sequence[str] = (), seed: int = 0) -> dict[str, Any] | None:
        """What a task scores on clips of a sort; None where it can't be, which is said. own: its parameters."""
        task, how = tasks()[name], SORTS[sort]
        many = self.batch * 32**2 // how.size**2 // (3 if task.clips else 1)
        loader = LoaderConfig(how.size, task.needs.shared, many, held_out=0.25, augment=how.augment)
        given = (*(f"{name}.{value}" for value in own), *self.settings)
        config = replace(configured(name, loader, self.backbone, given), seed=seed)
        data = partial(made, self.folder / f"{sort}-{self.clips}", sort, self.clips)
        called = f"{name}-{sort}" + (f"-{seed}" if seed else "")
        seconds = self.seconds * LONGER.get(name, 1.0)
        return finished(self.folder, called, name, config, seconds, data, self.real)


def main(
    out: str = "runs/pretexts-controls",
    only: tuple[str, ...] = (),
    seconds: float = 80.0,
    clips: int = 320,
    batch: int = 64,
    backbone: str = "resnet10t",
    settings: tuple[str, ...] = (),
    real: str = "",
) -> None:
    """Measure and print.

    Args:
        out: Folder of the clips, the runs and the finished rows.
        only: Tasks to measure; default: all that have a control.
        seconds: CPU seconds of training of each; those that `LONGER` names take a multiple.
        clips: How many are made of each sort; a quarter of them is kept for scores.
        batch: Samples of a step, of frames of 32 pixels; of clips a third, of larger frames fewer.
        backbone: The timm model.
        settings: Parameters of tasks, NAME.PARAMETER=VALUE.
        real: A dataset of real clips, on which scores are told beside.
    """
    torch.set_num_threads(1)
    training = Training(Path(out), seconds, clips, batch, backbone, settings, real)
    print(HEADING)
    for name, sort, own in CONTROLS:
        if not only or name in only:
            facts = training.row(name, sort, own)
            if facts is not None:
                print(f"{line(facts)}; {sort}: {'shown' if shown(facts) else 'missed'}", flush=True)


def shown(facts: Mapping[str, Any]) -> bool:
    """Whether a row beats the trivial answer by three standard errors, and with a hard task reaches `WANTED`."""
    told: bool = facts["task"] not in HARD or facts["score"] >= WANTED
    return told and facts["gap"] is not None and facts["gap"] >= 3


def made(folder: Path, name: str, clips: int) -> str:
    """A dataset of clips of a sort; those that are there are not made again."""
    dataset = Dataset.create(folder, {"size": [STORED, STORED], "seed": SEED})
    there = sum(len(shard.clips) for shard in dataset.open_all(dataset.shards_if_any()))
    for first in range(there, clips, PART):
        _make(dataset, name, range(first, min(first + PART, clips)))
    return str(folder)


def textures(columns: Mapping[str, Array]) -> Mapping[str, Array]:
    """What a clip sounds like, as `label` tells it of videos; nothing of a still."""
    if "sound" not in columns:
        return {}
    clip = Clip(columns["image"], columns["time"], columns["camera_K"][0])
    return SoundTexture()(clip.with_labels({name: columns[name] for name in ("sound", "sound_confidence")}))


def _make(dataset: Dataset, name: str, clips: range) -> None:
    """One shard of clips of a sort."""
    sort, frames = SORTS[name], SORTS[name].frames
    assets = library(None, None, "all", None)
    parts, table = [], []
    for number, clip in enumerate(clips):
        scene, _ = find_scene(SEED, clip, sort.ranges, assets, frames, STORED)
        rendered = render_clip(sort.change(scene), assets, frames, STORED)
        parts.append(
            {**rendered.columns, **textures(rendered.columns), "clip": np.full(frames, number, np.int32)}
        )
        rows = {"rows": [number * frames, (number + 1) * frames], "key": f"{clip:016x}"}
        table.append({**rendered.record, **rows, "source": [f"seed:{SEED}/clip:{clip}"]})
    columns = {name: joined(name, [part[name] for part in parts]) for name in parts[0]}
    recipe = {"generator": "render", "version": 0, "parameters": {"control": name}}
    commit_shard(
        dataset,
        f"{name}-{clips.start:05d}",
        columns,
        table,
        dict.fromkeys(columns, recipe),
        attributes={"semantic": {"names": list(assets.classes)}},
    )
