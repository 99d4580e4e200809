"""LeRobot's trees: which episodes a video holds, one after the other, and what their tasks were.

Source: LeRobotDataset v3.0 (meta/info.json, meta/episodes/chunk-…/file-….parquet) and v2.1 (meta/episodes.jsonl).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from freelabels.pipeline.sources.layouts.texts import LEROBOT
from freelabels.pipeline.storage.archives.parquet import Parquet
from freelabels.pipeline.storage.uris import SourceError, archive, read_bytes

# videos/<camera>/chunk-000/file-000.mp4, and before version 3 videos/chunk-000/<camera>/episode_000000.mp4
_VIDEO = re.compile(r"videos/(?P<camera>[^/]+)/chunk-(?P<chunk>\d+)/file-(?P<file>\d+)\.\w+")
_VIDEO_2 = re.compile(r"videos/chunk-\d+/[^/]+/episode_(?P<episode>\d+)\.\w+")
NAMED = "meta/episodes/chunk-{chunk:03d}/file-{file:03d}.parquet"
PLACE = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")


@dataclass(frozen=True)
class Episode:
    """A recording of its own within a video: its number, its seconds, what the robot was told to do."""

    number: int
    start: float
    stop: float
    tasks: tuple[str, ...] = ()


def episodes(info: str, video: str) -> Sequence[Episode]:
    """The episodes of a video in order, () if it is none of the tree's. info: its meta/info.json.

    Raises SourceError or OSError if what tells of them can't be read.
    """
    root = info.removesuffix(LEROBOT)
    inside = video.removeprefix(root)
    if found := _VIDEO.fullmatch(inside):
        key = found["camera"], int(found["chunk"]), int(found["file"])
        return sorted(_by_video(root).get(key, ()), key=lambda one: one.start)
    if found := _VIDEO_2.fullmatch(inside):
        number = int(found["episode"])
        return (Episode(number, -math.inf, math.inf, _tasks(root).get(number, ())),)
    return ()


@lru_cache(8)
def _by_video(root: str) -> Mapping[tuple[str, int, int], Sequence[Episode]]:
    """Episodes by camera, chunk and file."""
    told: dict[tuple[str, int, int], list[Episode]] = {}
    for table in _tables(root):
        numbers = table.all_of("episode_index")
        tasks = table.all_of("tasks") if "tasks" in table.columns else [()] * len(numbers)
        for column in table.columns:
            camera = column.removeprefix("videos/").removesuffix(f"/{PLACE[0]}")
            if column != f"videos/{camera}/{PLACE[0]}":
                continue
            places = [table.all_of(f"videos/{camera}/{one}") for one in PLACE]
            for number, said, chunk, file, start, stop in zip(numbers, tasks, *places, strict=True):
                if None in (number, chunk, file, start, stop):
                    continue
                texts = (said,) if isinstance(said, str) else tuple(map(str, said or ()))
                one = Episode(int(number), float(start), float(stop), texts)
                told.setdefault((camera, int(chunk), int(file)), []).append(one)
    return told


def _tables(root: str) -> list[Parquet]:
    found: list[Parquet] = []
    chunk = file = 0
    while True:
        try:
            table = archive(f"{root}{NAMED.format(chunk=chunk, file=file)}")
        except FileNotFoundError:
            if not file:
                return found
            chunk, file = chunk + 1, 0
            continue
        if not isinstance(table, Parquet) or not {"episode_index"} <= {*table.columns}:
            raise SourceError("can't be understood: a table of them has no episode_index")
        found.append(table)
        file += 1


@lru_cache(8)
def _tasks(root: str) -> Mapping[int, tuple[str, ...]]:
    """Tasks by episode, of version 2."""
    told: dict[int, tuple[str, ...]] = {}
    try:
        lines = read_bytes(f"{root}meta/episodes.jsonl").decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return told
    for line in lines:
        try:
            entry: Any = json.loads(line)
            told[int(entry["episode_index"])] = tuple(map(str, entry.get("tasks", ())))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return told
