"""Removes from a dataset what nobody needs any more, and puts back or removes what repairs have set aside."""

from __future__ import annotations

import os
from dataclasses import dataclass

from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.quarantine import SetAside, empty, in_quarantine
from freelabels.pipeline.shards.quarantine import restore as put_back


@dataclass(frozen=True)
class PruneSummary:
    """What was removed and what is there.

    leftovers: of dead writers, and revisions that newer ones have replaced. emptied: how much was removed from the
    quarantine; quarantine: what still lies there. restored: folder name of what was put back, or "".
    """

    leftovers: int
    emptied: int
    quarantine: tuple[SetAside, ...]
    restored: str = ""


def prune(
    path: str | os.PathLike[str], *, quarantine: bool = False, restore: str | None = None
) -> PruneSummary:
    """Remove what dead writers left, never what is young; look into the quarantine.

    restore: name of what to put back from there, as the newest revision of its shard; done first. quarantine:
    remove for good what lies there. Raises NotADataset, or UserError if nothing of that name lies there.
    """
    dataset = Dataset(path)
    _ = dataset.attributes  # raises NotADataset
    try:
        restored = put_back(dataset, restore) if restore is not None else ""
        superseded = dataset.superseded()
        for name in superseded:
            dataset.storage.drop(name)
        leftovers = dataset.storage.sweep() + len(superseded)
        emptied = empty(dataset) if quarantine else 0
    except OSError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"can't write to {path} ({error.strerror}); see to that and run again") from error
    return PruneSummary(leftovers, emptied, tuple(in_quarantine(dataset)), restored)
