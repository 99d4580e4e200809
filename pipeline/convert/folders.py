"""A folder a field, a file a frame: PNG, NPY or EXR."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from freelabels.generators.contract.fields import Array, Kind, field
from freelabels.pipeline.convert.coding import PNG_SAYS, as_exr, as_npy, as_png
from freelabels.pipeline.convert.frames import Source, images_of

ABOUT, FRAMES = "freelabels.json", "frames.jsonl"
Coded = tuple[str, bytes, tuple[float, float] | None]  # suffix, file, range


def png(source: Source, out: Path) -> int:
    """Everything as PNG."""
    return _written(source, out, lambda name, values: ("png", *as_png(name, values)), images_only=True)


def npy(source: Source, out: Path) -> int:
    """Images as PNG, everything else as stored."""

    def coded(name: str, values: Array) -> Coded:
        if field(name).kind is Kind.IMAGE:
            return "png", *as_png(name, values)
        return "npy", as_npy(values), None

    return _written(source, out, coded)


def exr(source: Source, out: Path) -> int:
    """Real numbers as EXR, whole ones as PNG."""

    def coded(name: str, values: Array) -> Coded:
        if np.dtype(field(name).dtype).kind == "f":
            return "exr", as_exr(values), None
        return "png", *as_png(name, values)

    return _written(source, out, coded, images_only=True)


def _written(
    source: Source, out: Path, coded: Callable[[str, Array], Coded], images_only: bool = False
) -> int:
    """Write ``FIELD/KEY.SUFFIX``, a line a frame and what all of it means; returns how many frames."""
    columns, count = images_of(source.columns) if images_only else list(source.columns), 0
    for name in columns:
        (out / name).mkdir(parents=True)
    with (out / FRAMES).open("w") as lines:
        for clip in source.clips():
            for k, key in enumerate(clip.keys):
                files, ranges = {}, {}
                for name in columns:
                    if name not in clip.columns:
                        continue
                    suffix, data, found = coded(name, clip.columns[name][k])
                    files[name] = f"{name}/{key}.{suffix}"
                    (out / files[name]).write_bytes(data)
                    if found is not None:
                        ranges[name] = found
                line: dict[str, Any] = {**clip.about[k], "files": files, "ranges": ranges}
                lines.write(json.dumps(line) + "\n")
                count += 1
    write_about(source, out)
    return count


def write_about(source: Source, out: Path) -> None:
    """Beside converted files: what they mean and what made them."""
    about = source.about()
    for name, entry in about["fields"].items():
        entry["png"] = PNG_SAYS.get(field(name).kind, "")
    (out / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
