"""What dense tasks lose where a pretext is trained beside them, for as many steps.

    python -m benchmarks.pretexts beside [--names dcgan self_gan] [--seeds 0 1 2] [--steps 200]
    python -m benchmarks.pretexts beside --set dcgan.weight=1

Clips of spheres over a floor, of two styles, with exact labels. A seed draws clips and training, the same with a
pretext and without. The score is that of clips kept from training; what is lost of it is told in percent, a gain
below zero. *own* is what the pretext itself scores.

Cost: on one core a minute and a half for each seed of the dense tasks alone, three beside a generator; 13 in all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.tools.shapes import write_dataset
from benchmarks.tools.training import mean_and_spread, small_config
from freelabels.ground.errors import UserError
from freelabels.train.run.trainer import fit
from freelabels.train.tasks.tasks import tasks

TASKS = ("edges", "depth")
ALONE = "alone"
HELD_OUT = 0.25


def main(
    names: tuple[str, ...] = ("dcgan",),
    seeds: tuple[int, ...] = (0, 1, 2),
    steps: int = 200,
    clips: int = 96,
    size: int = 64,
    batch: int = 16,
    backbone: str = "resnet18",
    set: tuple[str, ...] = (),
) -> None:
    """Train the dense tasks alone and beside each pretext and print what they score.

    Args:
        names: Pretexts, each trained beside the dense tasks by itself.
        seeds: Of clips and training; the table holds mean and standard deviation over them.
        steps: Of each run.
        clips: Of each of the two styles.
        size: Side of the views, pixels.
        batch: Samples of a step.
        backbone: Any of timm's.
        set: Parameters of tasks, NAME.PARAMETER=VALUE each.
    """
    torch.set_num_threads(1)
    for one in set:
        if one.partition(".")[0] not in (*TASKS, *names):
            raise UserError(f"--set {one}: {', '.join((*TASKS, *names))} are trained, name one of these")
    base = replace(small_config(TASKS, steps, size, batch, HELD_OUT, backbone), lr=1e-3, evaluate=10_000)
    print(f"{'':18}" + "".join(f"{task:>18}{'lost, %':>18}" for task in TASKS) + f"{'own':>18}", flush=True)
    alone: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = {seed: made(Path(folder), seed, clips, size) for seed in seeds}
        for name in (ALONE, *names):
            learned = TASKS if name == ALONE else (*TASKS, name)
            its = tuple(one for one in set if one.partition(".")[0] in learned)
            config = replace(base, tasks=learned, set=its)
            found: dict[str, list[float]] = {task: [] for task in learned}
            for seed in seeds:
                run = f"{folder}/{name}-{seed}"
                summary = fit(*data[seed], run, replace(config, seed=seed), quiet=True)
                told = {str(s["task"]): s["score"] for s in summary.scores if s["domain"] == "all"}
                for task, values in found.items():
                    values.append(float(told[task]))  # type: ignore[arg-type]
            alone = alone or found
            cells = [
                f"{mean_and_spread(values):>18}{mean_and_spread(lost(task, alone[task], values), '.1f'):>18}"
                for task, values in found.items()
                if task in alone
            ]
            own = f"{mean_and_spread(found[name]):>18}" if name in found else ""
            print(f"{name:18}{''.join(cells)}{own}", flush=True)


def made(folder: Path, seed: int, clips: int, size: int) -> tuple[list[str], list[str]]:
    """A dataset of each style."""
    paths = (folder / f"{style}-{seed}" for style in (0, 1))
    real, drawn = (write_dataset(path, d, clips, size, 1, seed, TASKS) for d, path in enumerate(paths))
    return [str(real)], [str(drawn)]


def lost(task: str, alone: Sequence[float], beside: Sequence[float]) -> list[float]:
    """By how many percent each score is worse than the same seed's alone."""
    sign = -1 if tasks()[task].measure.higher_is_better else 1
    return [100 * sign * (there / here - 1) for here, there in zip(alone, beside, strict=True)]
