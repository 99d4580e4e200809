"""Files by folder → items: which images belong together, judged by their names alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from freelabels.pipeline.sources.formats import IMAGE_SUFFIXES, VIDEO_SUFFIXES

NOTE_SUFFIX = ".txt"  # text beside images: poses, intrinsics

MIN_SEQUENCE = 3  # numbered images from which on a folder may be a sequence
MAX_SEQUENCE = 512  # frames of one item; a longer sequence is probed in pieces
PAIRS = {"im0": "im1", "im2": "im6", "view1": "view5"}  # left → right, as the Middlebury sets have it
ENDINGS = {"_l": "_r", "-l": "-r", "_L": "_R", "-L": "-R"}
SIDE = re.compile(r"(?<![a-z])left(?![a-z])", re.IGNORECASE)
PAIR_FOLDERS = {"image_2": "image_3", "image_02": "image_03", "image_0": "image_1", "left": "right"}
DEPTH_FOLDERS = {"rgb": "depth", "color": "depth", "colour": "depth"}
CALIBRATIONS = ("calib.txt", "camera-intrinsics.txt", "intrinsics.txt", "K.txt")
COMPANION = re.compile(r"(disp|depth|mask|occ|nocc|nonocc|truedisp)", re.IGNORECASE)
NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")

SWAPS: dict[str, set[str]] = {}  # part of a folder's path → what it is in folders that may belong to it
for _pairs in (PAIR_FOLDERS, DEPTH_FOLDERS):
    for _first, _second in _pairs.items():
        SWAPS.setdefault(_first, set()).add(_second)
        SWAPS.setdefault(_second, set()).add(_first)

Folders = dict[str, dict[str, str]]  # folder → file name → stamp


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to probe.

    kind: "image", "video", "sequence", "stereo" or "rgbd". uris: its frames in order; of a stereo pair all
    left ones, then as many right ones. depth, poses: of an RGB-D sequence, one a frame (poses may be absent).
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


def related(folder: str, folders: Container[str]) -> list[str]:
    """Those of `folders` that must be grouped together with `folder`, itself included: left and right, say."""
    found, todo = {folder}, [folder]
    while todo:
        parts = todo.pop().split("/")
        for position, part in enumerate(parts):
            for other in SWAPS.get(part, ()):
                name = "/".join([*parts[:position], other, *parts[position + 1 :]])
                if name in folders and name not in found:
                    found.add(name)
                    todo.append(name)
    return sorted(found)


def bases(folder: str) -> list[str]:
    """The folders where calibrations of a folder and those related to it may lie."""
    parts = folder.split("/")
    return ["/".join(parts[:position]) for position, part in enumerate(parts) if part in SWAPS]


def group(folders: Folders, around: Folders) -> Iterator[Item]:
    """Sort every file into exactly one item, or none if it only accompanies another. Consumes `folders`.

    folders: all that are related to any of them. around: those among their `bases` that are there.
    """
    yield from _folder_pairs(folders, PAIR_FOLDERS, "stereo", around)
    yield from _folder_pairs(folders, DEPTH_FOLDERS, "rgbd", around)
    for folder, files in folders.items():
        yield from _rgbd(folder, files)
        yield from _stereo(folder, files)
        images = sorted(name for name in files if suffix_of(name) in IMAGE_SUFFIXES)
        for run in _runs(images):
            yield _item("sequence" if len(run) > 1 else "image", folder, files, run)
        for name in sorted(name for name in files if suffix_of(name) in VIDEO_SUFFIXES):
            yield _item("video", folder, files, [name])


def _item(
    kind: str,
    folder: str,
    files: dict[str, str],
    names: list[str],
    depth: Sequence[str] = (),
    poses: Sequence[str] = (),
    calibrated: bool = False,
) -> Item:
    calibration = next((name for name in CALIBRATIONS if calibrated and name in files), "")
    used = [*names, *depth, *poses, *([calibration] if calibration else [])]
    stamps = [files[name] for name in used]
    stamp = stamps[0] if len(stamps) == 1 else hashlib.sha256("\n".join(stamps).encode()).hexdigest()

    def uris(chosen: Iterable[str]) -> tuple[str, ...]:
        return tuple(f"{folder}/{name}" for name in chosen)

    return Item(
        kind, uris(names), stamp, uris(depth), uris(poses), "".join(uris([calibration] * bool(calibration)))
    )


def _runs(names: list[str]) -> list[list[str]]:
    """Consecutively numbered names as runs of 3 to 512, the others alone."""
    series: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for name in names:
        found = NUMBERED.fullmatch(name)
        key = (found[1], found[3]) if found else (name, "")
        series.setdefault(key, []).append((int(found[2]) if found else 0, name))
    runs: list[list[str]] = []
    for members in series.values():
        members.sort()
        run: list[str] = []
        for position, (number, name) in enumerate(members):
            if run and (number != members[position - 1][0] + 1 or len(run) == MAX_SEQUENCE):
                runs.append(run)
                run = []
            run.append(name)
        runs.append(run)
    return [
        part for run in runs for part in ([run] if len(run) >= MIN_SEQUENCE else [[name] for name in run])
    ]


def _right_of(stem: str) -> str | None:
    """The name of the right view if this is the name of a left one."""
    if stem in PAIRS:
        return PAIRS[stem]
    for left, right in ENDINGS.items():
        if stem.endswith(left):
            return stem.removesuffix(left) + right
    found = SIDE.search(stem)
    if not found:
        return None
    right = "RIGHT" if found[0].isupper() else "Right" if found[0][0].isupper() else "right"
    return stem[: found.start()] + right + stem[found.end() :]


def _numbered_on(stem: str, other: str, stems: set[str]) -> bool:
    """Whether im0, im1 (say) are but two of a numbered series, not a pair."""
    for name in (stem, other):
        prefix, number = name[:-1], int(name[-1])
        if {f"{prefix}{number - 1}", f"{prefix}{number + 1}"} & (stems - {stem, other}):
            return True
    return False


def _stereo(folder: str, files: dict[str, str]) -> Iterator[Item]:
    images = {name.rpartition(".")[0]: name for name in sorted(files) if suffix_of(name) in IMAGE_SUFFIXES}
    taken: list[str] = []
    for stem, name in images.items():
        right = _right_of(stem)
        partner = images.get(right) if right else None
        if right is None or partner is None or (stem in PAIRS and _numbered_on(stem, right, set(images))):
            continue
        yield _item("stereo", folder, files, [name, partner], calibrated=True)
        taken += [name, partner]
    if taken:
        taken += [name for name in files if COMPANION.match(name)]
    for name in set(taken):
        del files[name]


def _rgbd(folder: str, files: dict[str, str]) -> Iterator[Item]:
    """frame.color.jpg, frame.depth.png and, perhaps, frame.pose.txt, as 7-Scenes has it."""
    frames: list[tuple[str, str, str]] = []
    for name in sorted(files):
        stem, dot, _ = name.partition(".color.")
        if dot and f"{stem}.depth.png" in files:
            frames.append((name, f"{stem}.depth.png", f"{stem}.pose.txt"))
    posed = all(pose in files for _, _, pose in frames)
    for start in range(0, len(frames), MAX_SEQUENCE):
        colour, depth, poses = map(list, zip(*frames[start : start + MAX_SEQUENCE], strict=True))
        yield _item("rgbd", folder, files, colour, depth, poses if posed else [], calibrated=True)
    for colour_name, depth_name, _ in frames:
        del files[colour_name], files[depth_name]


def _folder_pairs(folders: Folders, known: dict[str, str], kind: str, around: Folders) -> Iterator[Item]:
    """Images of the same name in two folders that belong together, such as image_2 and image_3."""
    for folder in sorted(folders):
        parts = folder.split("/")
        for position, part in enumerate(parts):
            other = "/".join([*parts[:position], known.get(part, ""), *parts[position + 1 :]])
            if part not in known or other not in folders:
                continue
            base = "/".join(parts[:position])
            first, second = folder[len(base) + 1 :], other[len(base) + 1 :]
            partner = {
                name.rpartition(".")[0]: name for name in folders[other] if suffix_of(name) in IMAGE_SUFFIXES
            }
            names = sorted(
                n
                for n in folders[folder]
                if suffix_of(n) in IMAGE_SUFFIXES and n.rpartition(".")[0] in partner
            )
            files = {f"{first}/{name}": folders[folder][name] for name in names}
            files |= {f"{second}/{name}": stamp for name, stamp in folders[other].items()}
            files |= {name: stamp for name, stamp in around.get(base, {}).items() if name in CALIBRATIONS}
            for run in _runs(names):
                here = [f"{first}/{name}" for name in run]
                there = [f"{second}/{partner[name.rpartition('.')[0]]}" for name in run]
                if kind == "stereo":
                    yield _item(kind, base, files, here + there, calibrated=True)
                else:
                    yield _item(kind, base, files, here, there, calibrated=True)
                for name in run:
                    del folders[folder][name], folders[other][partner[name.rpartition(".")[0]]]
