"""What the page of `freelabels inspect` says of a dataset, as one JSON-able report.

What it holds, whether it is whole and how good its labels are: from the records of its shards alone (`gather`,
`document`), and from a bounded sample of its pixels (`surveyed`, `measured`).
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX, Kind, confidence_name, known_field
from freelabels.generators.contract.pictures import UNKNOWN, tint
from freelabels.ground.errors import UserError
from freelabels.pipeline.quality.outliers import MEANING, oddness
from freelabels.pipeline.quality.rightness import TRUTH
from freelabels.pipeline.quality.spot_check import Span, Survey, sample_spans, survey
from freelabels.pipeline.quality.verify import VerifySummary
from freelabels.pipeline.shards.dataset import Dataset, DatasetFile
from freelabels.pipeline.shards.exclusions import excluded_rows, exclusions_of
from freelabels.pipeline.shards.identity import clip_identity
from freelabels.pipeline.shards.record import SCHEMA
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.shards.statistics import Histogram, gap
from freelabels.pipeline.shards.summary import frame_size
from freelabels.pipeline.viewer.frame_reader import CLASSES, drawable, is_label, names_of
from freelabels.pipeline.viewer.inspect import index_to_look, inspected

if TYPE_CHECKING:
    from freelabels.pipeline.quality.detector_errors import DetectorErrors

LISTED = 200  # lines of failures.jsonl and rejected.jsonl that a page shows
SURVEYED = 64  # frames that the agreement of fields is taken over
MEASURED_FRAMES = 8  # most of a clip that detectors are measured on
MOST_PROBLEMS = 200


@dataclass(frozen=True)
class ClipListing:
    """The clips of a dataset by column, shards in order: as little as a page needs to list every frame."""

    shard: list[int]
    start: list[int]
    stop: list[int]
    kind: list[str]
    source: list[str]


@dataclass(frozen=True)
class DatasetReport:
    """One dataset, from the records of its shards alone: figures as `pipeline.viewer.inspect.inspect` gives them.

    shard_sizes: (height, width) of each shard's frames; shard_columns: which of `column_sets` each has. excluded:
    (shard number, row) of frames on its exclusion list; listed: the whole list, also of frames that are no longer
    there. measurable: rendered clips with all the truth that detectors are judged by.
    """

    name: str
    domains: tuple[str, ...]
    figures: dict[str, Any]
    fields: list[dict[str, Any]]
    shard_names: list[str]
    shard_sizes: list[tuple[int, int] | None]
    shard_columns: list[int]
    column_sets: list[tuple[str, ...]]
    clips: ClipListing
    classes: dict[int, str]
    failures: list[dict[str, Any]]
    refused: list[dict[str, Any]]
    excluded: list[tuple[int, int]]
    listed: list[dict[str, Any]]
    measurable: list[Span]

    @property
    def spans(self) -> list[Span]:
        """Every clip as rows of its shard, the kinds one after the other."""
        order = sorted(range(len(self.clips.kind)), key=lambda k: self.clips.kind[k])
        return [
            Span(self.shard_names[self.clips.shard[k]], self.clips.start[k], self.clips.stop[k])
            for k in order
        ]


def gather(path: str | os.PathLike[str]) -> DatasetReport:
    """Read the records of a dataset. Raises NotADataset, and UserError if a newer version made it."""
    dataset = Dataset(path)
    schema = dataset.attributes.get("schema", 0)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise UserError(
            f"{path} was written by a newer version (schema {schema}, this one reads {SCHEMA}); update freelabels"
        )
    excluded = exclusions_of(dataset)
    names: list[str] = []
    sizes: list[tuple[int, int] | None] = []
    columns: list[int] = []
    sets: dict[tuple[str, ...], int] = {}
    clips = ClipListing([], [], [], [], [])
    out: list[tuple[int, int]] = []
    measurable: list[Span] = []
    classes: dict[int, str] = {}

    def note(shard: Shard) -> None:
        for clip in shard.clips:
            start, stop = clip["rows"]
            clips.shard.append(len(names))
            clips.start.append(start)
            clips.stop.append(stop)
            clips.kind.append(clip["kind"])
            clips.source.append(_shown_source(clip))
        if set(TRUTH) | {"image", "camera_K"} <= set(shard.fields) and {c["kind"] for c in shard.clips} == {
            "render"
        }:
            measurable.extend(Span(shard.name, *clip["rows"]) for clip in shard.clips)
        if CLASSES in shard.fields:
            classes.update(names_of(shard, CLASSES, {}))
        out.extend((len(names), int(row)) for row in np.flatnonzero(excluded_rows(shard, excluded)))
        names.append(shard.name)
        sizes.append(frame_size(shard))
        columns.append(sets.setdefault(shard.fields, len(sets)))
        shard.close()

    index = index_to_look(dataset)
    figures = inspected(index)
    for shard in dataset.open_all([index.name(number) for number in range(len(index))]):
        note(shard)
    kinds = set(clips.kind)
    domains = [
        name for name, there in (("real", kinds - {"render"}), ("synthetic", "render" in kinds)) if there
    ]
    return DatasetReport(
        Path(path).resolve().name or os.fspath(path),
        tuple(domains),
        figures,
        _fields(figures["fields"], classes),
        names,
        sizes,
        columns,
        list(sets),
        clips,
        classes,
        _json_lines(dataset.failures_log()),
        _json_lines(dataset.rejected_log()),
        out,
        [{"clip": frame.clip, "frame": frame.index} for frame in sorted(excluded)],
        measurable,
    )


def _shown_source(clip: dict[str, Any]) -> str:
    return str((clip.get("source") or [clip_identity(clip) or "unknown"])[0])


def _fields(figures: dict[str, Any], classes: dict[int, str]) -> list[dict[str, Any]]:
    """What is said of each column but confidences, which are said with their labels."""
    out = []
    for name, column in figures.items():
        if name.endswith(CONFIDENCE_SUFFIX) and name.removesuffix(CONFIDENCE_SUFFIX) in figures:
            continue
        spec = known_field(name)
        trust = figures.get(confidence_name(name), {})
        entry = {
            "name": name,
            "known": spec is not None,
            "kind": str(spec.kind) if spec else "",
            "unit": spec.unit if spec and spec.unit != "1" else "",
            "frame": spec.frame if spec else "",
            "meaning": spec.meaning if spec else "a field that this version of freelabels does not know",
            "label": is_label(name),
            "drawable": drawable(name),
            "tint": "#{:02x}{:02x}{:02x}".format(*tint(name)),
            "rows": column["rows"],
            "bytes": column["bytes"] + trust.get("bytes", 0),
            "made_by": column["made_by"],
        }
        for figure in ("coverage", "confidence", "confidence_histogram", "histogram", "range"):
            if figure in column:
                entry[figure] = column[figure]
        for figure in ("confidence", "confidence_histogram"):
            if figure in trust:
                entry[figure] = trust[figure]
        if "counts" in column and spec is not None:
            table = classes if name == CLASSES else dict(enumerate(spec.names))
            entry["counts"] = {
                table.get(number, str(number)): count
                for number, count in enumerate(column["counts"])
                if count
            }
        out.append(entry)
    return out


def _json_lines(path: DatasetFile) -> list[dict[str, Any]]:
    """The first lines of a log; what is no JSON is shown as it is."""
    if not path.exists():
        return []
    out = []
    for line in path.read_text(errors="replace").splitlines()[:LISTED]:
        try:
            entry = json.loads(line)
            out.append(entry if isinstance(entry, dict) else {"line": line})
        except ValueError:
            out.append({"line": line})
    return out


# --- one document -------------------------------------------------------------------------------------------


def figure_names(reports: Sequence[DatasetReport]) -> list[str]:
    """Figures of single frames that frames are sorted by, those of every dataset."""
    names = ["brightness", "contrast"]
    for name in dict.fromkeys(f["name"] for report in reports for f in report.fields if f["label"]):
        names += [f"{name} {figure}" for figure in ("coverage", "confidence", "mean")]
    return names


def document(reports: Sequence[DatasetReport], *, live: bool) -> dict[str, Any]:
    """The part of a report that comes from records, ready for JSON."""
    return {
        "live": live,
        "datasets": [
            {**dataclasses.asdict(report), "measurable": len(report.measurable)} for report in reports
        ],
        "gaps": gaps(reports),
        "figure_names": figure_names(reports),
        "oddness": MEANING,
        "unknown": "#{:02x}{:02x}{:02x}".format(*UNKNOWN),
    }


def gaps(reports: Sequence[DatasetReport]) -> dict[str, float]:
    """By label: how far its values in the first dataset lie from those in the second; see `statistics.gap`.

    Fields that are defined up to a scale only, and ids, can't be compared.
    """
    if len(reports) != 2:
        return {}
    one, other = ({f["name"]: f for f in report.fields} for report in reports)
    found = {}
    for name in one.keys() & other.keys():
        spec = known_field(name)
        if (
            spec is not None
            and spec.kind is not Kind.RELATIVE
            and "histogram" in one[name]
            and "histogram" in other[name]
        ):
            sides = [Histogram(tuple(f["histogram"]), *f["range"]) for f in (one[name], other[name])]
            found[name] = round(gap(*sides), 4)
    return dict(sorted(found.items()))


def surveyed(path: str | os.PathLike[str], report: DatasetReport) -> Survey:
    """The survey of a bounded sample of a dataset's frames."""
    return survey(Dataset(path), sample_spans(report.spans, SURVEYED))


def measured(path: str | os.PathLike[str], report: DatasetReport, clips: int) -> tuple[DetectorErrors, ...]:
    """The detectors, measured on up to `clips` of the dataset's rendered clips, spread evenly over them."""
    from freelabels.pipeline.quality.detector_errors import (
        measure_detectors,  # brings the renderer, which takes seconds to import
    )

    them = report.measurable
    chosen = [them[k * len(them) // clips] for k in range(clips)] if len(them) > clips else them
    return measure_detectors(Dataset(path), [(c.shard, c.start, c.stop) for c in chosen], MEASURED_FRAMES)


def survey_json(found: Survey, first: Survey | None = None) -> dict[str, Any]:
    """A survey ready for JSON, with the gaps of its images to those of the `first` dataset."""
    images = {
        name: {
            **dataclasses.asdict(histogram),
            "gap": round(gap(first.images[name], histogram), 4) if first and name in first.images else None,
        }
        for name, histogram in found.images.items()
    }
    return {**dataclasses.asdict(found), "images": images}


def verify_json(summary: VerifySummary) -> dict[str, Any]:
    """What verification found, ready for JSON."""
    return {
        "shards": summary.shards,
        "problems": [str(problem) for problem in summary.problems[:MOST_PROBLEMS]],
        "count": len(summary.problems),
        "residual": summary.residual,
    }


def odd(figures: Sequence[dict[str, float] | None], names: Sequence[str]) -> list[list[float]]:
    """[oddness, number of the figure] of each frame of one dataset, [] where its figures aren't known yet."""
    table = np.full((len(figures), len(names)), np.nan)
    for k, values in enumerate(figures):
        if values is not None:
            table[k] = [values.get(name, np.nan) for name in names]
    found = oddness(table)
    return [
        [round(float(found.score[k]), 2), int(found.figure[k])] if figures[k] is not None else []
        for k in range(len(figures))
    ]


def figures_row(values: dict[str, float], names: Sequence[str]) -> dict[str, Any]:
    """Figures of a frame by the place of their name, to three digits, and the shares of its classes."""
    return {
        "values": [_digits(values[name]) if name in values else None for name in names],
        "classes": {
            n.removeprefix("class "): _digits(v) for n, v in values.items() if n.startswith("class ")
        },
    }


def _digits(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def as_json(document: Any) -> str:
    """JSON that a browser reads: numbers that are not finite become null."""
    try:
        return json.dumps(document, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(document), separators=(",", ":"), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
