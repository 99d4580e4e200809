"""PASCAL VOC 2007 and 2012: classes a picture shows, boxes, and label maps, with SBD's augmented ones.

torchvision's reader wants one year's folders, knows no lists a class and no augmented maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from numpy.typing import NDArray

from freelabels.ground.errors import UserError
from freelabels.train.probing.layouts.lists import first_existing, folders_in, lines, picture_of
from freelabels.train.probing.layouts.sets import Boxed, Classified, Segmented

VOID = 255
SPLITS = ("train", "val", "trainval", "test")
PAIRS = (
    ("trainval", "test"),
    ("train", "val"),
    ("trainval", "val"),
    ("train", "test"),
)  # first the year's own
MAPS, AUGMENTED = "SegmentationClass", "SegmentationClassAug"
AUGMENTED_LISTS = tuple(
    f"ImageSets/{folder}/{name}.txt"
    for folder in ("SegmentationAug", "Segmentation")
    for name in ("train_aug", "trainaug")
)
CORNERS = ("xmin", "ymin", "xmax", "ymax")
SHOWN = {"1": 1.0, "0": float("nan"), "-1": 0.0}  # 0: difficult ones alone


def voc_roots(path: Path) -> list[Path]:
    """The folders of years in or at `path`, a VOCdevkit or what holds one; each has JPEGImages."""
    if (path / "JPEGImages").is_dir():
        return [path]
    inside = [*folders_in(path).values(), *folders_in(path / "VOCdevkit").values()]
    return [folder for folder in inside if folder.name.startswith("VOC") and (folder / "JPEGImages").is_dir()]


def has_classes(root: Path) -> bool:
    """Whether a year's folder says which classes its pictures show."""
    return (root / "Annotations").is_dir() or bool(_class_lists(root))


def has_boxes(root: Path) -> bool:
    """Whether a year's folder has annotations of objects."""
    return (root / "Annotations").is_dir()


def has_maps(root: Path) -> bool:
    """Whether a year's folder has label maps."""
    return (root / MAPS).is_dir() or (root / AUGMENTED).is_dir()


def voc_classes(root: Path) -> Classified:
    """Which classes each picture shows, difficult ones not said (NaN).

    From ImageSets/Main/<class>_<split>.txt (1 shown, 0 difficult alone, -1 not shown), or, without these, from
    Annotations. Raises UserError for what is missing.
    """
    if lists := _class_lists(root):
        return _from_lists(root, lists)
    names, test, split = _annotated(root)
    objects = [_objects(root, name) for name in names]
    classes = sorted({one.name for image in objects for one in image})
    truth = torch.zeros(len(names), len(classes))
    for row, image in zip(truth, objects, strict=True):
        for one in sorted(image, key=lambda one: not one.difficult):  # the sure ones last
            row[classes.index(one.name)] = float("nan") if one.difficult else 1.0
    files = _pictures(root, names)
    return Classified(root.name, files, truth, tuple(classes), False, test, f"VOC, Annotations{split}")


def voc_boxes(root: Path) -> Boxed:
    """The objects of each picture that Annotations describes, by the lists in ImageSets/Main."""
    names, test, split = _annotated(root)
    objects = [_objects(root, name) for name in names]
    for name, image in zip(names, objects, strict=True):
        if any(len(one.corners) != len(CORNERS) for one in image):
            raise UserError(f"{root / 'Annotations' / name}.xml has an object without a box; get it anew")
    classes = sorted({one.name for image in objects for one in image})
    number = {name: k for k, name in enumerate(classes)}
    boxes = tuple(np.array([one.box for one in image], np.float32).reshape(-1, 4) for image in objects)
    return Boxed(
        root.name,
        _pictures(root, names),
        boxes,
        tuple(np.array([number[one.name] for one in image], np.int64) for image in objects),
        tuple(np.array([one.difficult for one in image], np.bool_) for image in objects),
        tuple((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in boxes),
        tuple(classes),
        test,
        f"VOC, Annotations{split}",
    )


def voc_masks(root: Path) -> Segmented:
    """Label maps: 0 background, 1 to 20 classes, 255 void; the augmented list is rid of what is tested on.

    Training: SegmentationClassAug, by train_aug.txt or trainaug.txt, if it is there (a list may hold stems, or
    paths of pictures and maps); else SegmentationClass by its lists.
    """
    known = {p.stem for p in (root / MAPS).glob("*.png")}
    names, test, split = _split(root, "Segmentation", known, "label map")
    if not (root / AUGMENTED).is_dir():
        maps = tuple(root / MAPS / f"{name}.png" for name in names)
        return Segmented(root.name, _pictures(root, names), maps, test, f"VOC, {MAPS}{split}")
    testing = _list(root, "Segmentation", "val")
    if not testing:
        raise UserError(
            f"{root / 'ImageSets/Segmentation/val.txt'} is missing or empty, which says what is tested on; take "
            "it from VOC2012"
        )
    file = first_existing(root / name for name in AUGMENTED_LISTS)
    listed = [p.stem for p in sorted((root / AUGMENTED).glob("*.png"))] if file is None else _stems(file)
    training = [name for name in listed if name not in set(testing)]
    if not training:
        raise UserError(f"{file or root / AUGMENTED} names no picture to fit to, only those of val.txt")
    maps = tuple(
        _map(root, name, places)
        for side, places in ((training, (AUGMENTED,)), (testing, (MAPS, AUGMENTED)))
        for name in side
    )
    return Segmented(
        root.name,
        _pictures(root, [*training, *testing]),
        maps,
        np.arange(len(maps)) >= len(training),
        f"VOC, {AUGMENTED} ({file.name if file else 'all but val.txt'} / val)",
    )


def _map(root: Path, name: str, places: Sequence[str]) -> Path:
    found = first_existing(root / place / f"{name}.png" for place in places)
    if found is None:
        raise UserError(
            f"{root / places[0] / name}.png is missing, which a list in {root / 'ImageSets'} names; unpack the "
            "label maps there, or take it out of the list"
        )
    return found


def _pictures(root: Path, names: Iterable[str]) -> tuple[Path, ...]:
    return tuple(picture_of(root / "JPEGImages", name) for name in names)


def _stems(file: Path) -> list[str]:
    """Names of pictures in a list: stems, or paths of a picture and its map (/JPEGImages/2007_000032.jpg …)."""
    firsts = [line.split()[0] for line in lines(file, "names of pictures")]
    return [Path(first).stem if "/" in first else first for first in firsts]


def _list(root: Path, task: str, split: str) -> list[str]:
    file = root / "ImageSets" / task / f"{split}.txt"
    return _stems(file) if file.is_file() else []


def _split(
    root: Path, task: str, known: set[str], thing: str
) -> tuple[list[str], NDArray[np.bool_] | None, str]:
    """Names of pictures, what is for testing, and which lists said it.

    Lists of which nothing is known are unlabelled. Raises UserError where some of a list is known and some isn't.
    """
    lists = {split: _list(root, task, split) for split in SPLITS}
    labelled = {split: names for split, names in lists.items() if not known.isdisjoint(names)}
    pair = next((pair for pair in PAIRS if all(split in labelled for split in pair)), None)
    chosen = pair or tuple(labelled)[-1:]
    for split in chosen:
        if unknown := [name for name in labelled[split] if name not in known]:
            raise UserError(
                f"{root / 'ImageSets' / task / split}.txt names {unknown[0]}, which has no {thing}, "
                f"one of {len(unknown)}; unpack them, or take their lines out of the list"
            )
    if pair is None:
        return (labelled[chosen[0]] if chosen else sorted(known)), None, ""
    test = labelled[pair[1]]
    train = [name for name in labelled[pair[0]] if name not in set(test)]
    if not train:
        raise UserError(
            f"{root / 'ImageSets' / task / pair[0]}.txt names nothing but what {pair[1]}.txt names"
        )
    where = np.arange(len(train) + len(test)) >= len(train)
    return [*train, *test], where, f" ({pair[0]} / {pair[1]})"


def _annotated(root: Path) -> tuple[list[str], NDArray[np.bool_] | None, str]:
    known = {p.stem for p in (root / "Annotations").glob("*.xml")}
    if not known:
        raise UserError(f"{root / 'Annotations'} holds no annotations; unpack them there")
    return _split(root, "Main", known, "annotation")


def _class_lists(root: Path) -> dict[str, dict[str, Path]]:
    """By split, the list of each class: aeroplane_trainval.txt and so on."""
    found: dict[str, dict[str, Path]] = {}
    for file in sorted((root / "ImageSets" / "Main").glob("*_*.txt")):
        name, _, split = file.stem.rpartition("_")
        if split in SPLITS:
            found.setdefault(split, {})[name] = file
    return found


def _from_lists(root: Path, lists: dict[str, dict[str, Path]]) -> Classified:
    pair = next((pair for pair in PAIRS if all(split in lists for split in pair)), None)
    sides = pair or tuple(lists)[:1]
    classes = sorted({name for split in sides for name in lists[split]})
    names: list[str] = []
    rows: list[list[float]] = []
    test: list[bool] = []
    for split in sides:
        marks = [_marks(root / "ImageSets" / "Main" / f"{name}_{split}.txt") for name in classes]
        for name in marks[0]:
            if lacking := [c for c, shown in zip(classes, marks, strict=True) if name not in shown]:
                raise UserError(
                    f"{root / 'ImageSets/Main' / lacking[0]}_{split}.txt lacks {name}, which "
                    f"{classes[0]}_{split}.txt names; get the lists anew"
                )
        fresh = [name for name in marks[0] if name not in set(names)]
        names += fresh
        rows += [[shown[name] for shown in marks] for name in fresh]
        test += [pair is not None and split == pair[1]] * len(fresh)
    layout = f"VOC, ImageSets/Main/<class>_{{{','.join(sides)}}}.txt"
    return Classified(
        root.name,
        _pictures(root, names),
        torch.tensor(rows),
        tuple(classes),
        False,
        np.array(test) if pair else None,
        layout,
    )


def _marks(file: Path) -> dict[str, float]:
    """Whether a picture shows a class, of a list of `000005 -1`."""
    found = {}
    for place, line in enumerate(lines(file, "which pictures show the class"), 1):
        name, *mark = line.split()
        if len(mark) != 1 or mark[0] not in SHOWN:
            raise UserError(f"{file}, line {place}: want a picture and 1, 0 or -1, not {line!r}; get it anew")
        found[name] = SHOWN[mark[0]]
    return found


@dataclass(frozen=True)
class _Object:
    """An object of an annotation. corners: left, top, right, bottom, counted from 1 and within the box."""

    name: str
    difficult: bool
    corners: tuple[float, ...]

    @property
    def box(self) -> tuple[float, ...]:
        """Edges from the image's top left corner."""
        left, top, right, bottom = self.corners
        return left - 1, top - 1, right, bottom


def _objects(root: Path, name: str) -> list[_Object]:
    """The objects of a picture; parts of people, which have boxes too, are none."""
    file = root / "Annotations" / f"{name}.xml"
    try:
        return [
            _Object(
                (element.findtext("name") or "").strip(),
                element.findtext("difficult", "0").strip() == "1",
                tuple(float(text) for key in CORNERS if (text := element.findtext(f"bndbox/{key}"))),
            )
            for element in ElementTree.parse(file).getroot().findall("object")
        ]
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{file} can't be read as a VOC annotation: {error}; get it anew") from error
