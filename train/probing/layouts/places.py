"""Places205 and Places365: list files of `path class`, and pictures in one of the folders they come in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from freelabels.ground.errors import UserError
from freelabels.train.probing.layouts.lists import existing, first_existing, numbered
from freelabels.train.probing.layouts.sets import Listed

LISTS_205, LISTS_365 = (".", "trainvalsplit_places205"), (".", "filelist_places365-standard")
TRAIN_205, VAL_205, CLASSES_205 = "train_places205.csv", "val_places205.csv", "categoryIndex_places205.csv"
TRAIN_365 = ("places365_train_standard.txt", "places365_train_challenge.txt")
VAL_365, CLASSES_365 = "places365_val.txt", "categories_places365.txt"
FOLDERS_205 = ("images256", "images", "data/vision/torralba/deeplearning/images256", ".")
FOLDERS_365 = ("data_256", "data_large", "data_256_standard", "data_large_standard", "train", ".")
FOLDERS_VAL = ("val_256", "val_large", "val", ".")
Sides = tuple[tuple[Path, Sequence[str]], tuple[Path, Sequence[str]]]  # lists and folders of pictures


def is_places(root: Path) -> bool:
    """Whether a folder has the lists of one of the two."""
    return _list(root, LISTS_205, [TRAIN_205]) is not None or _list(root, LISTS_365, TRAIN_365) is not None


def places(root: Path) -> Listed:
    """Places365 where its lists are, else Places205. Raises UserError for what is missing."""
    if train := _list(root, LISTS_365, TRAIN_365):
        names = _names(train.with_name(CLASSES_365))
        sides: Sides = ((train, FOLDERS_365), (train.with_name(VAL_365), FOLDERS_VAL))
        return _read(root, f"Places365, {train.name} and {VAL_365}", sides, names)
    train = _list(root, LISTS_205, [TRAIN_205])
    assert train is not None, "asked of a folder that `is_places`"
    index = train.with_name(CLASSES_205)
    names = _names(index) if index.is_file() else _names_of_paths(*numbered(train, "the training pictures"))
    sides = ((train, FOLDERS_205), (train.with_name(VAL_205), FOLDERS_205))
    return _read(root, f"Places205, {TRAIN_205} and {VAL_205}", sides, names)


def _list(root: Path, folders: Sequence[str], names: Sequence[str]) -> Path | None:
    return first_existing(root / folder / name for folder in folders for name in names)


def _names(file: Path) -> dict[int, str]:
    """Classes by number, of a list of `/a/abbey 0`."""
    paths, numbers = numbered(file, "the names of the classes")
    return {number: path.partition("/")[2] or path for path, number in zip(paths, numbers, strict=True)}


def _names_of_paths(paths: Sequence[str], numbers: Sequence[int]) -> dict[int, str]:
    """Classes as the folders of their pictures are called, without the letter: a/abbey/….jpg."""
    inner = (path.rpartition("/")[0] for path in paths)
    return {
        number: folder.partition("/")[2] or folder or str(number)
        for folder, number in zip(inner, numbers, strict=True)
    }


def _read(root: Path, layout: str, sides: Sides, names: dict[int, str]) -> Listed:
    files: list[str] = []
    labels: list[int] = []
    test: list[bool] = []
    for side, (file, folders) in enumerate(sides):
        paths, numbers = numbered(file, f"the {('training', 'validation')[side]} pictures")
        if unknown := sorted(set(numbers) - names.keys()):
            raise UserError(f"{file} has the class {unknown[0]}, which has no name; classes are {len(names)}")
        files += existing(_folder(root, file, folders, paths[0]), paths, file)
        labels += numbers
        test += [side == 1] * len(paths)
    order = sorted(names)
    place = np.zeros(order[-1] + 1, np.int64)
    place[order] = np.arange(len(order))
    return Listed(
        root.name,
        tuple(files),
        place[np.array(labels)],
        tuple(names[number] for number in order),
        np.array(test),
        layout,
    )


def _folder(root: Path, file: Path, folders: Sequence[str], first: str) -> Path:
    """Where the pictures of a list lie: the folder that has its first one, or at least that one's folder."""
    for part in (first, first.partition("/")[0]):
        if found := next((root / name for name in folders if (root / name / part).exists()), None):
            return found
    raise UserError(
        f"{root / folders[0] / first} is missing, the first picture that {file} names; unpack the pictures into "
        f"{', '.join(folders[:-1])} or {root} itself"
    )
