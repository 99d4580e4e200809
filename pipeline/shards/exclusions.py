"""Frames a person has ticked as bad: a list beside the shards that training leaves out.

A frame is named by what its pixels come from, not by where it lies: the content hash of its source (a rendered
clip: the clip's key, a digest of everything that made it; numbered images: the hash of the whole shot, whichever
part of it the clip is) and the number of the frame in that source. So a list survives labelling again, with other
labels, another frame size, frame rate or clip length.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.identity import clip_identity, number_of_name
from freelabels.pipeline.shards.shard import Shard

FILE = "exclusions.json"
SCHEMA = 1
SHOT_DIGITS = 12  # of a shot's hash


@dataclass(frozen=True, order=True)
class FrameIdentity:
    """A frame by identity: `clip` as `clip_identity` gives it, `index` the number of the frame in its source."""

    clip: str
    index: int


def identities_of(shard: Shard) -> list[FrameIdentity]:
    """The identity of each row. Shards without the column frame_index count from each clip's first row."""
    numbers = shard.read_rows("frame_index") if "frame_index" in shard.fields else None
    return [
        FrameIdentity(clip_identity(clip), int(row - start if numbers is None else numbers[row]))
        for clip in shard.clips
        for start, stop in [clip["rows"]]
        for row in range(start, stop)
    ]


def excluded_rows(shard: Shard, excluded: frozenset[FrameIdentity]) -> NDArray[np.bool_]:
    """(rows,) whether each frame of a shard is on the list; no column is read if none of its clips is.

    Lists of versions up to 0.1.0 name numbered images by the hash of their part; these count as well.
    """
    out, listed = np.zeros(shard.rows, bool), _by_clip(excluded)
    for clip in shard.clips:
        start, stop = clip["rows"]
        names = {clip_identity(clip), str(clip.get("sha256", ""))}
        if unwanted := [index for name in names for index in listed.get(name, ())]:
            indexed = "frame_index" in shard.fields
            numbers = shard.read_rows("frame_index", start, stop) if indexed else np.arange(stop - start)
            out[start:stop] = np.isin(numbers, unwanted)
    return out


def listed_names(excluded: frozenset[FrameIdentity]) -> NDArray[np.uint64]:
    """What clips with a frame on a list may be called, as numbers: a clip of none of these has no frame on it."""
    return np.array([number_of_name(name) for name in _by_clip(excluded)], np.uint64)


@lru_cache(maxsize=4)
def _by_clip(frames: frozenset[FrameIdentity]) -> dict[str, list[int]]:
    """Numbers of listed frames by what their clip may be called: a shot's hash begins that of an only part."""
    found: dict[str, list[int]] = {}
    for frame in frames:
        for name in {frame.clip, frame.clip[:SHOT_DIGITS]}:
            found.setdefault(name, []).append(frame.index)
    return found


def read_exclusions(path: str | os.PathLike[str]) -> frozenset[FrameIdentity]:
    """The frames that a file lists. Raises UserError if it can't be read or is something else."""
    try:
        return parse_exclusions(Path(path).read_bytes(), os.fspath(path))
    except OSError as error:
        raise UserError(f"the exclusion list {path} can't be read ({error.strerror})") from error


def exclusions_of(dataset: Dataset) -> frozenset[FrameIdentity]:
    """The frames that a dataset's own list names; none without a list. Raises UserError if it is damaged."""
    try:
        text = dataset.storage.read(FILE)
    except FileNotFoundError:
        return frozenset()
    return parse_exclusions(text, f"{dataset.path}/{FILE}")


def parse_exclusions(text: bytes | str, where: str) -> frozenset[FrameIdentity]:
    """The frames in the text of a list. Raises UserError naming `where` it stands."""
    try:
        document = json.loads(text)
        if document["schema"] > SCHEMA:
            raise UserError(
                f"the exclusion list {where} was written by a newer version "
                f"(schema {document['schema']}, this one reads {SCHEMA}); update freelabels"
            )
        return frozenset(
            FrameIdentity(str(entry["clip"]), int(entry["frame"])) for entry in document["exclude"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"the exclusion list {where} can't be read: it is not as freelabels inspect writes it"
        ) from error


def exclusions_json(frames: Iterable[FrameIdentity]) -> str:
    """The text of a list; the same frames give the same text."""
    listed = [{"clip": frame.clip, "frame": frame.index} for frame in sorted(set(frames))]
    return json.dumps({"schema": SCHEMA, "exclude": listed}, indent=1) + "\n"


def write_exclusions(dataset: Dataset, frames: Iterable[FrameIdentity]) -> None:
    """Replace a dataset's list at once, so that a reader sees the old one or the new one. Raises OSError."""
    dataset.storage.write(FILE, exclusions_json(frames).encode())
