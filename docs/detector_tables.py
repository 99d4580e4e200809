"""Writes the tables of docs/detectors/*.md anew, from rows that `benchmarks.labels --out` stored.

python -m docs.detector_tables ROWS.json ...
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.labels.footage import HALVES, half_of
from benchmarks.labels.motion import DEFAULTS

PAGES = Path(__file__).parent / "detectors"
TABLE = re.compile(r"(<!-- table: ([\w ]+) -->\n).*?(<!-- end of table -->\n)", re.S)
FACTORS = (0.7, 1.3)
MATTERS = 0.03  # of the figure as it is: what changes it by less isn't shown

Row = dict[str, Any]
Column = tuple[str, str, str, str, str]  # heading, label, method, metric, how the data's name goes on


def by_clip(rows: Sequence[Row], columns: Sequence[Column], takes: Callable[[str], bool] = bool) -> str:
    """A row a clip, its half first, and then the means; a dash where it wasn't measured."""
    found: dict[str, dict[str, float]] = {}
    for heading, label, method, metric, after in columns:
        for row in rows:
            if (row["label"], row["method"], row["metric"]) == (label, method, metric):
                name = row["data"].removesuffix(after)
                if row["data"].endswith(after) and "half" not in name and ", " not in name and takes(name):
                    found.setdefault(name, {})[heading] = row["value"]
    headings = [column[0] for column in columns]
    lines = [f"| half | data | {' | '.join(headings)} |", "|---" * (2 + len(headings)) + "|"]
    for half in HALVES:
        clips = {name: found[name] for name in sorted(found) if half_of(name) == half}
        for name, values in clips.items():
            lines.append(f"| {half} | {name} | {' | '.join(_cell(values.get(h)) for h in headings)} |")
        if len(clips) > 1:
            each = [[v[h] for v in clips.values() if h in v and math.isfinite(v[h])] for h in headings]
            means = [_cell(sum(values) / len(values) if values else None) for values in each]
            lines.append(f"| {half} | **mean** | {' | '.join(means)} |")
    return "\n".join(lines)


def listed(rows: Sequence[Row], label: str, metrics: str, data: str = "") -> str:
    """A row for each data and method: the figures whose names match `metrics`, of labels and data that match."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if (
            re.fullmatch(label, row["label"])
            and re.fullmatch(metrics, row["metric"])
            and re.match(data, row["data"])
        ):
            source = row["label"].partition(", ")[2]  # "normals, stereo" of renders
            data_of = f"{row['data']}, {source}" if source else row["data"]
            found.setdefault((data_of, row["method"]), []).append(f"{row['metric']} {_cell(row['value'])}")
    lines = ["| data | method | figures |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {d} | {m} | {', '.join(v)} |" for (d, m), v in found.items())])


def reliability(rows: Sequence[Row], label: str) -> str:
    """ECE and risk on real footage, by data, then by half with the data weighed equally."""
    return listed(
        rows, label, "ECE|wrong.*|ECE, data.*|ECE of yes, data.*|where the surer.*", "(?!.*renders)"
    )


def sensitivity(rows: Sequence[Row]) -> str:
    """A table a detector: the constants that matter, most first, and how many don't."""
    lines: list[str] = []
    for detector in dict.fromkeys(row["label"] for row in rows if " × 0.7" in row["method"]):
        its = [row for row in rows if row["label"] == detector]
        places = list(dict.fromkeys(row["data"] for row in its if " × " in row["method"]))
        usual = {row["data"]: row["value"] for row in its if row["method"] == "as it is"}
        values = {(row["data"], row["method"]): row["value"] for row in its}
        names = list(
            dict.fromkeys(row["method"].partition(" × ")[0] for row in its if " × " in row["method"])
        )

        def change(
            name: str,
            places: list[str] = places,
            usual: dict[str, float] = usual,
            values: dict[tuple[str, str], float] = values,
        ) -> float:
            each = [
                abs(values.get((place, f"{name} × {factor}"), usual[place]) / usual[place] - 1)
                for place in places
                for factor in FACTORS
            ]
            return math.inf if any(map(math.isnan, each)) else max(each)

        names.sort(key=change, reverse=True)
        shown = [name for name in names if change(name) >= MATTERS]
        as_it_is = ", ".join(f"{place} {_cell(usual[place])}" for place in places)
        lines += [f"### {detector}", "", f"{its[0]['metric']}, as it is: {as_it_is}.", ""]
        if shown:
            headings = [f"{place}, × {factor}" for place in places for factor in FACTORS]
            lines += [f"| constant | {' | '.join(headings)} |", "|---" * (1 + len(headings)) + "|"]
            for name in shown:
                cells = [
                    _cell(values.get((place, f"{name} × {factor}"))) for place in places for factor in FACTORS
                ]
                lines.append(f"| `{name}` | {' | '.join(cells)} |")
            lines.append("")
        rest = len(names) - len(shown)
        lines += [f"{rest} further constants change it by less than {MATTERS:.0%} either way.", ""]
    return "\n".join(lines).rstrip()


def _cell(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


MOTION, SALIENCY = "independent_motion", "boundary_saliency"
STORED = f", {DEFAULTS}"
TABLES: dict[str, Callable[[list[Row]], str]] = {
    "motion": lambda rows: by_clip(
        rows,
        [
            ("J, native", "motion", MOTION, "J", ", native"),
            ("J, default", "motion", MOTION, "J", STORED),
            ("F, default", "motion", MOTION, "F", STORED),
            ("ECE, native", "motion", MOTION, "ECE", ", native"),
            ("ECE, default", "motion", MOTION, "ECE", STORED),
            ("of yes, native", "motion", MOTION, "ECE of yes", ", native"),
            ("of yes, default", "motion", MOTION, "ECE of yes", STORED),
            ("claimed, native", "motion", MOTION, "claimed moving", ", native"),
            ("claimed, default", "motion", MOTION, "claimed moving", STORED),
            ("J of flow's length", "motion", "flow magnitude", "J", STORED),
            ("J of MOG2", "motion", "OpenCV MOG2", "J", STORED),
        ],
    ),
    "saliency": lambda rows: by_clip(
        rows,
        [
            ("J, native", "saliency", SALIENCY, "J", ", native"),
            ("J, default", "saliency", SALIENCY, "J", STORED),
            ("middle quarter", "saliency", "the middle quarter", "J", STORED),
            ("ECE, native", "saliency", SALIENCY, "ECE", ", native"),
            ("ECE, default", "saliency", SALIENCY, "ECE", STORED),
            ("of yes, native", "saliency", SALIENCY, "ECE of yes", ", native"),
            ("of yes, default", "saliency", SALIENCY, "ECE of yes", STORED),
        ],
    ),
    "edges": lambda rows: listed(rows, "edges", "ODS|OIS|AP|ms"),
    "regions": lambda rows: listed(rows, "regions", "pixels.*"),
    "flow": lambda rows: listed(rows, "flow", "EPE.*|oracle's|ms"),
    "disparity": lambda rows: listed(
        rows, "disparity", "ordinal @ [369]0%|AbsRel @ [369]0%|bad2 .* @ (75|96|100)%|coverage|ms"
    ),
    "normals": lambda rows: listed(rows, "normals.*", "median ° @ .*|< 22.5° @ 30%|ms"),
    "cost": lambda rows: listed(rows, "all labels", ".*"),
    "sensitivity": sensitivity,
    **{
        f"{label} reliability": lambda rows, label=label: reliability(rows, label)  # type: ignore[misc]
        for label in ("edges", "regions", "saliency", "foreground", "motion", "flow", "disparity", "normals")
    },
}


def main(files: Sequence[str]) -> None:
    """Write every table anew that there are rows for; the others stay."""
    rows = [row for file in files for row in json.loads(Path(file).read_text())]
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text()

        def filled(found: re.Match[str]) -> str:
            table = TABLES[found[2]](rows)
            made = table.count("\n") > 1 or (found[2] == "sensitivity" and bool(table))
            return f"{found[1]}{table}\n{found[3]}" if made else found[0]

        page.write_text(TABLE.sub(filled, text))


if __name__ == "__main__":
    main(sys.argv[1:])
