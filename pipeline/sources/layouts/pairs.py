"""Which picture is the right view, or the depth, of which other, by names alone."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from freelabels.pipeline.media.formats import IMAGE_SUFFIXES
from freelabels.pipeline.sources.layouts.family import NUMBERS, Family, Picture
from freelabels.pipeline.sources.layouts.series import stamp
from freelabels.pipeline.sources.layouts.sides import SINGLES, right_paths, right_stems

APART = 0.05  # seconds between a picture and the depth that belongs to it
DEEP = (".png", ".tif", ".tiff", ".exr", ".pfm", ".hdr", ".pgm", *NUMBERS)  # files that hold depth


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures that may belong together: left and right, or colour and depth, of which there may be none."""

    first: Picture
    second: Picture | None

    @property
    def views(self) -> Iterator[Picture]:
        """Those that there are."""
        yield from filter(None, (self.first, self.second))


def stereo_pairs(family: Family) -> Iterator[tuple[str, list[Pair]]]:
    """(folder of the left ones, pairs) that may be stereo, each folder with each other folder and with itself."""
    taken: set[Picture] = set()
    for folder in family.folders:
        for other in dict.fromkeys(right_paths(folder)):
            if other in family.folders and other != folder:
                pairs = _across(family, folder, other, taken)
                if pairs:
                    yield folder, pairs
    for folder in family.folders:
        pairs = _within(family, folder, taken)
        if pairs:
            yield folder, pairs


def _across(family: Family, folder: str, other: str, taken: set[Picture]) -> list[Pair]:
    """Pictures of the same name, or of names that differ in the side, in two folders."""
    there = {p.stem: p for p in family.photos(other) if p not in taken and _still(p)}
    pairs = []
    for left in family.photos(folder):
        if left in taken or not _still(left):
            continue
        stems = (left.stem, *right_stems(left.stem, numbered=True), *_last_number(left.stem))
        right = next((there[stem] for stem in stems if stem in there), None)
        if right is not None:
            pairs.append(Pair(left, right))
            taken.update((left, right))
    return pairs


def _last_number(stem: str) -> Iterator[str]:
    """A stem that ends in the number of a left camera with that of the right one, as Infinigen's."""
    if stem.endswith("_0"):
        yield f"{stem[:-1]}1"


def _within(family: Family, folder: str, taken: set[Picture]) -> list[Pair]:
    """Pictures of one folder whose names differ in the side alone."""
    photos = {p.stem: p for p in family.photos(folder) if p not in taken and _still(p)}
    pairs = []
    for stem, left in photos.items():
        for other in right_stems(stem):
            right = photos.get(other)
            if right is None or right in taken or left in taken or right is left:
                continue
            if stem.lower() in SINGLES and _numbered_on(stem, other, photos):
                continue
            pairs.append(Pair(left, right))
            taken.update((left, right))
            break
    return pairs


def _numbered_on(stem: str, other: str, stems: Collection[str]) -> bool:
    """Whether im0, im1 (say) are but two of a numbered series, not a pair."""
    for name in (stem, other):
        prefix, number = name[:-1], int(name[-1])
        if any(
            near in stems and near not in (stem, other)
            for near in (f"{prefix}{number - 1}", f"{prefix}{number + 1}")
        ):
            return True
    return False


def _still(picture: Picture) -> bool:
    return f".{picture.name.rpartition('.')[2].lower()}" in IMAGE_SUFFIXES


def coloured_depth(family: Family, taken: Collection[Picture]) -> Iterator[tuple[str, list[Pair]]]:
    """(folder of the colour pictures, pairs) of colour and depth of the same names, or the nearest in time.

    Where times in names tell which belong together, colour that has no depth is a pair without: frames stay one
    sequence.
    """
    depths = [p for p in family.every() if p.maps == ("depth",) and p.name.lower().endswith(DEEP)]
    if not depths:
        return
    by_key: dict[tuple[str, ...], Picture] = {}
    for depth in sorted(depths, key=_exactness):
        by_key.setdefault(depth.key, depth)
    stamped = sorted((seconds, p.folder, p.name, p) for p in depths if (seconds := stamp(p.name)) is not None)
    used: set[Picture] = set()
    for folder in family.folders:
        pairs: dict[str, list[Pair]] = {}
        for colour in family.photos(folder):
            if colour in taken or not _still(colour):
                continue
            found = by_key.get(colour.key) or _nearest(colour, stamped)
            if found is not None and found not in used:
                pairs.setdefault(found.folder, []).append(Pair(colour, found))
                used.add(found)
        for together in pairs.values():
            paired = {pair.first for pair in together}
            if len(pairs) == 1 and all(stamp(one.name) is not None for one in paired):
                others = (
                    c for c in family.photos(folder) if c not in paired and c not in taken and _still(c)
                )
                together += [Pair(colour, None) for colour in others if stamp(colour.name) is not None]
            yield folder, together


def _exactness(depth: Picture) -> tuple[bool, str, str]:
    """Arrays and floats before pictures of 16 bits."""
    return not depth.name.lower().endswith((".npy", ".npz", ".exr", ".pfm")), depth.folder, depth.name


def _nearest(colour: Picture, stamped: Sequence[tuple[float, str, str, Picture]]) -> Picture | None:
    """The depth picture nearest in time, None if none is near or the names tell no times."""
    seconds = stamp(colour.name)
    if seconds is None or not stamped:
        return None
    place = bisect_left(stamped, (seconds,))
    near = stamped[max(place - 1, 0) : place + 1]
    best = min(near, key=lambda one: abs(one[0] - seconds))
    return best[3] if abs(best[0] - seconds) <= APART else None
