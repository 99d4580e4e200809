"""Figures of a dataset's columns, from the summaries of its shards: sums, and histograms merged as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.pipeline.shards.index import Index
from freelabels.pipeline.shards.statistics import BINS, spread_over
from freelabels.pipeline.shards.summary import Summaries


@dataclass
class Figures:
    """Of one label: sums over shards. low, high: the range of all histograms, NaN without any."""

    pixels: int = 0
    labelled: float = 0.0
    trust: float | None = None
    confidences: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    low: float = np.nan
    high: float = np.nan
    values: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    counts: Counter[int] = field(default_factory=Counter)


def column_figures(index: Index) -> dict[str, dict[str, Any]]:
    """By column, sorted: rows, bytes, what made them, and of labels coverage, confidence and histograms."""
    makers = _makers(index)
    size: Counter[str] = Counter()
    labels: dict[str, Figures] = {}

    def parts() -> Iterator[Summaries]:
        return (part for _, part in index.summaries("figures", "counts", "sizes"))

    for part in parts():
        size.update(_bytes(part))
        _add(labels, part)
    if any(known.low <= known.high for known in labels.values()):
        for part in parts():  # once more, now that the ranges are known
            _spread(labels, part)
    return {
        name: {
            "rows": sum(made.values()),
            "bytes": size[name],
            "made_by": dict(made),
            **_said(labels.get(name)),
        }
        for name, made in sorted(makers.items())
    }


def _makers(index: Index) -> dict[str, Counter[str]]:
    """By column, how many rows each version of a generator has made, in the order of the shards."""
    rows = np.bincount(index.made, index.rows, len(index.recipes)).astype(int).tolist()
    first = np.full(len(index.recipes), len(index))
    np.minimum.at(first, index.made, np.arange(len(index)))
    found: dict[str, Counter[str]] = {}
    for number in np.argsort(first).tolist():
        for column, made in index.recipes[number].items():
            maker = f"{made.get('generator', '?')} {made.get('version', '')}".strip()
            found.setdefault(column, Counter())[maker] += rows[number]
    return found


def _bytes(part: Summaries) -> dict[str, int]:
    """By column."""
    columns, made = part.columns, part.shards["made"]
    found: Counter[str] = Counter()
    lengths = part.of_columns()
    starts = np.cumsum(lengths) - lengths
    for number in np.unique(made).tolist():
        table = part.sizes[starts[made == number][:, None] + np.arange(len(columns[number]))]
        found.update(dict(zip(columns[number], table.sum(axis=0).tolist(), strict=True)))
    return found


def _of_each(
    labels: dict[str, Figures], part: Summaries, table: NDArray[Any]
) -> Iterator[tuple[Figures, Any]]:
    for number in np.unique(table["label"]).tolist():
        yield labels.setdefault(part.labels[number], Figures()), table[table["label"] == number]


def _add(labels: dict[str, Figures], part: Summaries) -> None:
    for total, rows in _of_each(labels, part, part.figures):
        total.pixels += int(rows["pixels"].sum())
        total.labelled += float(rows["coverage"] @ rows["pixels"])
        trusted = ~np.isnan(rows["confidence"])
        if trusted.any():
            some = rows[trusted]
            total.trust = (total.trust or 0.0) + float(some["confidence"] @ some["pixels"])
            total.confidences += some["confidences"].sum(axis=0)
        if not np.isnan(rows["low"]).all():
            total.low = float(np.nanmin([total.low, np.nanmin(rows["low"])]))
            total.high = float(np.nanmax([total.high, np.nanmax(rows["high"])]))
    for total, rows in _of_each(labels, part, part.counts):
        for number, count in zip(rows["number"].tolist(), rows["count"].tolist(), strict=True):
            total.counts[number] += count


def _spread(labels: dict[str, Figures], part: Summaries) -> None:
    for total, rows in _of_each(labels, part, part.figures):
        some = rows[~np.isnan(rows["low"])]
        if len(some):
            total.values += spread_over(some["values"], some["low"], some["high"], total.low, total.high)


def _said(total: Figures | None) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if total is None:
        return out
    if total.pixels:
        out["coverage"] = round(total.labelled / total.pixels, 4)
    if total.low <= total.high:
        out["histogram"], out["range"] = [round(v, 2) for v in total.values.tolist()], [total.low, total.high]
    if total.counts:
        out["counts"] = [total.counts[number] for number in range(max(total.counts) + 1)]
    if total.trust is not None:
        out["confidence_histogram"] = total.confidences.tolist()
        out["confidence"] = round(total.trust / max(total.pixels, 1), 4)
    return out
