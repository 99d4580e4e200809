"""Training as users call it, from Python or the command line: datasets in, a run folder out."""

from __future__ import annotations

import os
from collections.abc import Sequence

from freelabels.ground.errors import UserError
from freelabels.ground.paths import AnyPath, path_list
from freelabels.train.config import TrainConfig
from freelabels.train.data.catalogue import by_domain
from freelabels.train.run import trainer
from freelabels.train.run.checks import run_folder
from freelabels.train.run.config_file import CONFIG, read_config
from freelabels.train.run.trainer import TrainSummary


def fit(
    datasets: AnyPath | Sequence[AnyPath] = (),
    out: AnyPath = "",
    config: TrainConfig | None = None,
    resume: bool = False,
    *,
    real: AnyPath | Sequence[AnyPath] = (),
    synthetic: AnyPath | Sequence[AnyPath] = (),
    quiet: bool = False,
    workers: int = 0,
    address: str | None = None,
) -> TrainSummary:
    """Train a multitask model on datasets of labels into the run folder `out`; default tasks: all they hold.

    datasets: one or several; which domain each holds is read from its shards. real, synthetic: further ones
    whose domain is known. resume: go on exactly where the run in `out` stopped; without datasets and `config`,
    with its own. quiet: no progress bar.
    workers: processes of Ray Train, on the cluster at `address` or one of its own; 0: this process alone.
    Raises UserError for bad input, and for a loss that isn't finite, after which the last checkpoint stands.
    """
    if not os.fspath(out):
        raise UserError("name a folder for the run with --out")
    if resume and (run_folder(os.fspath(out)) / CONFIG).is_file():
        own, data = read_config(run_folder(os.fspath(out)) / CONFIG)
        config = config or own
        if not (path_list(datasets) or path_list(real) or path_list(synthetic)):
            real, synthetic = data.get("real", ()), data.get("synthetic", ())
    if not (path_list(datasets) or path_list(real) or path_list(synthetic)):
        if resume:
            raise UserError(f"{out} holds no run to go on with: it has no {CONFIG}")
        raise UserError("name the datasets to train on, or a run's file with --config")
    found_real, found_synthetic = by_domain(path_list(datasets))
    sides = ([*path_list(real), *found_real], [*path_list(synthetic), *found_synthetic])
    if workers or address:
        from freelabels.train.run.cluster import train_on_cluster

        return train_on_cluster(*sides, os.fspath(out), config, resume, workers or 1, address, quiet)
    return trainer.fit(*sides, os.fspath(out), config, resume, quiet)
