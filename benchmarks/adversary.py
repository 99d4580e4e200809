"""What each adversary does: how far the domains can still be told apart, and what it costs the tasks.

Synthetic clips have exact labels; real ones, in another style, have labels on held-out clips alone, to be scored
by. Each seed draws data and training, the same for all. The domain probe is fresh, linear, balanced, and scored on
held-out clips.
    python -m benchmarks.adversary [--names none ridge …] [--steps 700] [--seeds 0 1 2] [--gap 0.3]
    python -m benchmarks.adversary --real FOLDER --synthetic FOLDER      on datasets of your own
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import torch

from benchmarks.shapes import write_dataset
from freelabels.generators.contract.fields import confidence_name
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.train.config import AdversaryConfig, LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.windows import group_of, held_out_groups, read_catalogue
from freelabels.train.run.trainer import fit

SIZE = 64
TASKS = ("edges", "normals")
WEIGHTS = {"reversal": 1.0, "lsgan": 1.0, "ridge": 0.6}


def hide_training_labels(path: Path, held_out: float) -> None:
    """Give labels of clips that aren't held out confidence 0."""
    dataset = Dataset(path)
    held = held_out_groups(read_catalogue([str(path)], [], 1).windows, held_out)
    for name in dataset.shards():
        shard = dataset.open(name)
        trusted = np.zeros((shard.rows, SIZE, SIZE), np.uint8)
        for clip in shard.clips:
            trusted[slice(*clip["rows"])] = 255 if group_of(clip) in held else 0
        columns = {confidence_name(task): trusted for task in TASKS}
        made_by = {column: {"generator": "hidden", "version": 1} for column in columns}
        commit_shard(dataset, shard.id, columns, shard.clips, made_by, base=shard)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="*", default=["none", "fourier", "reversal", "lsgan", "ridge"])
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--weight", type=float, help="of all; default: each one's own")
    parser.add_argument(
        "--gap", type=float, default=0.3, help="how far the real style is from the synthetic one"
    )
    parser.add_argument("--clips", type=int, default=256, help="of each domain")
    parser.add_argument("--stage", type=int, default=AdversaryConfig.stage)
    parser.add_argument("--backbone", default="test_resnet")
    parser.add_argument("--real", nargs="*")
    parser.add_argument("--synthetic", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    base = TrainConfig(
        tasks=TASKS,
        steps=arguments.steps,
        lr=3e-3,
        ema=0.98,
        precision="fp32",
        evaluate=10_000,
        log_every=50,
        picture_every=10_000,
        save_every=10_000,
        loader=LoaderConfig(size=SIZE, batch=16, held_out=0.3),
        model=ModelConfig(arguments.backbone, width=32),
    )
    header = ["domain probe", *(f"{task} {domain}" for task in TASKS for domain in ("synthetic", "real"))]
    print(f"{'':10}" + "".join(f"{name:>20}" for name in header))
    with tempfile.TemporaryDirectory() as folder:
        made = {}
        if not arguments.real:
            shape = (arguments.clips, SIZE, 1)
            for seed in arguments.seeds:
                paths = [Path(folder) / f"{domain}-{seed}" for domain in ("real", "synthetic")]
                write_dataset(paths[0], 0, *shape, seed=seed, labels=TASKS, gap=arguments.gap)
                write_dataset(paths[1], 1, *shape, seed=seed, labels=TASKS)
                hide_training_labels(paths[0], base.loader.held_out)
                made[seed] = ([str(paths[0])], [str(paths[1])])
        for name in arguments.names:
            rows: dict[str, list[float]] = {}
            for seed in arguments.seeds:
                real, synthetic = made.get(seed, (arguments.real, arguments.synthetic))
                weight = WEIGHTS.get(name, 0.0) if arguments.weight is None else arguments.weight
                adversary = AdversaryConfig(name, weight=weight, stage=arguments.stage)
                config = replace(base, adversary=adversary, seed=seed)
                summary = fit(real, synthetic, f"{folder}/{name}-{seed}", config, quiet=True)
                found = {f"{s['task']} {s['domain']}": s["score"] for s in summary.scores}
                found["domain probe"] = summary.domains
                for key in header:
                    value = found.get(key)
                    rows.setdefault(key, []).append(nan if value is None else float(value))  # type: ignore[arg-type]
            cells = [
                f"{statistics.mean(rows[key]):.3f} ± {statistics.pstdev(rows[key]):.3f}" for key in header
            ]
            print(f"{name:10}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
