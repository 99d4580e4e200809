"""COCO: instances of renders with box, mask and class; of real frames, which have none, superpixels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array, confidence_name
from freelabels.ground.errors import UserError
from freelabels.pipeline.convert.coding import as_png
from freelabels.pipeline.convert.folders import write_about
from freelabels.pipeline.convert.frames import Frames, Source

INSTANCES, REGIONS = "instance", "regions"


def coco(source: Source, out: Path) -> int:
    """Write ``images/KEY.png`` and ``annotations.json``; returns how many frames.

    Of an annotation: ``segmentation`` (run lengths), ``bbox``, ``area``; ``score``, the mean confidence of its
    pixels; of an object also ``visible``, the share of it that is seen, ``instance_id``, stable over the clip, and
    ``name``. Raises UserError if there are neither instances nor regions.
    """
    kinds = [name for name in (INSTANCES, REGIONS) if name in source.columns]
    if not kinds:
        raise UserError(
            f"{source.dataset.path} holds neither instances nor regions, so there is nothing for COCO"
        )
    (out / "images").mkdir()
    categories: dict[str, int] = {}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for clip in source.clips():
        for k, key in enumerate(clip.keys):
            image = clip.columns["image"][k]
            (out / "images" / f"{key}.png").write_bytes(as_png("image", image)[0])
            number = len(images) + 1
            height, width = image.shape[:2]
            images.append(
                {"id": number, "file_name": f"{key}.png", "height": height, "width": width, **clip.about[k]}
            )
            for entry in _annotations(clip, k, kinds):
                category = categories.setdefault(entry.pop("class"), len(categories) + 1)
                described = {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "iscrowd": 0,
                }
                annotations.append({**described, **entry})
    document = {
        "info": {
            "description": "labels that no human drew, by Freelabels",
            "version": source.about()["freelabels"],
        },
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    (out / "annotations.json").write_text(json.dumps(document))
    write_about(source, out)
    return len(images)


def _annotations(clip: Frames, k: int, kinds: list[str]) -> Iterator[dict[str, Any]]:
    kind = next((name for name in kinds if name in clip.columns), None)
    if kind is None:
        return
    ids, trust = clip.columns[kind][k], clip.columns.get(confidence_name(kind))
    things: Mapping[int, Mapping[str, Any]] = {int(thing["id"]): thing for thing in clip.objects}
    first = 1 if kind == INSTANCES else 0
    for number in np.unique(ids[ids >= first]).tolist():
        mask = ids == number
        entry: dict[str, Any] = {
            "class": str(things.get(number, {}).get("class", "object")) if kind == INSTANCES else "region",
            "segmentation": run_lengths(mask),
            "bbox": box_of(mask),
            "area": int(mask.sum()),
            "score": 1.0 if trust is None else round(float(trust[k][mask].mean()) / 255, 4),
        }
        if kind == INSTANCES:
            entry |= {"instance_id": number, "name": str(things.get(number, {}).get("name", ""))}
            if "object_visible" in clip.columns and number < clip.columns["object_visible"].shape[1]:
                entry["visible"] = round(float(clip.columns["object_visible"][k, number]), 4)
        yield entry


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask (y, x) as COCO counts it: down the columns, first what is not in it."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=False, append=not flat[-1] if flat.size else True))
    return {"size": list(mask.shape), "counts": np.diff(edges, prepend=0).tolist()}


def box_of(mask: Array) -> list[int]:
    """x, y, width and height of the pixels of a mask that isn't empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]
