"""`freelabels verify`: every byte and every rule of a dataset, checked."""

from __future__ import annotations

import dataclasses

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.options import Where
from freelabels.cli.shell.terminal import DONE, FAILED, conclude, reporter
from freelabels.ground.spelling import counted


def verify(
    dataset: Positional[str],
    /,
    *,
    repair: bool = False,
    workers: int = 0,
    address: str | None = None,
    json: bool = False,
) -> int:
    """Read a dataset again and check every byte and every rule of the contract; name what is broken.

    Args:
        dataset: Folder or address (s3://bucket/path) of a dataset.
        repair: Set aside what is proven broken, so that the next run of its stage makes it again; see
            freelabels prune.
        workers: Tasks at a time on Ray; 0 works in this process.
        address: Address of a running Ray cluster.
        json: Print the result as JSON.
    """
    to = reporter(json)
    where = Where(None if address and not workers else workers, address)
    summary = freelabels.verify(dataset, repair=repair, cluster=where.cluster, reporter=to)
    for problem in summary.problems:
        to.say(str(problem), **dataclasses.asdict(problem))
    if summary.residual is not None:
        to.say(
            f"renders: depth, poses and object motion meet the stored flow within {summary.residual:.4f} px (p99)",
            residual=summary.residual,
        )
    verdict = counted(len(summary.problems), "problem") if summary.problems else "all is whole"
    repaired = f"; set aside {summary.repaired}: run the same stage again" if summary.repaired else ""
    conclude(json, summary, f"{counted(summary.shards, 'shard')} checked, {verdict}{repaired}")
    return FAILED if summary.problems and not repair else DONE
