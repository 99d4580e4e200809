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


def images_beside_maps(root: Path) -> Segmented:
    """Images in images/ and a label map of the same name, PNG, in labels/."""
    folder = next((root / name for name in MAP_FOLDERS if (root / name).is_dir()), None)
    if folder is None:
        raise UserError(f"--data {root}: has images/ but no labels/ with a PNG of class ids for each")
    maps = {p.stem: p for p in folder.glob("*.png")}
    pairs = [(p, maps[p.stem]) for p in map(Path, tree_of(root / "images")) if p.stem in maps]
    if len(pairs) < FEWEST:
        raise UserError(
            f"--data {root}: {len(pairs)} images have a map of their name in {folder.name}/; want {FEWEST} or more"
        )
    layout = f"images/ with {folder.name}/"
    return Segmented(root.name, tuple(p for p, _ in pairs), tuple(m for _, m in pairs), None, layout)
