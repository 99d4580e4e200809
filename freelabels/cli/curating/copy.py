"""`freelabels copy`: a dataset, or some of its clips, in another folder, store or layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.choosing import ALL, Which
from freelabels.cli.shell.options import FLAT
from freelabels.cli.shell.terminal import DONE, FAILED, conclude, note, reporter
from freelabels.ground.spelling import counted


@dataclass(frozen=True)
class Target:
    """Where chosen clips go, and how: what `copy` and `merge` can both be told."""

    out: str
    """Folder or address of what is made; one that is there is completed."""
    layout: Literal["folders", "packed"] | None = None
    """How a shard lies there: as a folder of files, or packed into one object a commit."""
    workers: int = 0
    """Tasks at a time on Ray; 0 works in this process."""
    address: str | None = None
    """Address of a running Ray cluster."""
    json: bool = False
    """Print progress and summary as JSON lines on standard output."""


def copy(
    dataset: Positional[str], /, *, to: Annotated[Target, FLAT], which: Annotated[Which, FLAT] = ALL
) -> int:
    """Copy a dataset, or some of its clips, to another folder, store or layout; run again to go on.

    Args:
        dataset: Folder or address (s3://bucket/path) of a dataset.
        to: Where to, and how.
        which: Which clips.
    """
    return copied((dataset,), to, which)


def copied(datasets: tuple[str, ...], to: Target, which: Which) -> int:
    """Copy or merge, tell what was done, and return the status."""
    where = freelabels.Cluster(None if to.address and not to.workers else to.workers, to.address, say=note)
    done = freelabels.copy(
        datasets, to.out, which.selection, layout=to.layout, cluster=where, reporter=reporter(to.json)
    )
    more = f"; {done.duplicates} more were there already" if done.duplicates else ""
    failed = f"; {counted(done.failed, 'shard')} failed" if done.failed else ""
    told = f"{counted(done.clips, 'clip')}, {counted(done.frames, 'frame')} in {done.dataset}"
    made = f"{done.made} of {counted(done.shards, 'shard')} made"
    conclude(to.json, done, f"{told}: {made}{more}{failed}")
    return DONE if done.complete else FAILED
