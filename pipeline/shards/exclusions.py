"""Frames a person has ticked as bad: a list beside the shards that training leaves out.

A frame is named by what its pixels come from, not by where it lies: the content hash of its source (a rendered
clip: the clip's key, a digest of everything that made it) and the number of the frame in that source. So a list
survives labelling again, with other labels, another frame size, frame rate or clip length.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.shard import Shard

FILE = "exclusions.json"
SCHEMA = 1


@dataclass(frozen=True, order=True)
class FrameIdentity:
    """A frame by identity: `clip` as `clip_identity` gives it, `index` the number of the frame in its source."""

    clip: str
    index: int


def clip_identity(clip: Mapping[str, Any]) -> str:
    """What names a clip's source for good: its content hash, or its key, or else where it came from."""
    source = clip.get("source") or [""]
    return str(clip.get("sha256") or clip.get("key") or source[0])


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
    """(rows,) whether each frame of a shard is on the list; no column is read if none of its clips is."""
    named = {frame.clip for frame in excluded}
    if not any(clip_identity(clip) in named for clip in shard.clips):
        return np.zeros(shard.rows, bool)
    return np.array([frame in excluded for frame in identities_of(shard)], bool)


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
