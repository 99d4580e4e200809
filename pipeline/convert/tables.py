"""Parquet: a row a frame, with thumbnail and figures of its labels; a Hugging Face dataset, with all pixels."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
from PIL import Image

from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX, Array, field
from freelabels.pipeline.convert.coding import PNG_SAYS, as_png
from freelabels.pipeline.convert.folders import write_about
from freelabels.pipeline.convert.frames import Source, images_of
from freelabels.pipeline.shards.splits import SPLITS, VAL
from freelabels.pipeline.viewer.frame_reader import frame_figures

THUMBNAIL = 128  # pixels of the longer side
ROWS = 256  # of a file of a Hugging Face dataset, at least, unless it is the last
GROUP = 1024  # rows of a table that are written at a time, at least


def parquet(source: Source, out: Path) -> int:
    """Write ``frames.parquet``; returns how many frames.

    Of each what is known of it, a JPEG thumbnail, brightness and contrast, and of its labels coverage, mean
    confidence and mean (null where there is none).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = _types() | {"split": pa.string(), "thumbnail": pa.binary()}
    figures = ["brightness", "contrast"]
    for name in images_of(source.columns):
        if name != "image" and not name.endswith(CONFIDENCE_SUFFIX):
            figures += [f"{name} {figure}" for figure in ("coverage", "confidence", "mean")]
    schema = pa.schema([*types.items(), *((name.replace(" ", "_"), pa.float64()) for name in figures)])
    schema = schema.with_metadata({"freelabels": json.dumps(source.about())})
    count, rows = 0, list[dict[str, Any]]()
    with pq.ParquetWriter(out / "frames.parquet", schema) as table:
        for clip in source.clips():
            for k in range(len(clip)):
                columns = {n: clip.columns[n][k] for n in images_of(source.columns) if n in clip.columns}
                found = frame_figures(columns)
                row = _row(clip.about[k]) | {"split": clip.split or None}
                row["thumbnail"] = _thumbnail(columns["image"])
                rows.append(row | {name.replace(" ", "_"): found.get(name) for name in figures})
            if len(rows) >= GROUP:
                table.write_table(pa.Table.from_pylist(rows, schema))
                count += len(rows)
                rows.clear()
        if rows:
            table.write_table(pa.Table.from_pylist(rows, schema))
            count += len(rows)
    write_about(source, out)
    return count


def _thumbnail(image: Array) -> bytes:
    scale = min(1.0, THUMBNAIL / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    out = io.BytesIO()
    Image.fromarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA)).save(out, "JPEG", quality=85)
    return out.getvalue()


def huggingface(source: Source, out: Path) -> int:
    """Write ``data/frames-00000.parquet`` and so on, a name a split where there are splits, and a card.

    Returns how many frames. `datasets.load_dataset` gives image and labels as pictures, coded as the card says.
    """

    (out / "data").mkdir()
    columns = images_of(source.columns)
    schema = _hub_schema(columns)
    count = sum(_hub_files(source, split, columns, schema, out / "data") for split in source.splits)
    (out / "README.md").write_text(_card(source, columns))
    write_about(source, out)
    return count


def _hub_files(source: Source, split: str, columns: Sequence[str], schema: Any, out: Path) -> int:
    """The files of one split; returns how many frames."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    count = files = 0

    def close() -> None:
        nonlocal files
        if rows:
            name = f"{split or 'frames'}-{files:05d}.parquet"
            pq.write_table(pa.Table.from_pylist(rows, schema), out / name)
            files += 1
            rows.clear()

    for clip in source.clips(split):
        for k, key in enumerate(clip.keys):
            row = _row(clip.about[k])
            ranges = dict[str, Any]()
            for name in columns:
                row[name] = None
                if name in clip.columns:
                    data, found = as_png(name, clip.columns[name][k])
                    row[name] = {"bytes": data, "path": f"{key}.{name}.png"}
                    ranges |= {name: found} if found is not None else {}
            rows.append({**row, "ranges": json.dumps(ranges)})
            count += 1
        if len(rows) >= ROWS:
            close()
    close()
    return count


def _types() -> dict[str, Any]:
    """Types of the columns that say what a frame is, in order."""
    import pyarrow as pa

    row = pa.list_(pa.float64())
    matrix = pa.list_(row)
    return {
        **dict.fromkeys(("key", "clip"), pa.string()),
        **dict.fromkeys(("frame_index", "domain"), pa.int64()),
        "time": pa.float64(),
        **dict.fromkeys(("kind", "source", "intrinsics"), pa.string()),
        "tags": pa.list_(pa.string()),
        "names": pa.string(),
        **dict.fromkeys(("camera_K", "camera_pose"), matrix),
        **dict.fromkeys(("camera_distortion", "camera_shutter", "camera_velocity"), row),
        "baseline": pa.float64(),
    }


def _row(about: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a frame, by column; names of ids as JSON."""
    return {name: about.get(name) for name in _types()} | {"names": json.dumps(about["names"])}


def _hub_schema(pictures: Sequence[str]) -> Any:
    """The schema of a Hugging Face dataset, which says of its columns what `datasets` has to know."""
    import pyarrow as pa

    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {**_types(), **dict.fromkeys(pictures, picture), "ranges": pa.string()}

    def feature(kind: Any) -> Any:
        if kind == picture:
            return {"_type": "Image"}
        if pa.types.is_list(kind):
            return {"feature": feature(kind.value_type), "_type": "List"}
        return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}

    info = {"info": {"features": {name: feature(kind) for name, kind in types.items()}}}
    return pa.schema(types.items()).with_metadata({"huggingface": json.dumps(info)})


def _card(source: Source, pictures: Sequence[str]) -> str:
    """The card that tells the hub where the rows are, and people how labels are coded."""
    lines = ["---", "configs:", "- config_name: default"]
    if source.rule is None:
        lines.append("  data_files: data/*.parquet")
    else:
        there = [split for split in SPLITS if any(True for _ in source.clips(split))]
        lines.append("  data_files:")
        for split in there:
            called = "validation" if split == VAL else split  # as the hub has it
            lines += [f"  - split: {called}", f"    path: data/{split}-*.parquet"]
    lines += ["---", ""]
    lines += [
        f"# {Path(str(source.dataset.path)).name}",
        "",
        "Labels that no human drew, made by Freelabels.",
        "",
    ]
    lines += [
        "| column | meaning | unit | how the picture is coded (p: what stands there) |",
        "|---|---|---|---|",
    ]
    for name in pictures:
        spec = field(name)
        lines.append(f"| {name} | {spec.meaning} | {spec.unit} | {PNG_SAYS[spec.kind]} |")
    return "\n".join([*lines, ""])
