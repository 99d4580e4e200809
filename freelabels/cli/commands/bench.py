"""`freelabels bench`: what labels and pretexts teach, side by side."""

from __future__ import annotations

from typing import Annotated, Literal

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.options import FLAT, HERE, Where
from freelabels.cli.shell.terminal import DONE, FAILED, reporter, say
from freelabels.train.config import BenchConfig

DEFAULTS = BenchConfig()


def bench(
    table: Positional[Literal["features"]],
    datasets: Positional[tuple[str, ...]] = (),
    /,
    *,
    data: tuple[str, ...],
    out: str,
    pictures: str = "",
    config: Annotated[BenchConfig, FLAT] = DEFAULTS,
    where: Annotated[Where, FLAT] = HERE,
    json: bool = False,
) -> int:
    """Train rows on equally many pixels and probe their features: one table, which the same line goes on with.

    Args:
        table: Which table: features.
        datasets: Datasets of labels; which domain each holds is read from its shards.
        data: What the features are probed on: image folders, datasets of labels, videos; as for probe.
        out: Folder of runs, finished rows and the table (features.md, features.json, features.png).
        pictures: Folder of pictures that rows without stored labels learn from, a folder a class (which the
            supervised row alone reads), or such folders in train/ and val/, where those of val/ are kept for the
            tasks' scores; default: the frames of real datasets.
        config: Which rows, how they are trained and probed.
        where: Where and how carefully rows run.
        json: Print progress as JSON lines on standard output.
    """
    from freelabels.train.bench.report import markdown

    made = freelabels.bench_features(
        data, out, datasets, pictures, config, cluster=where.cluster, reporter=reporter(json)
    )
    if not json:
        say(markdown(made))
    return FAILED if made.failed else DONE
