"""`freelabels assign`: clusters of clips by a run's features."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional

from freelabels.cli.shell.options import FLAT, HERE, Where
from freelabels.cli.shell.terminal import DONE, conclude, reporter
from freelabels.ground.spelling import counted


def assign(
    run: Positional[str],
    datasets: Positional[tuple[str, ...]],
    /,
    *,
    clusters: int = 64,
    seed: int = 0,
    into: bool = False,
    where: Annotated[Where, FLAT] = HERE,
    json: bool = False,
) -> int:
    """Cluster the clips of datasets by a run's features, for the task boosting of another run.

    Args:
        run: Folder of a run.
        datasets: Datasets whose clips are clustered together.
        clusters: How many clusters.
        seed: Seed of the clustering.
        into: Publish them as the column cluster of the datasets; else they are only listed, in the run's folder.
        where: Where and how carefully it runs.
        json: Print progress and summary as JSON lines on standard output.
    """
    from freelabels.train.assign import LIST
    from freelabels.train.assign import assign as assigned

    summary = assigned(run, datasets, clusters, seed, into, where.cluster, reporter(json))
    clusters_made = f"{counted(summary.clusters, 'cluster')} of {summary.smallest} to {summary.largest}"
    told = f"{counted(summary.clips, 'clip')} in {clusters_made}"
    published = f"; the column cluster is new in {counted(summary.shards, 'shard')}" if into else ""
    conclude(json, summary, f"{told}: {run}/{LIST}{published}")
    return DONE
