"""Folders of human-labelled videos that probes are scored on, by their layout: see `VIDEO_LAYOUTS`.

Names are compared without case: UCF101's lists say HandStandPushups, its folders HandstandPushups.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from freelabels.ground.errors import UserError
from freelabels.pipeline.media.videos import DecodedFrame, opened
from freelabels.pipeline.storage.uris import SourceError, why
from freelabels.train.data.augment import Resampler, centre_view
from freelabels.train.probing.layouts.lists import SUFFIXES, TESTING, TRAINING, lines

VIDEOS = (".avi", ".mp4", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg")
UCF_LISTS, HMDB_LISTS = "ucfTrainTestlist", "testTrainMulti_7030_splits"
VIDEO_LAYOUTS = (
    f"UCF101 (UCF-101/ with {UCF_LISTS}/), HMDB51 (hmdb51_org/ with {HMDB_LISTS}/), "
    "Kinetics (train.csv, val.csv and folders of classes), a folder of videos a class (or train/, test/ of these)"
)
# What several cuts of one recording have in common: UCF101's groups, Kinetics' ids with times.
CUTS = (re.compile(r"(.*_g\d+)_c\d+"), re.compile(r"(.{11})_\d{6}_\d{6}"))
DEEP = 3  # folders down to which a video is looked for
HMDB_UNUSED, HMDB_TEST = "0", "2"  # 1: training
HMDB_SIDES = ("0", "1", "2")


@dataclass(frozen=True)
class Filmed:
    """Videos and the class that each shows, with one split of them if the layout tells one.

    truth: (n, classes) float32, one 1 a row. groups: (n,) equal for cuts of one recording. test: (n,) what is for
    testing; None: the probe draws it, by whole groups. missing: how many videos lists name that aren't there.
    """

    name: str
    files: tuple[Path, ...]
    truth: Tensor
    classes: tuple[str, ...]
    groups: NDArray[np.int64]
    test: NDArray[np.bool_] | None
    exclusive: bool = True
    missing: int = 0


def holds_videos(path: str) -> bool:
    """Whether a folder is one of labelled videos: it has lists of splits, or videos and no images."""
    root = Path(path)
    if not root.is_dir():
        return False
    if (root / UCF_LISTS).is_dir() or (root / HMDB_LISTS).is_dir():
        return True
    return any(_of(root, VIDEOS)) and not any(_of(root, SUFFIXES))


def read_video_folder(path: str) -> list[Filmed]:
    """What a folder of videos holds, a split each. Raises UserError if it has none of the layouts."""
    root = Path(path)
    listed = next((name for name in (UCF_LISTS, HMDB_LISTS) if (root / name).is_dir()), None)
    if listed:
        found = list((_ucf if listed == UCF_LISTS else _hmdb)(root))
        if not found:
            raise UserError(f"{root / listed} holds no lists of splits; unpack them there")
    elif tables := _tables(root):
        found = [_kinetics(root, tables)]
    else:
        found = [_class_folders(root)]
    for one in found:
        if len(one.classes) < 2:
            raise UserError(
                f"--data {path}: holds {len(one.classes)} class of videos, a probe needs two or more"
            )
        for side, rows in (("train", False), ("test", True)):
            if one.test is not None and not (one.test == rows).any():
                raise UserError(f"--data {path}: {one.name} has no videos to {side} on")
    return found


def _of(folder: Path, suffixes: Sequence[str], deep: int = DEEP) -> Iterator[Path]:
    """Files of some kinds in a folder and those in it, ordered."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and deep:
            yield from _of(path, suffixes, deep - 1)
        elif path.suffix.lower() in suffixes:
            yield path


def _filmed(name: str, members: Sequence[tuple[str, Path, bool | None]]) -> Filmed:
    """From (class, file, whether it is for testing) of each video; classes whose names differ in case are one."""
    names: dict[str, str] = {}
    for label, _, _ in members:
        names.setdefault(label.casefold(), label)
    order = sorted(names)
    number = torch.tensor([order.index(label.casefold()) for label, _, _ in members], dtype=torch.long)
    sources: dict[str, int] = {}
    groups = [sources.setdefault(_recording(label, file), len(sources)) for label, file, _ in members]
    test = [for_test for _, _, for_test in members]
    return Filmed(
        name,
        tuple(file for _, file, _ in members),
        torch.nn.functional.one_hot(number, len(order)).float(),
        tuple(names[key] for key in order),
        np.array(groups, np.int64),
        None if None in test else np.array(test, bool),
    )


def _recording(label: str, file: Path) -> str:
    """The recording that a video is cut from, as far as its name tells."""
    for cut in CUTS:
        if found := cut.fullmatch(file.stem):
            return found[1].casefold()
    return f"{label}/{file.stem}".casefold()


def _by_name(root: Path) -> dict[tuple[str, str], Path]:
    """The videos below a folder by the name of theirs and their own stem, without case."""
    packed = next(iter(_of(root, (".rar",))), None)
    found = {(file.parent.name.casefold(), file.stem.casefold()): file for file in _of(root, VIDEOS)}
    if not found:
        hint = f": unpack its archives first (unrar x {packed.name})" if packed is not None else ""
        raise UserError(f"--data {root}: holds no videos{hint}")
    return found


def _split_of(name: str, members: Sequence[tuple[str, Path | None, bool]], source: Path) -> Filmed:
    """A split, of (class, its video or None if that isn't there, whether it is for testing)."""
    there = [(label, file, test) for label, file, test in members if file is not None]
    if not there:
        raise UserError(
            f"{source.parent.parent}: holds none of the videos that {source} names; unpack them there"
        )
    return replace(_filmed(name, there), missing=len(members) - len(there))


def _ucf(root: Path) -> Iterator[Filmed]:
    """A split for each pair of trainlist0k.txt and testlist0k.txt: CLASS/FILE.avi a line, maybe an id after it."""
    videos = _by_name(root)
    for train in sorted((root / UCF_LISTS).glob("trainlist*.txt")):
        number = train.stem.removeprefix("trainlist")
        sides = ((train, False), (train.with_name(f"testlist{number}.txt"), True))
        members: list[tuple[str, Path | None, bool]] = []
        for file, test in sides:
            for line in lines(file, "names of videos"):
                label, _, name = line.split()[0].replace("\\", "/").rpartition("/")
                members.append((label, videos.get((label.casefold(), Path(name).stem.casefold())), test))
        yield _split_of(f"{root.name}, split {number.lstrip('0')}", members, train)


def _hmdb(root: Path) -> Iterator[Filmed]:
    """A split for each k of CLASS_test_splitk.txt: FILE.avi and 1 (training), 2 (testing) or 0 (none) a line."""
    videos = _by_name(root)
    lists_of = sorted((root / HMDB_LISTS).glob("*_test_split*.txt"))
    for number in sorted({file.stem.rpartition("_test_split")[2] for file in lists_of}):
        members: list[tuple[str, Path | None, bool]] = []
        for file in lists_of:
            label, _, split = file.stem.rpartition("_test_split")
            if split != number:
                continue
            for line in lines(file, "names of videos"):
                name, _, side = line.rpartition(" ")
                if side not in HMDB_SIDES:
                    raise UserError(f"{file}: want a video and 0, 1 or 2, not {line!r}; get it anew")
                if side != HMDB_UNUSED:
                    video = videos.get((label.casefold(), Path(name.strip()).stem.casefold()))
                    members.append((label, video, side == HMDB_TEST))
        yield _split_of(f"{root.name}, split {number}", members, lists_of[0])


def _tables(root: Path) -> dict[str, list[dict[str, str]]]:
    """Kinetics' tables by side: rows with label, youtube_id, time_start and time_end."""
    found = {}
    for file in sorted(root.glob("*.csv")):
        rows = list(csv.DictReader(lines(file, "which videos show which class")))
        if rows and {"label", "youtube_id"} <= rows[0].keys():
            found[file.stem] = rows
    return found


def _kinetics(root: Path, tables: Mapping[str, list[dict[str, str]]]) -> Filmed:
    """Videos that the tables name and that are there, named by their id; many are gone from the web."""
    by_id: dict[str, list[Path]] = {}
    for file in _of(root, VIDEOS):
        cut = CUTS[1].fullmatch(file.stem)
        by_id.setdefault(cut[1] if cut else file.stem, []).append(file)
    members = []
    for name, rows in tables.items():
        side = name.rpartition("_")[2]
        for row in rows:
            for file in by_id.get(row["youtube_id"], []):
                begins = _begins(row)
                if begins in file.stem or not CUTS[1].fullmatch(file.stem):
                    members.append((row["label"], file, row.get("split", side) not in TRAINING))
    if not members:
        raise UserError(f"--data {root}: holds none of the videos that {', '.join(tables)} name")
    return _filmed(root.name, members if len({test for *_, test in members}) > 1 else [
        (label, file, None) for label, file, _ in members
    ])  # fmt: skip


def _begins(row: Mapping[str, str]) -> str:
    """How a cut that begins at a row's time has it in its name; "" where the row doesn't tell."""
    try:
        return f"_{int(float(row.get('time_start') or '')):06d}_"
    except ValueError:
        return ""


def _class_folders(root: Path) -> Filmed:
    """A folder a class; or one of training and one of test videos, each with a folder a class."""
    folders = {p.name.casefold(): p for p in sorted(root.iterdir()) if p.is_dir()}
    training = next((folders[name] for name in TRAINING if name in folders), None)
    testing = next((folders[name] for name in TESTING if name in folders), None)
    parts: list[tuple[Path, bool | None]] = [(root, None)]
    if training is not None and testing is not None:
        parts = [(training, False), (testing, True)]
    members = [
        (inner.name, file, test)
        for folder, test in parts
        for inner in sorted(folder.iterdir())
        if inner.is_dir() and not inner.name.startswith(".")
        for file in _of(inner, VIDEOS)
    ]
    if not members:
        raise UserError(f"--data {root}: holds no videos in folders of classes; want {VIDEO_LAYOUTS}")
    return _filmed(root.name, members)


def read_clips(file: Path, clips: int, frames: int, step: int, size: int) -> NDArray[np.uint8]:
    """The centred squares (clips, frames, 3, size, size) of clips spread evenly over a video, uint8 sRGB.

    frames: of a clip, every `step`-th of the video's; a video that is too short shows its last one again. Raises
    UserError, naming the file, for a video that can't be read.
    """
    try:
        with opened(str(file)) as video:
            count = sum(isinstance(one, DecodedFrame) for one in video.frames())
        numbers = clip_frames(count, clips, frames, step)
        wanted = dict.fromkeys(numbers.ravel().tolist())
        seen: dict[int, NDArray[np.uint8]] = {}
        with opened(str(file)) as video:
            pictures = (one for one in video.frames() if isinstance(one, DecodedFrame))
            for number, frame in enumerate(pictures):
                if number in wanted:
                    image = frame.rgb()
                    height, width = image.shape[:2]
                    view = Resampler(centre_view(height, width, size), (height, width))
                    seen[number] = view.image(image[None])[0].transpose(2, 0, 1)
    except (SourceError, OSError) as error:
        raise UserError(f"{file} {why(error)}; take it away or mend it") from error
    return np.stack([np.stack([seen[number] for number in row]) for row in numbers.tolist()])


def clip_frames(count: int, clips: int, frames: int, step: int) -> NDArray[np.int64]:
    """(clips, frames) numbers of frames of a video of `count`, from its begin to its end."""
    last = max(0, count - 1 - (frames - 1) * step)
    starts = np.rint(np.linspace(0, last, clips) if clips > 1 else np.array([last / 2])).astype(np.int64)
    return np.asarray(np.minimum(starts[:, None] + step * np.arange(frames), count - 1), np.int64)
