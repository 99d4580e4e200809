"""What every stage does at its beginning and when something fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.work.runner import FATAL_ERRNOS, Outcome


@contextmanager
def writing_to(out: str | os.PathLike[str]) -> Iterator[None]:
    """A place that can't be written is the user's to mend: one sentence instead of a traceback."""
    try:
        yield
    except OSError as error:
        if isinstance(error, UserError) or errno.errorcode.get(error.errno or 0) not in FATAL_ERRNOS:
            raise
        raise UserError(
            f"can't write to {out} ({error.strerror}); free it and run again, or name another place with --out"
        ) from error


def begin(out: str | os.PathLike[str], attributes: Mapping[str, Any]) -> Dataset:
    """Open or begin the dataset at `out` and clear what killed runs left. Raises as `Dataset.create`."""
    dataset = Dataset.create(out, attributes)
    dataset.storage.sweep()
    for name in dataset.superseded():
        dataset.storage.drop(name)
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
