"""The table as JSON, as Markdown and as a plot with a panel a measure, from the records of finished rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from freelabels.ground.errors import UserError
from freelabels.pipeline.quality.plots import new_figure, save_png
from freelabels.train.bench import claims
from freelabels.train.probing.probe_report import Figure, Table, cell, figure, in_percent, number_in

JSON, MARKDOWN, PLOT = "features.json", "features.md", "features.png"
BASELINE = "random"
NOTES = (
    "Every row shows the trunk the same number of pixels. CPU-seconds are those of its training, measured by the "
    "process, beside whatever else ran; labels: those that making its datasets took, as --cost tells.",
    "±: half the 95 % interval of the mean over seeds of everything, Student's t; where seeds draw the test "
    "images too, these overlap and the interval is too narrow. \\*: better than random of the same seed, the "
    "interval of the difference lies above zero.",
    "† stayed at chance: on held-out clips none of its tasks beat its trivial answer by three standard errors (by "
    "anything, where these aren't known).",
)


@dataclass(frozen=True)
class RowFacts:
    """What a row was and cost, means over its seeds. labels: None where a dataset's cost wasn't told."""

    about: str
    tasks: tuple[str, ...]
    seeds: int
    steps: float
    batch: float
    megapixels: float
    seconds: float
    labels: float | None
    at_chance: int


@dataclass(frozen=True)
class FeatureTable:
    """All rows and what they scored. failed: sentence by row and seed; left_out: reason by row.

    claims: what was claimed of the rows before they ran, judged by those that are finished.
    """

    stages: tuple[str, ...]
    rows: Mapping[str, RowFacts]
    tables: tuple[Table, ...]
    data: tuple[Mapping[str, Any], ...]
    failed: Mapping[str, str]
    left_out: Mapping[str, str]
    settings: Mapping[str, Any]
    claims: tuple[claims.Verdict, ...] = ()


def table_of(
    records: Sequence[Mapping[str, Any]],
    order: Sequence[str],
    failed: Mapping[str, str],
    left_out: Mapping[str, str],
    settings: Mapping[str, Any],
) -> FeatureTable:
    """Records by row and seed → means over seeds. order: of the rows."""
    by_row = {row: sorted((r for r in records if r["row"] == row), key=lambda r: r["seed"]) for row in order}
    by_row = {row: some for row, some in by_row.items() if some}
    if not by_row:
        return FeatureTable((), {}, (), (), failed, left_out, settings)
    one = next(iter(by_row.values()))[0]
    tables = []
    every = {(t["data"], t["measure"]): t for some in by_row.values() for r in some for t in r["tables"]}
    for kind, about in every.items():
        found = {row: _values(some, kind) for row, some in by_row.items()}
        found = {row: values for row, values in found.items() if values}
        sign = 1 if about["higher_is_better"] else -1
        rows = {
            row: tuple(
                _figure(values, found.get(BASELINE, {}), k, sign)
                for k in range(len(next(iter(values.values()))))
            )
            for row, values in found.items()
        }
        facts = (about["unit"], about["higher_is_better"], about["constant"])
        tables.append(Table(*kind, *facts, rows, tuple(about.get("columns", ()))))
    facts_of = {row: _facts(some) for row, some in by_row.items()}
    stages, judged = tuple(one["stages"]), claims.verdicts(records, one["stages"])
    return FeatureTable(
        stages, facts_of, tuple(tables), tuple(one["data"]), failed, left_out, settings, judged
    )


def _values(records: Sequence[Mapping[str, Any]], kind: tuple[str, str]) -> dict[int, list[float | None]]:
    """By seed, the value at each stage."""
    return {
        record["seed"]: table["values"]
        for record in records
        for table in record["tables"]
        if (table["data"], table["measure"]) == kind
    }


def _figure(
    values: Mapping[int, Sequence[float | None]],
    baseline: Mapping[int, Sequence[float | None]],
    k: int,
    sign: int,
) -> Figure | None:
    own = {seed: v for seed, some in values.items() if (v := some[k]) is not None}
    against = [v for seed in own if seed in baseline and (v := baseline[seed][k]) is not None]
    return figure(list(own.values()), 0.0, (), against, sign) if own else None


def _facts(records: Sequence[Mapping[str, Any]]) -> RowFacts:
    def mean(name: str) -> float:
        return float(np.mean([record[name] for record in records]))

    first = records[0]
    labels = None if first["labels"] is None else mean("labels")
    chance = sum(record["at_chance"] for record in records)
    figures = mean("steps"), mean("batch"), mean("pixels"), mean("seconds")
    return RowFacts(first["about"], tuple(first["tasks"]), len(records), *figures, labels, chance)


def write(table: FeatureTable, out: Path) -> None:
    """Write all three into a folder. Raises UserError if it can't be written."""
    try:
        (out / JSON).write_text(json.dumps(asdict(table), indent=1) + "\n")
        (out / MARKDOWN).write_text(markdown(table))
        if table.tables:
            plot(table, out / PLOT)
    except OSError as error:
        raise UserError(f"{out} can't be written ({error.strerror or error}); name another --out") from error


def markdown(table: FeatureTable) -> str:
    """The rows and their bills, then a table a measure: a line a row, a column a stage."""
    settings = table.settings
    lines = [
        f"# Features: {settings['backbone']}, {settings['size']} px, {settings['budget']:g} megapixels a row",
        "",
    ]
    lines += [
        "| row | what it learned | seeds | steps × batch | CPU-s | CPU-s of labels |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in table.rows.items():
        mark = f" † {row.at_chance} of {row.seeds}" if row.at_chance else ""
        labels = "not told" if row.labels is None else f"{row.labels:.0f}"
        lines.append(
            f"| {name}{mark} | {row.about} | {row.seeds} | {row.steps:.0f} × {row.batch:.0f} | {row.seconds:.0f} "
            f"| {labels} |"
        )
    missing: dict[str, list[str]] = {}
    for name, why in {**table.left_out, **table.failed}.items():
        missing.setdefault(why, []).append(name)
    lines += [*(f"\nNot made: {', '.join(names)}: {why}." for why, names in missing.items()), ""]
    lines += claims.markdown(table.claims).splitlines()
    lines.append("")
    about = {one["name"]: one["what"] for one in table.data}
    for one in table.tables:
        constant = f"; constant answer {number_in(one, one.constant)}" if math.isfinite(one.constant) else ""
        lines += [
            f"## {one.data}: {one.measure} ({one.unit}{constant})",
            "",
            f"{about.get(one.data, '')}",
            "",
        ]
        columns = one.columns or table.stages
        lines += ["| row | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
        for name, figures in one.rows.items():
            cells = [cell(one, figure, name == one.best(k)) for k, figure in enumerate(figures)]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join([*lines, *(f"- {note}" for note in NOTES), ""])


def plot(table: FeatureTable, path: Path) -> None:
    """Write a PNG: a panel a measure, the score over the stages, a line a row. Raises OSError."""
    from matplotlib import colormaps

    columns = min(3, len(table.tables))
    rows = -(-len(table.tables) // columns)
    sheet = new_figure(520 * columns, 420 * rows)
    colours = colormaps["tab20"].colors  # type: ignore[attr-defined]
    for axes, one in zip_longest(sheet.subplots(rows, columns, squeeze=False).flat, table.tables):
        if one is None:
            axes.set_axis_off()
            continue
        factor = 100.0 if in_percent(one) else 1.0
        arrow = "" if one.higher_is_better else ", lower is better"
        axes.set_title(f"{one.data}: {one.measure} ({one.unit}{arrow})", fontsize=8)
        axes.set_xticks(range(len(one.columns or table.stages)), one.columns or table.stages)
        axes.grid(axis="y", color="#e6e6e6")
        for number, (name, figures) in enumerate(one.rows.items()):
            shown = [(k, factor * f.mean, factor * (f.interval or 0)) for k, f in enumerate(figures) if f]
            x, y, half = np.array(shown).reshape(-1, 3).T
            place = x + 0.02 * (number - len(one.rows) / 2)
            style = {
                "color": colours[number % 20],
                "marker": "o",
                "markersize": 3,
                "capsize": 2,
                "linewidth": 1,
            }
            axes.errorbar(place, y, half, label=name, **style)
    sheet.legend(*sheet.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8)
    save_png(sheet, path)
