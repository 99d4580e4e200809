"""The label stage: sources in, committed label shards out, on Ray."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np

from freelabels.generators.contract.clip import SEED, SENSOR_DEPTH, STEREO, Clip
from freelabels.generators.contract.detector import Detector, inputs, label_names, plan, run_detectors
from freelabels.generators.contract.fields import Array
from freelabels.ground.errors import UserError
from freelabels.ground.paths import AnyPath, path_list
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.index import Index, read_index
from freelabels.pipeline.shards.shard import FRAME_FIELDS, MAX_ROWS
from freelabels.pipeline.sources.clip_specs import ClipColumns, ClipSpec, SourceOptions
from freelabels.pipeline.sources.decode import read
from freelabels.pipeline.sources.find import Item, Passed, Refusal, find
from freelabels.pipeline.sources.scan import scan
from freelabels.pipeline.stages.bookkeeping import begin, failure_entry, write_failed, writing_to
from freelabels.pipeline.stages.planning import (
    PlannedShards,
    Recipe,
    ShardPlan,
    clip_seed,
    clip_table,
    out_of_date,
    pack,
    recipes,
    uncovered,
)
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster, run

NOT_THERE = -1  # instead of the number of what made a shard


@dataclass(frozen=True)
class LabelOptions:
    """What is made of clips, whatever they are cut from.

    labels: names. detectors: instances that replace default parameters, by name. size: (height, width) of the
    stored frames. shard_frames: most frames of a shard. Raises UserError for a label no detector makes.
    """

    labels: Sequence[str]
    detectors: Mapping[str, Detector] = field(default_factory=dict)
    size: tuple[int, int] = (256, 256)
    shard_frames: int = MAX_ROWS
    seed: int = 0
    compression: str = "fast"

    def __post_init__(self) -> None:
        try:
            plan(self.labels, frozenset(), self.detectors)
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


@dataclass(frozen=True)
class LabelSummary:
    """What a run of the label stage did.

    shards: all shards of the plan; made: of these, made or completed now; failed: left undone, see failures.jsonl;
    refused: sources that were refused, see rejected.jsonl. skipped: labels that sources of a kind can't give,
    with the reason, by kind.
    """

    dataset: str
    shards: int
    frames: int
    made: int
    failed: int
    refused: int = 0
    skipped: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.failed == 0


def label(
    sources: AnyPath | Sequence[AnyPath],
    out: AnyPath,
    *,
    labels: Sequence[str] | None = None,
    size: tuple[int, int] = (256, 256),
    options: SourceOptions | None = None,
    shard_frames: int = MAX_ROWS,
    seed: int = 0,
    detectors: Sequence[Detector] = (),
    compression: str = "fast",
    strict: bool = False,
    cluster: Cluster | None = None,
    reporter: Reporter | None = None,
) -> LabelSummary:
    """Label photos and videos into the dataset at `out`; what is there and up to date is left alone.

    sources: files, folders, globs, lists and URIs, one or several. labels: names, None: every label that a
    detector makes. size: (height, width) of the stored frames. shard_frames: most frames of a shard.
    detectors: instances that replace default parameters.
    strict: a refused source ends the run before anything is labelled. Raises UserError for bad input.
    """
    sources = path_list(sources)
    options = options or SourceOptions()
    cluster = cluster or Cluster()
    reporter = reporter or Reporter()
    wanted = LabelOptions(
        list(labels) if labels is not None else label_names(),
        {detector.name: detector for detector in detectors},
        size,
        shard_frames,
        seed,
        compression,
    )
    if not sources:
        raise UserError("no source: name photos, videos or folders of them")
    refused: dict[str, Refusal] = {}
    passed: list[Passed] = []
    items = items_of(find(sources, skip=[os.fspath(out)]), refused, passed)
    first = next(items, None)
    if first is None:
        reasons = "; ".join([*(str(refused[uri]) for uri in sorted(refused)[:3]), *map(str, passed[:3])])
        raise UserError(
            f"no photo or video found in {', '.join(sources)}" + (f" ({reasons})" if reasons else "")
        )
    with writing_to(out):
        dataset = begin(out, {"size": list(size), "seed": seed})
        scanned = scan(chain([first], items), options, dataset, cluster, reporter)
        for one in passed:
            reporter.say(str(one), **asdict(one))
        refusals = sorted([*refused.values(), *scanned.refusals], key=lambda r: r.uri)
        dataset.rejected_log().write_lines([asdict(refusal) for refusal in refusals])
        if refusals:
            files = "1 file" if len(refusals) == 1 else f"{len(refusals)} files"
            reporter.say(f"{files} refused, see {dataset.rejected_log()}", refused=len(refusals))
            if strict:
                raise UserError(f"{files} refused and --strict is given; first: {refusals[0]}")
        if not len(scanned.clips):
            raise UserError(f"no source could be used; first: {refusals[0]}")
        done = _label_clips(scanned.clips, dataset, wanted, cluster, reporter)
        return replace(done, refused=len(refusals))


def items_of(
    found: Iterable[Item | Refusal | Passed], refused: dict[str, Refusal], passed: list[Passed]
) -> Iterator[Item]:
    """What was found, the refusals and what is passed over put aside."""
    for one in found:
        if isinstance(one, Refusal):
            refused[one.uri] = one
        elif isinstance(one, Passed):
            passed.append(one)
        else:
            yield one


# --- labelling ----------------------------------------------------------------------------------------------


def _label_clips(
    clips: ClipColumns, dataset: Dataset, options: LabelOptions, cluster: Cluster, reporter: Reporter
) -> LabelSummary:
    index = read_index(dataset, cluster, reporter)
    shards = uncovered(pack(clips, options.shard_frames), index)
    work, skipped = plan_work(shards, index, os.fspath(dataset.path), options)
    _announce(shards, skipped, len(work), reporter)
    made, failures = 0, []
    with reporter.stage("label", len(work)) as tick:
        for outcome in run(label_shard, work, lambda w: f"label {w.shard.id}", cluster):
            tick(outcome.work.shard.frames, failed=outcome.result is None)
            if outcome.fatal:
                raise write_failed(dataset, outcome.error, made)
            if outcome.result is None:
                sources = sorted({clip.uris[0] for clip in outcome.work.shard.clips})
                failures.append(failure_entry(outcome, outcome.work.shard.id, sources))
            else:
                made += 1
    dataset.failures_log().write_lines(failures)
    if failures:
        reporter.say(f"{len(failures)} shards failed, see {dataset.failures_log()}", failed=len(failures))
    return LabelSummary(
        os.fspath(dataset.path), len(shards), shards.frames, made, len(failures), skipped=skipped
    )


@dataclass(frozen=True)
class Way:
    """How shards are made or completed that offer the same and of which the same is there."""

    needed: bool
    detectors: tuple[Detector, ...]
    recipes: Mapping[str, Recipe]


@dataclass(frozen=True)
class LabelPlan:
    """The work of a run; an item is made when its turn comes, with the whole of its clips."""

    numbers: Sequence[int]
    make: Callable[[int], LabelWork]

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[LabelWork]:
        return map(self.make, self.numbers)


def plan_work(
    shards: PlannedShards, index: Index, path: str, options: LabelOptions
) -> tuple[LabelPlan, dict[str, dict[str, str]]]:
    """The shards that are missing or out of date, and what can't be had from sources of each kind, and why.

    Shards of which the same columns were made in the same way are planned together: the index tells which.
    """
    committed, offers = index.by_id(), shards.offers.tolist()
    bases = array("q", (committed.get(shard, NOT_THERE) for shard in shards.ids))
    skipped: dict[str, dict[str, str]] = {}
    ways: dict[tuple[int, int], Way] = {}

    def key_of(number: int) -> tuple[int, int]:
        base = bases[number]
        return offers[number], NOT_THERE if base == NOT_THERE else int(index.made[base])

    def way_of(offer: int, recipe: int) -> Way:
        kind, provides = shards.clips.kinds[offer]
        made = {} if recipe == NOT_THERE else index.recipes[recipe]
        present = [name for name in label_names() if name in made and name not in options.labels]
        chosen = plan([*options.labels, *present], provides | {SEED}, options.detectors)
        wanted = recipes(chosen, options.seed)
        anew = made.get("image") != wanted["image"]  # decoded by another version: nothing is of use
        stale = tuple(out_of_date(chosen, wanted, {} if anew else made))
        skipped.setdefault(kind, dict(chosen.skipped))
        return Way(anew or bool(stale), stale, wanted)

    todo = array("q")
    for number in range(len(shards)):
        key = key_of(number)
        if key not in ways:
            ways[key] = way_of(*key)
        if ways[key].needed:
            todo.append(number)

    def make(number: int) -> LabelWork:
        way, base = ways[key_of(number)], bases[number]
        name = None if base == NOT_THERE else index.names[base]
        return LabelWork(path, shards.read(number), name, way.detectors, way.recipes, options)

    return LabelPlan(todo, make), skipped


def _announce(
    shards: PlannedShards, skipped: Mapping[str, Mapping[str, str]], todo: int, reporter: Reporter
) -> None:
    """Say what was found and what of it can't be labelled, and why."""
    clips, frames, count = shards.clips, Counter[str](), Counter[str]()
    offers, lengths = clips.offers[shards.members], clips.frames[shards.members]
    for offer in np.unique(offers).tolist():
        kind, _ = clips.kinds[offer]
        count[kind] += int((offers == offer).sum())
        frames[kind] += int(lengths[offers == offer].sum())
    for kind in sorted(frames):
        reporter.say(f"{kind}: {count[kind]} clips, {frames[kind]} frames", kind=kind, frames=frames[kind])
        for name, reason in skipped.get(kind, {}).items():
            reporter.say(f"  no {name}: {reason}", kind=kind, label=name, reason=reason)
    state = f"{todo} to make or complete" if todo else "all up to date"
    reporter.say(f"{len(shards)} shards, {state}", shards=len(shards), to_do=todo)


def label_shard(work: LabelWork) -> str:
    """Make or complete one shard and commit it; returns its folder name. Runs in a worker."""
    dataset = Dataset(work.dataset)
    base = dataset.open(work.base) if work.base is not None else None
    anew = base is None or base.made_by("image") != work.recipes["image"]
    columns: dict[str, list[Array]] = {}
    start = 0
    for number, spec in enumerate(work.shard.clips):
        rows = slice(start, start + spec.frames)
        start += spec.frames
        clip = _load(work, spec, None if anew else base, rows)
        if anew:
            for name, values in _frame_columns(number, spec, clip).items():
                columns.setdefault(name, []).append(values)
        for name, values in run_detectors(clip, work.detectors).items():
            columns.setdefault(name, []).append(values)
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return commit_shard(
        dataset,
        work.shard.id,
        joined,
        clip_table(work.shard.clips),
        {name: work.recipes[name] for name in joined},
        base=base,
        drop=base.fields if base is not None and anew else (),
        compression=work.options.compression,
    )


def _load(work: LabelWork, spec: ClipSpec, base: Any, rows: slice) -> Clip:
    """A clip from its source, or, where the detectors need no more than pixels and labels, from its shard."""
    seed = clip_seed(work.options.seed, spec)
    makes = {name for detector in work.detectors for name in detector.makes}
    wants = {need for detector in work.detectors for need in detector.needs}
    stored: dict[str, Array] = {}
    if base is not None:
        used = {name for detector in work.detectors for name in inputs(detector, base.fields)}
        stored = {name: base.read_rows(name, rows.start, rows.stop) for name in sorted(used - makes)}
    if base is None or wants & {STEREO, SENSOR_DEPTH}:
        return replace(read(spec, work.options.size), seed=seed, labels=stored)
    return Clip(
        image=np.ascontiguousarray(base.read_rows("image", rows.start, rows.stop)),
        time=base.read_rows("time", rows.start, rows.stop),
        camera_K=base.read_rows("camera_K", rows.start, rows.start + 1)[0],
        intrinsics=spec.intrinsics,
        seed=seed,
        labels=stored,
    )


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
