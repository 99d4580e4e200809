"""List files and the pictures that they name: what is missing is told in a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from freelabels.ground.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
TRAINING, TESTING = (
    ("train", "training"),
    ("test", "testing", "val", "valid", "validation"),
)  # names of folders


def lines(file: Path, holds: str) -> list[str]:
    """The lines of a list that aren't empty. holds: what it should hold. Raises UserError if it isn't there."""
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise UserError(f"{file} is missing, which holds {holds}; put it there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} can't be read ({error}); get it anew") from error


def numbered(file: Path, holds: str) -> tuple[list[str], list[int]]:
    """The paths and the class numbers of a list of `path class`, the number last, a blank or a comma before it."""
    paths, numbers = [], []
    for place, line in enumerate(lines(file, holds), 1):
        path, _, number = line.replace(",", " ").rpartition(" ")
        if not path or not number.isdecimal():
            raise UserError(f"{file}, line {place}: want a path and the number of its class, not {line!r}")
        paths.append(path.strip().lstrip("/"))
        numbers.append(int(number))
    if not paths:
        raise UserError(f"{file} is empty, it should hold {holds}; get it anew")
    return paths, numbers


def first_existing(candidates: Iterable[Path]) -> Path | None:
    """The first that is there."""
    return next((path for path in candidates if path.exists()), None)


def existing(folder: Path, names: Sequence[str], source: Path) -> list[str]:
    """folder/name for each name in a list `source`; each folder is looked up once, as there may be millions.

    Raises UserError that names the first picture that isn't there.
    """
    listings: dict[str, frozenset[str]] = {}
    absent = []
    for name in names:
        inner, _, file = name.rpartition("/")
        if inner not in listings:
            inside = folder / inner
            listings[inner] = frozenset(os.listdir(inside) if inside.is_dir() else ())
        if file not in listings[inner]:
            absent.append(name)
    if absent:
        raise UserError(
            f"{folder / absent[0]} is missing, one of {len(absent)} pictures that {source} names; unpack them "
            "there, or take their lines out of the list"
        )
    return [f"{folder}/{name}" for name in names]


def folders_in(folder: Path) -> dict[str, Path]:
    """Folders by name, in order; hidden ones are passed over."""
    if not folder.is_dir():
        return {}
    return {p.name: p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")}


def tree_of(folder: Path) -> list[str]:
    """Paths of the pictures in and below a folder, in order."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    return [str(path) for path in sorted(found)]


def pictures_in(folder: Path) -> list[str]:
    """Names of the pictures that lie in a folder, in order."""
    return sorted(
        name for name in os.listdir(folder) if name.lower().endswith(SUFFIXES) and not name.startswith(".")
    )


def picture_of(folder: Path, stem: str) -> Path:
    """The picture of a name without its ending. Raises UserError if there is none."""
    found = first_existing(folder / f"{stem}{suffix}" for suffix in SUFFIXES)
    if found is None:
        raise UserError(
            f"{folder} holds no picture named {stem}; unpack it there or take it out of the lists"
        )
    return found
