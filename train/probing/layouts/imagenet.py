"""ImageNet (ILSVRC2012) as the challenge, Kaggle or a user's script lays it out; see `imagenet`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from freelabels.ground.errors import UserError
from freelabels.train.probing.layouts.lists import (
    existing,
    first_existing,
    folders_in,
    lines,
    pictures_in,
)
from freelabels.train.probing.layouts.sets import Listed

SYNSET = re.compile(r"n\d{8}")  # WordNet's number of a class
NUMBER = re.compile(r"(\d{8})$")  # of a validation picture, from 1
SOLUTION, MAPPING = "LOC_val_solution.csv", "LOC_synset_mapping.txt"  # Kaggle's
GROUND_TRUTH, META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"  # the development kit's
KITS = (".", "data", "ILSVRC2012_devkit_t12/data", "ILSVRC2012_devkit_t12", "devkit/data")
PICTURES = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC", ".")


def imagenet_pictures(root: Path) -> Path | None:
    """The folder with train/ and val/ of ImageNet's synsets in or below `root`; None if there is none."""
    for inner in PICTURES:
        folder = root / inner
        if inner != "." and folder.is_dir():
            return folder
        if (folder / "val").is_dir() and any(map(SYNSET.fullmatch, folders_in(folder / "train"))):
            return folder
    return None


def imagenet(root: Path) -> Listed:
    """Training and validation pictures, whose classes are the synsets in the order of their numbers.

    Training: ILSVRC/Data/CLS-LOC/train/<synset>/*.JPEG (or train/<synset> in `root`). Validation: val/<synset>/,
    or a flat val/ with Kaggle's LOC_val_solution.csv or the development kit's meta.mat and
    ILSVRC2012_validation_ground_truth.txt. Raises UserError for what is missing.
    """
    folder = imagenet_pictures(root)
    assert folder is not None, "asked of a folder that `imagenet_pictures` finds"
    training = {name: path for name, path in folders_in(folder / "train").items() if SYNSET.fullmatch(name)}
    if not training:
        raise UserError(
            f"{folder / 'train'} holds no folders of synsets (n01440764, …); unpack the training archive and the "
            "archive of each synset in it"
        )
    if not (folder / "val").is_dir():
        raise UserError(f"{folder / 'val'} is missing; unpack the validation pictures there")
    members = [(f"{path}/{name}", synset) for synset, path in training.items() for name in pictures_in(path)]
    ready = len(members)
    validation, layout = _validation(root, folder)
    members += [(file, synset) for file, synset in validation if synset in training]
    if foreign := ready + len(validation) - len(members):
        layout += f", {foreign} validation pictures of classes without training pictures left out"
    words = _words(root, folder)
    order = {synset: number for number, synset in enumerate(training)}
    return Listed(
        root.name,
        tuple(file for file, _ in members),
        np.array([order[synset] for _, synset in members], np.int64),
        tuple(f"{synset} {words.get(synset, '')}".strip() for synset in training),
        np.arange(len(members)) >= ready,
        layout,
    )


def _above(root: Path, folder: Path) -> Iterator[Path]:
    """Where support files may lie: the folder of the pictures and those above it, as far as ImageNet's own go."""
    yield root
    yield folder
    yield from list(folder.parents)[:3]


def _validation(root: Path, folder: Path) -> tuple[list[tuple[str, str]], str]:
    """(picture, synset) of each validation picture, and how they were told."""
    inner = {name: path for name, path in folders_in(folder / "val").items() if SYNSET.fullmatch(name)}
    if inner:
        found = [(f"{path}/{name}", synset) for synset, path in inner.items() for name in pictures_in(path)]
        return found, "ImageNet, train/ and val/ with a folder a class"
    if solution := first_existing(place / SOLUTION for place in _above(root, folder)):
        names, synsets = _solution(solution)
        files = existing(folder / "val", names, solution)
        return list(zip(files, synsets, strict=True)), f"ImageNet, flat val/ with Kaggle's {SOLUTION}"
    truth = first_existing(place / kit / GROUND_TRUTH for place in _above(root, folder) for kit in KITS)
    if truth is None:
        raise UserError(
            f"{folder / 'val'} is flat, and {root} holds neither {SOLUTION} (Kaggle) nor {KITS[2]}/{GROUND_TRUTH} "
            "(the development kit), which hold the classes of its pictures; put one there"
        )
    return _ground_truth(
        truth, folder / "val"
    ), f"ImageNet, flat val/ with the development kit's {GROUND_TRUTH}"


def _solution(file: Path) -> tuple[list[str], list[str]]:
    """Names of pictures and their synsets: the first word of a prediction, before its box."""
    rows = list(csv.DictReader(lines(file, "the classes of the validation pictures")))
    try:
        synsets = [row["PredictionString"].split()[0] for row in rows]
        return [f"{row['ImageId']}.JPEG" for row in rows], synsets
    except (KeyError, IndexError, AttributeError, TypeError):
        raise UserError(
            f"{file}: want the columns ImageId and PredictionString, as Kaggle hands it out; get it anew"
        ) from None


def _ground_truth(file: Path, folder: Path) -> list[tuple[str, str]]:
    """The picture of number k has the class in line k, a number of the kit's own that meta.mat translates."""
    synsets = {number: synset for number, synset, _ in _meta(file.with_name(META))}
    truth = lines(file, "the classes of the validation pictures, a number a line")
    found = []
    for name in pictures_in(folder):
        number = NUMBER.search(Path(name).stem)
        if number is None or not 1 <= int(number[1]) <= len(truth):
            raise UserError(
                f"{folder / name} isn't one of the {len(truth)} pictures whose classes {file} holds; take it away"
            )
        label = truth[int(number[1]) - 1]
        if not label.isdecimal() or int(label) not in synsets:
            raise UserError(f"{file}, line {int(number[1])}: {label!r} is no class of {META}; get both anew")
        found.append((f"{folder}/{name}", synsets[int(label)]))
    if not found:
        raise UserError(f"{folder} holds no pictures; unpack the validation archive there")
    return found


def _meta(file: Path) -> list[tuple[int, str, str]]:
    """(number, synset, words) of the classes that have no classes below them."""
    if not file.is_file():
        raise UserError(f"{file} is missing, which says what the classes' numbers mean; put the kit's there")
    try:
        table: Any = scipy.io.loadmat(str(file), squeeze_me=True)["synsets"]
        leaves = [row for row in np.atleast_1d(table) if int(row["num_children"]) == 0]
        return [(int(row["ILSVRC2012_ID"]), str(row["WNID"]), str(row["words"])) for row in leaves]
    except (KeyError, ValueError, TypeError, NotImplementedError, OSError) as error:
        raise UserError(
            f"{file} can't be read as the kit's table of synsets: {error}; get it anew"
        ) from error


def _words(root: Path, folder: Path) -> dict[str, str]:
    """What synsets mean, if a file says it."""
    if mapping := first_existing(place / MAPPING for place in _above(root, folder)):
        pairs = (line.partition(" ") for line in lines(mapping, "what the synsets mean"))
        return {synset: words.strip() for synset, _, words in pairs}
    if meta := first_existing(place / kit / META for place in _above(root, folder) for kit in KITS):
        return {synset: words for _, synset, words in _meta(meta)}
    return {}
