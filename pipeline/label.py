"""The label stage: sources in, committed label shards out, on Ray."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from generators.clip import SENSOR_DEPTH, STEREO, Clip
from generators.detector import Detector, Plan, inputs, label_names, plan
from generators.fields import Array
from pipeline.clips import ClipSpec, SourceOptions
from pipeline.decode import read
from pipeline.errors import UserError
from pipeline.grouping import Item
from pipeline.planning import (
    FRAME_FIELDS,
    Recipe,
    ShardPlan,
    clip_seed,
    clip_table,
    out_of_date,
    pack,
    recipes,
    uncovered,
)
from pipeline.probe import probe
from pipeline.progress import Reporter
from pipeline.runner import Cluster, run
from pipeline.shards import Dataset, commit_shard
from pipeline.sources import Refusal, find

PROBE_CACHE = ".probe.jsonl"


@dataclass(frozen=True)
class LabelWork:
    """One shard to make or to complete. Small: it crosses process boundaries, pixels don't."""

    dataset: str
    shard: ShardPlan
    base: str | None
    detectors: tuple[Detector, ...]
    recipes: Mapping[str, Recipe]
    size: tuple[int, int]
    seed: int
    compression: str


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
    refused: int
    skipped: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.failed == 0


def label(
    sources: Sequence[str],
    out: str | os.PathLike[str],
    *,
    labels: Sequence[str] | None = None,
    size: tuple[int, int] = (256, 256),
    options: SourceOptions | None = None,
    seed: int = 0,
    detectors: Sequence[Detector] = (),
    compression: str = "fast",
    strict: bool = False,
    cluster: Cluster | None = None,
    reporter: Reporter | None = None,
) -> LabelSummary:
    """Label photos and videos into the dataset at `out`; what is there and up to date is left alone.

    sources: files, folders, globs, lists and URIs. labels: names, None: every label that a detector makes.
    size: (height, width) of the stored frames. detectors: instances that replace default parameters.
    strict: a refused source ends the run before anything is labelled. Raises UserError for bad input.
    """
    options = options or SourceOptions()
    cluster = cluster or Cluster()
    reporter = reporter or Reporter()
    labels = list(labels) if labels is not None else label_names()
    configured = {detector.name: detector for detector in detectors}
    try:
        plan(labels, frozenset(), configured)
    except ValueError as error:
        raise UserError(str(error)) from error
    if not sources:
        raise UserError("no source: name photos, videos or folders of them")
    items, refused = find(sources, skip=[os.fspath(out)])
    if not items:
        reasons = "; ".join(str(refusal) for refusal in refused[:3])
        raise UserError(
            f"no photo or video found in {', '.join(sources)}" + (f" ({reasons})" if reasons else "")
        )
    dataset = _begin(out, size, seed)
    clips, more = _probe_all(items, options, dataset, cluster, reporter)
    refused = sorted([*refused, *more], key=lambda r: r.uri)
    _write_lines(dataset.rejected_log(), [asdict(refusal) for refusal in refused])
    if refused:
        files = "1 file" if len(refused) == 1 else f"{len(refused)} files"
        reporter.say(f"{files} refused, see {dataset.rejected_log()}", refused=len(refused))
        if strict:
            raise UserError(f"{files} refused and --strict is given; first: {refused[0]}")
    if not clips:
        raise UserError(f"no source could be used; first: {refused[0]}")
    return _label_clips(
        clips, dataset, labels, configured, size, seed, compression, len(refused), cluster, reporter
    )


def _begin(out: str | os.PathLike[str], size: tuple[int, int], seed: int) -> Dataset:
    try:
        dataset = Dataset.create(out, {"size": list(size), "seed": seed})
        dataset.storage.sweep()
    except OSError as error:
        raise UserError(
            f"can't write to {out} ({error.strerror}); free or name another place with --out"
        ) from error
    for name in dataset.superseded():
        dataset.storage.drop(name)
    return dataset


# --- probing ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ProbeWork:
    """Some sources to probe in one task: several photos, or one video."""

    items: tuple[Item, ...]
    options: SourceOptions


def probe_items(work: ProbeWork) -> list[list[ClipSpec] | Refusal]:
    """The clips of each item, or why it has none."""
    return [probe(item, work.options) for item in work.items]


PHOTOS_PER_TASK = 32


def _probe_all(
    items: Sequence[Item], options: SourceOptions, dataset: Dataset, cluster: Cluster, reporter: Reporter
) -> tuple[list[ClipSpec], list[Refusal]]:
    """Probe what the cache of earlier runs does not know; a file that kills its decoder costs itself alone."""
    cache_file = Path(dataset.path) / PROBE_CACHE
    known = _read_cache(cache_file)
    results: dict[str, list[ClipSpec] | Refusal] = {}
    keys = {item: _cache_key(item, options) for item in items}
    fresh = []
    for item in items:
        if keys[item] in known:
            results[keys[item]] = known[keys[item]]
        else:
            fresh.append(item)
    photos = [item for item in fresh if item.kind == "image"]
    work = [ProbeWork((item,), options) for item in fresh if item.kind != "image"]
    work += [
        ProbeWork(tuple(photos[k : k + PHOTOS_PER_TASK]), options)
        for k in range(0, len(photos), PHOTOS_PER_TASK)
    ]
    while work:
        retry: list[ProbeWork] = []
        with reporter.stage("probe", len(work)) as tick:
            for outcome in run(probe_items, work, lambda w: f"probe {w.items[0].uris[0]}", cluster):
                tick(len(outcome.work.items), failed=outcome.result is None)
                if outcome.result is not None:
                    for item, found in zip(outcome.work.items, outcome.result, strict=True):
                        results[keys[item]] = found
                elif len(outcome.work.items) > 1:
                    retry += [ProbeWork((item,), options) for item in outcome.work.items]
                else:
                    item = outcome.work.items[0]
                    results[keys[item]] = Refusal(item.uris[0], f"could not be decoded: {outcome.error}")
        work = retry
    if fresh:
        _write_lines(
            cache_file,
            [_cache_entry(keys[item], results[keys[item]]) for item in items if keys[item] in results],
        )
    clips: list[ClipSpec] = []
    refused: list[Refusal] = []
    first: dict[str, str] = {}
    for item in items:
        found = results[keys[item]]
        if isinstance(found, Refusal):
            refused.append(found)
            continue
        for clip in found:
            if clip.key not in first:
                clips.append(clip)
            elif clip is found[0]:
                refused.append(Refusal(clip.uris[0], f"is a duplicate of {first[clip.key]}"))
            first.setdefault(clip.key, clip.uris[0])
            if clip.note and clip is found[0]:
                reporter.say(f"{clip.uris[0]}: {clip.note}")
    return clips, refused


def _cache_key(item: Item, options: SourceOptions) -> str:
    return json.dumps([asdict(item), asdict(options)], sort_keys=True)


def _cache_entry(key: str, found: list[ClipSpec] | Refusal) -> dict[str, Any]:
    if isinstance(found, Refusal):
        return {"key": key, "refusal": asdict(found)}
    return {"key": key, "clips": [clip.to_json() for clip in found]}


def _read_cache(path: Path) -> dict[str, list[ClipSpec] | Refusal]:
    """What earlier runs found; a cache that can't be read is no cache."""
    known: dict[str, list[ClipSpec] | Refusal] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                entry = json.loads(line)
                known[entry["key"]] = (
                    Refusal(**entry["refusal"])
                    if "refusal" in entry
                    else [ClipSpec.from_json(clip) for clip in entry["clips"]]
                )
            except (ValueError, KeyError, TypeError):
                continue
    return known


def _write_lines(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    scratch = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    scratch.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    scratch.replace(path)


# --- labelling ----------------------------------------------------------------------------------------------


def _label_clips(
    clips: Sequence[ClipSpec],
    dataset: Dataset,
    labels: Sequence[str],
    configured: Mapping[str, Detector],
    size: tuple[int, int],
    seed: int,
    compression: str,
    refused: int,
    cluster: Cluster,
    reporter: Reporter,
) -> LabelSummary:
    shards = uncovered(pack(clips), dataset)
    committed = {name.rpartition(".")[0]: name for name in dataset.shards()}
    work: list[LabelWork] = []
    skipped: dict[str, dict[str, str]] = {}
    plans: dict[tuple[frozenset[str], tuple[str, ...]], tuple[Plan, dict[str, Recipe]]] = {}
    for shard in shards:
        base = dataset.open(committed[shard.id]) if shard.id in committed else None
        present = tuple(n for n in label_names() if base is not None and n in base.fields and n not in labels)
        key = shard.provides, present
        if key not in plans:
            chosen = plan([*labels, *present], shard.provides, configured)
            plans[key] = chosen, recipes(chosen, seed)
        chosen, wanted = plans[key]
        skipped.setdefault(shard.clips[0].kind, dict(chosen.skipped))
        if base is not None and base.made_by("image") != wanted["image"]:
            base = None  # decoded by another version: nothing of it is of use
        stale = tuple(out_of_date(chosen, wanted, base))
        if stale or base is None:
            name = committed.get(shard.id)
            work.append(
                LabelWork(os.fspath(dataset.path), shard, name, stale, wanted, size, seed, compression)
            )
    _announce(shards, skipped, len(work), reporter)
    made, failures = 0, []
    with reporter.stage("label", len(work)) as tick:
        for outcome in run(label_shard, work, lambda w: f"label {w.shard.id}", cluster):
            tick(outcome.work.shard.frames, failed=outcome.result is None)
            if outcome.fatal:
                raise UserError(
                    f"can't write to {dataset.path} ({outcome.error}); {made} shards were made, free space or "
                    "permissions and run again to go on"
                )
            if outcome.result is None:
                sources = sorted({clip.uris[0] for clip in outcome.work.shard.clips})
                failures.append({"shard": outcome.work.shard.id, "error": outcome.error, "sources": sources,
                                 "traceback": outcome.traceback})  # fmt: skip
            else:
                made += 1
    _write_lines(dataset.failures_log(), failures)
    if failures:
        reporter.say(f"{len(failures)} shards failed, see {dataset.failures_log()}", failed=len(failures))
    frames = sum(shard.frames for shard in shards)
    return LabelSummary(os.fspath(dataset.path), len(shards), frames, made, len(failures), refused, skipped)


def _announce(
    shards: Sequence[ShardPlan], skipped: Mapping[str, Mapping[str, str]], todo: int, reporter: Reporter
) -> None:
    """Say what was found and what of it can't be labelled, and why."""
    frames, count = Counter[str](), Counter[str]()
    for shard in shards:
        frames[shard.clips[0].kind] += shard.frames
        count[shard.clips[0].kind] += len(shard.clips)
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
        compression=work.compression,
    )


def run_detectors(clip: Clip, detectors: Sequence[Detector]) -> dict[str, Array]:
    """Run detectors in order on one clip, each seeing only the labels it declares. Returns all they made.

    Raises ValueError if a detector does not keep its word.
    """
    made: dict[str, Array] = {}
    for detector in detectors:
        available = {**clip.labels, **made}
        seen = {name: available[name] for name in inputs(detector, available)}
        result = detector(replace(clip, labels=seen))
        if set(result) != set(detector.makes):
            raise ValueError(f"{detector.name} made {sorted(result)}, it says {sorted(detector.makes)}")
        for name, values in result.items():
            if len(values) != len(clip):
                raise ValueError(
                    f"{detector.name} made {len(values)} frames of {name}, the clip has {len(clip)}"
                )
        made |= result
    return made


def _load(work: LabelWork, spec: ClipSpec, base: Any, rows: slice) -> Clip:
    """A clip from its source, or, where the detectors need no more than pixels and labels, from its shard."""
    seed = clip_seed(work.seed, spec)
    makes = {name for detector in work.detectors for name in detector.makes}
    wants = {need for detector in work.detectors for need in detector.needs}
    stored: dict[str, Array] = {}
    if base is not None:
        used = {name for detector in work.detectors for name in inputs(detector, base.fields)}
        stored = {name: base.read_rows(name, rows.start, rows.stop) for name in sorted(used - makes)}
    if base is None or wants & {STEREO, SENSOR_DEPTH}:
        return replace(read(spec, work.size), seed=seed, labels=stored)
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
