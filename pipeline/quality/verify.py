"""Reads everything in a dataset again: against its checksums, the contract and the other columns."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from freelabels.generators.contract.fields import (
    CONFIDENCE_SUFFIX,
    Array,
    Kind,
    confidence_name,
    field,
    known_field,
)
from freelabels.generators.contract.sounds import sample_bounds
from freelabels.ground.errors import CorruptShard, MissingFile, NewerSchema, UserError
from freelabels.ground.faults import reached
from freelabels.pipeline.shards.columns import chunk_key
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import ABSENT, Dataset, NotADataset
from freelabels.pipeline.shards.quarantine import set_aside
from freelabels.pipeline.shards.shard import FRAME_FIELDS, MAX_ROWS, Shard
from freelabels.pipeline.storage.local import RECORD
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster, run
from freelabels.renderers.labels.reprojection import NEEDS, USES, reproject_residual


@dataclass(frozen=True)
class Problem:
    """Something wrong in a shard; `column` is empty if the whole shard is concerned.

    unread: it could not be looked at (a newer schema, a plug-in's field that is not installed, a disk or store
    that fails, a worker that died), so it may well be whole: no repair touches it.
    """

    shard: str
    column: str
    reason: str
    unread: bool = False

    def __str__(self) -> str:
        return f"{self.shard}{'/' if self.column else ''}{self.column}: {self.reason}"


@dataclass(frozen=True)
class VerifyWork:
    """One shard to read again."""

    dataset: str
    shard: str


@dataclass(frozen=True)
class VerifySummary:
    """What verification found; `repaired` counts what was set aside, for the next run to make again.

    residual: of rendered shards, the largest 99th percentile of how far depth, poses and object motion lie from
    the stored flow, pixels; None without any.
    """

    shards: int
    problems: tuple[Problem, ...]
    repaired: int = 0
    residual: float | None = None


@dataclass(frozen=True)
class ShardCheck:
    """What verification found in one shard; residual as in `VerifySummary`."""

    problems: tuple[Problem, ...]
    residual: float | None = None


def verify(
    path: str | os.PathLike[str],
    *,
    repair: bool = False,
    cluster: Cluster | None = None,
    reporter: Reporter | None = None,
) -> VerifySummary:
    """Check every byte and every rule of a dataset.

    repair: take out what is proven broken (a column, or the shard where it can't stand without it), so that the
    next run of the stage that made it makes it again; the shard as it was goes into the quarantine. Raises
    NotADataset for a folder that was never one, UserError if a repair can't be written.
    """
    reporter = reporter or Reporter()
    dataset = Dataset(path)
    problems: list[Problem] = []
    try:
        _ = dataset.attributes
        names = dataset.shards()
    except NotADataset as error:
        names = dataset.shards_if_any()
        if not names:
            raise
        problems.append(Problem(RECORD, "", str(error).partition(": ")[2]))
    except UserError as error:
        names = dataset.shards_if_any()
        problems.append(Problem(RECORD, "", str(error).partition(": ")[2] or str(error), unread=True))
    residuals: list[float] = []
    work = [VerifyWork(os.fspath(path), name) for name in names]
    with reporter.stage("verify", len(work)) as tick:
        for outcome in run(verify_shard, work, lambda w: f"verify {w.shard}", cluster or Cluster(workers=0)):
            found = outcome.result or ShardCheck(
                (Problem(outcome.work.shard, "", outcome.error, unread=True),)
            )
            problems += found.problems
            residuals += [found.residual] if found.residual is not None else []
            tick(failed=bool(found.problems))
    problems.sort(key=str)
    repaired = 0
    if repair:
        reached("repair: found")
        try:
            repaired = _repair(dataset, [problem for problem in problems if not problem.unread])
        except OSError as error:
            raise UserError(f"can't repair {path} ({error.strerror})") from error
    return VerifySummary(len(names), tuple(problems), repaired, max(residuals, default=None))


def verify_shard(work: VerifyWork) -> ShardCheck:
    """All that is wrong with one shard; nothing if it is gone, replaced by its next revision. Runs in a worker."""
    dataset = Dataset(work.dataset)
    check = _check(dataset, work.shard)
    return check if not check.problems or work.shard in dataset.shards() else ShardCheck(())


def _check(dataset: Dataset, name: str) -> ShardCheck:
    try:
        shard = dataset.open(name)
    except CorruptShard as error:
        reason = str(error).partition(": ")[2]
        return ShardCheck((Problem(name, "", reason, unread=isinstance(error, NewerSchema)),))
    problems = [Problem(name, "", reason) for reason in _record_problems(shard)]
    for column in shard.fields:
        problems += _column_problems(shard, column)
        if confidence_name(column) not in shard.fields:  # which is held against it, and mostly comes next
            shard.close()
    shard.close()
    if problems or not set(NEEDS) <= set(shard.fields):
        return ShardCheck(tuple(problems))
    residual = None
    wanted = (*NEEDS, *(name for name in USES if name in shard.fields))
    for clip in shard.clips:
        columns = {name: shard.read_rows(name, *clip["rows"]) for name in wanted}
        found = reproject_residual(columns)
        if found.pixels:
            residual = max(residual or 0.0, found.p99)
        if not found.agrees:
            reason = f"disagrees with depth and poses by {found.p99:.3f} px (rows {clip['rows']})"
            problems.append(Problem(name, "flow", reason))
    shard.close()
    return ShardCheck(tuple(problems), residual)


def _record_problems(shard: Shard) -> Iterator[str]:
    if not 0 < shard.rows <= MAX_ROWS:
        yield f"says it has {shard.rows} rows, the contract allows 1 to {MAX_ROWS}"
    ends = [0, *(clip["rows"][1] for clip in shard.clips)]
    if [clip["rows"][0] for clip in shard.clips] != ends[:-1] or ends[-1] != shard.rows:
        yield "its clips do not cover its rows"
    expected = {key for column in shard.record["columns"].values() for key in column["objects"]} | {RECORD}
    if found := shard.storage.unnamed(shard.place, expected):
        yield f"holds what is not in its record: {', '.join(found)}"


def _column_problems(shard: Shard, name: str) -> list[Problem]:
    def problem(reason: str, unread: bool = False) -> list[Problem]:
        return [Problem(shard.name, name, reason, unread)]

    files: dict[str, bytes] = {}
    try:
        for key, entry in shard.record["columns"][name]["objects"].items():
            try:
                files[key] = data = shard.storage.read(f"{shard.place}/{key}")
            except ABSENT as error:
                return problem(f"its file {key} can't be read ({error.strerror})")
            if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry["sha256"]:
                return problem(f"its file {key} does not match its checksum")
        if known_field(name) is None:
            return problem("is of a field that is not installed; its bytes are those committed", unread=True)
        shard.hold(name, files[chunk_key(name, len(shard.shape(name)))])
        values = shard.read_rows(name)
        field(name).check(values)
        return [Problem(shard.name, name, reason) for reason in _label_problems(shard, name, values)]
    except (CorruptShard, ValueError, KeyError) as error:
        return problem(str(error).partition(": ")[2] or str(error))
    except OSError as error:  # the place fails, not the shard
        return problem(f"could not be read now ({error.strerror or error})", unread=True)


def _label_problems(shard: Shard, name: str, values: Array) -> Iterator[str]:
    if len(values) != shard.rows:
        yield f"has {len(values)} frames, the shard has {shard.rows}"
        return
    size = shard.shape("image")[1:3] if "image" in shard.fields else None
    if field(name).is_map and size is not None and values.shape[1:3] != size:
        yield f"is {values.shape[1]} × {values.shape[2]}, the image is {size[0]} × {size[1]}"
        return
    if field(name).kind is Kind.CATEGORY and not field(name).names:
        table = shard.attributes(name).get("names", [])
        used = np.unique(values[field(name).valid(values)])
        if len(used) and int(used[-1]) >= len(table):
            yield f"holds the id {int(used[-1])}, its table ends at {len(table) - 1}"
    if name == "sound":
        yield from _sound_problems(shard, values)
    if not name.endswith(CONFIDENCE_SUFFIX):
        return
    label = name.removesuffix(CONFIDENCE_SUFFIX)
    if label not in shard.fields:
        yield f"speaks of {label}, which is not there"
        return
    try:
        labelled = field(label).valid(shard.read_rows(label))
    except CorruptShard:
        return  # said of the label itself
    if np.any((values > 0) & ~labelled):
        yield f"trusts {label} where there is none"


def _sound_problems(shard: Shard, values: Array) -> Iterator[str]:
    """Where samples don't fit the frames' times."""
    try:
        time = shard.read_rows("time")
    except (CorruptShard, KeyError):
        return  # said of the times themselves
    for clip in shard.clips:
        rows = slice(*clip["rows"])
        counts = np.diff(sample_bounds(time[rows]))
        if counts.max() > values.shape[1]:
            yield f"has {values.shape[1]} samples a frame, the times ask for {counts.max()} (rows {clip['rows']})"
        elif values[rows][np.arange(values.shape[1]) >= counts[:, None]].any():
            yield f"holds samples beyond the next frame's time (rows {clip['rows']})"


def _repair(dataset: Dataset, proven: Sequence[Problem]) -> int:
    """Take out all that is broken. Returns how many columns, shards and records."""
    broken = {problem.shard for problem in proven} - {RECORD}
    whole = {problem.shard for problem in proven if not problem.column} - {RECORD}
    repaired = sum(_take_out(dataset, shard, proven) for shard in sorted(whole))
    if any(problem.shard == RECORD for problem in proven):  # the next revisions will repeat what it says
        dataset.mend()
        repaired += 1
    return repaired + sum(_take_out(dataset, shard, proven) for shard in sorted(broken - whole))


def _take_out(dataset: Dataset, name: str, proven: Sequence[Problem]) -> int:
    """Take the broken columns out of a shard, or the shard out of the dataset, and set aside what was there.

    Returns how many columns or shards were taken out.
    """
    found = [problem for problem in proven if problem.shard == name]
    broken, reasons = {problem.column for problem in found}, [str(problem) for problem in found]
    if "" not in broken and not broken & set(FRAME_FIELDS):
        try:
            shard = dataset.open(name)
        except MissingFile:  # replaced by another process since it was looked at
            return 0
        # A render is made whole: where one column goes, all go.
        if not any(shard.made_by(column) == shard.made_by("image") for column in broken):
            orphaned = {confidence_name(column) for column in broken}.intersection(shard.fields)
            commit_shard(
                dataset,
                shard.id,
                {},
                shard.clips,
                {},
                base=shard,
                drop=sorted(broken | orphaned),
                retire=lambda old: set_aside(dataset, old, reasons),
            )
            return len(broken)
    set_aside(dataset, name, reasons)
    return 1
