"""Text files beside pictures that may tell of cameras, poses, units and times: which they are, by name."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

from freelabels.pipeline.sources.layouts.texts import is_about_many
from freelabels.pipeline.sources.layouts.words import words

SUFFIXES = (".txt", ".json", ".yaml", ".yml", ".bin", ".freiburg", ".log", ".csv", ".tsv", ".jsonl", ".xml")
_WORDS = """
calib calibration camera cameras cam intrinsic intrinsics intri extri extrinsics k transforms traj trajectory
groundtruth pose poses rgb depth color colour assoc associations associated association times timestamps timestamp
sensor info metadata scene params images image gt freiburg stereo
"""
WORDS = frozenset(_WORDS.split())
FOLDERS = (
    "sparse/0",
    "sparse",
    "colmap/sparse/0",
    "intrinsic",
    "intrinsics",
    "calib",
    "calibration",
    "camera",
    "cameras",
    "meta",
)  # below a folder with pictures, where such files may lie too
A_FRAMES = re.compile(r"\d{3,}")  # a number of a frame: the file tells of that one only
LEVELS = 4  # folders above the pictures that are looked into
MOST = 64  # such files in one folder; where there are more, they tell of a frame each


def is_text(name: str) -> bool:
    """Whether a file's suffix is one of text beside pictures."""
    return name.lower().endswith(SUFFIXES)


def is_note(name: str) -> bool:
    """Whether a file may tell of all pictures around it, by its name."""
    stem = name.rpartition(".")[0]
    if is_about_many(name):
        return True
    if not is_text(name) or (A_FRAMES.search(stem) and not stem.startswith("scene")):
        return False
    return bool(WORDS.intersection(words(stem))) or len(stem) == 1


def places(folder: str, folders: Container[str]) -> Iterator[str]:
    """The folders in which notes about the pictures in `folder` may lie, nearest first."""
    for _ in range(LEVELS):
        if folder in folders:
            yield folder
            yield from (f"{folder}/{below}" for below in FOLDERS if f"{folder}/{below}" in folders)
        folder = folder.rpartition("/")[0]
        if not folder:
            return
