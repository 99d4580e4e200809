"""Folders of human-labelled images that probes are scored on, by their layout: see `LAYOUTS`.

VOC and COCO are read here: torchvision's reader of VOC wants one year's folders and knows no test labels,
pycocotools prints as it loads and takes a file without annotations for one that shows nothing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from freelabels.ground.errors import UserError
from freelabels.pipeline.media.images import decode
from freelabels.pipeline.storage.uris import SourceError, read_bytes, why
from freelabels.train.data.augment import Resampler, centre_view

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
TRAINING, TESTING = (
    ("train", "training"),
    ("test", "testing", "val", "valid", "validation"),
)  # names of folders
MAP_FOLDERS = ("labels", "masks")  # beside images/
LAYOUTS = (
    "a folder a class (or train/ and test/ of these), VOC (Annotations, JPEGImages, ImageSets), "
    "COCO (annotations/instances_*.json), images/ with labels/, or a Freelabels dataset"
)
READERS = 4  # threads that decode images


@dataclass(frozen=True)
class Classified:
    """Images and which classes each shows.

    truth: (n, classes) float32: 1 shows it, 0 doesn't, NaN not said. exclusive: one class an image. test: (n,)
    what the layout keeps for testing; None: the probe draws it.
    """

    name: str
    files: tuple[Path, ...]
    truth: Tensor
    classes: tuple[str, ...]
    exclusive: bool
    test: NDArray[np.bool_] | None


@dataclass(frozen=True)
class Segmented:
    """Images, in the order of their names, and a label map for each: ids of classes, `void` ones not labelled."""

    name: str
    files: tuple[Path, ...]
    maps: tuple[Path, ...]
    test: NDArray[np.bool_] | None


def read_folder(path: str) -> list[Classified | Segmented]:
    """What a folder holds, by its layout. Raises UserError if there is no such folder or it has none of them."""
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"--data {path}: there is no such folder")
    if (root / "JPEGImages").is_dir():
        found: list[Classified | Segmented] = list(_voc(root))
    elif instances := _coco_files(root):
        found = [_coco(root, instances)]
    elif (root / "images").is_dir():
        found = [_beside(root)]
    else:
        found = [_class_folders(root)]
    for data in found:
        if isinstance(data, Classified):
            _check(path, data)
    return found


def _check(path: str, data: Classified) -> None:
    if len(data.classes) < 2:
        raise UserError(f"--data {path}: holds {len(data.classes)} class, a probe needs two or more")
    for side, rows in (("train", data.test is None or ~data.test), ("test", data.test is None or data.test)):
        seen = data.truth[torch.from_numpy(np.broadcast_to(rows, len(data.files)).copy())]
        if not bool((seen > 0).any()):
            raise UserError(f"--data {path}: its {side} part shows none of its classes")


def _images_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def _folders_in(folder: Path) -> dict[str, Path]:
    return {p.name: p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")}


def _class_folders(root: Path) -> Classified:
    """A folder a class; or one of training and one of test images, each with a folder a class."""
    folders = _folders_in(root)
    training = next((folders[name] for name in TRAINING if name in folders), None)
    testing = next((folders[name] for name in TESTING if name in folders), None)
    parts = [(root, False)]
    if training is not None and testing is not None:
        parts = [(training, False), (testing, True)]
    members = [
        (name, file, test)
        for folder, test in parts
        for name, inner in _folders_in(folder).items()
        for file in _images_in(inner)
    ]
    if not members:
        raise UserError(f"--data {root}: holds nothing to probe on; want {LAYOUTS}")
    classes = sorted({name for name, _, _ in members})
    number = torch.tensor([classes.index(name) for name, _, _ in members])
    return Classified(
        root.name,
        tuple(file for _, file, _ in members),
        torch.nn.functional.one_hot(number, len(classes)).float(),
        tuple(classes),
        True,
        np.array([test for _, _, test in members]) if len(parts) == 2 else None,
    )


def _voc(root: Path) -> Iterable[Classified | Segmented]:
    """Objects in Annotations as classes an image shows (difficult ones not said), SegmentationClass as maps."""
    if (root / "Annotations").is_dir():
        known = {p.stem for p in (root / "Annotations").glob("*.xml")}
        names, test = _voc_split(root, "Main", known)
        if not names:
            raise UserError(f"--data {root}: Annotations holds no file that its lists in ImageSets/Main name")
        objects = [_voc_objects(root / "Annotations" / f"{name}.xml") for name in names]
        classes = sorted({name for image in objects for name, _ in image})
        truth = torch.zeros(len(names), len(classes))
        for row, image in zip(truth, objects, strict=True):
            for name, difficult in sorted(image, key=lambda item: not item[1]):  # the sure ones last
                row[classes.index(name)] = float("nan") if difficult else 1.0
        files = tuple(_picture_of(root / "JPEGImages", name) for name in names)
        yield Classified(root.name, files, truth, tuple(classes), False, test)
    if (root / "SegmentationClass").is_dir():
        known = {p.stem for p in (root / "SegmentationClass").glob("*.png")}
        names, test = _voc_split(root, "Segmentation", known)
        if names:
            files = tuple(_picture_of(root / "JPEGImages", name) for name in names)
            maps = tuple(root / "SegmentationClass" / f"{name}.png" for name in names)
            yield Segmented(root.name, files, maps, test)


def _voc_split(root: Path, task: str, known: set[str]) -> tuple[list[str], NDArray[np.bool_] | None]:
    """Names of images, and which of them are for testing: test.txt if labelled, else val.txt."""
    folder = root / "ImageSets" / task
    lists = {
        p.stem: [line.split()[0] for line in p.read_text().splitlines() if line.strip()]
        for p in sorted(folder.glob("*.txt"))
        if p.stem in ("train", "val", "trainval", "test")
    }
    lists = {stem: [name for name in names if name in known] for stem, names in lists.items()}
    test = lists.get("test") or lists.get("val") or []
    listed = lists.get("train", []) + lists.get("val", []) + lists.get("trainval", [])
    train = sorted(set(listed) - set(test))
    if not train or not test:
        return sorted(known), None
    return [*train, *test], np.array([False] * len(train) + [True] * len(test))


def _voc_objects(path: Path) -> list[tuple[str, bool]]:
    """(class, difficult) of each object in an annotation."""
    try:
        objects = ElementTree.parse(path).getroot().iter("object")
        return [
            ((one.findtext("name") or "").strip(), one.findtext("difficult", "0").strip() == "1")
            for one in objects
        ]
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(f"{path} can't be read as a VOC annotation: {error}") from error


def _picture_of(folder: Path, stem: str) -> Path:
    found = next((p for s in SUFFIXES if (p := folder / f"{stem}{s}").is_file()), None)
    if found is None:
        raise UserError(f"{folder} holds no image named {stem}")
    return found


def _coco_files(root: Path) -> dict[str, Path]:
    """Files of instances by the name of their split."""
    usual = {
        p.stem.removeprefix("instances_"): p for p in sorted((root / "annotations").glob("instances_*.json"))
    }
    return usual or {p.parent.name: p for p in sorted(root.glob("*/_annotations.coco.json"))}


def _coco(root: Path, instances: dict[str, Path]) -> Classified:
    """Categories with an instance as classes an image shows; those with crowds alone are not said."""
    tests = [name for name in instances if name.startswith(("val", "test"))]
    trains = [name for name in instances if name.startswith("train")]
    chosen = [*trains[:1], *tests[:1]] if trains and tests else list(instances)[:1]
    documents = {name: _coco_document(instances[name]) for name in chosen}
    categories = {c["id"]: str(c["name"]) for d in documents.values() for c in d["categories"]}
    classes = sorted(set(categories.values()))
    files: list[Path] = []
    rows: list[Tensor] = []
    test: list[bool] = []
    for split, document in documents.items():
        marks: dict[Any, dict[int, bool]] = {image["id"]: {} for image in document["images"]}
        for one in document["annotations"]:
            if one["image_id"] not in marks or one["category_id"] not in categories:
                raise UserError(
                    f"{instances[split]} has an annotation of an image or category it doesn't list"
                )
            column = classes.index(categories[one["category_id"]])
            mark = marks[one["image_id"]]
            mark[column] = mark.get(column, False) or not one.get("iscrowd", 0)
        places = (root / split, root / "images" / split, root / "images", instances[split].parent, root)
        for image in document["images"]:
            row = torch.zeros(len(classes))
            for column, sure in marks[image["id"]].items():
                row[column] = 1.0 if sure else float("nan")
            found = next((p for place in places if (p := place / image["file_name"]).is_file()), None)
            if found is None:
                raise UserError(
                    f"--data {root}: has no image {image['file_name']}, which {instances[split].name} names"
                )
            files.append(found)
            rows.append(row)
            test.append(split in tests)
    if not rows:
        raise UserError(f"--data {root}: its instances name no image")
    return Classified(
        root.name,
        tuple(files),
        torch.stack(rows),
        tuple(classes),
        False,
        np.array(test) if len(chosen) == 2 else None,
    )


def _coco_document(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        if missing := {"images", "annotations", "categories"} - set(document):
            raise ValueError(f"it has no {sorted(missing)[0]}")
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} can't be read as COCO instances: {error}") from error
    return document


def _beside(root: Path) -> Segmented:
    """Images in images/ and a label map of the same name, PNG, in labels/."""
    folder = next((root / name for name in MAP_FOLDERS if (root / name).is_dir()), None)
    if folder is None:
        raise UserError(f"--data {root}: has images/ but no labels/ with a PNG of class ids for each")
    maps = {p.stem: p for p in folder.glob("*.png")}
    pairs = [(p, maps[p.stem]) for p in _images_in(root / "images") if p.stem in maps]
    if len(pairs) < 4:
        raise UserError(
            f"--data {root}: {len(pairs)} images have a map of their name in {folder.name}/; want 4 or more"
        )
    return Segmented(root.name, tuple(p for p, _ in pairs), tuple(m for _, m in pairs), None)


def read_images(files: Sequence[Path], size: int) -> Tensor:
    """The largest centred square of each image, uint8 sRGB (n, 3, size, size), resized as training frames are.

    Raises UserError, naming the file, for an image that can't be read.
    """
    with ThreadPoolExecutor(READERS) as pool:
        return torch.from_numpy(np.stack(list(pool.map(lambda file: _read_image(file, size), files))))


def _read_image(file: Path, size: int) -> NDArray[np.uint8]:
    try:
        picture = decode(read_bytes(str(file)), (size, size))
    except (SourceError, OSError) as error:
        raise UserError(f"{file} {why(error)}; take it away or mend it") from error
    height, width = picture.image.shape[:2]
    seen = Resampler(centre_view(height, width, size), (height, width)).image(picture.image[None])
    return np.ascontiguousarray(seen[0].transpose(2, 0, 1))


def read_maps(data: Segmented, size: int, void: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Class ids (n, 1, size, size) float32, by nearest pixel, and weights (n, size, size): 0 where void, else 1.

    Raises UserError, naming the file, for a map that can't be read, holds colours, or has another size than
    its image.
    """
    with ThreadPoolExecutor(READERS) as pool:
        pairs = zip(data.files, data.maps, strict=True)
        ids = torch.from_numpy(
            np.stack(list(pool.map(lambda pair: _read_map(pair[0], pair[1], size), pairs)))
        )
    weight = ~torch.isin(ids, torch.tensor(list(void), dtype=ids.dtype))
    return torch.where(weight, ids, 0)[:, None].float(), weight.float()


def _read_map(image: Path, file: Path, size: int) -> NDArray[np.int32]:
    try:
        data = read_bytes(str(file))
        with Image.open(io.BytesIO(data)) as opened:
            ids = np.asarray(opened)
        with Image.open(image) as opened:
            shape = opened.size[::-1]
    except (SourceError, OSError) as error:
        raise UserError(f"{file} {why(error)}; take it away or mend it") from error
    if ids.ndim != 2 or ids.dtype.kind not in "iub":
        raise UserError(f"{file} holds colours; a label map holds a class id a pixel (greyscale or palette)")
    if ids.shape != shape:
        raise UserError(
            f"{file} has {ids.shape[1]} × {ids.shape[0]} pixels, its image {shape[1]} × {shape[0]}"
        )
    view = Resampler(centre_view(*ids.shape, size), ids.shape)
    return np.asarray(view.map("semantic", ids[None])[0], np.int32)
