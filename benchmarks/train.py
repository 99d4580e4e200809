"""Training speed: samples a second and the share of time that the device waits for data; or its arithmetic.

python -m benchmarks.train --backbone resnet50 --size 224 --batch 64      on a GPU
python -m benchmarks.train --backbone resnet18 --size 96 --batch 8 --steps 6
python -m benchmarks.train --count --batch 4      floating-point operations of a sample, forward and backward
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from torch.utils.flop_counter import FlopCounterMode

from benchmarks.shapes import write_dataset
from freelabels.train.config import AdversaryConfig, LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.model.ranks import device_of
from freelabels.train.run.logs import METRICS
from freelabels.train.run.trainer import fit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--adversary", default="reversal")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--count", action="store_true", help="operations instead of time")
    arguments = parser.parse_args()
    device = device_of("auto")
    config = TrainConfig(
        tasks=("edges", "motion", "depth", "normals"),
        steps=arguments.steps,
        precision=arguments.precision,
        evaluate=1,
        log_every=arguments.steps // 2,
        picture_every=10**6,
        save_every=10**6,
        loader=LoaderConfig(
            size=arguments.size, batch=arguments.batch, workers=arguments.workers, ahead=8, held_out=0.1
        ),
        model=ModelConfig(arguments.backbone),
        adversary=AdversaryConfig(arguments.adversary),
    )
    with tempfile.TemporaryDirectory() as folder:
        sides = [write_dataset(Path(folder) / str(d), d, 24, arguments.size + 32, frames=8) for d in (0, 1)]
        if arguments.count:
            counted = []
            for steps in (1, 2):  # what is done once, such as the evaluation, is in both
                with FlopCounterMode(display=False) as counter:
                    few = replace(config, steps=steps, log_every=1)
                    fit([str(sides[0])], [str(sides[1])], f"{folder}/{steps}", few, quiet=True)
                counted.append(counter.get_total_flops())
            each = (counted[1] - counted[0]) / arguments.batch
            print(f"{arguments.backbone} at {arguments.size} px, four tasks and {arguments.adversary}")
            print(f"{each / 1e9:.1f} billion operations a sample (a multiplication and an addition are two)")
            return
        fit([str(sides[0])], [str(sides[1])], f"{folder}/run", config, quiet=True)
        lines = [json.loads(line) for line in (Path(folder) / "run" / METRICS).read_text().splitlines()]
    last = [line for line in lines if "samples_per_second" in line][-1]  # the second half, warmed up
    print(f"{arguments.backbone} at {arguments.size} px, four tasks and {arguments.adversary}, on {device}")
    print(f"{last['samples_per_second']:.1f} samples/s; waiting for data {last['waited']:.1%} of the time")


if __name__ == "__main__":
    main()
