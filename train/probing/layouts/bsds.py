"""BSDS300 and BSDS500: images and the boundaries that several people drew in each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from freelabels.ground.errors import UserError
from freelabels.train.probing.layouts.lists import folders_in, tree_of

PLACES = (".", "data", "BSDS500/data", "BSR/BSDS500/data")
DRAWINGS = ("groundTruth", "boundaries")  # beside images/
TESTING = "test"


@dataclass(frozen=True)
class Drawn:
    """Images, and for each a file of what people drew: see `boundaries`."""

    name: str
    files: tuple[Path, ...]
    drawings: tuple[Path, ...]
    test: NDArray[np.bool_] | None
    layout: str = ""


def bsds_folders(root: Path) -> tuple[Path, Path] | None:
    """The folders of images and of drawings, if a folder has both."""
    for place in PLACES:
        for name in DRAWINGS:
            if (root / place / "images").is_dir() and (root / place / name).is_dir():
                return root / place / "images", root / place / name
    return None


def bsds(root: Path) -> Drawn:
    """Images with drawings; with parts (train/, val/, test/), those of test/ are tested on.

    Raises UserError if none has any.
    """
    folders = bsds_folders(root)
    assert folders is not None, "asked of a folder that has both"
    images, drawings = folders
    pairs = [
        (file, drawing)
        for file in map(Path, tree_of(images))
        if (drawing := drawings / file.relative_to(images).with_suffix(".mat")).is_file()
    ]
    if not pairs:
        raise UserError(
            f"--data {root}: no image in {images} has a .mat of its name in {drawings}; put them there"
        )
    test = np.array([file.relative_to(images).parts[0] == TESTING for file, _ in pairs])
    parts = TESTING in folders_in(images) and 0 < int(test.sum()) < len(test)
    layout = f"BSDS, images/ with {drawings.name}/{' (train/ and val/ / test/)' if parts else ''}"
    files, drawn = zip(*pairs, strict=True)
    return Drawn(root.name, files, drawn, test if parts else None, layout)


def boundaries(file: Path) -> NDArray[np.bool_]:
    """Each person's boundaries, (people, H, W). Raises UserError for a file that isn't such."""
    try:
        drawn: Any = scipy.io.loadmat(str(file))["groundTruth"]
        return np.stack([drawn[0, k][0, 0]["Boundaries"] > 0 for k in range(drawn.shape[1])])
    except Exception as error:  # scipy raises half a dozen kinds for a damaged file
        raise UserError(f"{file} can't be read as BSDS's groundTruth: {error}; get it anew") from error
