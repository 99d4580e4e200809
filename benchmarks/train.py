"""Training speed: samples a second and the share of time that the device waits for data; or its arithmetic.

    python -m benchmarks.train                        a small run, anywhere
    python -m benchmarks.train --backbone resnet50 --size 224 --batch 64 --steps 60 --workers 8      on a GPU
    python -m benchmarks.train --count --backbone resnet50 --size 224 --batch 4

--count counts floating-point operations of a sample, forward and backward.

Cost: about one CPU minute.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from torch.utils.flop_counter import FlopCounterMode

from benchmarks.tools.command import run
from benchmarks.tools.shapes import write_dataset
from freelabels.train.config import AdversaryConfig, LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.model.ranks import device_of
from freelabels.train.run.logs import METRICS
from freelabels.train.run.trainer import fit


def main(
    backbone: str = "resnet18",
    size: int = 96,
    batch: int = 8,
    steps: int = 6,
    workers: int = 1,
    adversary: str = "reversal",
    precision: str = "auto",
    count: bool = False,
) -> None:
    """Train on made data and print the speed.

    Args:
        backbone: Any of timm's.
        size: Side of the views.
        batch: Samples of a batch.
        steps: Of the run; the second half is timed.
        workers: Of the loader.
        adversary: Which one.
        precision: auto, bf16 or fp32.
        count: Operations instead of time.
    """
    device = device_of("auto")
    config = TrainConfig(
        tasks=("edges", "motion", "depth", "normals"),
        steps=steps,
        precision=precision,
        evaluate=1,
        log_every=max(1, steps // 2),
        picture_every=10**6,
        save_every=10**6,
        loader=LoaderConfig(size=size, batch=batch, workers=workers, ahead=8, held_out=0.1),
        model=ModelConfig(backbone),
        adversary=AdversaryConfig(adversary),
    )
    with tempfile.TemporaryDirectory() as folder:
        sides = [write_dataset(Path(folder) / str(d), d, 24, size + 32, frames=8) for d in (0, 1)]
        if count:
            counted = []
            for few in (1, 2):  # what is done once, such as the evaluation, is in both
                with FlopCounterMode(display=False) as counter:
                    run = replace(config, steps=few, log_every=1)
                    fit([str(sides[0])], [str(sides[1])], f"{folder}/{few}", run, quiet=True)
                counted.append(counter.get_total_flops())
            each = (counted[1] - counted[0]) / batch
            print(f"{backbone} at {size} px, four tasks and {adversary}")
            print(f"{each / 1e9:.1f} billion operations a sample (a multiplication and an addition are two)")
            return
        fit([str(sides[0])], [str(sides[1])], f"{folder}/run", config, quiet=True)
        lines = [json.loads(line) for line in (Path(folder) / "run" / METRICS).read_text().splitlines()]
    last = [line for line in lines if "samples_per_second" in line][-1]  # the second half, warmed up
    print(f"{backbone} at {size} px, four tasks and {adversary}, on {device}")
    print(f"{last['samples_per_second']:.1f} samples/s; waiting for data {last['waited']:.1%} of the time")


if __name__ == "__main__":
    run(main, __doc__)
