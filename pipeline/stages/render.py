"""The render stage: seeds in, committed shards of rendered clips with exact labels out, on Ray."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from freelabels.generators.contract.fields import STEPS, Array
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import counted
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.index import Index, read_index
from freelabels.pipeline.shards.record import canonical, digest
from freelabels.pipeline.shards.shard import MAX_ROWS, revision_of
from freelabels.pipeline.shards.summary import decoded, encoded, number_of
from freelabels.pipeline.stages.bookkeeping import (
    begin,
    committing,
    end,
    failure_entry,
    tell_failed,
    time_limit,
    write_failed,
    writing_to,
)
from freelabels.pipeline.stages.joining import joined
from freelabels.pipeline.work import tally
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster, run
from freelabels.renderers.draw.ranges import SceneRanges, identity
from freelabels.renderers.draw.scenes import Stereo, draw_rig
from freelabels.renderers.engines import windows
from freelabels.renderers.preview import preview
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.assets import Library, library
from freelabels.renderers.scene.scene import scene_from_json

# Raised whenever the same seed would give other pixels or labels.
RENDER_VERSION = 6
SHARD_PIXELS = 64 * 256 * 256  # of all frames of a shard, unless one clip has more
SOFTWARE = 400 << 20  # bytes, with all its libraries and a scene's meshes


@dataclass(frozen=True)
class RenderOptions:
    """What makes a clip, but for its number: with it, a pure function to bytes.

    size: (height, width). image: "ray", "tiny" or "egl". meshes, photos, environments: the user's own folders.
    split: which share of the assets, "all", "train" or "test". scene: a stored scene to render instead of drawing
    one. stereo: "passive" adds the right view of a pair, "active" a projected pattern of dots besides.
    sensor: adds depth as a depth camera would measure it. flow_steps: adds flow over so many
    frames, some of `STEPS`. Raises UserError for what can't be.
    """

    seed: int = 0
    frames: int = 16
    size: tuple[int, int] = (256, 256)
    image: str = "ray"
    ranges: SceneRanges = field(default_factory=SceneRanges)
    meshes: str | None = None
    photos: str | None = None
    split: str = "all"
    scene: Mapping[str, Any] | None = None
    environments: str | None = None
    stereo: Stereo = "none"
    sensor: bool = False
    flow_steps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.frames <= MAX_ROWS:
            raise UserError(f"--frames must lie in 1..{MAX_ROWS}, not {self.frames}")
        if self.seed < 0:
            raise UserError(f"--seed can't be negative, not {self.seed}")
        object.__setattr__(self, "flow_steps", tuple(sorted(set(self.flow_steps))))
        if wrong := [steps for steps in self.flow_steps if steps not in STEPS]:
            known = ", ".join(map(str, STEPS))
            raise UserError(f"--flow-steps: flow over {wrong[0]} frames is no field; choose from {known}")
        if self.flow_steps and self.flow_steps[-1] > self.frames:
            raise UserError(
                f"--flow-steps {self.flow_steps[-1]}: clips of {self.frames} frames end before that"
            )
        if self.stereo != "none" and self.image != "ray":
            raise UserError(f"--stereo {self.stereo} needs --image ray: {self.image} has no right view")
        if self.image != "ray" and self.scene is not None and self.scene.get("rig", {}).get("baseline"):
            raise UserError(
                f"--scene holds a pair's camera: {self.image} has no right view, give --image ray"
            )

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """Provenance of every column: generator, version and parameters, asset names included."""
        assets = self.library
        files = sorted(
            {entry.path for entry in assets.entries if entry.path} | set(assets.photos + assets.environments)
        )
        sizes = [Path(path).stat().st_size for path in files]
        # Names of what is made aren't told: the version says them.
        names = sorted(entry.name for entry in assets.entries if entry.group != "made")
        parameters = dataclasses.asdict(self) | {
            "assets": digest([names, [Path(path).name for path in files], sizes])[:16]
        }
        for place in ("meshes", "photos", "environments"):  # what they hold is in `assets`
            del parameters[place]
        for name in ("stereo", "sensor", "flow_steps"):  # so all clips were before there was a choice
            if parameters[name] in ("none", False, ()):
                del parameters[name]
        whole = {"generator": "render", "version": RENDER_VERSION, "parameters": parameters}
        return json.loads(json.dumps(whole))  # type: ignore[no-any-return]

    def key(self, clip: int) -> str:
        """Identity of a clip, 16 hexadecimal digits: `digest` of the parameters and its number.

        It does not change with defaults (`ranges.identity`): the version says what they are.
        """
        whole = self._hashed_parameters.copy()
        whole.update(f",{clip}]".encode())
        return whole.hexdigest()[:16]

    @cached_property
    def _hashed_parameters(self) -> hashlib._Hash:
        parameters = self.recipe["parameters"] | {"ranges": json.loads(json.dumps(identity(self.ranges)))}
        return hashlib.sha256(b"[" + canonical(parameters))

    def __getstate__(self) -> dict[str, Any]:
        """All but the hash in progress, which can't travel."""
        return {name: value for name, value in vars(self).items() if name != "_hashed_parameters"}

    @property
    def library(self) -> Library:
        """Assets to draw from. Raises UserError for folders missing, empty or without what a scene holds."""
        try:
            found = _library(self.meshes, self.photos, self.split, self.environments)
        except ValueError as error:
            raise UserError(str(error)) from error
        held = () if self.scene is None else (*self.scene["clutter"], *self.scene["bodies"])
        if lacks := found.lacks(body["asset"] for body in held):
            named = ", ".join(lacks[:3]) + (f" and {len(lacks) - 3} more" if len(lacks) > 3 else "")
            raise UserError(
                f"--scene holds {named}, which {self.meshes or 'what ships with Freelabels'} doesn't; "
                "name the folder that its meshes came from with --meshes"
            )
        return found


@lru_cache(maxsize=4)
def _library(meshes: str | None, photos: str | None, split: str, environments: str | None) -> Library:
    folders = (meshes, photos, environments)
    own, pictures, maps = (Path(folder) if folder is not None else None for folder in folders)
    return library(own, pictures, split, maps)  # type: ignore[arg-type]


@dataclass(frozen=True)
class RenderWork:
    """The clips of one shard."""

    dataset: str
    clips: tuple[int, ...]
    base: str | None
    options: RenderOptions
    compression: str

    @cached_property
    def id(self) -> str:
        """Name of the shard without its revision: a pure function of its clips."""
        return f"render-{digest([self.options.key(clip) for clip in self.clips])[:16]}"

    @property
    def frames(self) -> int:
        """How many rows the shard has."""
        return len(self.clips) * self.options.frames


@dataclass(frozen=True)
class RenderSummary:
    """What a run of the render stage did; as `pipeline.stages.label.LabelSummary`."""

    dataset: str
    shards: int
    frames: int
    made: int
    failed: int

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.failed == 0


def render(
    out: str | os.PathLike[str],
    clips: int = 16,
    options: RenderOptions | None = None,
    *,
    compression: str = "fast",
    layout: str | None = None,
    cluster: Cluster | None = None,
    reporter: Reporter | None = None,
) -> RenderSummary:
    """Render clips 0 … `clips` - 1 of a seed into the dataset at `out`; those that are there are left alone.

    layout: "folders" or "packed", see `Dataset.create`. Raises UserError for bad input.
    """
    options = options or RenderOptions()
    reporter, cluster = reporter or Reporter(), cluster or Cluster()
    cluster = dataclasses.replace(cluster, memory=max(cluster.memory, memory_needed(options)))
    if clips < 1:
        raise UserError(f"--clips must be at least 1, not {clips}")
    _ = options.recipe  # bad folders are found before anything is written
    with writing_to(out):
        dataset = begin(out, {"size": list(options.size), "seed": options.seed}, layout)
        index = read_index(dataset, cluster, reporter)
        work = plan_work(os.fspath(dataset.path), index, clips, options, compression)
        remade = {item.base for item in work}
        if kept := next((name for name in map(decoded, index.names.tolist()) if name not in remade), None):
            _refuse_other_classes(dataset, kept, options.library.classes)
        what = f"{counted(clips, 'clip')} of {counted(options.frames, 'frame')}"
        reporter.say(f"{what}, {counted(len(work), 'shard')} to make", to_do=len(work))
        made, failures = 0, []
        with reporter.stage("render", len(work)) as tick:
            outcomes = run(
                render_shard,
                work,
                lambda w: f"render {w.id}",
                cluster,
                seconds=lambda w: time_limit(w.frames, options.size),
                notice=tick.notice,
            )
            for outcome in outcomes:
                failed = outcome.result is None
                tick(0 if failed else outcome.work.frames, failed=failed, outcome=outcome)
                if outcome.fatal:
                    raise write_failed(dataset, outcome.error, made)
                if outcome.result is None:
                    sources = [f"seed:{options.seed}/clip:{clip}" for clip in outcome.work.clips]
                    failures.append(failure_entry(outcome, outcome.work.id, sources))
                else:
                    made += 1
        if made:
            end(dataset, cluster, reporter)
        tell_failed(dataset, failures, reporter)
        shards = -(-clips // _clips_per_shard(options))
        return RenderSummary(os.fspath(out), shards, clips * options.frames, made, len(failures))


def memory_needed(options: RenderOptions) -> int:
    """Bytes a task needs: the software, a window's work, a frame's light, a shard's columns and their files."""
    frame = options.size[0] * options.size[1]
    rows = options.frames * _clips_per_shard(options)
    return (
        SOFTWARE
        + 700 * min(frame, windows.PIXELS)
        + frame * (100 + (140 + 14 * len(options.flow_steps)) * rows)
    )


def _clips_per_shard(options: RenderOptions) -> int:
    pixels = int(options.frames * options.size[0] * options.size[1])
    return max(1, min(MAX_ROWS // options.frames, SHARD_PIXELS // pixels))


def plan_work(
    path: str, index: Index, clips: int, options: RenderOptions, compression: str
) -> list[RenderWork]:
    """The shards that are missing or were made by another version."""
    step = _clips_per_shard(options)
    groups = [tuple(range(start, min(start + step, clips))) for start in range(0, clips, step)]
    plans = [RenderWork(path, group, None, options, compression) for group in groups]
    others = index.others(encoded(plan.id for plan in plans))
    held = set(index.keys_of(others)[1].tolist())
    if held:
        left = [tuple(c for c in p.clips if number_of(options.key(c)) not in held) for p in plans]
        plans = [
            plan if its == plan.clips else dataclasses.replace(plan, clips=its)
            for plan, its in zip(plans, left, strict=True)
            if its
        ]
    made_now = [recipes.get("image") == options.recipe for recipes in index.recipes]
    committed = index.numbers_of(encoded(plan.id for plan in plans)).tolist()
    work = []
    for plan, number in zip(plans, committed, strict=True):
        if number < 0:
            work.append(plan)
        elif not made_now[index.made[number]]:
            work.append(dataclasses.replace(plan, base=index.name(number)))
    return work


def _refuse_other_classes(dataset: Dataset, name: str, classes: Sequence[str]) -> None:
    """Raise UserError if a shard that stays numbers its classes otherwise, so that a dataset has one table."""
    shard = dataset.newest(name.rpartition(".")[0], revision_of(name))
    table = (
        shard.attributes("semantic").get("names", ())
        if shard is not None and "semantic" in shard.fields
        else ()
    )
    for number, (there, here) in enumerate(zip(table, classes, strict=False)):
        if there != here:
            raise UserError(
                f"{dataset.path} holds renders of other meshes: its class {number} is {there!r} and would be "
                f"{here!r}; give the same --meshes, or another --out"
            )


def render_shard(work: RenderWork) -> str:
    """Render and commit one shard; returns its folder name. Runs in a worker."""
    options, assets = work.options, work.options.library
    dataset = Dataset(work.dataset)
    base = dataset.newest(work.id, revision_of(work.base)) if work.base is not None else None
    if (
        base is not None and base.made_by("image") == options.recipe
    ):  # by another process, since it was planned
        return base.name
    parts: list[dict[str, Array]] = []
    table: list[dict[str, Any]] = []
    start = 0
    for number, clip in enumerate(work.clips):
        with tally.part("simulate"):
            if options.scene is not None:
                scene, simulation = scene_from_json(options.scene), None
            else:
                scene, simulation = find_scene(
                    options.seed, clip, options.ranges, assets, options.frames, options.size
                )
        if options.stereo != "none" or options.sensor:
            rig = draw_rig(scene, options.ranges, options.stereo, options.sensor)
            scene = dataclasses.replace(scene, rig=rig)
        image: Any = options.image
        with tally.part("render"):
            rendered = render_clip(
                scene, assets, options.frames, options.size, image, simulation, options.flow_steps
            )
        parts.append({**rendered.columns, "clip": np.full(options.frames, number, np.int32)})
        rows = {"rows": [start, start + options.frames], "key": options.key(clip)}
        table.append({**rendered.record, **rows, "source": [rendered.record["source"]]})
        start += options.frames
    columns = {name: joined(name, [part[name] for part in parts]) for name in parts[0]}
    with tally.part("commit"), committing():
        return commit_shard(
            dataset,
            work.id,
            columns,
            table,
            dict.fromkeys(columns, options.recipe),
            attributes={"semantic": {"names": list(assets.classes)}},
            base=base,
            compression=work.compression,
        )


def draw_preview(path: str | os.PathLike[str], options: RenderOptions) -> Path:
    """Write a PNG with a dozen draws and their labels, in cells of twice the options' size. Raises UserError."""
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sheet = preview(options.seed, options.ranges, options.library, size=2 * min(options.size))
        Image.fromarray(sheet).save(target, format="PNG")
    except OSError as error:
        raise UserError(f"can't write {target} ({error.strerror})") from error
    return target
