"""What every stage does at its beginning and when something fails."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import UserError
from pipeline.runner import Outcome
from pipeline.shards import Dataset


def begin(out: str | os.PathLike[str], attributes: Mapping[str, Any]) -> Dataset:
    """Open or begin the dataset at `out` and clear what killed runs left. Raises UserError."""
    try:
        dataset = Dataset.create(out, attributes)
        dataset.storage.sweep()
        for name in dataset.superseded():
            dataset.storage.drop(name)
    except OSError as error:
        raise UserError(f"can't write to {out} ({error.strerror}); name another place with --out") from error
    return dataset


def failure_entry(outcome: Outcome[Any, Any], shard: str, sources: Sequence[str]) -> dict[str, Any]:
    """A line of failures.jsonl."""
    return {"shard": shard, "error": outcome.error, "sources": list(sources), "traceback": outcome.traceback}


def write_failed(dataset: Dataset, error: str, made: int) -> UserError:
    """What to tell the user when the place of the dataset takes no more."""
    return UserError(
        f"can't write to {dataset.path} ({error}); {made} shards were made, free space or permissions and run "
        "again to go on"
    )
