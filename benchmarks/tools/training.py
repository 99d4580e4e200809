"""What the benchmarks of training share: a small quiet configuration, which clips are held out, a mean's cell."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from freelabels.pipeline.shards.shard import Shard
from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.catalogue import group_of, read_catalogue
from freelabels.train.data.held_out import held_out_groups

NEVER = 10_000


def small_config(
    tasks: tuple[str, ...], steps: int, size: int, batch: int, held_out: float, backbone: str = "test_resnet"
) -> TrainConfig:
    """A run that is over in a minute or so and writes nothing on its way."""
    return TrainConfig(
        tasks=tasks,
        steps=steps,
        lr=3e-3,
        ema=0.98,
        precision="fp32",
        log_every=NEVER,
        picture_every=NEVER,
        save_every=NEVER,
        loader=LoaderConfig(size=size, batch=batch, held_out=held_out),
        model=ModelConfig(backbone, width=32),
    )


def held_out_rows(dataset: Path, share: float) -> Callable[[Shard], NDArray[np.bool_]]:
    """Tells of each row of a shard whether training with `share` held out never sees it."""
    held = held_out_groups(read_catalogue([], [str(dataset)], 1).windows, share)

    def rows(shard: Shard) -> NDArray[np.bool_]:
        out = np.zeros(shard.rows, bool)
        for clip in shard.clips:
            out[slice(*clip["rows"])] = group_of(clip) in held
        return out

    return rows


def mean_and_spread(values: Sequence[float], form: str = ".3f") -> str:
    """Mean ± standard deviation of these very runs."""
    return f"{statistics.mean(values):{form}} ± {statistics.pstdev(values):.3f}"
