"""COCO's instances (annotations/instances_train2017.json, train2017/): boxes, and classes a picture shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from freelabels.ground.errors import UserError
from freelabels.train.probing.layouts.lists import existing
from freelabels.train.probing.layouts.sets import Boxed, Classified

NEEDED = ("images", "annotations", "categories")


def coco_files(root: Path) -> dict[str, Path]:
    """Files of instances by the name of their split: COCO's own, or Roboflow's beside the pictures."""
    usual = {
        p.stem.removeprefix("instances_"): p for p in sorted((root / "annotations").glob("instances_*.json"))
    }
    return usual or {p.parent.name: p for p in sorted(root.glob("*/_annotations.coco.json"))}


def coco_classes(root: Path) -> Classified:
    """Categories with an instance as classes an image shows; those with crowds alone are not said (NaN)."""
    read = _instances(root)
    truth = torch.zeros(len(read.files), len(read.classes))
    for row, objects in zip(truth, read.objects, strict=True):
        for one in sorted(objects, key=lambda one: not one.get("iscrowd", 0)):  # the sure ones last
            row[read.column[one["category_id"]]] = float("nan") if one.get("iscrowd", 0) else 1.0
    return Classified(root.name, read.files, truth, read.classes, False, read.test, read.layout)


def coco_boxes(root: Path) -> Boxed:
    """The instances of each picture; an image without any has none."""
    read = _instances(root)
    for file, objects in zip(read.files, read.objects, strict=True):
        if any(len(one.get("bbox", ())) != 4 for one in objects):
            raise UserError(
                f"{root}: an instance of {file.name} has no bbox of four numbers; get the annotations anew"
            )
    corners = [np.array([one["bbox"] for one in each], np.float32).reshape(-1, 4) for each in read.objects]
    areas = [
        np.array([one.get("area", one["bbox"][2] * one["bbox"][3]) for one in each], np.float32)
        for each in read.objects
    ]
    return Boxed(
        root.name,
        read.files,
        tuple(np.concatenate([c[:, :2], c[:, :2] + c[:, 2:]], axis=1) for c in corners),
        tuple(np.array([read.column[one["category_id"]] for one in each], np.int64) for each in read.objects),
        tuple(np.array([bool(one.get("iscrowd", 0)) for one in each], np.bool_) for each in read.objects),
        tuple(areas),
        read.classes,
        read.test,
        read.layout,
    )


@dataclass(frozen=True)
class _Instances:
    """Pictures with their annotations as the file has them. column: a category's place in `classes`."""

    files: tuple[Path, ...]
    objects: tuple[list[dict[str, Any]], ...]
    classes: tuple[str, ...]
    column: dict[Any, int]
    test: NDArray[np.bool_] | None
    layout: str


def _instances(root: Path) -> _Instances:
    instances = coco_files(root)
    tests = [name for name in instances if name.startswith(("val", "test"))]
    trains = [name for name in instances if name.startswith("train")]
    chosen = [*trains[:1], *tests[:1]] if trains and tests else list(instances)[:1]
    documents = {name: _document(instances[name]) for name in chosen}
    categories = {c["id"]: str(c["name"]) for d in documents.values() for c in d["categories"]}
    classes = sorted(set(categories.values()))
    files: list[str] = []
    objects: list[list[dict[str, Any]]] = []
    test: list[bool] = []
    for split, document in documents.items():
        by_image: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in document["images"]}
        for one in document["annotations"]:
            if one["image_id"] not in by_image or one["category_id"] not in categories:
                raise UserError(
                    f"{instances[split]} has an annotation of an image or category it doesn't list"
                )
            by_image[one["image_id"]].append(one)
        names = [str(image["file_name"]) for image in document["images"]]
        places = (root / split, root / "images" / split, root / "images", instances[split].parent, root)
        files += _located(root, places, names, instances[split])
        objects += [by_image[image["id"]] for image in document["images"]]
        test += [split in tests] * len(names)
    if not files:
        raise UserError(f"--data {root}: its instances name no image")
    return _Instances(
        tuple(map(Path, files)),
        tuple(objects),
        tuple(classes),
        {number: classes.index(name) for number, name in categories.items()},
        np.array(test) if len(chosen) == 2 else None,
        f"COCO, {' and '.join(instances[name].name for name in chosen)}",
    )


def _located(root: Path, places: Sequence[Path], names: Sequence[str], source: Path) -> list[str]:
    """Paths of the pictures, in the first folder that has the first of them."""
    if not names:
        return []
    found = next((place for place in places if (place / names[0]).is_file()), None)
    if found is None:
        raise UserError(
            f"--data {root}: has no image {names[0]}, which {source.name} names; "
            f"unpack the pictures into {places[0]}"
        )
    return existing(found, names, source)


def _document(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        if missing := [key for key in NEEDED if key not in document]:
            raise ValueError(f"it has no {missing[0]}")
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} can't be read as COCO instances: {error}") from error
    return document
