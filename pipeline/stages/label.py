"""The label stage: sources in, committed label shards out, on Ray."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain

import numpy as np

from freelabels.generators.contract.detector import Detector
from freelabels.ground.errors import UserError
from freelabels.ground.paths import AnyPath, path_list
from freelabels.ground.spelling import counted
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.index import Index, read_index
from freelabels.pipeline.shards.record import digest
from freelabels.pipeline.shards.shard import MAX_ROWS
from freelabels.pipeline.sources.clip_specs import ClipColumns, SourceOptions
from freelabels.pipeline.sources.find import Item, Passed, Refusal, find
from freelabels.pipeline.sources.scan import scan
from freelabels.pipeline.stages.bookkeeping import (
    begin,
    end,
    failure_entry,
    tell_failed,
    time_limit,
    write_failed,
    writing_to,
)
from freelabels.pipeline.stages.gone import gone_clips
from freelabels.pipeline.stages.label_coverage import Coverage, coverage_of, figures, lines
from freelabels.pipeline.stages.label_plan import LabelPlan, plan_work
from freelabels.pipeline.stages.label_shard import (
    LabelledShard,
    LabelOptions,
    LabelWork,
    Unreadable,
    label_shard,
)
from freelabels.pipeline.stages.planning import (
    PlannedShards,
    pack,
    uncovered,
)
from freelabels.pipeline.storage.uris import absolute
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster, Outcome, run

ASKED = 500  # shards of other sources whose files are looked for, at most


@dataclass(frozen=True)
class LabelSummary:
    """What a run of the label stage did.

    shards: all shards of the plan; made: of these, made or completed now; failed: left undone, see failures.jsonl;
    refused: sources that were refused, see rejected.jsonl. skipped: labels that sources of a kind can't give,
    with the reason, by kind. older: columns of shards that stay as older versions made them.
    passed: files that were passed over. gone: clips of the dataset whose source is no longer there. coverage: by
    kind of source and label, see `label_coverage`.
    """

    dataset: str
    shards: int
    frames: int
    made: int
    failed: int
    refused: int = 0
    skipped: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    older: int = 0
    passed: int = 0
    gone: int = 0
    coverage: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)

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
    makers: Mapping[str, str] | None = None,
    compression: str = "fast",
    layout: str | None = None,
    strict: bool = False,
    update: Collection[str] | None = None,
    cluster: Cluster | None = None,
    reporter: Reporter | None = None,
) -> LabelSummary:
    """Label photos and videos into the dataset at `out`; what is there and up to date is left alone.

    sources: files, folders, globs, lists and URIs, one or several. labels: names, None: every label that a
    detector makes. size: (height, width) of the stored frames. shard_frames: most frames of a shard.
    detectors: instances that replace default parameters. makers: the only detector to make a label with, by label,
    where several could. layout: "folders" or "packed", see `Dataset.create`.
    strict: a refused source ends the run before anything is labelled. update: labels to make anew where an older
    version made them, () for all; None: they stay, which is said. Raises UserError for bad input.
    """
    sources = path_list(sources)
    options = options or SourceOptions()
    cluster = cluster or Cluster()
    reporter = reporter or Reporter()
    wanted = LabelOptions.of(labels, detectors, size, shard_frames, seed, compression, update, makers)
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
        dataset = begin(out, {"size": list(size), "seed": seed}, layout)
        owner = digest([sorted(map(absolute, sources)), repr(options)])[:16]
        scanned = scan(chain([first], items), options, dataset, cluster, reporter, owner)
        for one in passed:
            reporter.say(str(one), **asdict(one))
        refusals = sorted([*refused.values(), *scanned.refusals], key=lambda r: r.uri)
        dataset.rejected_log().write_lines([asdict(refusal) for refusal in refusals])
        if refusals:
            files = counted(len(refusals), "file")
            reporter.say(f"{files} refused, see {dataset.rejected_log()}", refused=len(refusals))
            if strict:
                raise UserError(f"{files} refused and --strict is given; first: {refusals[0]}")
        if not len(scanned.clips):
            raise UserError(f"no source could be used; first: {refusals[0]}")
        done, unreadable = _label_clips(scanned.clips, dataset, wanted, cluster, reporter)
        if unreadable:
            refusals = sorted({*refusals, *unreadable}, key=lambda r: r.uri)
            dataset.rejected_log().write_lines([asdict(refusal) for refusal in refusals])
            reporter.say(f"{len(unreadable)} more refused: {unreadable[0]}", refused=len(refusals))
        return replace(done, refused=len(refusals), passed=sum(one.count for one in passed))


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
) -> tuple[LabelSummary, list[Refusal]]:
    """Make what is missing; returns what was done and the sources that turned out to be unreadable."""
    index = read_index(dataset, cluster, reporter)
    shards = uncovered(pack(clips, options.shard_frames), index)
    work, skipped = plan_work(shards, index, os.fspath(dataset.path), options)
    _announce(shards, skipped, len(work), reporter)
    if len(work.older):
        reporter.say(
            f"older versions or confidence maps made these, which stay ({work.older}); --update makes them anew",
            event="older",
            columns=len(work.older),
            older=[
                {"column": column, "made_by": version, "shards": count[0], "frames": count[1]}
                for (column, version), count in sorted(work.older.counts.items())
            ],
        )
    made, failures, refused = 0, [], list[Refusal]()
    left: LabelPlan | list[LabelWork] = work
    while left:
        again = []
        for outcome in _outcomes(left, options, cluster, reporter):
            shard = outcome.work.shard
            if outcome.fatal:
                raise write_failed(dataset, outcome.error, made)
            if outcome.result is not None:
                made += bool(outcome.result.name)
                refused += outcome.result.refused
            elif outcome.kind == Unreadable.__name__ and outcome.work.base is None:
                again.append(replace(outcome.work, leave_out=True))
            else:
                sources = sorted({clip.uris[0] for clip in shard.clips})
                failures.append(failure_entry(outcome, shard.id, sources))
        left = again
    if made:
        end(dataset, cluster, reporter)
    tell_failed(dataset, failures, reporter)
    gone = _gone(index, shards)
    if gone:
        reporter.say(
            f"{counted(gone, 'clip')} of sources that are gone; "
            f"freelabels prune --gone {dataset.path} takes them out",
            gone=gone,
        )
    covered: Coverage = {}
    if made:
        covered = coverage_of(shards, read_index(dataset, cluster, reporter, lenient=True))
        for line in lines(covered):
            reporter.say(line)
    path = os.fspath(dataset.path)
    done = LabelSummary(
        path,
        len(shards),
        shards.frames,
        made,
        len(failures),
        skipped=skipped,
        older=len(work.older),
        gone=gone,
        coverage=figures(covered),
    )
    return done, refused


def _gone(index: Index, shards: PlannedShards) -> int:
    """How many clips of the dataset's other shards have lost their source; only local ones, of not too many."""
    others = index.others(shards.ids)
    if len(others) > ASKED:
        return 0
    opened = index.dataset.open_all([index.name(number) for number in others.tolist()], lambda _: None)
    return sum(len(gone_clips(shard, remote=False)) for shard in opened)


def _outcomes(
    work: LabelPlan | list[LabelWork], options: LabelOptions, cluster: Cluster, reporter: Reporter
) -> Iterator[Outcome[LabelWork, LabelledShard]]:
    """What became of each shard, as they come, and said."""
    with reporter.stage("label", len(work)) as tick:
        outcomes = run(
            label_shard,
            work,
            lambda w: f"label {w.shard.id}",
            cluster,
            seconds=lambda w: time_limit(w.shard.frames, options.size),
            notice=tick.notice,
        )
        for outcome in outcomes:
            tick(outcome.work.shard.frames, failed=outcome.result is None, outcome=outcome)
            yield outcome


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
        reporter.say(
            f"{kind}: {counted(count[kind], 'clip')}, {counted(frames[kind], 'frame')}",
            kind=kind,
            frames=frames[kind],
        )
        for name, reason in skipped.get(kind, {}).items():
            reporter.say(f"  no {name}: {reason}", kind=kind, label=name, reason=reason)
    state = f"{todo} to make or complete" if todo else "all up to date"
    reporter.say(f"{counted(len(shards), 'shard')}, {state}", shards=len(shards), to_do=todo)
