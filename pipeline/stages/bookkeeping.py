"""What every stage does at its beginning and when something fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from freelabels.ground.errors import Unwritable, UserError
from freelabels.ground.spelling import counted
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.index import read_index
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster, Outcome

# What a place answers that takes nothing more, whatever is to be written.
NOT_WRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


LEAST_LIMIT = 600.0  # seconds
SECONDS_A_FRAME = 60.0  # of 256 × 256 pixels: a hundred times what all labels of one take


def time_limit(frames: int, size: tuple[int, int]) -> float:
    """Seconds that a shard of so many frames of (height, width) may take, unless the user says otherwise."""
    return max(LEAST_LIMIT, SECONDS_A_FRAME * frames * size[0] * size[1] / 256**2)


@contextmanager
def writing_to(out: str | os.PathLike[str]) -> Iterator[None]:
    """A place that can't be written is the user's to mend: one sentence instead of a traceback."""
    try:
        yield
    except OSError as error:
        if isinstance(error, UserError) or error.errno not in NOT_WRITABLE:
            raise
        raise UserError(
            f"can't write to {out} ({error.strerror}); free it and run again, or name another place with --out"
        ) from error


@contextmanager
def committing() -> Iterator[None]:
    """In a worker, around what is written alone: an output that takes nothing more is no fault of the item's.

    Sources are read outside of it: one that can't be read costs itself. Raises Unwritable.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        raise Unwritable(error.strerror or str(error)) from error


def begin(out: str | os.PathLike[str], attributes: Mapping[str, Any], layout: str | None = None) -> Dataset:
    """Open or begin the dataset at `out` and clear what killed runs left. Raises as `Dataset.create`."""
    dataset = Dataset.create(out, attributes, layout)
    dataset.storage.sweep()
    for name in dataset.superseded():
        dataset.storage.drop(name)
    return dataset


def end(dataset: Dataset, cluster: Cluster, reporter: Reporter) -> None:
    """Remember what a run has made, read by its workers, so that whoever comes next opens no record."""
    with suppress(UserError, OSError):  # nothing depends on it
        read_index(dataset, cluster, reporter, lenient=True)


def failure_entry(outcome: Outcome[Any, Any], shard: str, sources: Sequence[str]) -> dict[str, Any]:
    """A line of failures.jsonl."""
    return {
        "shard": shard,
        "error": outcome.error,
        "sources": list(sources),
        "node": outcome.node,
        "seconds": round(outcome.seconds, 3),
        "traceback": outcome.traceback,
    }


def tell_failed(dataset: Dataset, failures: Sequence[Mapping[str, Any]], reporter: Reporter) -> None:
    """Keep what failed in failures.jsonl; say how much that is, where it stands and why the first did."""
    dataset.failures_log().write_lines(failures)
    if failures:
        why = str(failures[0]["error"]).removeprefix("ValueError: ")
        first = "the first " if len({entry["error"] for entry in failures}) > 1 else ""
        reporter.say(
            f"{counted(len(failures), 'shard')} failed ({first}for: {why}), see {dataset.failures_log()}",
            failed=len(failures),
        )


def write_failed(dataset: Dataset, error: str, made: int) -> UserError:
    """What to tell the user when the place of the dataset takes no more."""
    why = error.removeprefix("Unwritable: ")
    return UserError(
        f"can't write to {dataset.path} ({why}); {counted(made, 'shard')} made, free space or permissions and run "
        "again to go on"
    )
