"""What a probe found, as JSON, as a Markdown table with a column a stage, and as a plot."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.stats import t as student

from freelabels.ground.errors import UserError

JSON, MARKDOWN, PLOT = "probe.json", "probe.md", "probe.png"
RANDOM, ROTATION, SUPERVISED = "random", "rotation", "supervised"  # rows that are there to compare with
# Okabe and Ito's colours, told apart by colour-blind readers too: of those rows, and of runs.
COLOURS = {RANDOM: (130, 130, 130), ROTATION: (230, 159, 0), SUPERVISED: (30, 30, 30)}
RUN_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233))
OVERSAMPLE = 3  # the plot is drawn this much larger and shrunk, which smooths its lines


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
    """One measure on one set of images: for each row (a network), a figure a stage; None where not measured."""

    data: str
    measure: str
    unit: str
    higher_is_better: bool
    constant: float
    rows: Mapping[str, tuple[Figure | None, ...]]

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
        plot(report).save(out / PLOT)
    except OSError as error:
        raise UserError(f"{out} can't be written ({error.strerror or error}); name another --out") from error


def markdown(report: ProbeReport) -> str:
    """A table for each set of images: a row a network and measure, a column a stage."""
    lines = [f"# Probe of {report.backbone}, {report.size} px", ""]
    for data in report.data:
        tables = [table for table in report.tables if table.data == data["name"]]
        if not tables:
            continue
        lines += [f"## {data['name']}: {data['what']}", ""]
        lines += ["| Measure | Method | Pretext | " + " | ".join(report.stages) + " |"]
        lines += ["|---|---|---|" + "---:|" * len(report.stages)]
        for table in tables:
            constant = f"constant {_number(table, table.constant)}"
            measure = f"{table.measure} ({table.unit}; {constant})"
            for name, figures in table.rows.items():
                cells = [
                    _cell(table, f, name == table.best(k), name == RANDOM) for k, f in enumerate(figures)
                ]
                lines += [f"| {measure} | {name} | {report.rows[name]} | " + " | ".join(cells) + " |"]
                measure = ""
        lines += [""]
    lines += [
        "**Bold**: best of the column. \\*: better than random initialisation, the 95 % interval of the paired "
        "difference lies above zero (of forty cells, chance alone marks one). ±: half the 95 % "
        "confidence interval of the mean over "
        f"{report.settings['seeds']} seeds (of splits, draws and random weights; not of pre-training).",
        "",
        *(f"- {note}" for note in report.notes),
        "",
    ]
    return "\n".join(lines)


def _number(table: Table, value: float) -> str:
    return f"{100 * value:.1f}" if table.unit.startswith("%") else f"{value:.3g}"


def _cell(table: Table, figure: Figure | None, best: bool, baseline: bool) -> str:
    if figure is None:
        return "–"
    number = _number(table, figure.mean)
    width = "" if figure.interval is None else f" ± {_number(table, figure.interval)}"
    star = "\\*" if figure.clear and not baseline else ""
    return (f"**{number}**" if best else number) + width + star


def plot(report: ProbeReport) -> Image.Image:
    """A panel for each set of images and its first measure: the score at each stage, a line a network."""
    first: dict[tuple[str, bool], Table] = {}
    for table in report.tables:
        first.setdefault((table.data, table.unit.startswith("%")), table)
    panels = [_panel(report, table) for table in first.values()]
    width, height = panels[0].size
    columns = min(3, len(panels))
    sheet = Image.new("RGB", (columns * width, -(-len(panels) // columns) * height), "white")
    for k, panel in enumerate(panels):
        sheet.paste(panel, (k % columns * width, k // columns * height))
    return sheet


def _panel(report: ProbeReport, table: Table) -> Image.Image:
    s = OVERSAMPLE
    width, height, left, right, top = 520, 360, 62, 14, 34
    lines = -(-(len(table.rows) + 1) // 2)  # of the legend
    bottom = 34 + 18 * lines
    image = Image.new("RGB", (width * s, height * s), "white")
    pen, font, small = ImageDraw.Draw(image), ImageFont.load_default(14 * s), ImageFont.load_default(12 * s)
    factor = 100.0 if table.unit.startswith("%") else 1.0
    most = 100.0 if table.unit.startswith("%") else math.inf

    def whisker(f: Figure) -> list[float]:
        """Both ends of the interval, no further than a score can go."""
        return [min(max(factor * (f.mean + side * (f.interval or 0)), 0.0), most) for side in (-1, 1)]

    ends = [end for figures in table.rows.values() for f in figures if f is not None for end in whisker(f)]
    ticks = _ticks(min(factor * table.constant, *ends), max(factor * table.constant, *ends))

    def x_of(k: float) -> float:
        return s * (left + (k + 0.5) * (width - left - right) / len(report.stages))

    def y_of(value: float) -> float:
        return s * (height - bottom - (value - ticks[0]) / (ticks[-1] - ticks[0]) * (height - top - bottom))

    arrow = "" if table.higher_is_better else ", lower is better"
    pen.text((left * s, 8 * s), f"{table.data}: {table.measure} ({table.unit}{arrow})", (0, 0, 0), font)
    for tick in ticks:
        pen.line((left * s, y_of(tick), (width - right) * s, y_of(tick)), (225, 225, 225), s)
        pen.text(((left - 6) * s, y_of(tick)), f"{tick:g}", (60, 60, 60), small, anchor="rm")
    for k, stage in enumerate(report.stages):
        pen.text((x_of(k), (height - bottom + 8) * s), stage, (60, 60, 60), small, anchor="ma")

    def place(entry: int) -> tuple[float, float]:
        """Where an entry of the legend begins."""
        across, down = divmod(entry, lines)
        return s * (left + across * (width - left - right) / 2), s * (height - bottom + 36 + 18 * down)

    _dashes(pen, left * s, (width - right) * s, y_of(factor * table.constant), 5 * s)
    x, y = place(len(table.rows))
    _dashes(pen, x, x + 18 * s, y, 4 * s)
    pen.text((x + 24 * s, y), "best constant answer", (0, 0, 0), small, anchor="lm")
    runs = [name for name in table.rows if name not in COLOURS]
    for row, (name, figures) in enumerate(table.rows.items()):
        colour = COLOURS[name] if name in COLOURS else RUN_COLOURS[runs.index(name) % len(RUN_COLOURS)]
        shift = 0.06 * (row - (len(table.rows) - 1) / 2)
        points = [(x_of(k + shift), y_of(factor * f.mean), f) for k, f in enumerate(figures) if f is not None]
        pen.line([(x, y) for x, y, _ in points], colour, 2 * s, joint="curve")
        for x, y, f in points:
            if f.interval:
                low, high = (y_of(end) for end in whisker(f))
                pen.line((x, low, x, high), colour, s)
                for end in (low, high):
                    pen.line((x - 4 * s, end, x + 4 * s, end), colour, s)
            pen.ellipse((x - 3.5 * s, y - 3.5 * s, x + 3.5 * s, y + 3.5 * s), colour)
        x, y = place(row)
        pen.line((x, y, x + 18 * s, y), colour, 3 * s)
        pen.text((x + 24 * s, y), name, (0, 0, 0), small, anchor="lm")
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _dashes(pen: ImageDraw.ImageDraw, start: float, stop: float, y: float, length: float) -> None:
    for x in np.arange(start, stop, 2 * length):
        pen.line((float(x), y, float(min(x + length, stop)), y), (150, 150, 150), OVERSAMPLE)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers that enclose a range, four to nine of them."""
    step = 10 ** math.floor(math.log10(max(high - low, 1e-6)))
    while (high - low) / step < 3:
        step /= 2
    while (high - low) / step > 7:
        step *= 2
    first, last = math.floor(low / step), math.ceil(high / step)
    return [k * step for k in range(first, max(last, first + 1) + 1)]
