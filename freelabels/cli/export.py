"""What a run gives away: `freelabels export`, its backbone for timm; `freelabels assign`, clusters of clips."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional

import freelabels
from freelabels.cli.options import FLAT, HERE, Where
from freelabels.cli.terminal import DONE, conclude, reporter, say


def export(run: Positional[str], /, *, out: str) -> int:
    """Write a run's backbone as safetensors that timm loads, with a model card.

    Args:
        run: Folder of a run.
        out: Folder for the weights and the card.
    """
    say(f"weights: {freelabels.export(run, out)}")
    return DONE


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
    told = f"{summary.clips} clips in {summary.clusters} clusters of {summary.smallest} to {summary.largest}"
    published = f"; the column cluster is new in {summary.shards} shards" if into else ""
    conclude(json, summary, f"{told}: {run}/{LIST}{published}")
    return DONE
