"""Is the trainer fed: how many samples a second the loader gives, and how long a step waits for them.

python -m benchmarks.loader [--real FOLDER] [--synthetic FOLDER] [--size 128] [--batch 16]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import torch

from benchmarks.shapes import write_dataset
from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.loader import Loader
from freelabels.train.data.windows import read_catalogue
from freelabels.train.objective.learner import Learner, prepare
from freelabels.train.run.step import backward
from freelabels.train.tasks.tasks import choose


def step(learner: Learner, loader: Loader, batches: int, start: int) -> float:
    """CPU seconds of a training step, without loading."""
    held = list(loader.batches(start, start + batches))
    parts = [prepare(learner.tasks, batch) for batch in held]
    backward(learner, learner, parts[:1])
    began = time.process_time()
    for part in parts:
        backward(learner, learner, [part])
        learner.zero_grad()
    return (time.process_time() - began) / batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", nargs="*", default=[])
    parser.add_argument("--synthetic", nargs="*", default=[])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    config = TrainConfig(
        loader=LoaderConfig(size=arguments.size, batch=arguments.batch, workers=arguments.workers),
        model=ModelConfig("resnet18"),
    )
    with tempfile.TemporaryDirectory() as folder:
        real, synthetic = arguments.real, arguments.synthetic
        if not real and not synthetic:
            side = 2 * arguments.size
            real = [str(write_dataset(Path(folder) / "real", 0, 16, side, frames=8))]
            synthetic = [str(write_dataset(Path(folder) / "synthetic", 1, 16, side, frames=8))]
        catalogue = read_catalogue(real, synthetic, 1)
        tasks = choose((), catalogue.has, catalogue.names, 1)
        fields = tuple(dict.fromkeys(name for task in tasks.values() for name in task.reads))
        loader = Loader(catalogue, fields, config.loader, 0)
        began = time.process_time()
        for _ in loader.batches(0, arguments.batches):
            pass
        load = (time.process_time() - began) / arguments.batches
        learner = Learner(tasks, config)
        compute = step(learner, loader, 3, 0)
        loader.waited, began = 0.0, time.perf_counter()
        for batch in loader.batches(0, 8):
            backward(learner, learner, [prepare(tasks, batch)])
            learner.zero_grad()
        waited = loader.waited / (time.perf_counter() - began)
    size = arguments.batch
    print(f"fields: image, {', '.join(fields)}; views of {arguments.size} px; batches of {size}")
    print(f"loader: {size / load:8.1f} samples per CPU second")
    print(
        f"resnet18 step: {size / compute:8.1f} samples per CPU second; the loader gives {compute / load:.1f} ×"
    )
    print(f"waiting for data with {arguments.workers} worker(s): {waited:.1%} of the time")


if __name__ == "__main__":
    main()
