"""Positive controls: tasks that little data can't teach, on clips made so that their cue can't be missed.

    python -m benchmarks.pretexts controls                         makes the clips once, then trains each
    python -m benchmarks.pretexts controls --only avts --seconds 60

What is to be shown is that the task learns what it asks for, so a score of .80 where chance is .50. `falls`: one
thing falls on a floor, and that is heard; seen from nearby, and struck while it is in view. `breaks`: a column
of bricks is struck by a ball and comes apart. `stage`: as falls, in one look of floor, thing and light, so that
a clip can't be known by these. The camera stands still, and nothing in a clip but what moves and
what is heard tells the answer. Scores are of clips kept from training, *gap* is as for `video`; rows that are
finished are kept in --out.

Cost: eight CPU minutes with the defaults, of which three and a half are for the clips.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.pretexts.video import HEADING, configured, finished, line
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.stages.joining import joined
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.assets import library
from freelabels.renderers.scene.scene import Body, Scene
from freelabels.train.config import AugmentConfig, LoaderConfig

SEED = 11
STORED = 72  # side of the clips, pixels
FRAMES = 16  # of a clip: two thirds of a second, in which a fall of up to 1.2 m ends
WANTED = 0.8  # of the answers
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
FALLS = SceneRanges(
    **QUIET_VIEW,
    objects=(1, 1),
    size=(0.1, 0.5),
    drop_height=(0.3, 1.2),
    spin=(0.0, 90.0),
    arena=(0.1, 0.3),
    restitution=(0.0, 0.1),
)
BREAKS = SceneRanges(**QUIET_VIEW, objects=(4, 6))


def as_drawn(scene: Scene) -> Scene:
    """The scene itself."""
    return scene


def on_one_stage(scene: Scene) -> Scene:
    """The scene in the look of the first one, so that nothing but the thing itself tells clips apart."""
    first, _ = find_scene(SEED, 0, FALLS, library(None, None, "all", None), FRAMES, STORED)
    camera = dataclasses.replace(first.camera, azimuth=scene.camera.azimuth)
    return dataclasses.replace(scene, appearance=first.appearance, camera=camera)


def struck(scene: Scene) -> Scene:
    """A column of the scene's things, now bricks, and the last of them a ball on its way to strike it."""
    rng = np.random.default_rng([scene.seed, scene.clip])
    side, azimuth = rng.uniform(0.15, 0.25), rng.uniform(0, 2 * np.pi)
    *bricks, ball = scene.bodies
    column: list[Body] = []
    for level, body in enumerate(bricks):
        turn = rng.uniform(-0.2, 0.2)
        column.append(
            dataclasses.replace(
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
    ball = dataclasses.replace(
        ball,
        asset="primitive/sphere",
        size=side,
        position=tuple((height + away * (side + speed * sooner)).tolist()),
        velocity=tuple((np.array([0.0, 0.0, 9.81 * sooner / 2]) - speed * away).tolist()),
        spin=(0.0, 0.0, 0.0),
        density=2000.0,
    )
    return dataclasses.replace(scene, bodies=(*column, ball))


Change = Callable[[Scene], Scene]
CLIPS: Mapping[str, tuple[SceneRanges, Change]] = {
    "falls": (FALLS, as_drawn),
    "breaks": (BREAKS, struck),
    "stage": (FALLS, on_one_stage),
}
CONTROLS = (
    ("arrow_of_time", "falls"),
    ("arrow_of_time", "breaks"),
    ("look_listen_learn", "stage"),
    ("avts", "falls"),
    ("audio_visual", "falls"),
)


def main(
    out: str = "runs/pretexts-controls",
    only: tuple[str, ...] = (),
    seconds: float = 40.0,
    clips: int = 160,
    size: int = 32,
    batch: int = 64,
    backbone: str = "resnet10t",
    settings: tuple[str, ...] = (),
) -> None:
    """Measure and print.

    Args:
        out: Folder of the clips, the runs and the finished rows.
        only: Tasks to measure; default: all that have a control.
        seconds: CPU seconds of training of each.
        clips: How many are made of each sort; a quarter of them is kept for scores.
        size: Side of the frames, pixels.
        batch: Samples of a step.
        backbone: The timm model.
        settings: Parameters of tasks, NAME.PARAMETER=VALUE.
    """
    torch.set_num_threads(1)
    folder = Path(out)
    print(HEADING)
    loader = LoaderConfig(size=size, batch=batch, held_out=0.25, augment=AugmentConfig(crop=(0.85, 1.0)))
    for name, sort in CONTROLS:
        if only and name not in only:
            continue
        config = configured(name, loader, backbone, settings)
        data = partial(made, folder / f"{sort}-{clips}", sort, clips, STORED)
        facts = finished(folder, f"{name}-{sort}", name, config, seconds, data, "")
        if facts is not None:
            shown = "shown" if facts["score"] >= WANTED else "missed"
            print(f"{line(facts)}; {sort}: {shown}", flush=True)


def made(folder: Path, sort: str, clips: int, size: int) -> str:
    """A dataset of one shard of clips of a sort, unless it is there."""
    dataset = Dataset.create(folder, {"size": [size, size], "seed": SEED})
    if dataset.shards_if_any():
        return str(folder)
    ranges, change = CLIPS[sort]
    assets = library(None, None, "all", None)
    parts, table = [], []
    for clip in range(clips):
        scene, _ = find_scene(SEED, clip, ranges, assets, FRAMES, size)
        rendered = render_clip(change(scene), assets, FRAMES, size)
        parts.append({**rendered.columns, "clip": np.full(FRAMES, clip, np.int32)})
        rows = {"rows": [clip * FRAMES, (clip + 1) * FRAMES], "key": f"{clip:016x}"}
        table.append({**rendered.record, **rows, "source": [rendered.record["source"]]})
    columns = {name: joined(name, [part[name] for part in parts]) for name in parts[0]}
    recipe = {"generator": "render", "version": 0, "parameters": {"control": sort}}
    commit_shard(
        dataset,
        sort,
        columns,
        table,
        dict.fromkeys(columns, recipe),
        attributes={"semantic": {"names": list(assets.classes)}},
    )
    return str(folder)
