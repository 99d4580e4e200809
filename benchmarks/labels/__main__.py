"""Measures the labels part by part and prints the table: see `benchmarks.labels`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

import benchmarks.labels
from benchmarks.labels.depth import depth_rows
from benchmarks.labels.edges import edge_rows
from benchmarks.labels.flow import flow_rows
from benchmarks.labels.footage import HALVES
from benchmarks.labels.metrics import Row
from benchmarks.labels.motion import DEFAULTS, motion_rows
from benchmarks.labels.normals import normals_rows
from benchmarks.labels.reliability import reliability_rows
from benchmarks.labels.rendered import cost_rows, rendered_rows
from benchmarks.labels.saliency import saliency_rows
from benchmarks.labels.sensitivity import sensitivity_rows
from benchmarks.tools.command import on_one_thread, run


@dataclass(frozen=True)
class Bar:
    """What a figure should reach; only information."""

    label: str
    data: str
    method: str
    metric: str
    limit: float
    at_least: bool = False

    def verdict(self, value: float) -> str:
        """PASS or MISS, and the limit."""
        passed = value >= self.limit if self.at_least else value <= self.limit
        return f"{'PASS' if passed else 'MISS'} ({'≥' if self.at_least else '≤'} {self.limit:g})"


RGBD = ("seven-scenes", "seven-scenes-2")
BARS = (
    *(Bar("edges", f"BSDS, {half} half", "edges", "ODS", 0.72, at_least=True) for half in HALVES),
    *(
        Bar("motion", f"{half} half, {setting}", "independent_motion", metric, limit, at_least=most)
        for half in HALVES
        for setting, least in (("native", 0.7), (DEFAULTS, 0.6))
        for metric, limit, most in (
            ("J, mean of clips", least, True),
            ("J, worst clip", 0.3, True),
            ("claimed moving, worst clip", 0.001, False),
            ("hardly sure of what it claims, mean of clips", 0.1, False),
        )
    ),
    *(
        Bar(
            "saliency", f"{half} half, {setting}", "boundary_saliency", "J, mean of clips", 0.4, at_least=True
        )
        for half in HALVES
        for setting in ("native", DEFAULTS)
    ),
    *(Bar("disparity", clip, "video_disparity", "ordinal @ 60%", 0.94, at_least=True) for clip in RGBD),
    Bar("disparity", "stereo mean", "stereo", "bad2 visible @ 96%", 0.03),
    Bar("disparity", "stereo mean", "stereo", "bad2 all @ 96%", 0.03),
    *(Bar("normals", f"video, {clip}", "normals", "median ° @ 30%", 11) for clip in RGBD),
    Bar("normals", "stereo", "normals", "median ° @ 70%", 4),
    Bar("normals", "stereo", "normals", "median ° @ 100%", 7),
    *(Bar("normals", f"sensor depth, {clip}", "normals", "median ° @ 70%", 4) for clip in RGBD),
    *(Bar("normals", f"sensor depth, {clip}", "normals", "median ° @ 100%", 7) for clip in RGBD),
    Bar("flow", "RubberWhale", "dense_inverse_search", "EPE px", 0.11),
    Bar("flow", "stereo pairs", "dense_inverse_search", "EPE of the surest 75 % / oracle's", 1.4),
    Bar("all labels", "a video at 256 × 256", "all", "ms", 400),
)
ECE_LIMIT = 0.07


MEASURES: dict[str, Callable[[Path | None, str], Iterator[Row]]] = {
    "edges": edge_rows,
    "motion": motion_rows,
    "saliency": saliency_rows,
    "flow": flow_rows,
    "depth": depth_rows,
    "normals": normals_rows,
}
SENSITIVITY = "sensitivity"  # a quarter of an hour, so only where it is asked for
PARTS = ("cost", "renders", *MEASURES, "reliability")  # cost first: the caches are its own


def measured(
    part: str, data: Path | None, clips: int, pictures: Path | None, half: str, counts: Path | None
) -> Iterator[Row]:
    """The rows of one part, as they are measured."""
    if part == "cost":
        yield from cost_rows()
    elif part == SENSITIVITY:
        yield from sensitivity_rows(data)
    elif part == "renders":
        yield from rendered_rows(clips)
    elif part == "reliability":
        yield from reliability_rows(data, pictures, half, counts)
    else:
        yield from MEASURES[part](data, half)


def verdict(row: Row) -> str:
    """What the row's bar says, the empty string where there is none."""
    for bar in BARS:
        if all(row[key] == getattr(bar, key) for key in ("label", "data", "method", "metric")):
            return bar.verdict(row["value"])
    if row["metric"] == "ECE":
        return Bar("", "", "", "ECE", ECE_LIMIT).verdict(row["value"])
    return ""


def main(
    *,
    data: Path | None = None,
    only: str = "",
    half: str = "",
    clips: int = 4,
    pictures: Path | None = None,
    counts: Path | None = None,
    out: Path | None = None,
) -> None:
    """Print one table of figures: label, data, method, metric, value.

    Args:
        data: Folder of real footage with ground truth; without it rendered clips and one stereo pair are measured.
        only: Parts, separated by commas: cost, renders, edges, motion, saliency, flow, depth, normals,
            reliability; and sensitivity, each detector with each of its constants changed by 30 %, which is left
            out unless asked.
        half: "chosen" for the footage that constants were chosen on, "other" for the rest; without it both, apart.
        clips: How many rendered clips.
        pictures: Folder for reliability diagrams on the real footage.
        counts: Also write raw scores and how often they were right, by clip of real footage, into this JSON file
            (with reliability): `freelabels calibrate --footage` takes it.
        out: Also write the rows into this JSON file.
    """
    cv2.setNumThreads(1)
    asked = {part for part in only.split(",") if part}
    if unknown := asked - {*PARTS, SENSITIVITY}:
        there = ", ".join([*PARTS, SENSITIVITY])
        raise SystemExit(f"--only {', '.join(sorted(unknown))}: there are {there}")
    if half not in ("", *HALVES):
        raise SystemExit(f"--half {half}: there are {', '.join(HALVES)}")
    if data is not None and not data.is_dir():
        raise SystemExit(f"--data {data} is no folder; name the folder of ground truth")
    rows: list[Row] = []
    left_out = []
    for part in [*PARTS, SENSITIVITY]:
        if part not in (asked or PARTS):
            continue
        before = len(rows)
        for row in measured(part, data, clips, pictures, half, counts):
            rows.append(row)
            print(line(row), flush=True)
        if len(rows) == before:
            left_out.append(part)
    if left_out:
        where = (
            "without --data, the folder of ground truth"
            if data is None
            else f"{data} has no footage for them"
        )
        print(f"left out: {', '.join(left_out)} ({where})")
    if out is not None:
        out.write_text(json.dumps(rows, indent=1) + "\n")


def line(row: Row) -> str:
    """A row as the table shows it."""
    value = f"{row['value']:8.0f}" if row["metric"] == "ms" else f"{row['value']:8.4f}"
    text = f"{row['label']:22}{row['data']:34}{row['method']:26}{row['metric']:46}{value}"
    return f"{text}  {verdict(row)}".rstrip()


if __name__ == "__main__":
    on_one_thread()
    run(main, benchmarks.labels.__doc__)
