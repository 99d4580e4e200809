"""The page of `freelabels inspect`: what a dataset holds, is it whole, are its labels good, how its frames look.

A report is one JSON document. The page (page.html, page.css, page.js) shows it; pictures and values of frames are
part of it in the page that is written to a file, and are asked for one by one in the page that is served.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from generators.fields import CONFIDENCE_SUFFIX, Array, Kind, confidence_name
from generators.pictures import UNKNOWN, tint
from pipeline.columns import CorruptShard
from pipeline.errors import UserError
from pipeline.exclusions import clip_identity, excluded_rows, exclusions_of
from pipeline.frames import CLASSES, FrameReader, drawable, is_label, known, names_of
from pipeline.inspect import inspect
from pipeline.oddness import MEANING, oddness
from pipeline.rightness import TRUTH
from pipeline.shards import SCHEMA, Dataset, DatasetFile, Shard
from pipeline.statistics import Histogram, gap
from pipeline.survey import Span, Survey, spans, survey
from pipeline.verify import VerifySummary

if TYPE_CHECKING:
    from pipeline.measure import Measured

LISTED = 200  # lines of failures.jsonl and rejected.jsonl that a page shows
SURVEYED = 64  # frames that the agreement of fields is taken over
MEASURED_FRAMES = 8  # most of a clip that detectors are measured on
SIDE = 256  # pixels of the longer side of pictures in a page that is a file
LAYER_SIDE = 192  # of layers in it
VALUE_SIDE = 96  # of the lattice of real values in it
BUDGET = 12 << 20  # bytes of frames that a page in a file may hold, so that it can be mailed
MOST_PROBLEMS = 200


@dataclass(frozen=True)
class Clips:
    """The clips of a dataset by column, shards in order: as little as a page needs to list every frame."""

    shard: list[int]
    start: list[int]
    stop: list[int]
    kind: list[str]
    source: list[str]


@dataclass(frozen=True)
class DatasetReport:
    """One dataset, from the records of its shards alone: figures as `pipeline.inspect.inspect` gives them.

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
    clips: Clips
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
    clips = Clips([], [], [], [], [])
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
        sizes.append(_size_of(shard))
        columns.append(sets.setdefault(shard.fields, len(sets)))
        shard.close()

    figures = inspect(path, note)
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


def _size_of(shard: Shard) -> tuple[int, int] | None:
    """(height, width) of a shard's frames: of its images, or else of any map."""
    for name in ("image", *shard.fields):
        spec = known(name)
        if name in shard.fields and spec is not None and spec.is_map:
            height, width = shard.shape(name)[1:3]
            return height, width
    return None


def _fields(figures: dict[str, Any], classes: dict[int, str]) -> list[dict[str, Any]]:
    """What is said of each column but confidences, which are said with their labels."""
    out = []
    for name, column in figures.items():
        if name.endswith(CONFIDENCE_SUFFIX) and name.removesuffix(CONFIDENCE_SUFFIX) in figures:
            continue
        spec = known(name)
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
        spec = known(name)
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
    return survey(Dataset(path), spans(report.spans, SURVEYED))


def measured(path: str | os.PathLike[str], report: DatasetReport, clips: int) -> tuple[Measured, ...]:
    """The detectors, measured on up to `clips` of the dataset's rendered clips, spread evenly over them."""
    from pipeline.measure import measure  # brings the renderer, which takes seconds to import

    them = report.measurable
    chosen = [them[k * len(them) // clips] for k in range(clips)] if len(them) > clips else them
    return measure(Dataset(path), [(c.shard, c.start, c.stop) for c in chosen], MEASURED_FRAMES)


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


# --- a page in a file ---------------------------------------------------------------------------------------


def write_html(
    paths: Sequence[str],
    target: str | os.PathLike[str],
    *,
    frames: int = 24,
    clips: int = 4,
    verified: Sequence[VerifySummary] = (),
) -> Path:
    """Write a page about one dataset, or two side by side, that needs nothing beyond its own file.

    frames: how many of each dataset are in it, at most; fewer if they would take more than `BUDGET` bytes. clips:
    how many rendered clips the detectors are measured on. verified: by dataset, what verification found. Raises
    UserError.
    """
    target = Path(target)
    reports = [gather(path) for path in paths]
    whole = document(reports, live=False)
    names = whole["figure_names"]
    first: Survey | None = None
    whole["frames"] = []
    for number, (path, report) in enumerate(zip(paths, reports, strict=True)):
        entry = whole["datasets"][number]
        found = surveyed(path, report)
        entry["survey"] = survey_json(found, first)
        first = first or found
        entry["measure"] = _measure_job(path, report, clips)
        entry["verified"] = verify_json(verified[number]) if number < len(verified) else None
        sample, entry["skipped"] = _embedded(
            Dataset(path), report, number, frames, names, BUDGET // len(paths)
        )
        whole["frames"] += sample
        shown = list(dict.fromkeys(frame["clip"] for frame in sample))
        reader = FrameReader(Dataset(path))
        shards = {report.clips.shard[clip] for clip in shown}
        entry["made_by"] = {shard: reader.made_by(report.shard_names[shard]) for shard in shards}
        reader.close()
        entry["clips"] = _only(report.clips, shown)
        for frame in sample:
            frame["clip"] = shown.index(frame["clip"])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(html(whole), encoding="utf-8")
    except OSError as error:
        raise UserError(f"can't write {target} ({error.strerror})") from error
    return target


def _measure_job(path: str, report: DatasetReport, clips: int) -> dict[str, Any]:
    """The state of measuring as a server would tell it."""
    if not clips or not report.measurable:
        return {"state": "idle"}
    try:
        return {"state": "done", "result": [dataclasses.asdict(m) for m in measured(path, report, clips)]}
    except CorruptShard as error:
        return {"state": "failed", "error": str(error)}


def html(whole: dict[str, Any]) -> str:
    """The page with a report in it."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    here = files("pipeline")
    return environment.from_string(here.joinpath("page.html").read_text(encoding="utf-8")).render(
        title=" and ".join(entry["name"] for entry in whole["datasets"]),
        live=whole["live"],
        style=here.joinpath("page.css").read_text(encoding="utf-8"),
        scripts=[
            here.joinpath(name).read_text(encoding="utf-8")
            for name in ("page_store.js", "page_charts.js", "page_grid.js", "page_frame.js", "page.js")
        ],
        # Within a script element only "<" can end it; as an escape it is the same JSON.
        report=as_json(whole).replace("<", "\\u003c"),
    )


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


def _only(clips: Clips, chosen: Sequence[int]) -> dict[str, Any]:
    """The columns of the chosen clips alone."""
    return {name: [column[k] for k in chosen] for name, column in dataclasses.asdict(clips).items()}


def _embedded(
    dataset: Dataset, report: DatasetReport, number: int, most: int, names: Sequence[str], budget: int
) -> tuple[list[dict[str, Any]], int]:
    """Sampled frames of a dataset with their pictures and values, and how many can't be read.

    ``clip`` is the number of the frame's clip.
    """
    reader = FrameReader(dataset)
    clips = report.clips
    out: list[dict[str, Any]] = []
    skipped = 0
    figures: list[dict[str, float] | None] = []
    size = 0
    for span in spans(report.spans, most) if most else []:
        shard = report.shard_names.index(span.shard)
        clip = next(
            k
            for k in range(len(clips.shard))
            if clips.shard[k] == shard and clips.start[k] <= span.start < clips.stop[k]
        )
        for row in range(span.start, span.stop):
            try:
                details = reader.details(span.shard, row)
                pictures = _pictures(reader, span.shard, row)
                seen = reader.figures(span.shard, row)
            except CorruptShard:  # the page says how many; verify says which and why
                skipped += 1
                continue
            size += len(as_json([details, pictures]))
            if size > budget and out:
                break
            figures.append(seen)
            out.append(
                {
                    "dataset": number,
                    "clip": clip,
                    "row": row,
                    "details": details,
                    "figures": figures_row(seen, names),
                    **pictures,
                }
            )
    reader.close()
    for frame, found in zip(out, odd(figures, names), strict=True):
        frame["odd"] = found
    return out, skipped


def _pictures(reader: FrameReader, shard: str, row: int) -> dict[str, Any]:
    """Pictures, layers and values of one frame, as text."""
    with reader.shard(shard) as opened:
        columns = [name for name in opened.fields if drawable(name)]
    pictures: dict[str, str] = {}
    layers: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name in columns:
        spec = known(name)
        assert spec is not None
        if spec.kind in SHOWN_PLAIN:
            pictures[name] = _as_text(reader.picture(shard, row, name, SIDE))
        if spec.is_label:
            layers[name] = _as_text(reader.picture(shard, row, name, LAYER_SIDE, lay_over=True))
        if spec.is_map:
            stored = reader.values(shard, row, name, VALUE_SIDE)
            values[name] = {
                **described(stored.array, stored.step),
                "data": _as_text(zlib.compress(stored.array.tobytes(), 6)),
            }
    return {"pictures": pictures, "layers": layers, "values": values}


SHOWN_PLAIN = (Kind.IMAGE, Kind.PROBABILITY, Kind.BITS)  # the others look the same as a layer over slate


def described(array: Array, step: int) -> dict[str, Any]:
    """What a reader must know to make an array from its bytes."""
    return {"shape": list(array.shape), "dtype": array.dtype.name, "step": step}


def _as_text(data: bytes) -> str:
    return base64.b64encode(data).decode()
