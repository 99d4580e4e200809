"""Left → right: under which names the other view of a picture may lie."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations, product

from freelabels.pipeline.sources.layouts.words import CAMERA_WORDS, SIDES, WORD

# Numbers of the left and right cameras of rigs: 0/1, 2/3 (KITTI), 0/2 (Booster), 5/6 (ApolloScape), 1/2, and
# the views 2/6 and 1/5 that Middlebury's pairs are taken from.
CAMERAS = {0: (1, 2), 2: (3, 6), 1: (2, 5), 4: (5,), 5: (6,), 3: (4,)}
SINGLES = {"im0": "im1", "im2": "im6", "view1": "view5", "img0": "img1", "image0": "image1", "cam0": "cam1"}
MOST_SIDES = 4  # words of sides in one path; beyond, only the last are swapped
GAP = re.compile(r"[ _.-]*")


def right_paths(path: str) -> Iterator[str]:
    """The paths under which the right view of what lies in a left folder may be, likeliest first.

    Every word that says left, and the number of a camera, is swapped, in all of the path or in some of it.
    """
    spots = list(_spots(path))[-MOST_SIDES:]
    for count in range(len(spots), 0, -1):
        for chosen in combinations(reversed(spots), count):
            for texts in product(*(others for _, _, others in chosen)):
                yield _replaced(path, [(a, b, text) for (a, b, _), text in zip(chosen, texts, strict=True)])


def right_stems(stem: str, numbered: bool = False) -> Iterator[str]:
    """The stems that the right view of a picture may have. numbered: numbers of cameras at the end count too."""
    if stem.lower() in SINGLES:
        yield _like(stem, SINGLES[stem.lower()])
    spots = list(_spots(stem, numbers=numbered))[-MOST_SIDES:]
    for count in range(len(spots), 0, -1):
        for chosen in combinations(reversed(spots), count):
            for texts in product(*(others for _, _, others in chosen)):
                yield _replaced(stem, [(a, b, text) for (a, b, _), text in zip(chosen, texts, strict=True)])


def _replaced(path: str, changes: list[tuple[int, int, str]]) -> str:
    for start, stop, text in sorted(changes, reverse=True):
        path = path[:start] + text + path[stop:]
    return path


def _spots(path: str, numbers: bool = True) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Where in a path a side is named: start, stop and what may stand there for the other side."""
    before, end = "", 0
    for found in WORD.finditer(path):
        word, start = found[0], found.start()
        lower = word.lower()
        if lower in SIDES:
            yield start, found.end(), (_like(word, SIDES[lower]),)
        elif numbers and word.isdigit() and before in CAMERA_WORDS and len(word) <= 2:
            apart = GAP.fullmatch(path, end, start)
            others = CAMERAS.get(int(word), ())
            whole = path[found.end() : found.end() + 1] in ("", "/", "_", "-", ".")
            if apart and others and whole:
                yield start, found.end(), tuple(f"{n:0{len(word)}d}" for n in others)
        before, end = lower, found.end()


def _like(model: str, word: str) -> str:
    """A word in the case of another."""
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word
