"""What the page of `freelabels inspect` says of a dataset, as one JSON-able report.

What it holds, whether it is whole and how good its labels are: from the records of its shards alone (`gather`,
`document`), and from a bounded sample of its pixels (`surveyed`, `measured`).
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX, Kind, confidence_name, known_field
from freelabels.generators.contract.legends import Legend, confidence_legend, legend
from freelabels.generators.contract.pictures import UNKNOWN, class_colours, tint
from freelabels.ground.errors import UserError
from freelabels.pipeline.quality.outliers import MEANING, oddness
from freelabels.pipeline.quality.rightness import TRUTH
from freelabels.pipeline.quality.spot_check import Span, Survey, sample_spans, survey
from freelabels.pipeline.quality.verify import VerifySummary
from freelabels.pipeline.shards.dataset import Dataset, DatasetFile
from freelabels.pipeline.shards.exclusions import exclusions_of
from freelabels.pipeline.shards.index import Index
from freelabels.pipeline.shards.record import SCHEMA
from freelabels.pipeline.shards.statistics import Histogram, gap
from freelabels.pipeline.viewer.frame_reader import CLASSES, drawable, encoded, is_label
from freelabels.pipeline.viewer.inspect import index_to_look, inspected

if TYPE_CHECKING:
    from freelabels.pipeline.quality.detector_errors import DetectorErrors

LISTED = 200  # lines of failures.jsonl and rejected.jsonl that a page shows
SURVEYED = 64  # frames that the agreement of fields is taken over
MEASURED_FRAMES = 8  # most of a clip that detectors are measured on
MOST_PROBLEMS = 200
SAID = ("name", "domains", "figures", "fields", "sizes", "classes", "failures", "refused", "listed")


@dataclass(frozen=True)
class Spans(Sequence[Span]):
    """Clips as rows of their shards, the kinds one after the other, shards in order; all (clips,) arrays."""

    of: Index
    shard: NDArray[np.int64]
    start: NDArray[np.uint16]
    stop: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.shard)

    @overload
    def __getitem__(self, number: int) -> Span: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Span]: ...
    def __getitem__(self, number: int | slice) -> Span | Sequence[Span]:
        if isinstance(number, slice):
            return [self[k] for k in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(f"there are {len(self)} clips, there is no clip {number}")
        name = self.of.name(int(self.shard[number]))
        return Span(name, int(self.start[number]), int(self.stop[number]))


@dataclass(frozen=True)
class DatasetReport:
    """One dataset, from the records of its shards alone: figures as `pipeline.viewer.inspect.inspect` gives them.

    sizes: (height, width) of frames, each once. spans: every clip. listed: its whole exclusion list. measurable:
    rendered clips with all the truth that detectors are judged by.
    """

    index: Index
    name: str
    domains: tuple[str, ...]
    figures: dict[str, Any]
    fields: list[dict[str, Any]]
    sizes: list[tuple[int, int]]
    classes: dict[int, str]
    failures: list[dict[str, Any]]
    refused: list[dict[str, Any]]
    listed: list[dict[str, Any]]
    spans: Spans
    measurable: Spans

    @property
    def shards(self) -> int:
        """How many there are."""
        return len(self.index)


def gather(path: str | os.PathLike[str], index: Index | None = None) -> DatasetReport:
    """What the index of a dataset tells. index: if it is at hand.

    Raises NotADataset, and UserError if a newer version made it.
    """
    dataset = Dataset(path)
    schema = dataset.attributes.get("schema", 0)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise UserError(
            f"{path} was written by a newer version (schema {schema}, this one reads {SCHEMA}); update freelabels"
        )
    index = index or index_to_look(dataset)
    figures = inspected(index)
    kinds = figures["sources"].keys()
    domains = (("real", kinds - {"render"}), ("synthetic", "render" in kinds))
    sizes, classes = _abouts(index)
    spans, measurable = _spans(index)
    return DatasetReport(
        index,
        Path(path).resolve().name or os.fspath(path),
        tuple(name for name, there in domains if there),
        figures,
        _fields(figures["fields"], classes),
        sizes,
        classes,
        _json_lines(dataset.failures_log()),
        _json_lines(dataset.rejected_log()),
        [{"clip": frame.clip, "frame": frame.index} for frame in sorted(exclusions_of(dataset))],
        spans,
        measurable,
    )


def _abouts(index: Index) -> tuple[list[tuple[int, int]], dict[int, str]]:
    """Sizes of frames, and names of classes, as the first shards that tell have them."""
    first: dict[str, int] = {}
    for numbers, part in index.summaries():
        for k in np.unique(part.shards["about"]).tolist():
            number = int(numbers[part.shards["about"] == k].min())
            first[part.abouts[k]] = min(number, first.get(part.abouts[k], number))
    abouts = [json.loads(text) for text in sorted(first, key=first.__getitem__)]
    sizes = [(height, width) for about in abouts if about["size"] for height, width in [about["size"]]]
    spec, classes = known_field(CLASSES), dict[int, str]()
    for about in abouts:
        table = about["names"].get(CLASSES) or (spec.names if spec else ())
        pairs = table.items() if isinstance(table, Mapping) else enumerate(table)
        classes |= {int(number): str(name) for number, name in pairs}
    there = any(CLASSES in recipe for recipe in index.recipes)
    return list(dict.fromkeys(sizes)), classes if there else {}


def _spans(index: Index) -> tuple[Spans, Spans]:
    """All clips, and those that detectors can be measured on."""
    parts: list[tuple[NDArray[Any], ...]] = [
        (np.zeros(0, np.int64), *np.zeros((2, 0), np.uint16), np.zeros(0, int))
    ]
    kinds: dict[str, int] = {}
    for numbers, part in index.summaries("clips"):
        numbered = np.array([kinds.setdefault(kind, len(kinds)) for kind in part.kinds], int)
        shard = np.repeat(numbers, part.shards["clips"])
        parts.append((shard, part.clips["start"], part.clips["stop"], numbered[part.clips["kind"]]))
    shard, start, stop, kind = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    ranks = np.argsort(sorted(range(len(kinds)), key=list(kinds).__getitem__))
    order = np.lexsort((start, shard, ranks[kind]))
    spans = Spans(index, shard[order], start[order], stop[order])
    whole = np.array([{*TRUTH, "image", "camera_K"} <= recipe.keys() for recipe in index.recipes], bool)
    good = whole[index.made] if len(index) else np.zeros(0, bool)
    good[shard[kind != kinds.get("render", -1)]] = False
    chosen = good[spans.shard]
    return spans, Spans(index, spans.shard[chosen], spans.start[chosen], spans.stop[chosen])


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
            "tint": _hex(tint(name)),
            "legend": legend_json(legend(name, classes if name == CLASSES else None)) if spec else None,
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
            there = [number for number, count in enumerate(column["counts"]) if count]
            entry["counts"] = {table.get(k, str(k)): column["counts"][k] for k in there}
            entry["colours"] = [_hex(colour) for colour in class_colours(name, np.array(there, int)).tolist()]
        out.append(entry)
    return out


def _hex(colour: Sequence[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def legend_json(of: Legend) -> dict[str, Any]:
    """A legend ready for JSON: its picture as base64 of WebP."""
    return {
        "picture": None if of.picture is None else base64.b64encode(encoded(of.picture, 100)).decode(),
        "low": of.low,
        "high": of.high,
        "swatches": [(_hex(colour), word) for colour, word in of.swatches],
    }


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


def document(
    reports: Sequence[DatasetReport], listings: Sequence[dict[str, Any]], *, live: bool
) -> dict[str, Any]:
    """The part of a report that comes from records, ready for JSON. listings: of each, where its frames lie."""
    return {
        "live": live,
        "datasets": [{**_said(report), **listed} for report, listed in zip(reports, listings, strict=True)],
        "gaps": gaps(reports),
        "figure_names": figure_names(reports),
        "oddness": MEANING,
        "unknown": _hex(UNKNOWN),
        "confidence_legend": legend_json(confidence_legend()),
    }


def _said(report: DatasetReport) -> dict[str, Any]:
    said = {name: getattr(report, name) for name in SAID}
    return {**said, "measurable": len(report.measurable)}


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


def odd(figures: Sequence[dict[str, float]], names: Sequence[str]) -> list[list[float]]:
    """[oddness, number of the figure] of each frame of one dataset."""
    table = np.array([[values.get(name, np.nan) for name in names] for values in figures], float)
    found = oddness(table.reshape(len(figures), len(names)))
    return [[round(float(s), 2), int(k)] for s, k in zip(found.score, found.figure, strict=True)]


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
