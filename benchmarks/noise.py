"""How much of the clean score each robust choice recovers when a share of the synthetic labels is wrong.

    python -m benchmarks.noise [--share 0.4] [--seeds 3] [--steps 250]

The noise model is that of normals from video, the detector that docs/detectors.md finds wrong about as often
(0.567 of its labels, 0.0102 of the surest tenth, calibration error 0.104). A quarter of a frame is good or bad
as a whole: its error rate is drawn from Beta(c m, c (1 − m)), m the stated share; c = 0.85 gives that surest
tenth at m = 0.567. That share of its blocks, 4 pixels wide, takes the label of another scene. The confidence is
the probability of being right, off by a normal error of mean size 0.104; which blocks are wrong it doesn't say.

Cost: about five CPU minutes, a quarter of one for each run.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.tools.command import run
from benchmarks.tools.shapes import write_dataset
from benchmarks.tools.training import held_out_rows, mean_and_spread, small_config
from freelabels.generators.contract.fields import Array, as_bytes, confidence_name
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.train.config import RobustConfig, TrainConfig
from freelabels.train.run.trainer import fit
from freelabels.train.tasks.labelled import ROBUST

SIZE, BLOCK, REGIONS = 64, 4, 2
CONCENTRATION = 0.85
CALIBRATION_ERROR = 0.104
TASKS = ("motion", "depth", "normals")
HELD_OUT = 0.25
CHOICES = tuple(choice for choice in ROBUST if choice != "plain")


def corrupt(clean: Path, noisy: Path, share: float, seed: int) -> None:
    """A copy of a dataset in which `share` of the labels of all clips that aren't held out is wrong."""
    rng, held_out = np.random.default_rng(seed), held_out_rows(clean, HELD_OUT)
    source, target = Dataset(clean), Dataset.create(noisy, {"size": [SIZE, SIZE]})
    for name in source.shards():
        shard = source.open(name)
        columns = {field: shard.read_rows(field).copy() for field in shard.fields}
        spared = held_out(shard)[:, None, None]
        for label in TASKS:
            grid = (shard.rows, REGIONS, REGIONS)
            rate = rng.beta(CONCENTRATION * share, CONCENTRATION * (1 - share), grid)
            believed = rate + rng.normal(0, CALIBRATION_ERROR / np.sqrt(2 / np.pi), grid)
            rate, believed = (np.where(spared, 0, x) for x in (rate, believed))
            wrong = rng.random((shard.rows, SIZE // BLOCK, SIZE // BLOCK)) < _grown(rate, SIZE // BLOCK)
            mask = _grown(wrong, SIZE)
            other = np.roll(columns[label], shard.rows // 2 + 1, axis=0)
            columns[label][mask] = other[mask]
            columns[confidence_name(label)] = as_bytes(1 - _grown(believed, SIZE))
        made_by = {field: {"generator": "noise", "version": 1} for field in columns}
        commit_shard(target, shard.id, columns, shard.clips, made_by)


def _grown(grid: Array, size: int) -> Array:
    """(rows, n, n) repeated to (rows, size, size)."""
    return np.asarray(grid.repeat(size // grid.shape[1], 1).repeat(size // grid.shape[2], 2))


def gains(data: Path, out: str, config: TrainConfig) -> dict[str, float]:
    """By how much one run beats the best constant, by task."""
    summary = fit([], [str(data)], out, config, quiet=True)
    return {str(s["task"]): float(s["constant"]) - float(s["score"]) for s in summary.scores}  # type: ignore[arg-type]


def shares(run: dict[str, float], clean: dict[str, float]) -> list[float]:
    """A run's gains as shares of the clean ones, and their mean."""
    each = [run[task] / clean[task] for task in TASKS]
    return [*each, statistics.mean(each)]


def main(
    share: float = 0.4,
    seeds: int = 3,
    steps: int = 250,
    choices: tuple[str, ...] = CHOICES,
) -> None:
    """Train on clean labels, on noisy ones plainly and with each choice, and print a table.

    Args:
        share: Of the labels that is wrong.
        seeds: How many runs of each.
        steps: Of each run.
        choices: Robust choices besides plain.
    """
    torch.set_num_threads(1)
    base = small_config(TASKS, steps, SIZE, 8, HELD_OUT)
    runs: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        clean = write_dataset(Path(folder) / "clean", 1, 96, SIZE, frames=2, labels=TASKS)
        noisy = Path(folder) / "noisy"
        corrupt(clean, noisy, share, 0)
        for name in ("clean", "plain", *choices):
            data, robust = (clean, "plain") if name == "clean" else (noisy, name)
            runs[name] = [
                gains(data, f"{folder}/{name}-{seed}", replace(base, robust=RobustConfig(robust), seed=seed))
                for seed in range(seeds)
            ]
    best = {task: statistics.mean(run[task] for run in runs["clean"]) for task in TASKS}
    rows = {name: [shares(run, best) for run in each] for name, each in runs.items()}
    print(f"recovered share of the clean gain over the best constant, {share:.0%} of labels wrong,")
    print(f"mean ± standard deviation over {seeds} seeds")
    print(f"{'':14}" + "".join(f"{task:>16}" for task in (*TASKS, "mean")))
    for name, each in rows.items():
        print(_line(name, each))
    if (default := RobustConfig().choice) in rows:
        pairs = zip(rows[default], rows["plain"], strict=True)
        margins = [[a - b for a, b in zip(*pair, strict=True)] for pair in pairs]
        print(_line("margin", margins, "+.3f") + f"   of {default} over plain")


def _line(name: str, runs: Sequence[Sequence[float]], form: str = ".3f") -> str:
    cells = [mean_and_spread(column, form) for column in zip(*runs, strict=True)]
    return f"{name:14}" + "".join(f"{cell:>16}" for cell in cells)


if __name__ == "__main__":
    run(main, __doc__)
