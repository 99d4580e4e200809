"""`freelabels train`: datasets of both domains → features."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.options import FLAT
from freelabels.cli.shell.terminal import DONE, INTERRUPTED, say
from freelabels.train.config import TrainConfig

DEFAULTS = TrainConfig()


def train(
    datasets: Positional[tuple[str, ...]],
    /,
    *,
    out: str,
    real: tuple[str, ...] = (),
    synthetic: tuple[str, ...] = (),
    config: Annotated[TrainConfig, FLAT] = DEFAULTS,
    resume: bool = False,
    quiet: bool = False,
    workers: int = 0,
    address: str | None = None,
) -> int:
    """Train a multitask model on label shards of both domains.

    Args:
        datasets: Datasets; which domain each holds is read from its shards.
        out: Folder of the run: checkpoints, metrics.jsonl, pictures, train.toml.
        real: Further datasets of real frames.
        synthetic: Further datasets of rendered frames.
        config: What to train and how.
        resume: Go on exactly where the run in this folder stopped.
        quiet: No progress bar.
        workers: Processes of Ray Train, a GPU each if the cluster has any; 0: this process alone.
        address: Address of a running Ray cluster (auto, ray://HOST:10001); default: one of its own.
    """
    summary = freelabels.fit(
        datasets,
        out,
        config,
        resume,
        real=real,
        synthetic=synthetic,
        quiet=quiet,
        workers=workers,
        address=address,
    )
    say(f"{summary.steps} steps, run folder {summary.run}")
    return DONE if summary.finished else INTERRUPTED
