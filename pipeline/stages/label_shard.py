"""One shard of labels: its clips decoded, run through the detectors and committed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from freelabels.generators.contract.clip import SENSOR_DEPTH, SOUND, STEREO, Clip
from freelabels.generators.contract.detector import (
    Detector,
    inputs,
    label_names,
    plan,
    run_detectors,
    sees_between,
)
from freelabels.generators.contract.fields import Array
from freelabels.ground.errors import Replaced, UserError
from freelabels.ground.spelling import nearest
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.shard import FRAME_FIELDS, MAX_ROWS, Shard, revision_of
from freelabels.pipeline.sources.clip_specs import ClipSpec
from freelabels.pipeline.sources.decode import heard, read
from freelabels.pipeline.sources.find import Refusal
from freelabels.pipeline.stages.bookkeeping import (
    committing,
)
from freelabels.pipeline.stages.joining import joined
from freelabels.pipeline.stages.planning import (
    Recipe,
    ShardPlan,
    clip_seed,
    clip_table,
    shard_id,
)
from freelabels.pipeline.storage.uris import SourceError, why
from freelabels.pipeline.work import tally


@dataclass(frozen=True)
class LabelOptions:
    """What is made of clips, whatever they are cut from.

    labels: names. detectors: instances that replace default parameters, by name. size: (height, width) of the
    stored frames. shard_frames: most frames of a shard. update: columns not to leave as older versions made
    them. makers: the only detector to make a label with, by label. Raises UserError for a label no detector makes.
    """

    labels: Sequence[str]
    detectors: Mapping[str, Detector] = field(default_factory=dict)
    size: tuple[int, int] = (256, 256)
    shard_frames: int = MAX_ROWS
    seed: int = 0
    compression: str = "fast"
    update: frozenset[str] = frozenset()
    makers: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(
        labels: Sequence[str] | None,
        detectors: Sequence[Detector],
        size: tuple[int, int],
        shard_frames: int,
        seed: int,
        compression: str,
        update: Collection[str] | None,
        makers: Mapping[str, str] | None = None,
    ) -> LabelOptions:
        """As `label` is told: labels None: all that a detector makes; update (): all of them, None: none."""
        return LabelOptions(
            list(labels) if labels is not None else label_names(),
            {detector.name: detector for detector in detectors},
            size,
            shard_frames,
            seed,
            compression,
            frozenset(["image", *label_names()] if update is not None and not update else update or ()),
            makers or {},
        )

    def __post_init__(self) -> None:
        known = {"image", *label_names()}
        for name in sorted(self.update - known):
            raise UserError(f"--update {name}: there is no such label: {nearest(name, known)}")
        try:
            plan(self.labels, frozenset(), self.detectors, self.makers)
        except ValueError as error:
            raise UserError(str(error)) from error


@dataclass(frozen=True)
class LabelWork:
    """One shard to make or to complete. Small: it crosses process boundaries, pixels don't."""

    dataset: str
    shard: ShardPlan
    base: str | None
    detectors: tuple[Detector, ...]
    recipes: Mapping[str, Recipe]
    options: LabelOptions
    leave_out: bool = False  # clips whose source can't be read, and make a shard of the others


@dataclass(frozen=True)
class LabelledShard:
    """What a worker reports of a shard: its folder name, "" if no clip was left, and the sources it left out."""

    name: str
    refused: tuple[Refusal, ...] = ()


class Unreadable(Exception):
    """A source that could be examined and can't be read now; says which and why."""


def label_shard(work: LabelWork) -> LabelledShard:
    """Make or complete one shard and commit it. Runs in a worker.

    Raises Unreadable for a source, and Replaced if another process has changed the shard since it was planned, so
    that this has to be planned again.
    """
    dataset = Dataset(work.dataset)
    base = dataset.newest(work.shard.id, revision_of(work.base)) if work.base is not None else None
    if base is not None and base.name != work.base:
        work = replace(work, base=base.name, detectors=tuple(_still_to_run(work, base)))
    elif base is None and work.base is not None:
        raise Replaced(f"{work.base} was taken out by another process meanwhile; run again")
    if base is not None and not work.detectors:
        return LabelledShard(base.name)
    anew = base is None or base.made_by("image") != work.recipes["image"]
    columns: dict[str, list[Array]] = {}
    kept: list[ClipSpec] = []
    refused: list[Refusal] = []
    start = 0
    for spec in work.shard.clips:
        rows = slice(start, start + spec.frames)
        with tally.part("decode"):
            try:
                clip = _load(work, spec, None if anew else base, rows)
            except (SourceError, OSError) as error:
                if not work.leave_out:
                    raise Unreadable(f"{spec.uris[0]}: {why(error)}") from error
                refused.append(Refusal(spec.uris[0], why(error)))
                continue
        if anew:
            for name, values in _frame_columns(len(kept), spec, clip).items():
                columns.setdefault(name, []).append(values)
        with tally.part("detect"):
            for name, values in run_detectors(clip, work.detectors).items():
                columns.setdefault(name, []).append(values)
        kept.append(spec)
        start = rows.stop
    if not kept:
        return LabelledShard("", tuple(refused))
    whole = {name: joined(name, parts) for name, parts in columns.items()}
    with tally.part("commit"), committing():
        name = commit_shard(
            dataset,
            work.shard.id if not refused else shard_id(kept[0].kind, [spec.key for spec in kept]),
            whole,
            clip_table(kept),
            {name: work.recipes[name] for name in whole},
            base=base,
            compression=work.options.compression,
        )
    return LabelledShard(name, tuple(refused))


def _still_to_run(work: LabelWork, base: Shard) -> Iterator[Detector]:
    """The detectors of which something is missing in a revision that another process has made meanwhile."""
    if base.made_by("image") != work.recipes["image"]:
        raise Replaced(f"{base.name} was made from other frames by another process meanwhile; run again")
    for detector in work.detectors:
        if any(
            name not in base.fields or base.made_by(name) != work.recipes[name] for name in detector.makes
        ):
            yield detector


def _load(work: LabelWork, spec: ClipSpec, base: Shard | None, rows: slice) -> Clip:
    """A clip from its source, or, where the detectors need no more than pixels and labels, from its shard.

    Raises SourceError or OSError for the source, UserError for the shard.
    """
    seed = clip_seed(work.options.seed, spec)
    wants = {need for detector in work.detectors for need in detector.needs}
    between = bool(spec.between) and any(map(sees_between, work.detectors))
    sound = SOUND in wants
    if base is None:
        return replace(read(spec, work.options.size, between, sound), seed=seed)
    makes = {name for detector in work.detectors for name in detector.makes}
    used = {name for detector in work.detectors for name in inputs(detector, base.fields)}
    with _reading(base):
        stored = base.read_columns(sorted(used - makes), rows.start, rows.stop)
    if between or wants & {STEREO, SENSOR_DEPTH}:
        return replace(read(spec, work.options.size, between, sound), seed=seed, labels=stored)
    with _reading(base):
        frames = base.read_columns(("image", "time", "camera_K", "camera_pose"), rows.start, rows.stop)
    return Clip(
        image=np.ascontiguousarray(frames["image"]),
        time=frames["time"],
        camera_K=frames["camera_K"][0],
        intrinsics=spec.intrinsics,
        camera_pose=frames["camera_pose"] if spec.poses or spec.track else None,
        seed=seed,
        labels=stored,
        sound=heard(spec) if sound else None,
    )


@contextmanager
def _reading(base: Shard) -> Iterator[None]:
    """Around what is read of the output: where that fails, no source is to blame, and it is tried again."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{base.name} can't be read ({error.strerror or error}); run again") from error


def _frame_columns(number: int, spec: ClipSpec, clip: Clip) -> dict[str, Array]:
    frames = len(clip)
    pose = clip.camera_pose if clip.camera_pose is not None else np.full((frames, 4, 4), np.nan)
    columns: dict[str, Array] = {
        "image": clip.image,
        "clip": np.full(frames, number, np.int32),
        "frame_index": np.asarray(spec.indices, np.int32),
        "time": np.asarray(clip.time, np.float64),
        "domain": np.zeros(frames, np.uint8),
        "camera_K": np.tile(clip.camera_K, (frames, 1, 1)),
        "camera_pose": pose,
    }
    assert set(columns) == set(FRAME_FIELDS)
    return columns
