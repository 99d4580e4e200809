"""Words that a person has put on frames: a list beside the shards, frames named as exclusions name them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import FrameIdentity

FILE = "tags.json"
SCHEMA = 1
LONGEST = 60  # letters

FrameTags = Mapping[str, frozenset[FrameIdentity]]


def frame_tags_of(dataset: Dataset) -> dict[str, frozenset[FrameIdentity]]:
    """The frames of each word; empty without a list. Raises UserError if it is damaged or a newer version's."""
    where = f"{dataset.path}/{FILE}"
    try:
        document = json.loads(dataset.storage.read(FILE))
        if document["schema"] > SCHEMA:
            raise UserError(f"{where} was written by a newer version; update freelabels")
        return {
            str(word): frozenset(FrameIdentity(str(one["clip"]), int(one["frame"])) for one in frames)
            for word, frames in document["tags"].items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{where} can't be read: it is not as freelabels inspect writes it") from error


def write_frame_tags(dataset: Dataset, tags: FrameTags) -> None:
    """Replace a dataset's list at once; words without a frame are left out. Raises OSError."""
    listed = {
        word: [{"clip": frame.clip, "frame": frame.index} for frame in sorted(frames)]
        for word, frames in sorted(tags.items())
        if frames
    }
    dataset.storage.write(FILE, (json.dumps({"schema": SCHEMA, "tags": listed}, indent=1) + "\n").encode())
