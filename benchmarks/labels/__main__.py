"""How good every label is, beside the plain baseline: ``python -m benchmarks.labels [--data DIR]``.

Without data: on rendered clips. With --data, a folder of real footage with ground truth, also on that:
``edges/images/*.jpg`` and ``edges/boundaries/*.mat`` (BSDS), ``motion/<clip>`` (DAVIS frames and masks),
``flow`` and ``stereo`` (Middlebury), ``rgbd/<clip>`` (7-Scenes). Milliseconds are CPU time of one thread.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import tyro

from benchmarks.labels import reliability
from benchmarks.labels.depth import stereo_rows, video_disparity_rows
from benchmarks.labels.edges import edge_rows
from benchmarks.labels.flow import flow_rows
from benchmarks.labels.motion import motion_rows
from benchmarks.labels.normals import normals_rows
from benchmarks.labels.rendered import cost_rows, rendered_rows
from freelabels.pipeline.quality.reliability import Tally, draw_reliability

Row = dict[str, Any]
SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # CPU time of waiting threads is no cost
SURE = 0.1  # the share of labels that a careful trainer would start with


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


BARS = (
    Bar("edges", "BSDS", "edges", "ODS", 0.72, at_least=True),
    Bar("edges", "BSDS", "edges", "ms", 250),
    Bar("motion", "car-shadow", "independent_motion", "J", 0.84, at_least=True),
    Bar("motion", "dogs-jump", "independent_motion", "J", 0.65, at_least=True),
    Bar("motion", "seven-scenes", "independent_motion", "claimed moving", 0.003),
    Bar("disparity", "seven-scenes", "video_disparity", "ordinal @ 60%", 0.94, at_least=True),
    Bar("disparity", "stereo mean", "stereo", "bad2 visible @ 96%", 0.03),
    Bar("disparity", "stereo mean", "stereo", "bad2 all @ 96%", 0.03),
    Bar("normals", "video", "normals", "median ° @ 30%", 11),
    Bar("normals", "stereo", "normals", "median ° @ 70%", 4),
    Bar("normals", "stereo", "normals", "median ° @ 100%", 7),
    Bar("normals", "sensor depth", "normals", "median ° @ 70%", 4),
    Bar("normals", "sensor depth", "normals", "median ° @ 100%", 7),
    Bar("flow", "RubberWhale", "dense_inverse_search", "EPE px", 0.11),
    Bar("flow", "stereo pairs", "dense_inverse_search", "EPE of the surest 75 % / oracle's", 1.4),
    Bar("all labels", "a video at 256 × 256", "all", "ms", 400),
)
ECE_LIMIT = 0.07


def _edges(data: Path) -> Iterator[Row]:
    for row in edge_rows(data / "edges"):
        values = {"ODS": row.score.ods, "OIS": row.score.ois, "AP": row.score.ap, "ms": row.milliseconds}
        for metric, value in values.items():
            about = {"label": "edges", "data": "BSDS", "method": row.method}
            yield {**about, "metric": metric, "value": value}


def _depth(data: Path) -> Iterator[Row]:
    yield from stereo_rows(data)
    yield from video_disparity_rows(data)


MEASURES: dict[str, Callable[[Path], Iterator[Row]]] = {
    "edges": _edges,
    "motion": motion_rows,
    "flow": flow_rows,
    "depth": _depth,
    "normals": normals_rows,
}
FOLDERS = {"edges": "edges", "motion": "motion", "flow": "flow", "depth": "rgbd", "normals": "rgbd"}
WITHOUT_DATA = ("renders", "cost")


def reliability_rows(data: Path, pictures: Path | None) -> Iterator[Row]:
    """ECE per label, map and data, and the error among the surest tenth; diagrams into `pictures`."""
    counted: dict[tuple[str, str, str], list[Tally]] = {}
    for part, tallies in reliability.PARTS.items():
        if (data / FOLDERS[part]).is_dir():
            for label, name, source, tally in tallies(data):
                counted.setdefault((label, name, source), []).append(tally)
    whole: dict[str, dict[str, Tally]] = {}
    for (label, name, source), parts in counted.items():
        tally = Tally.sum(parts)
        whole.setdefault(label, {})[f"{name}, {source}"] = tally
        about = {"label": label, "data": source, "method": name}
        yield {**about, "metric": "ECE", "value": tally.calibration_error}
        yield {**about, "metric": "wrong", "value": tally.risk(1.0)}
        yield {**about, "metric": f"wrong of the surest {SURE:.0%}", "value": tally.risk(SURE)}
    for label, curves in whole.items():
        every = Tally.sum(list(curves.values()))
        about = {"label": label, "data": "all real", "method": "all"}
        yield {**about, "metric": "ECE", "value": every.calibration_error}
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            draw_reliability(f"{label}: real footage", curves, pictures / f"real-{label}.png")


def measured(data: Path | None, only: tuple[str, ...], clips: int, pictures: Path | None) -> Iterator[Row]:
    """All rows asked for, as they are measured."""
    if "cost" in only:  # first: the caches are its own
        yield from cost_rows()
    if "renders" in only:
        yield from rendered_rows(clips)
    if data is None:
        return
    for part, rows in MEASURES.items():
        if part in only and (data / FOLDERS[part]).is_dir():
            yield from rows(data)
    if "reliability" in only:
        yield from reliability_rows(data, pictures)


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
    clips: int = 4,
    pictures: Path | None = None,
    out: Path | None = None,
) -> None:
    """Print one table of figures: label, data, method, metric, value.

    Args:
        data: Folder of real footage with ground truth; without it only rendered clips are measured.
        only: Parts, separated by commas: renders, cost, edges, motion, flow, depth, normals, reliability.
        clips: How many rendered clips.
        pictures: Folder for reliability diagrams on the real footage.
        out: Also write the rows into this JSON file.
    """
    cv2.setNumThreads(1)
    known = (*WITHOUT_DATA, *MEASURES, "reliability")
    parts = tuple(part for part in only.split(",") if part) or known
    if unknown := set(parts) - set(known):
        raise SystemExit(f"--only {', '.join(sorted(unknown))}: there are {', '.join(known)}")
    if data is not None and not data.is_dir():
        raise SystemExit(f"--data {data} is no folder; name the folder of ground truth")
    if data is None and not set(parts) & set(WITHOUT_DATA):
        raise SystemExit(f"--only {only} needs --data, the folder of ground truth")
    rows = []
    for row in measured(data, parts, clips, pictures):
        rows.append(row)
        value = f"{row['value']:8.0f}" if row["metric"] == "ms" else f"{row['value']:8.4f}"
        line = f"{row['label']:22}{row['data']:24}{row['method']:26}{row['metric']:34}{value}"
        print(f"{line}  {verdict(row)}".rstrip(), flush=True)
    if out is not None:
        out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    if not SINGLE.keys() <= os.environ.keys():  # read when the libraries are loaded, which they are by now
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **SINGLE})
    tyro.cli(main)
