"""Six rows of the table of features on one large GPU, then the whole table: prepared, to be started and left.

    python -m benchmarks.gpu_features DATASETS --data FOLDERS --pictures FOLDER      on a GPU
    python -m benchmarks.gpu_features                   on made scenes; without a GPU, a hundredth of six rows

First six rows, one seed, 64 px; then, on a GPU or with --full, all rows, three seeds, 128 px. Started again it
goes on: finished rows are kept, and an interrupted one goes on from its checkpoint.

Cost: on a GPU unknown, none was at hand; the six rows are meant for ten minutes. On a CPU 80 CPU seconds
with the defaults.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from tyro.conf import Positional

from benchmarks.tools.command import run
from benchmarks.tools.shapes import write_dataset
from freelabels.train.bench.features import bench_features
from freelabels.train.bench.report import markdown
from freelabels.train.config import BenchConfig, ProbeConfig

SIX = ("random", "rotation", "contrast", "masked", "renders", "free")
MEGAPIXELS = 400.0
CUDA = torch.cuda.is_available()


def main(
    datasets: Positional[tuple[str, ...]] = (),
    /,
    *,
    data: tuple[str, ...] = (),
    pictures: str = "",
    out: str = "runs/gpu_features",
    scale: float = 1.0 if CUDA else 0.01,
    batch: int = 256 if CUDA else 32,
    backbone: str = "resnet18",
    full: bool = CUDA,
    compile: bool = False,
) -> None:
    """Train, probe and print.

    Args:
        datasets: Of labels, real and rendered; default, without --data too: made scenes.
        data: What features are probed on.
        pictures: Folder of pictures for rows without stored labels.
        out: Folder of both tables.
        scale: Share of the pixels, and of the pictures that are probed on; a hundredth without a GPU.
        batch: Samples of a step.
        backbone: The timm model.
        full: Also the whole table.
        compile: Compile the trunk.
    """
    folder = Path(out)
    if not datasets:
        sides = [folder / name for name in ("real", "renders")]
        for domain, side in enumerate(sides):
            if not side.exists():
                write_dataset(side, domain, 16, 144, frames=4)
        datasets = tuple(map(str, sides))
    for name, rows, seeds, size in (("six", SIX, 1, 64), ("full", (), 3, 128)):
        if name == "full" and not full:
            continue
        images, frames = max(64, round(5000 * scale)), max(48, round(300 * scale))
        config = BenchConfig(
            rows=rows,
            seeds=seeds,
            budget=MEGAPIXELS * scale * (size / 64) ** 2,
            size=size,
            batch=batch,
            backbone=backbone,
            scored=max(16, round(512 * scale)),
            resident=True,
            compile=compile,
            device="cuda" if CUDA else "cpu",
            probe=ProbeConfig(seeds=1, draws=1, shots=(1, 10), images=images, frames=frames, rotation="skip"),
        )
        began = time.perf_counter()
        table = bench_features(data or datasets[-1:], folder / name, datasets, pictures, config)
        print(markdown(table))
        print(f"{name}: {time.perf_counter() - began:.0f} s on {'a GPU' if CUDA else 'a CPU'}", flush=True)


if __name__ == "__main__":
    run(main, __doc__)
