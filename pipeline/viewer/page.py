"""The page of `freelabels inspect`: page.html, page.css and page*.js around a report.

Pictures and values of frames are part of the page that is written to a file, and are asked for one by one in the
page that is served (`pipeline.viewer.serve`).
"""

from __future__ import annotations

import base64
import dataclasses
import os
import zlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from freelabels.generators.contract.fields import Kind, known_field
from freelabels.ground.errors import CorruptShard
from freelabels.pipeline.quality.spot_check import Span, Survey, sample_spans
from freelabels.pipeline.quality.verify import VerifySummary
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.storage.uris import output_file
from freelabels.pipeline.viewer.frame_reader import FrameReader, drawable
from freelabels.pipeline.viewer.listing import ClipListing, ShardListing, listing
from freelabels.pipeline.viewer.places import without_places
from freelabels.pipeline.viewer.report import (
    DatasetReport,
    as_json,
    document,
    figures_row,
    gather,
    measured,
    odd,
    survey_json,
    surveyed,
    verify_json,
)

SIDE = 256  # pixels of the longer side of pictures in a page that is a file
LAYER_SIDE = 192  # of layers in it
VALUE_SIDE = 96  # of the lattice of real values in it
BUDGET = 12 << 20  # bytes of frames that a page in a file may hold, so that it can be mailed
SHOWN_PLAIN = (Kind.IMAGE, Kind.PROBABILITY, Kind.BITS)  # the others look the same as a layer over slate


def write_html(
    paths: Sequence[str],
    target: str | os.PathLike[str],
    *,
    frames: int = 24,
    clips: int = 4,
    verified: Sequence[VerifySummary] = (),
    places: bool = False,
) -> Path:
    """Write a page about one dataset, or two side by side, that needs nothing beyond its own file.

    frames: how many of each dataset are in it, at most; fewer if they would take more than `BUDGET` bytes. clips:
    how many rendered clips the detectors are measured on. verified: by dataset, what verification found. places:
    keep paths from the root of this machine; else their last folder and name alone. Raises UserError.
    """
    reports = [gather(path) for path in paths]
    samples = [
        _sampled(path, report, frames, BUDGET // len(paths))
        for path, report in zip(paths, reports, strict=True)
    ]
    listings = [
        listing(report.index.dataset, sorted({span.shard for span in spans}))
        for report, spans in zip(reports, samples, strict=True)
    ]
    whole = document(reports, [dataclasses.asdict(listed) for listed in listings], live=False)
    names = whole["figure_names"]
    first: Survey | None = None
    whole["frames"] = []
    for number, (path, report) in enumerate(zip(paths, reports, strict=True)):
        entry = whole["datasets"][number]
        found = surveyed(path, report)
        entry["survey"] = survey_json(found, first)
        first = first or found
        entry["measure"] = _measure_job(path, report, clips)
        entry["verified"] = verify_json(verified[number]) if number < len(verified) else None
        listed = listings[number]
        sample, entry["skipped"] = _embedded(
            Dataset(path), samples[number], listed, number, names, BUDGET // len(paths)
        )
        whole["frames"] += sample
        shown = list(dict.fromkeys(frame["clip"] for frame in sample))
        reader = FrameReader(Dataset(path))
        shards = {listed.clips.shard[clip] for clip in shown}
        entry["made_by"] = {shard: reader.made_by(listed.shard_names[shard]) for shard in shards}
        reader.close()
        entry["clips"] = _only(listed.clips, shown)
        for frame in sample:
            frame["clip"] = shown.index(frame["clip"])
    with output_file(target) as file:
        file.write_text(html(whole if places else without_places(whole)), encoding="utf-8")
    return file


def _measure_job(path: str, report: DatasetReport, clips: int) -> dict[str, Any]:
    """The state of measuring as a server would tell it."""
    if not clips or not report.measurable:
        return {"state": "idle"}
    try:
        return {"state": "done", "result": [dataclasses.asdict(m) for m in measured(path, report, clips)]}
    except CorruptShard as error:
        return {"state": "failed", "error": str(error)}


def html(whole: dict[str, Any]) -> str:
    """The page with a report in it."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    here = files("freelabels.pipeline.viewer").joinpath("web")
    return environment.from_string(here.joinpath("page.html").read_text(encoding="utf-8")).render(
        title=" and ".join(entry["name"] for entry in whole["datasets"]),
        live=whole["live"],
        style=here.joinpath("page.css").read_text(encoding="utf-8"),
        scripts=[
            here.joinpath(name).read_text(encoding="utf-8")
            for name in (
                "page_store.js",
                "page_charts.js",
                "page_grid.js",
                "page_filter.js",
                "page_frame.js",
                "page_map.js",
                "page.js",
            )
        ],
        # Within a script element only "<" can end it; as an escape it is the same JSON.
        report=as_json(whole).replace("<", "\\u003c"),
    )


def _only(clips: ClipListing, chosen: Sequence[int]) -> dict[str, Any]:
    """The columns of the chosen clips alone."""
    return {name: [column[k] for k in chosen] for name, column in dataclasses.asdict(clips).items()}


def _embedded(
    dataset: Dataset,
    spans: Sequence[Span],
    listed: ShardListing,
    number: int,
    names: Sequence[str],
    budget: int,
) -> tuple[list[dict[str, Any]], int]:
    """Sampled frames of a dataset with their pictures and values, and how many can't be read.

    ``clip`` is the number of the frame's clip.
    """
    reader = FrameReader(dataset)
    clips = listed.clips
    out: list[dict[str, Any]] = []
    figures: list[dict[str, float]] = []
    skipped = size = 0
    for span in spans:
        shard = listed.shard_names.index(span.shard)
        clip = next(
            k
            for k in range(len(clips.shard))
            if clips.shard[k] == shard and clips.start[k] <= span.start < clips.stop[k]
        )
        for row in range(span.start, span.stop):
            try:
                details = reader.details(span.shard, row)
                pictures = _pictures(reader, span.shard, row)
                seen = reader.figures(span.shard, row)
            except CorruptShard:  # the page says how many; verify says which and why
                skipped += 1
                continue
            size += len(as_json([details, pictures]))
            if size > budget and out:  # frames differ; the first ones were smaller
                break
            figures.append(seen)
            out.append(
                {
                    "dataset": number,
                    "clip": clip,
                    "row": row,
                    "details": details,
                    "figures": figures_row(seen, names),
                    **pictures,
                }
            )
    reader.close()
    for frame, found in zip(out, odd(figures, names), strict=True):
        frame["odd"] = found
    return out, skipped


def _sampled(path: str, report: DatasetReport, most: int, budget: int) -> list[Span]:
    """Runs of frames, up to `most` of them, that take about `budget` bytes."""
    reader = FrameReader(Dataset(path))
    try:
        return sample_spans(report.spans, _affordable(reader, report, most, budget))
    finally:
        reader.close()


def _affordable(reader: FrameReader, report: DatasetReport, most: int, budget: int) -> int:
    """How many frames of up to `most` take about `budget` bytes, by the size of one in the middle."""
    for span in sample_spans(report.spans, min(most, 1)):
        try:
            one = [reader.details(span.shard, span.start), _pictures(reader, span.shard, span.start)]
        except CorruptShard:  # then the sample ends where its bytes do
            return most
        return min(most, max(1, budget // len(as_json(one))))
    return 0


def _pictures(reader: FrameReader, shard: str, row: int) -> dict[str, Any]:
    """Pictures, layers and values of one frame, as text."""
    with reader.shard(shard) as opened:
        columns = [name for name in opened.fields if drawable(name)]
    pictures: dict[str, str] = {}
    layers: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name in columns:
        spec = known_field(name)
        assert spec is not None
        if spec.kind in SHOWN_PLAIN:
            pictures[name] = _as_text(reader.picture(shard, row, name, SIDE))
        if spec.is_label:
            layers[name] = _as_text(reader.picture(shard, row, name, LAYER_SIDE, lay_over=True))
        if spec.is_map:
            stored = reader.values(shard, row, name, VALUE_SIDE)
            values[name] = {
                **stored.about,
                "data": _as_text(zlib.compress(stored.array.tobytes(), 6)),
            }
    return {"pictures": pictures, "layers": layers, "values": values}


def _as_text(data: bytes) -> str:
    return base64.b64encode(data).decode()
