"""`freelabels copy`: a dataset, or some of its clips, in another folder, store or layout."""

from __future__ import annotations

from typing import Annotated, Literal

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.choosing import ALL, Which
from freelabels.cli.shell.options import FLAT
from freelabels.cli.shell.terminal import DONE, FAILED, conclude, note, reporter


def copy(
    dataset: Positional[str],
    /,
    *,
    out: str,
    which: Annotated[Which, FLAT] = ALL,
    layout: Literal["folders", "packed"] | None = None,
    workers: int = 0,
    address: str | None = None,
    json: bool = False,
) -> int:
    """Copy a dataset, or some of its clips, to another folder, store or layout; run again to go on.

    Args:
        dataset: Folder or address (s3://bucket/path) of a dataset.
        out: Folder or address of the copy; it is made, or completed.
        which: Which clips.
        layout: How a shard lies there: as a folder of files, or packed into one object a commit.
        workers: Tasks at a time on Ray; 0 works in this process.
        address: Address of a running Ray cluster.
        json: Print progress and summary as JSON lines on standard output.
    """
    return copied((dataset,), out, which, layout, workers, address, json)


def copied(
    datasets: tuple[str, ...],
    out: str,
    which: Which,
    layout: str | None,
    workers: int,
    address: str | None,
    json: bool,
) -> int:
    """Copy or merge, tell what was done, and return the status."""
    where = freelabels.Cluster(None if address and not workers else workers, address, say=note)
    done = freelabels.copy(
        datasets, out, which.selection, layout=layout, cluster=where, reporter=reporter(json)
    )
    more = f"; {done.duplicates} more were there already" if done.duplicates else ""
    failed = f"; {done.failed} shards failed" if done.failed else ""
    told = f"{done.clips} clips, {done.frames} frames in {done.dataset}: {done.made} of {done.shards} shards made"
    conclude(json, done, told + more + failed)
    return DONE if done.complete else FAILED
