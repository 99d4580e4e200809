"""Files by folder → items: which pictures belong together, judged by their names alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from freelabels.ground.spelling import counted
from freelabels.pipeline.media.formats import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from freelabels.pipeline.sources.layouts import texts, words
from freelabels.pipeline.sources.layouts.family import Family, Picture
from freelabels.pipeline.sources.layouts.notes import MOST, is_note, places
from freelabels.pipeline.sources.layouts.pairs import Pair, coloured_depth, stereo_pairs
from freelabels.pipeline.sources.layouts.series import MIN_SEQUENCE, Run, runs
from freelabels.pipeline.storage.archives.names import parted

Folders = dict[str, dict[str, str]]  # folder → file name → stamp
Around = Mapping[str, Mapping[str, str]]  # the same of files that tell of others
SAMPLES = 0.5  # share of a folder's pictures in an archive with words of their own beyond which all are alone
PAIRED = 2  # frames in a row that make a sequence of pairs


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to examine.

    kind: "image", "video", "sequence", "stereo" or "rgbd". uris: its frames in order; of a stereo pair all left
    ones, then as many right ones. stamp: a fingerprint of sizes and modification times. depth, poses, cameras: one
    file a frame, "" where there is none, or no files at all. beside: files that may tell of cameras, poses, units
    and times of all frames, or hold words about them, nearest first. times: seconds of each frame, told by names.
    least: so many frames in a row are a sequence. texts: files that may hold words about one of the frames each.
    """

    kind: str
    uris: tuple[str, ...]
    stamp: str
    depth: tuple[str, ...] = ()
    poses: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    times: tuple[float, ...] = ()
    least: int = MIN_SEQUENCE
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Passed:
    """Files that are passed over, told in one line. first: one of them."""

    folder: str
    reason: str
    count: int
    first: str

    def __str__(self) -> str:
        files = counted(self.count, "file")
        return f"{self.folder}: {files} passed over: {self.reason} (such as {self.first})"


def suffix_of(uri: str) -> str:
    """The suffix of a path or URI in lower case, with its dot; "" if it has none."""
    name = (urlsplit(uri).path if "://" in uri else uri).rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return dot + suffix.lower() if stem and dot else ""


def group(folders: Folders, around: Around, roots: Sequence[str] = ()) -> Iterator[Item | Passed]:
    """Sort every file into exactly one item, or none if it only accompanies another.

    folders: all of one or more families (`words.family`). around: the notes in these and in the folders above.
    roots: the folders that the user named; names above them say nothing.
    """
    families: dict[str, list[str]] = {}
    for folder in folders:
        families.setdefault(words.family(folder), []).append(folder)
    for members in families.values():
        yield from _group(Family({folder: folders[folder] for folder in sorted(members)}, roots), around)


def _group(family: Family, around: Around) -> Iterator[Item | Passed]:
    taken: set[Picture] = set()
    for base, pairs in stereo_pairs(family):
        taken.update(view for pair in pairs for view in pair.views)
        yield from _paired("stereo", family, base, pairs, around)
    for base, pairs in coloured_depth(family, taken):
        taken.update(view for pair in pairs for view in pair.views)
        yield from _paired("rgbd", family, base, pairs, around)
    paired = {view.folder for view in taken}
    passed: dict[tuple[str, str], list[str]] = {}
    for folder, files in family.folders.items():
        left = [p for p in family.pictures(folder) if p not in taken]
        for picture in left:
            if family.is_map(picture) or (picture.maps and folder in paired):
                passed.setdefault((folder, " and ".join(picture.maps)), []).append(picture.name)
                taken.add(picture)
        images = [p.name for p in left if p not in taken and suffix_of(p.name) in IMAGE_SUFFIXES]
        alone = _are_samples(family, folder, images)
        for run in [Run((name,)) for name in images] if alone else runs(images):
            yield _item("sequence" if len(run.names) > 1 else "image", family, folder, run, around)
        videos = [name for name in files if suffix_of(name) in VIDEO_SUFFIXES]
        for name in sorted(videos):
            yield _item("video", family, folder, Run((name,)), around)
    for (folder, maps), names in passed.items():
        reason = f"maps of {maps} by name, beside pictures"
        yield Passed(folder, reason, len(names), min(names))


def _are_samples(family: Family, folder: str, images: Sequence[str]) -> bool:
    """Whether the pictures of a folder in an archive are samples, each with words of its own, and no frames."""
    if parted(f"{folder}/") is None:
        return False
    return sum(bool(family.texts(folder, name)) for name in images) > SAMPLES * len(images)


def _paired(kind: str, family: Family, folder: str, pairs: Sequence[Pair], around: Around) -> Iterator[Item]:
    """Pairs of one left folder with one other as items."""
    by_name = {pair.first.name: pair for pair in pairs}
    for run in runs(by_name, PAIRED):
        chosen = [by_name[name] for name in run.names]
        yield _item(kind, family, folder, run, around, [pair.second for pair in chosen])


def _item(
    kind: str,
    family: Family,
    folder: str,
    run: Run,
    around: Around,
    seconds: Sequence[Picture | None] = (),
) -> Item:
    stamps = [family.folders[folder][name] for name in run.names]
    stamps += [family.folders[other.folder][other.name] for other in seconds if other]
    uris = tuple(f"{folder}/{name}" for name in run.names)
    others = tuple(other.uri if other else "" for other in seconds)
    beside: list[str] = []
    poses: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    if kind not in ("image", "video"):
        poses, cameras = (family.companions(folder, run.names, words) for words in (POSE_WORDS, CAMERA_WORDS))
    for place in places(folder, around):
        told = [n for n in sorted(around[place]) if kind != "video" or texts.is_about_many(f"{place}/{n}")]
        beside += [f"{place}/{name}" for name in told]
        stamps += [around[place][name] for name in told]
    stamps += [family.stamp(uri) for uri in (*poses, *cameras) if uri]
    own = [uri for name in run.names for uri in family.texts(folder, name) if uri not in (*poses, *cameras)]
    stamps += [family.stamp(uri) for uri in own]
    stamp = stamps[0] if len(stamps) == 1 else hashlib.sha256("\n".join(stamps).encode()).hexdigest()
    return Item(
        kind,
        uris + (others if kind == "stereo" else ()),
        stamp,
        others if kind == "rgbd" else (),
        poses,
        cameras,
        tuple(beside),
        run.times,
        min(run.least, PAIRED) if seconds else run.least,
        tuple(own),
    )


POSE_WORDS = frozenset({"pose", "poses", "extrinsic", "extrinsics", "traj"})
CAMERA_WORDS = frozenset({"calib", "calibration", "camera", "cameras", "cam", "intrinsic", "intrinsics"})


def notes_of(files: Mapping[str, str]) -> dict[str, str]:
    """Those of a folder's files that may tell of all pictures around, by name."""
    found = {name: stamp for name, stamp in files.items() if is_note(name)}
    return found if len(found) <= MOST else {}
