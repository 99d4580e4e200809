"""What repairs have set aside: revisions of shards, whole, each with the reason, until a person says otherwise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.storage.local import QUARANTINE, RECORD

NOTE = ".json"


@dataclass(frozen=True)
class SetAside:
    """What lies in the quarantine: its name there, the folder that it was, and why it is there.

    Of a dataset's own record, `shard` is the record's name; it can't be put back, since it is there anew.
    """

    name: str
    shard: str
    reasons: tuple[str, ...]


def set_aside(dataset: Dataset, shard: str, reasons: Sequence[str]) -> None:
    """Move a shard, given by folder name, into the quarantine."""
    dataset.storage.quarantine(shard, json.dumps({"shard": shard, "reasons": list(reasons)}).encode())


def in_quarantine(dataset: Dataset) -> list[SetAside]:
    """All that was set aside, by name."""
    files = dataset.storage.files(QUARANTINE)
    return [
        _described(dataset, name)
        for name in sorted({file.partition("/")[0].removesuffix(NOTE) for file in files})
    ]


def _described(dataset: Dataset, name: str) -> SetAside:
    try:
        note = json.loads(dataset.storage.read(f"{QUARANTINE}/{name}{NOTE}"))
        return SetAside(name, str(note["shard"]), tuple(map(str, note["reasons"])))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return SetAside(name, name.rpartition("-")[0], ("its note can't be read",))


def restore(dataset: Dataset, name: str) -> str:
    """Put back, as the newest revision of its shard, what was set aside, as it is; returns its folder name.

    It stays in the quarantine too. Raises UserError if there is nothing of that name.
    """
    storage, place = dataset.storage, f"{QUARANTINE}/{name}"
    files = storage.files(place)
    if RECORD not in files:
        raise UserError(f"{dataset.path} has set nothing aside that is called {name}")
    shard = name.rpartition("-")[0].rpartition(".")[0]
    revisions = [int(n.rpartition(".")[2]) for n in dataset.shards() if n.rpartition(".")[0] == shard]
    folder = f"{shard}.{max(revisions, default=-1) + 1}"
    links = {file: f"{place}/{file}" for file in files if file != RECORD}
    if not storage.commit(folder, {RECORD: storage.read(f"{place}/{RECORD}")}, links):
        raise UserError(f"{dataset.path}: another process has just made {folder}; look, and try again")
    return folder


def empty(dataset: Dataset) -> int:
    """Remove for good all that was set aside. Returns how much that was."""
    found = in_quarantine(dataset)
    for one in found:
        dataset.storage.purge(one.name)
    return len(found)
