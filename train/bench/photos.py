"""Folders of pictures → a dataset of pictures alone, from which rows without stored labels learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from freelabels.generators.contract.geometry import intrinsics
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.identity import group_of
from freelabels.pipeline.shards.splits import TRAIN, VAL, Splits, write_splits
from freelabels.train.probing.labelled_images import read_images
from freelabels.train.probing.layouts.lists import SUFFIXES

SHARD = 64
MARGIN = 2.25  # how much larger pictures are stored than they are seen
COMPLETE = "complete"  # marks a dataset of which all shards are made
LETTERS = 26


def photo_dataset(folder: Path, out: Path, size: int, most: int) -> Path:
    """The centre squares of up to `most` pictures below a folder, drawn from all of it; made once.

    Where it holds train/ and val/, of up to so many of each: nothing learns from those of val/, tasks are scored
    on them. The folder that a picture lies in is its tag, as a word of letters: the class that the supervised row
    alone reads. Raises UserError if there is no picture, and for one that can't be read.
    """
    if (out / COMPLETE).exists():
        return out
    parts = [folder / TRAIN, folder / VAL]
    divided = all(part.is_dir() for part in parts)
    paths = [path for part in (parts if divided else [folder]) for path in _some(part, most)]
    kinds = sorted({path.parent.name for path in paths})
    words = {kind: word(number) for number, kind in enumerate(kinds)}
    dataset = Dataset.create(out, {"size": [size, size]})
    kept: dict[int, str] = {}
    for first in range(0, len(paths), SHARD):
        some = paths[first : first + SHARD]
        columns = {
            "image": np.ascontiguousarray(read_images(some, size).numpy().transpose(0, 2, 3, 1)),
            "domain": np.zeros(len(some), np.uint8),
            "camera_K": np.tile(intrinsics(0.9 * size, size, size), (len(some), 1, 1)),
        }
        clips = [
            {
                "rows": [k, k + 1],
                "kind": "photo",
                "source": [str(path.relative_to(folder))],
                "key": str(path.relative_to(folder)),
                "tags": [{"kind": "folder", "text": words[path.parent.name], "origin": path.parent.name}],
            }
            for k, path in enumerate(some)
        ]
        if divided:
            sides = zip(clips, some, strict=True)
            kept |= {group_of(clip): VAL for clip, path in sides if path.is_relative_to(parts[1])}
        made_by = {name: {"generator": "photos", "version": 1} for name in columns}
        commit_shard(dataset, f"photos-{first // SHARD:05d}", columns, clips, made_by)
    if divided:
        write_splits(dataset, Splits(pinned=kept))
    (out / COMPLETE).touch()
    return out


def _some(folder: Path, most: int) -> list[Path]:
    """Up to so many pictures below a folder, drawn from all of it. Raises UserError if there is none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UserError(f"--pictures {folder}: holds no pictures")
    rng = np.random.default_rng(0)
    return [paths[k] for k in rng.permutation(len(paths))[:most]]


def word(number: int) -> str:
    """A word for a class: letters only, since words of tags have no digits."""
    letters = (number // LETTERS**2 % LETTERS, number // LETTERS % LETTERS, number % LETTERS)
    return "class" + "".join(chr(ord("a") + letter) for letter in letters)
