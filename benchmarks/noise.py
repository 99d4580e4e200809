"""How much of the clean score each robust choice recovers when a share of the synthetic labels is wrong.

The noise model is that of normals from video, the detector that docs/detectors.md finds wrong about as often
(0.567 of its labels, 0.0102 of the surest tenth, calibration error 0.104). A quarter of a frame is good or bad
as a whole: its error rate is drawn from Beta(c m, c (1 − m)), m the stated share; c = 0.85 gives that surest
tenth at m = 0.567. That share of its blocks, 4 pixels wide, takes the label of another scene. The confidence is
the probability of being right, off by a normal error of mean size 0.104; which blocks are wrong it doesn't say.
    python -m benchmarks.noise [--share 0.4] [--seeds 3] [--steps 250]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.shapes import write_dataset
from freelabels.generators.contract.fields import Array, as_bytes, confidence_name
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.train.config import LoaderConfig, ModelConfig, RobustConfig, TrainConfig
from freelabels.train.data.windows import group_of, held_out_groups, read_catalogue
from freelabels.train.run.trainer import fit
from freelabels.train.tasks.task import ROBUST

SIZE, BLOCK, REGIONS = 64, 4, 2
CONCENTRATION = 0.85
CALIBRATION_ERROR = 0.104
TASKS = ("motion", "depth", "normals")


def corrupt(clean: Path, noisy: Path, share: float, seed: int, held_out: float) -> None:
    """A copy of a dataset in which `share` of the labels of all clips that aren't held out is wrong."""
    rng = np.random.default_rng(seed)
    held = held_out_groups(read_catalogue([], [str(clean)], 1).windows, held_out)
    source, target = Dataset(clean), Dataset.create(noisy, {"size": [SIZE, SIZE]})
    for name in source.shards():
        shard = source.open(name)
        columns = {field: shard.read_rows(field).copy() for field in shard.fields}
        spared = np.zeros(shard.rows, bool)
        for clip in shard.clips:
            spared[slice(*clip["rows"])] = group_of(clip) in held
        for label in TASKS:
            grid = (shard.rows, REGIONS, REGIONS)
            rate = rng.beta(CONCENTRATION * share, CONCENTRATION * (1 - share), grid)
            believed = rate + rng.normal(0, CALIBRATION_ERROR / np.sqrt(2 / np.pi), grid)
            rate, believed = (np.where(spared[:, None, None], 0, x) for x in (rate, believed))
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--choices", nargs="*", default=[c for c in ROBUST if c != "plain"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    base = TrainConfig(
        tasks=TASKS,
        steps=arguments.steps,
        lr=3e-3,
        ema=0.98,
        precision="fp32",
        log_every=10_000,
        picture_every=10_000,
        save_every=10_000,
        loader=LoaderConfig(size=SIZE, batch=8, held_out=0.25),
        model=ModelConfig("test_resnet", width=32),
    )
    scores: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        clean = write_dataset(Path(folder) / "clean", 1, 96, SIZE, frames=2, labels=TASKS)
        noisy = Path(folder) / "noisy"
        corrupt(clean, noisy, arguments.share, 0, base.loader.held_out)
        for name in ("clean", "plain", *arguments.choices):
            data = clean if name == "clean" else noisy
            choice = RobustConfig("plain" if name == "clean" else name)
            for seed in range(arguments.seeds):
                config = replace(base, robust=choice, seed=seed)
                summary = fit([], [str(data)], f"{folder}/{name}-{seed}", config, quiet=True)
                gains = {str(s["task"]): float(s["constant"]) - float(s["score"]) for s in summary.scores}  # type: ignore[arg-type]
                scores.setdefault(name, []).append(gains)
    clean_gain = {task: statistics.mean(run[task] for run in scores["clean"]) for task in TASKS}
    shares = {name: [_shares(run, clean_gain) for run in runs] for name, runs in scores.items()}
    print(f"recovered share of the clean gain over the best constant, {arguments.share:.0%} of labels wrong,")
    print(f"mean ± standard deviation over {arguments.seeds} seeds")
    print(f"{'':14}" + "".join(f"{task:>16}" for task in (*TASKS, "mean")))
    for name, rows in shares.items():
        cells = [f"{statistics.mean(c):7.3f} ± {statistics.stdev(c):.3f}" for c in zip(*rows, strict=True)]
        print(f"{name:14}" + "".join(f"{cell:>16}" for cell in cells))
    default = RobustConfig().choice
    if default in shares:
        pairs = zip(shares[default], shares["plain"], strict=True)
        margins = [[a - b for a, b in zip(*pair, strict=True)] for pair in pairs]
        cells = [
            f"{statistics.mean(c):+7.3f} ± {statistics.stdev(c):.3f}" for c in zip(*margins, strict=True)
        ]
        print(f"{'margin':14}" + "".join(f"{cell:>16}" for cell in cells) + f"   of {default} over plain")


def _shares(run: dict[str, float], clean: dict[str, float]) -> list[float]:
    """A run's gains as shares of the clean ones, and their mean."""
    each = [run[task] / clean[task] for task in TASKS]
    return [*each, statistics.mean(each)]


if __name__ == "__main__":
    main()
