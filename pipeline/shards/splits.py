"""Which clips are to train on, to choose settings by and to test on: a rule beside the shards of a dataset.

The rule tells by what a clip's frames come from (source file, shot or scene), not by where they lie or what else
is there. So no source is on two sides, whatever comes later is told too, and what is told never changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.identity import group_of
from freelabels.pipeline.shards.shard import Shard

FILE = "splits.json"
SCHEMA = 1
SPLITS = (TRAIN, VAL, TEST) = ("train", "val", "test")
SPAN = 1 << 64  # of the groups' numbers, which are even over it


@dataclass(frozen=True)
class Splits:
    """The shares of all sources that are `val` and `test`, and by number of a group where it is `pinned`."""

    val: float = 0.0
    test: float = 0.0
    pinned: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.val >= 0 and self.test >= 0 and self.val + self.test < 1):
            raise UserError(
                f"shares of val and test are 0 or more and below 1 in sum, not {self.val:g} and {self.test:g}"
            )

    def places(self, groups: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """Places in `SPLITS` of groups by number, as `identity.group_of` gives it."""
        found = np.zeros(len(groups), np.uint8)
        for share, split in ((self.val + self.test, VAL), (self.test, TEST)):
            found[groups < np.uint64(round(share * SPAN))] = SPLITS.index(split)
        for split in sorted(set(self.pinned.values())):
            its = np.array([group for group, its in self.pinned.items() if its == split], np.uint64)
            found[np.isin(groups, its)] = SPLITS.index(split)
        return found

    def of(self, shard: Shard, clip: Mapping[str, Any]) -> str:
        """The split of one clip of a shard."""
        group = group_of(clip, f"{shard.id}/{clip['rows'][0]}")
        return SPLITS[self.places(np.array([group], np.uint64))[0]]

    def to_json(self) -> str:
        """The text of the file; the same rule gives the same text."""
        pinned = {f"{group:016x}": split for group, split in sorted(self.pinned.items())}
        shares = {"val": self.val, "test": self.test}
        return json.dumps({"schema": SCHEMA, "shares": shares, "pinned": pinned}, indent=1) + "\n"

    def merged(self, other: Splits) -> Splits | None:
        """Both rules as one; None where they tell of a source otherwise."""
        if (self.val, self.test) != (other.val, other.test):
            return None
        if any(self.pinned.get(group, split) != split for group, split in other.pinned.items()):
            return None
        return Splits(self.val, self.test, {**self.pinned, **other.pinned})


def splits_of(dataset: Dataset) -> Splits | None:
    """The rule of a dataset; None without one. Raises UserError if it is damaged."""
    where = f"{dataset.path}/{FILE}"
    try:
        document = json.loads(dataset.storage.read(FILE))
        if document["schema"] > SCHEMA:
            raise UserError(
                f"{where} was written by a newer version (schema {document['schema']}, this one reads "
                f"{SCHEMA}); update freelabels"
            )
        pinned = {int(group, 16): str(split) for group, split in document["pinned"].items()}
        if not set(pinned.values()) <= set(SPLITS):
            raise ValueError("no such split")
        return Splits(float(document["shares"]["val"]), float(document["shares"]["test"]), pinned)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{where} can't be read: it is not as freelabels split writes it") from error


def write_splits(dataset: Dataset, splits: Splits) -> None:
    """Replace a dataset's rule at once, so that a reader sees the old one or the new one. Raises OSError."""
    dataset.storage.write(FILE, splits.to_json().encode())
