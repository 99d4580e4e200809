"""Layouts of everyone's own: a folder a class, and images/ beside labels/."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from freelabels.ground.errors import UserError
from freelabels.train.probing.layouts.lists import TESTING, TRAINING, folders_in, tree_of
from freelabels.train.probing.layouts.sets import Listed, Segmented

MAP_FOLDERS = ("labels", "masks")  # beside images/
FEWEST = 4  # images with a map


def class_folders(root: Path) -> Listed:
    """A folder a class; or one of training and one of test images, each with a folder a class; none, maybe."""
    folders = folders_in(root)
    training = next((folders[name] for name in TRAINING if name in folders), None)
    testing = next((folders[name] for name in TESTING if name in folders), None)
    parts, layout = [(root, False)], "a folder a class"
    if training is not None and testing is not None:
        parts = [(training, False), (testing, True)]
        layout = f"{training.name}/ and {testing.name}/ with a folder a class"
    members = [
        (name, file, test)
        for folder, test in parts
        for name, inner in folders_in(folder).items()
        for file in tree_of(inner)
    ]
    classes = sorted({name for name, _, _ in members})
    order = {name: number for number, name in enumerate(classes)}
    return Listed(
        root.name,
        tuple(file for _, file, _ in members),
        np.array([order[name] for name, _, _ in members], np.int64),
        tuple(classes),
        np.array([test for _, _, test in members]) if len(parts) == 2 else None,
        layout,
    )


def has_images_beside_maps(root: Path) -> bool:
    """Whether a folder has images/, or its training and test parts have images/ and labels/."""
    return bool(_parts(root))


def _parts(root: Path) -> list[tuple[Path, bool]]:
    """Folders with images/, and whether they are tested on: the root, or its training and test parts.

    A validation part is tested on where there is no test part, and is else fitted to.
    """
    if (root / "images").is_dir():
        return [(root, False)]
    parts = {
        name: folder
        for name, folder in folders_in(root).items()
        if name in (*TRAINING, *TESTING) and {"images"} < set(folders_in(folder)) & {"images", *MAP_FOLDERS}
    }
    training, testing = (next((n for n in names if n in parts), "") for names in (TRAINING, TESTING))
    return [(folder, name == testing) for name, folder in parts.items()] if training and testing else []


def images_beside_maps(root: Path) -> Segmented:
    """Images in images/ and a label map of the same name, PNG, in labels/; or train/, val/ and test/ of these."""
    parts = _parts(root)
    pairs: list[tuple[Path, Path, bool]] = []
    for part, tested in parts:
        folder = next((part / name for name in MAP_FOLDERS if (part / name).is_dir()), None)
        if folder is None:
            raise UserError(f"--data {part}: has images/ but no labels/ with a PNG of class ids for each")
        maps = {p.stem: p for p in folder.glob("*.png")}
        pictures = map(Path, tree_of(part / "images"))
        some = [(p, maps[p.stem], tested) for p in pictures if p.stem in maps]
        if len(some) < FEWEST:
            raise UserError(
                f"--data {part}: {len(some)} images have a map of their name in {folder.name}/; "
                f"want {FEWEST} or more"
            )
        pairs += some
    files, maps_of, test = zip(*pairs, strict=True)
    sides = [
        " and ".join(f"{folder.name}/" for folder, tested in parts if tested == side)
        for side in (False, True)
    ]
    layout = f"images/ with {maps_of[0].parent.name}/" + (f" ({sides[0]} / {sides[1]})" if sides[1] else "")
    return Segmented(root.name, files, maps_of, np.array(test) if sides[1] else None, layout)
