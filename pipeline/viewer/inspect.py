"""What a dataset holds, at a glance: sources, fields, coverage, confidence, provenance; as figures and a table."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from freelabels.generators.contract.fields import confidence_name, known_field
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import counted
from freelabels.pipeline.shards.dataset import Dataset, DatasetFile
from freelabels.pipeline.shards.index import Index, read_index
from freelabels.pipeline.shards.record import digest
from freelabels.pipeline.storage.uris import output_folder
from freelabels.pipeline.viewer.figures import column_figures
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster

MIB = 1 << 20


def inspect(path: str | os.PathLike[str], cluster: Cluster | None = None) -> dict[str, Any]:
    """Figures of a dataset from the records of its shards, ready for JSON. Raises NotADataset.

    Shards whose record can't be read are listed under ``corrupt``. cluster: what reads records that are not
    remembered, where there are many; default: this process.
    """
    return inspected(index_to_look(Dataset(path), cluster))


def index_to_look(dataset: Dataset, cluster: Cluster | None = None) -> Index:
    """The index of a dataset, for people: what can't be read is part of the picture. Raises NotADataset."""
    _ = dataset.attributes
    return read_index(dataset, cluster or Cluster(workers=0), Reporter("quiet"), lenient=True)


def inspected(index: Index) -> dict[str, Any]:
    """As `inspect`."""
    dataset = index.dataset
    kinds: dict[str, list[int]] = {}
    for _, part in index.summaries("clips"):
        frames = (part.clips["stop"] - part.clips["start"]).astype(np.int64)
        for number in np.unique(part.clips["kind"]).tolist():
            mine = part.clips["kind"] == number
            known = kinds.setdefault(part.kinds[number], [0, 0])
            known[0] += int(mine.sum())
            known[1] += int(frames[mine].sum())
    columns = column_figures(index)
    return {
        "dataset": os.fspath(dataset.path),
        "attributes": dataset.attributes,
        "shards": len(index),
        "rows": int(index.rows.sum(dtype=np.int64)),
        "bytes": sum(column["bytes"] for column in columns.values()),
        "sources": {kind: {"clips": n[0], "frames": n[1]} for kind, n in sorted(kinds.items())},
        "fields": columns,
        "refused": _lines(dataset.rejected_log()),
        "failed": _lines(dataset.failures_log()),
        "corrupt": list(index.broken),
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


def _lines(log: DatasetFile) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def print_table(figures: Mapping[str, Any], console: Console) -> None:
    """The figures of `inspect` as a table for people."""
    sources = ", ".join(
        f"{n['clips']} {kind} ({counted(n['frames'], 'frame')})" for kind, n in figures["sources"].items()
    )
    size = " × ".join(str(n) for n in figures["attributes"].get("size", ["?"]))
    console.print(
        f"{figures['dataset']}: {counted(figures['shards'], 'shard')}, "
        f"{counted(figures['rows'], 'frame')} of {size}, "
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
            rows = ", ".join(
                f"{counted(count, 'row')} by {version}" for version, count in column["made_by"].items()
            )
            makers = {version.rpartition(" ")[0] for version in column["made_by"]}
            several = "is of several versions" if len(makers) == 1 else "is made by several detectors"
            console.print(f"{name} {several}: {rows}", markup=False, soft_wrap=True)
    for what, hint in (("refused", "rejected.jsonl"), ("failed", "failures.jsonl")):
        if figures[what]:
            console.print(f"{figures[what]} {what}, see {hint}", markup=False)
    for problem in figures["corrupt"]:
        console.print(f"corrupt: {problem}", markup=False)
