"""What each adversary does: how far the domains can still be told apart, and what it costs the tasks.

    python -m benchmarks.adversary [--names none ridge …] [--steps 700] [--seeds 0 1 2] [--gap 0.3]
    python -m benchmarks.adversary --real FOLDER --synthetic FOLDER      on datasets of your own

Synthetic clips have exact labels; real ones, in another style, have labels on held-out clips alone, to be scored
by. Each seed draws data and training, the same for all. The domain probe is fresh, linear, balanced, and scored on
held-out clips.

Cost: about six CPU minutes, one for each adversary and seed.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import torch

from benchmarks.tools.command import run
from benchmarks.tools.shapes import write_dataset
from benchmarks.tools.training import held_out_rows, mean_and_spread, small_config
from freelabels.generators.contract.fields import confidence_name
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.train.config import AdversaryConfig
from freelabels.train.run.trainer import fit

SIZE, HELD_OUT = 64, 0.3
TASKS = ("edges", "normals")
WEIGHTS = {"refiner": 1.0, "reversal": 1.0, "lsgan": 1.0, "ridge": 0.6}
COLUMNS = ("domain probe", *(f"{task} {domain}" for task in TASKS for domain in ("synthetic", "real")))


def hide_training_labels(path: Path, share: float) -> None:
    """Give labels of clips that aren't held out confidence 0."""
    dataset, held_out = Dataset(path), held_out_rows(path, share)
    for name in dataset.shards():
        shard = dataset.open(name)
        trusted = np.zeros((shard.rows, SIZE, SIZE), np.uint8)
        trusted[held_out(shard)] = 255
        columns = {confidence_name(task): trusted for task in TASKS}
        made_by = {column: {"generator": "hidden", "version": 1} for column in columns}
        commit_shard(dataset, shard.id, columns, shard.clips, made_by, base=shard)


def make_datasets(folder: Path, seed: int, clips: int, gap: float) -> tuple[list[str], list[str]]:
    """A real and a synthetic dataset of one seed."""
    real, synthetic = (folder / f"{domain}-{seed}" for domain in ("real", "synthetic"))
    write_dataset(real, 0, clips, SIZE, 1, seed=seed, labels=TASKS, gap=gap)
    write_dataset(synthetic, 1, clips, SIZE, 1, seed=seed, labels=TASKS)
    hide_training_labels(real, HELD_OUT)
    return [str(real)], [str(synthetic)]


def main(
    names: tuple[str, ...] = ("none", "fourier", "refiner", "reversal", "lsgan", "ridge"),
    steps: int = 700,
    seeds: tuple[int, ...] = (0,),
    weight: float | None = None,
    gap: float = 0.3,
    clips: int = 256,
    stage: int = AdversaryConfig.stage,
    backbone: str = "test_resnet",
    real: tuple[str, ...] = (),
    synthetic: tuple[str, ...] = (),
) -> None:
    """Train once for each name and seed and print a table.

    Args:
        names: Adversaries.
        steps: Of each run.
        seeds: Of data and training; the table holds mean and standard deviation over them.
        weight: Of all adversaries; default: each one's own.
        gap: How far the real style is from the synthetic one.
        clips: Of each domain.
        stage: Of the backbone that the adversary sees.
        backbone: Any of timm's.
        real: Datasets to use instead of made ones.
        synthetic: The same of the other domain.
    """
    torch.set_num_threads(1)
    base = replace(small_config(TASKS, steps, SIZE, 16, HELD_OUT, backbone), evaluate=10_000)
    print(f"{'':10}" + "".join(f"{name:>20}" for name in COLUMNS))
    with tempfile.TemporaryDirectory() as folder:
        given = list(real), list(synthetic)
        data = {seed: given if real else make_datasets(Path(folder), seed, clips, gap) for seed in seeds}
        for name in names:
            own = WEIGHTS.get(name, 0.0) if weight is None else weight
            adversary = AdversaryConfig(name, weight=own, stage=stage)
            rows: dict[str, list[float]] = {column: [] for column in COLUMNS}
            for seed in seeds:
                config = replace(base, adversary=adversary, seed=seed)
                summary = fit(*data[seed], f"{folder}/{name}-{seed}", config, quiet=True)
                found: dict[str, object] = {f"{s['task']} {s['domain']}": s["score"] for s in summary.scores}
                found["domain probe"] = summary.domains
                for column, values in rows.items():
                    value = found.get(column)
                    values.append(nan if value is None else float(value))  # type: ignore[arg-type]
            print(
                f"{name:10}" + "".join(f"{mean_and_spread(values):>20}" for values in rows.values()),
                flush=True,
            )


if __name__ == "__main__":
    run(main, __doc__)
