"""The sheet of `freelabels compare`: one HTML file in the style of the page of `freelabels inspect`."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from freelabels.generators.contract.fields import Array, Kind, field
from freelabels.generators.contract.legends import Legend, legend
from freelabels.generators.contract.pictures import UNKNOWN, picture
from freelabels.pipeline.quality.compare import Comparison, FrameDifference, Labelling, Seen
from freelabels.pipeline.quality.differences import measure_of
from freelabels.pipeline.storage.uris import output_file
from freelabels.pipeline.viewer.frame_reader import encoded
from freelabels.pipeline.viewer.places import without_places
from freelabels.pipeline.viewer.report import legend_json

SIDE = 320  # pixels of the longer side of a picture
LISTED = 200  # frames in the table
BARS = 24


def write_comparison(
    found: Comparison, target: str | os.PathLike[str], *, most: float | None = None, places: bool = False
) -> Path:
    """Write a page of a comparison and the frames whose pixels it kept, that needs nothing beyond its own file.

    most: the largest difference that was allowed. places: keep paths from the root of this machine; else their
    last folder and name alone. Raises UserError if it can't be written.
    """
    measure = measure_of(found.field)
    ranked = sorted(found.frames, key=_worst_first)
    ramp = np.linspace(0, measure.full, 96, dtype=np.float32)[None].repeat(12, 0)
    unit = f" {measure.unit}".replace(" °", "°") if measure.unit else ""
    known: dict[str, Any] = {
        "a": found.a,
        "b": found.b,
        "field": found.field,
        "measure": measure.name,
        "unit": unit,
        "difference": _said(found.difference),
        "most": None if most is None else _said(most),
        "failed": most is not None and found.exceeds(most),
        "compared": found.compared,
        "only_a": found.only_a,
        "only_b": found.only_b,
        "frames_only_a": found.frames_only_a,
        "frames_only_b": found.frames_only_b,
        "frames": len(found.frames),
        "bars": _bars([frame.difference for frame in found.frames], measure.full),
        "full": _said(measure.full),
        "listed": [_row(frame) for frame in ranked[:LISTED]],
    }
    seen = [_row(one.about) for one in found.worst]
    if not places:
        known, seen = without_places(known), without_places(seen)
    shown = {
        "seen": [row | _pictures(one, found.field) for row, one in zip(seen, found.worst, strict=True)],
        "legend": legend_json(legend(found.field)),
        "scale": legend_json(Legend(heat(ramp, measure.full), "0", f"≥ {_said(measure.full)}{unit}")),
    }
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    here = files("freelabels.pipeline.viewer").joinpath("web")
    text = environment.from_string(here.joinpath("compare.html").read_text(encoding="utf-8")).render(
        style=here.joinpath("page.css").read_text(encoding="utf-8"), **known, **shown
    )
    with output_file(target) as file:
        file.write_text(text, encoding="utf-8")
    return file


def heat(apart: Array, full: float) -> Array:
    """Differences (y, x) as colours (y, x, 3): black is none, brightest from `full` on, slate where NaN."""
    known = np.isfinite(apart)
    level = np.clip(np.where(known, apart, 0) / full, 0, 1)
    colours = cv2.applyColorMap(np.rint(level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1].copy()
    colours[~known] = UNKNOWN
    return np.asarray(colours)


def _worst_first(frame: FrameDifference) -> tuple[bool, float]:
    return frame.difference is None, -(frame.difference or 0.0)


def _said(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _row(frame: FrameDifference) -> dict[str, Any]:
    return {
        "source": frame.source,
        "name": frame.source.replace("\\", "/").rpartition("/")[2] or frame.source,
        "frame": frame.frame,
        "place": f"{frame.shard} row {frame.row}",
        "difference": _said(frame.difference),
        "shares": [f"{100 * share:.1f}" for share in (frame.compared, frame.only_a, frame.only_b)],
        "trust": ["" if one is None else f"{one:.2f}" for one in (frame.confidence_a, frame.confidence_b)],
    }


def _pictures(seen: Seen, name: str) -> dict[str, Any]:
    tiles = [("image", seen.image)] if seen.image is not None else []
    tiles += zip("AB", _coloured(name, seen.a, seen.b), strict=True)
    tiles.append(("difference", heat(seen.map, measure_of(name).full)))
    return {"tiles": [(title, _as_text(np.ascontiguousarray(colours))) for title, colours in tiles]}


def _coloured(name: str, *labellings: Labelling) -> list[Array]:
    """Labellings of one frame as colours, on one scale where they share one."""
    known = field(name)
    if known.kind in (Kind.RELATIVE, Kind.BITS):
        return [picture(name, one.values, one.confidence) for one in labellings]
    trusts = [
        np.full(one.values.shape[:2], 255, np.uint8) if one.confidence is None else one.confidence
        for one in labellings
    ]
    return list(picture(name, np.stack([one.values for one in labellings]), np.stack(trusts)))


def _as_text(colours: Array) -> str:
    height, width = colours.shape[:2]
    scale = SIDE / max(height, width)
    if scale < 1:
        to = max(1, round(width * scale)), max(1, round(height * scale))
        colours = np.asarray(cv2.resize(colours, to, interpolation=cv2.INTER_AREA))
    return base64.b64encode(encoded(colours, quality=90)).decode()


def _bars(values: Sequence[float | None], full: float) -> list[tuple[float, float, int]]:
    """Histogram of frames' differences as (left, height) in percent and the number of frames."""
    known = [value for value in values if value is not None]
    top = max(max(known, default=0.0), 1e-9)
    counts, _ = np.histogram(known, BARS, (0, max(top, min(full, 2 * top))))
    most = max(int(counts.max()), 1)
    return [(100 * k / BARS, 100 * n / most, n) for k, n in enumerate(counts.tolist())]
