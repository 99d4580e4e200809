"""How much of the clean score each robust choice recovers when a share of the synthetic labels is wrong.

Labels are exact, then corrupted: every region of a frame has its own error rate, Beta(share, 1 − share), and that
share of its blocks takes the label of another scene. The confidence says the region's rate, not which blocks.
    python -m benchmarks.noise [--share 0.4] [--seeds 3] [--steps 200]
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
from generators.fields import Array, confidence_name
from pipeline.shards import Dataset, commit_shard
from train.loader import LoaderConfig
from train.model import ModelConfig
from train.samples import group_of, held_out_groups, read_catalogue
from train.tasks import ROBUST, RobustConfig
from train.trainer import TrainConfig, train

SIZE, BLOCK, REGIONS = 64, 4, 2
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
            # Most regions are either mostly right or mostly wrong, as where a detector works and where it fails.
            rate = rng.beta(share, 1 - share, (shard.rows, REGIONS, REGIONS)) * ~spared[:, None, None]
            wrong = rng.random((shard.rows, SIZE // BLOCK, SIZE // BLOCK)) < _grown(rate, SIZE // BLOCK)
            mask = _grown(wrong, SIZE)
            other = np.roll(columns[label], shard.rows // 2 + 1, axis=0)
            columns[label][mask] = other[mask]
            columns[confidence_name(label)] = np.rint(255 * (1 - _grown(rate, SIZE))).astype(np.uint8)
        made_by = {field: {"generator": "noise", "version": 1} for field in columns}
        commit_shard(target, shard.id, columns, shard.clips, made_by)


def _grown(grid: Array, size: int) -> Array:
    """(rows, n, n) repeated to (rows, size, size)."""
    return np.asarray(grid.repeat(size // grid.shape[1], 1).repeat(size // grid.shape[2], 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
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
        loader=LoaderConfig(size=SIZE, batch=16, held_out=0.25),
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
                summary = train([], [str(data)], f"{folder}/{name}-{seed}", config, quiet=True)
                gains = {str(s["task"]): float(s["constant"]) - float(s["score"]) for s in summary.scores}  # type: ignore[arg-type]
                scores.setdefault(name, []).append(gains)
    print(f"recovered share of the clean gain over the best constant, {arguments.share:.0%} of labels wrong,")
    print(f"mean ± standard deviation over {arguments.seeds} seeds")
    print(f"{'':14}" + "".join(f"{task:>16}" for task in (*TASKS, "mean")))
    clean_gain = {task: statistics.mean(run[task] for run in scores["clean"]) for task in TASKS}
    for name, runs in scores.items():
        shares = [[run[task] / clean_gain[task] for task in TASKS] for run in runs]
        shares = [[*row, statistics.mean(row)] for row in shares]
        cells = [f"{statistics.mean(c):7.3f} ± {statistics.pstdev(c):.3f}" for c in zip(*shares, strict=True)]
        print(f"{name:14}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    main()
