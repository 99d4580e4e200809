"""Is the trainer fed: how many samples a second the loader gives, and how long a step waits for them.

    python -m benchmarks.loader [--real FOLDER] [--synthetic FOLDER] [--size 128] [--batch 16]

Without datasets both kinds are made, with every label that the trainer's default tasks read.

Cost: about 25 CPU seconds.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import cv2
import torch

from benchmarks.tools.command import run
from benchmarks.tools.shapes import write_dataset
from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.catalogue import read_catalogue
from freelabels.train.data.loader import Loader
from freelabels.train.objective.inputs import prepare
from freelabels.train.objective.learner import Learner
from freelabels.train.run.step import backward
from freelabels.train.tasks.tasks import choose, fields_of


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


def main(
    real: tuple[str, ...] = (),
    synthetic: tuple[str, ...] = (),
    size: int = 128,
    batch: int = 16,
    batches: int = 24,
    workers: int = 1,
) -> None:
    """Measure and print.

    Args:
        real: Datasets of real frames; default, without synthetic ones either: both are made.
        synthetic: Datasets of renders.
        size: Side of the views.
        batch: Samples of a batch.
        batches: How many are loaded to measure the loader alone.
        workers: Of the loader, where a step waits for it.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    config = TrainConfig(
        loader=LoaderConfig(size=size, batch=batch, workers=workers),
        model=ModelConfig("resnet18"),
    )
    with tempfile.TemporaryDirectory() as folder:
        datasets = [*real], [*synthetic]
        if not real and not synthetic:
            side = 2 * size
            datasets = (
                [str(write_dataset(Path(folder) / "real", 0, 16, side, frames=8))],
                [str(write_dataset(Path(folder) / "synthetic", 1, 16, side, frames=8))],
            )
        catalogue = read_catalogue(*datasets, 1)
        tasks = choose((), catalogue.has, catalogue.names, 1)
        fields = fields_of(tasks)
        loader = Loader(catalogue, fields, config.loader, 0)
        began = time.process_time()
        for _ in loader.batches(0, batches):
            pass
        load = (time.process_time() - began) / batches
        learner = Learner(tasks, config)
        compute = step(learner, loader, 3, 0)
        loader.waited, began = 0.0, time.perf_counter()
        for loaded in loader.batches(0, 8):
            backward(learner, learner, [prepare(tasks, loaded)])
            learner.zero_grad()
        waited = loader.waited / (time.perf_counter() - began)
    print(f"fields: image, {', '.join(fields)}; views of {size} px; batches of {batch}")
    print(f"loader: {batch / load:8.1f} samples per CPU second")
    print(
        f"resnet18 step: {batch / compute:8.1f} samples per CPU second; the loader gives {compute / load:.1f} ×"
    )
    print(f"waiting for data with {workers} worker(s): {waited:.1%} of the time")


if __name__ == "__main__":
    run(main, __doc__)
