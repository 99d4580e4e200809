"""What a dataset holds, at a glance: sources, fields, coverage, confidence, provenance; as figures and a table."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from freelabels.generators.contract.fields import confidence_name, known_field
from freelabels.ground.errors import CorruptShard, UserError
from freelabels.pipeline.shards.dataset import Dataset, DatasetFile
from freelabels.pipeline.shards.record import digest
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.shards.statistics import Histogram, merged
from freelabels.pipeline.storage.uris import output_folder

MIB = 1 << 20


def inspect(
    path: str | os.PathLike[str], each: Callable[[Shard], None] = lambda shard: None
) -> dict[str, Any]:
    """Figures of a dataset from the records of its shards, ready for JSON. Raises NotADataset.

    Shards whose record can't be read are listed under ``corrupt``. each: called with every other shard, in order.
    """
    dataset = Dataset(path)
    attributes = dataset.attributes
    kinds: dict[str, Counter[str]] = {}
    columns: dict[str, dict[str, Any]] = {}
    rows, shards, corrupt = 0, 0, []
    for name in dataset.shards():
        try:
            shard = dataset.open(name)
        except CorruptShard as error:
            corrupt.append(str(error))
            continue
        shards += 1
        rows += shard.rows
        each(shard)
        for clip in shard.clips:
            kind = kinds.setdefault(clip["kind"], Counter())
            kind["clips"] += 1
            kind["frames"] += clip["rows"][1] - clip["rows"][0]
        for column, entry in shard.record["columns"].items():
            _add(columns.setdefault(column, _nothing()), entry, shard.rows)
    return {
        "dataset": os.fspath(path),
        "attributes": attributes,
        "shards": shards,
        "rows": rows,
        "bytes": sum(column["bytes"] for column in columns.values()),
        "sources": {kind: dict(count) for kind, count in sorted(kinds.items())},
        "fields": {name: _summary(column) for name, column in sorted(columns.items())},
        "refused": _lines(dataset.rejected_log()),
        "failed": _lines(dataset.failures_log()),
        "corrupt": corrupt,
    }


def write_scenes(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> int:
    """Write the record of every rendered clip into `folder`, for ``render --scene``; returns how many."""
    dataset = Dataset(path)
    written = 0
    try:
        with output_folder(folder) as target:
            for shard in dataset.open_all(dataset.shards()):
                for clip in shard.clips:
                    if "scene" in clip:
                        (target / f"{_file_name(str(clip['key']))}.json").write_text(
                            json.dumps(clip, indent=1)
                        )
                        written += 1
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"can't write to {folder} ({error.strerror})") from error
    return written


def _file_name(key: str) -> str:
    """A clip's key, or, as a dataset may come from anywhere, its digest if it could name a place elsewhere."""
    return key if re.fullmatch(r"[\w-]+", key) else digest(key)[:16]


def _nothing() -> dict[str, Any]:
    return {
        "rows": 0,
        "bytes": 0,
        "pixels": 0,
        "labelled": 0.0,
        "confidence": Counter(),
        "trust": 0.0,
        "histograms": [],
        "counts": Counter(),
        "made_by": Counter(),
    }


def _add(total: dict[str, Any], entry: Mapping[str, Any], rows: int) -> None:
    total["rows"] += rows
    total["bytes"] += sum(item["bytes"] for item in entry["objects"].values())
    figures = entry["statistics"]
    total["pixels"] += figures.get("pixels", 0)
    total["labelled"] += figures.get("coverage", 0) * figures.get("pixels", 0)
    for level, count in enumerate(figures.get("confidence_histogram", [])):
        total["confidence"][level] += count
    total["trust"] += figures.get("confidence_mean", 0) * figures.get("pixels", 0)
    if "histogram" in figures:
        total["histograms"].append(Histogram(tuple(figures["histogram"]), *figures["range"]))
    for number, count in enumerate(figures.get("counts", [])):
        total["counts"][number] += count
    made_by = entry["made_by"]
    total["made_by"][f"{made_by.get('generator', '?')} {made_by.get('version', '')}".strip()] += rows


def _summary(column: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "rows": column["rows"],
        "bytes": column["bytes"],
        "made_by": dict(column["made_by"]),
    }
    if column["pixels"]:
        out["coverage"] = round(column["labelled"] / column["pixels"], 4)
    if column["histograms"]:
        values = merged(column["histograms"])
        out["histogram"], out["range"] = list(values.counts), [values.low, values.high]
    if column["counts"]:
        out["counts"] = [column["counts"][number] for number in range(max(column["counts"]) + 1)]
    histogram = column["confidence"]
    if histogram:
        out["confidence_histogram"] = [histogram[level] for level in range(len(histogram))]
        out["confidence"] = round(column["trust"] / column["pixels"], 4)
    return out


def _lines(log: DatasetFile) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def print_table(figures: Mapping[str, Any], console: Console) -> None:
    """The figures of `inspect` as a table for people."""
    sources = ", ".join(
        f"{n['clips']} {kind} ({n['frames']} frames)" for kind, n in figures["sources"].items()
    )
    size = " × ".join(str(n) for n in figures["attributes"].get("size", ["?"]))
    console.print(
        f"{figures['dataset']}: {figures['shards']} shards, {figures['rows']} frames of {size}, "
        f"{figures['bytes'] / MIB:.1f} MiB; {sources or 'nothing yet'}",
        soft_wrap=True,
        markup=False,
    )
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("field", "rows", "MiB", "coverage", "confidence", "unit", "made by"):
        table.add_column(heading, justify="left" if heading in ("field", "unit", "made by") else "right")
    for name, column in figures["fields"].items():
        if name.endswith("_confidence"):
            continue
        confidence = figures["fields"].get(confidence_name(name), {})
        bytes_ = column["bytes"] + confidence.get("bytes", 0)
        covered = column.get("coverage")
        trust = column.get("confidence")
        spec = known_field(name)
        table.add_row(
            name,
            str(column["rows"]),
            f"{bytes_ / MIB:.2f}",
            "" if covered is None else f"{covered:.1%}",
            "" if trust is None else f"{trust:.2f}",
            spec.unit if spec else "",
            ", ".join(column["made_by"]),
        )
    console.print(table)
    for name, column in figures["fields"].items():
        if len(column["made_by"]) > 1 and not name.endswith("_confidence"):
            rows = ", ".join(f"{count} rows by {version}" for version, count in column["made_by"].items())
            console.print(f"{name} is of several versions: {rows}", markup=False, soft_wrap=True)
    for what, hint in (("refused", "rejected.jsonl"), ("failed", "failures.jsonl")):
        if figures[what]:
            console.print(f"{figures[what]} {what}, see {hint}", markup=False)
    for problem in figures["corrupt"]:
        console.print(f"corrupt: {problem}", markup=False)
