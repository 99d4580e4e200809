"""What a probe found, as JSON, as a Markdown table with a column a stage, and as a plot."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student

from freelabels.ground.errors import UserError
from freelabels.ground.spelling import counted
from freelabels.pipeline.quality.plots import new_figure, save_png
from freelabels.train.config import ProbeConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes

JSON, MARKDOWN, PLOT = "probe.json", "probe.md", "probe.png"
RANDOM, ROTATION, SUPERVISED = "random", "rotation", "supervised"  # rows that are there to compare with
# Okabe and Ito's colours, told apart by colour-blind readers too: of those rows, and of runs.
COLOURS = {RANDOM: "#828282", ROTATION: "#e69f00", SUPERVISED: "#1e1e1e"}
RUN_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")


@dataclass(frozen=True)
class Figure:
    """The mean over seeds, half the width of its 95 % confidence interval (None for one seed), and each seed's.

    settings: what was chosen on training data, by seed. gain: mean and half-width of the difference to random
    initialisation, seed by seed on the same splits; positive is better.
    """

    mean: float
    interval: float | None
    values: tuple[float, ...]
    settings: tuple[float, ...] = ()
    gain: tuple[float, float | None] | None = None

    @property
    def clear(self) -> bool:
        """Whether it is better than random initialisation by more than the interval of the difference."""
        return self.gain is not None and self.gain[1] is not None and self.gain[0] > self.gain[1]


def figure(
    values: Sequence[float],
    ratio: float,
    settings: Sequence[float] = (),
    baseline: Sequence[float] = (),
    sign: int = 1,
) -> Figure:
    """The figure of one value a seed. ratio: see `Split`; baseline: what random initialisation scored, by seed.

    sign: 1 if higher is better, else -1.
    """
    gain = None
    if len(baseline) == len(values):
        differences = [sign * (a - b) for a, b in zip(values, baseline, strict=True)]
        gain = (float(np.mean(differences)), half_width(differences, ratio))
    return Figure(float(np.mean(values)), half_width(values, ratio), tuple(values), tuple(settings), gain)


def half_width(values: Sequence[float], ratio: float) -> float | None:
    """Half the 95 % interval of a mean over seeds, Student's t; None for fewer than two.

    Where seeds draw overlapping splits of one set of images, the variance of the mean is (1 / n + test / train) of
    the values', not 1 / n. Nadeau and Bengio, Inference for the generalization error, 2003.
    """
    n = len(values)
    if n < 2:
        return None
    return float(student.ppf(0.975, n - 1) * math.sqrt(np.var(values, ddof=1) * (1 / n + ratio)))


@dataclass(frozen=True)
class Table:
    """One measure on one set of images: for each row (a network), a figure a column; None where not measured.

    columns: what they are called; none: they are the stages.
    """

    data: str
    measure: str
    unit: str
    higher_is_better: bool
    constant: float
    rows: Mapping[str, tuple[Figure | None, ...]]
    columns: tuple[str, ...] = ()

    def best(self, column: int) -> str:
        """The row with the best mean in a column."""
        means = {name: f.mean for name, figures in self.rows.items() if (f := figures[column]) is not None}
        if not means:
            return ""
        return (max if self.higher_is_better else min)(means, key=lambda name: means[name])


@dataclass(frozen=True)
class ProbeReport:
    """All that a probe found. rows: name → what was it trained on; data: facts about each set of images."""

    run: str
    backbone: str
    size: int
    stages: tuple[str, ...]
    rows: Mapping[str, str]
    data: tuple[Mapping[str, Any], ...]
    tables: tuple[Table, ...]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    notes: tuple[str, ...]


def write(report: ProbeReport, out: Path) -> None:
    """Write the JSON, the Markdown and the plot into a folder. Raises UserError if it can't be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / JSON).write_text(json.dumps(asdict(report), indent=1) + "\n")
        (out / MARKDOWN).write_text(markdown(report))
        plot(report, out / PLOT)
    except OSError as error:
        raise UserError(f"{out} can't be written ({error.strerror or error}); name another --out") from error


def lacks(config: ProbeConfig) -> Iterator[str]:
    """What a reader of the report misses."""
    if not config.supervised:
        yield "No row learned from human labels stands beside: give --supervised FILE, or timm."
    if config.seeds < 3:
        yield f"{counted(config.seeds, 'seed')}: little is known of the spread; give --seeds 3 or more."


def markdown(report: ProbeReport) -> str:
    """Tables for each set of images: a row a network and measure, a column a stage or what a table's own are."""
    lines = [f"# Probe of {report.backbone}, {report.size} px", ""]
    for data in report.data:
        tables = [table for table in report.tables if table.data == data["name"]]
        if not tables:
            continue
        lines += [f"## {data['name']}: {data['what']}", ""]
        for k, table in enumerate(tables):
            columns = table.columns or report.stages
            if k == 0 or columns != (tables[k - 1].columns or report.stages):
                lines += [""] * (k > 0) + ["| Measure | Method | Pretext | " + " | ".join(columns) + " |"]
                lines += ["|---|---|---|" + "---:|" * len(columns)]
            constant = (
                f"; constant {number_in(table, table.constant)}" if math.isfinite(table.constant) else ""
            )
            measure = f"{table.measure} ({table.unit}{constant})"
            for name, figures in table.rows.items():
                cells = [cell(table, f, name == table.best(k), name == RANDOM) for k, f in enumerate(figures)]
                lines += [f"| {measure} | {name} | {report.rows[name]} | " + " | ".join(cells) + " |"]
                measure = ""
        lines += [""]
    lines += [
        "**Bold**: best of the column. \\*: better than random initialisation, the 95 % interval of the paired "
        "difference lies above zero (of forty cells, chance alone marks one). ±: half the 95 % "
        "confidence interval of the mean over "
        f"{counted(report.settings['seeds'], 'seed')} (of splits, draws and random weights; not of pre-training).",
        "",
        *(f"- {note}" for note in report.notes),
        "",
    ]
    return "\n".join(lines)


def in_percent(table: Table) -> bool:
    """Whether its figures are shares, shown in percent."""
    return table.unit.startswith("%")


def number_in(table: Table, value: float) -> str:
    """A figure as its table shows it."""
    return f"{100 * value:.1f}" if in_percent(table) else f"{value:.3g}"


def cell(table: Table, figure: Figure | None, best: bool, baseline: bool = False) -> str:
    """A figure with its interval, bold if it is the best, starred if it is clearly better than the baseline."""
    if figure is None:
        return "–"
    number = number_in(table, figure.mean)
    width = "" if figure.interval is None else f" ± {number_in(table, figure.interval)}"
    star = "\\*" if figure.clear and not baseline else ""
    return (f"**{number}**" if best else number) + width + star


def plot(report: ProbeReport, path: Path) -> None:
    """Write a PNG with a panel for each set of images and its first measure. Raises OSError."""
    first: dict[tuple[str, bool, tuple[str, ...]], Table] = {}
    for table in report.tables:
        first.setdefault((table.data, in_percent(table), table.columns), table)
    columns = min(3, len(first))
    rows = -(-len(first) // columns)
    sheet = new_figure(520 * columns, 400 * rows)
    panels = sheet.subplots(rows, columns, squeeze=False).flat
    for axes, table in zip_longest(panels, first.values()):
        if table is None:
            axes.set_axis_off()
        else:
            _draw_panel(axes, table, table.columns or report.stages)
    save_png(sheet, path)


def _draw_panel(axes: Axes, table: Table, columns: Sequence[str]) -> None:
    """The score in each column with its interval, a line a network, beside the best constant answer."""
    factor, most = (100.0, 100.0) if in_percent(table) else (1.0, math.inf)
    arrow = "" if table.higher_is_better else ", lower is better"
    axes.set_title(f"{table.data}: {table.measure} ({table.unit}{arrow})", fontsize=9)
    axes.set_xticks(range(len(columns)), columns)
    axes.grid(axis="y", color="#e6e6e6")
    runs = [name for name in table.rows if name not in COLOURS]
    for row, (name, figures) in enumerate(table.rows.items()):
        colour = COLOURS[name] if name in COLOURS else RUN_COLOURS[runs.index(name) % len(RUN_COLOURS)]
        shift = 0.06 * (row - (len(table.rows) - 1) / 2)  # so that whiskers stand side by side
        shown = [(k + shift, factor * f.mean, factor * (f.interval or 0)) for k, f in enumerate(figures) if f]
        x, y, half = np.array(shown).reshape(-1, 3).T
        whiskers = np.minimum(half, y), np.minimum(half, most - y)  # no further than a score can go
        axes.errorbar(
            x,
            y,
            whiskers,
            fmt="o" if table.columns else "o-",
            color=colour,
            capsize=3,
            markersize=5,
            label=name,
        )
    if math.isfinite(table.constant):
        axes.axhline(factor * table.constant, color="#969696", linestyle="--", label="best constant answer")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2, frameon=False, fontsize=9)
