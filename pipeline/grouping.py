"""Files by folder → items: which images belong together, judged by their names alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import urlsplit

IMAGE_SUFFIXES = frozenset(".jpg .jpeg .jpe .jfif .png .webp .tif .tiff .bmp .gif".split())
VIDEO_SUFFIXES = frozenset(".mp4 .m4v .mov .mkv .avi .webm .mpg .mpeg .wmv .flv .3gp .ogv .mts .m2ts".split())
NOTE_SUFFIXES = frozenset((".txt", ".pfm"))  # files that say something about images beside them

MIN_SEQUENCE = 3  # numbered images from which on a folder may be a sequence
MAX_SEQUENCE = 512  # frames of one item; a longer sequence is probed in pieces
PAIRS = (("im2", "im6"), ("im0", "im1"), ("view1", "view5"), ("left", "right"))  # left, right
ENDINGS = (("_l", "_r"), ("_left", "_right"), ("-left", "-right"))
PAIR_FOLDERS = (("image_2", "image_3"), ("image_02", "image_03"), ("left", "right"))
COMPANION = re.compile(r"(disp|depth|mask|occ|nocc|nonocc|truedisp)\w*", re.IGNORECASE)
NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")

Folders = dict[str, dict[str, str]]  # folder → file name → stamp


@dataclass(frozen=True)
class Item:
    """One thing to probe.

    kind: "image", "video", "sequence", "stereo" or "rgbd". uris: its frames in order; of a stereo pair all left
    ones, then as many right ones. depth, poses: of an RGB-D sequence, one a frame (poses may be absent).
    calibration: a file with intrinsics, or "". stamp: a fingerprint of sizes and modification times.
    """

    kind: str
    uris: tuple[str, ...]
    stamp: str
    depth: tuple[str, ...] = ()
    poses: tuple[str, ...] = ()
    calibration: str = ""


def suffix_of(uri: str) -> str:
    """The suffix of a path or URI in lower case, with its dot; "" if it has none."""
    name = (urlsplit(uri).path if "://" in uri else uri).rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return dot + suffix.lower() if stem and dot else ""


def group(folders: Folders) -> Iterator[Item]:
    """Sort every file into exactly one item, or none if it only accompanies another. Consumes `folders`."""
    yield from _folder_pairs(folders)
    for folder, files in folders.items():
        yield from _rgbd(folder, files)
        yield from _pairs(folder, files)
        yield from _sequences(folder, files)
        for name in files:
            if suffix_of(name) not in NOTE_SUFFIXES:
                kind = "video" if suffix_of(name) in VIDEO_SUFFIXES else "image"
                yield _item(kind, folder, {name: files[name]})


def _item(kind: str, folder: str, frames: dict[str, str]) -> Item:
    return Item(kind, tuple(f"{folder}/{name}" for name in frames), _stamp(frames.values()))


def _stamp(stamps: Sequence[str]) -> str:
    stamps = list(stamps)
    return stamps[0] if len(stamps) == 1 else hashlib.sha256("\n".join(stamps).encode()).hexdigest()


def _folder_pairs(folders: Folders) -> Iterator[Item]:
    return iter(())


def _rgbd(folder: str, files: dict[str, str]) -> Iterator[Item]:
    return iter(())


def _pairs(folder: str, files: dict[str, str]) -> Iterator[Item]:
    return iter(())


def _sequences(folder: str, files: dict[str, str]) -> Iterator[Item]:
    return iter(())
