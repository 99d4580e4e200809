"""Training on a Ray cluster: the one file of this package that knows Ray, imported only when asked for."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError
from rich.console import Console

from freelabels.ground.errors import UserError
from freelabels.pipeline.storage.uris import absolute
from freelabels.pipeline.work.ray_executor import connect
from freelabels.pipeline.work.runner import Cluster
from freelabels.train.config import TrainConfig
from freelabels.train.run import checkpoint
from freelabels.train.run.checks import check, run_folder
from freelabels.train.run.logs import METRICS, step_line
from freelabels.train.run.trainer import SUMMARY, TrainSummary, fit

RAY_STATE = "ray"  # Ray Train's own records, in the run's folder
LOOK_EVERY = 1.0  # seconds between looks at what the workers have written
RESTARTS = 2  # of all workers from the last checkpoint, when one is lost


def train_on_cluster(
    real: Sequence[str],
    synthetic: Sequence[str],
    out: str,
    config: TrainConfig | None = None,
    resume: bool = False,
    workers: int = 1,
    address: str | None = None,
    quiet: bool = False,
) -> TrainSummary:
    """As `train`, by `workers` processes of Ray Train, a GPU each unless the cluster has none or `device` is cpu.

    address: a running Ray cluster, else one of its own. Datasets and `out` must lie where every node reaches
    them. When a worker is lost, all begin again at the last checkpoint. Raises UserError as `train` does.
    """
    if workers < 1:
        raise UserError(f"--workers must be at least 1 on a cluster, not {workers}")
    config = config or TrainConfig()
    # Workers run in folders of their own.
    lists = tuple(absolute(path) for path in config.loader.exclude)
    config = replace(config, loader=replace(config.loader, exclude=lists))
    real, synthetic, run = (
        [absolute(p) for p in real],
        [absolute(p) for p in synthetic],
        run_folder(out).resolve(),
    )
    check(real, synthetic, run, config, resume)  # here, because it takes Ray long to say it
    console = Console(stderr=True, highlight=False, quiet=quiet)
    if address is None:  # nobody takes a cluster's machines away that is this one
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    connect(Cluster(workers, address, say=lambda sentence: console.print(sentence, markup=False)))
    found = ray.cluster_resources()
    gpus, cpus = int(found.get("GPU", 0)), int(found.get("CPU", 0))
    if cpus < workers:
        raise UserError(f"--workers {workers}: the Ray cluster has {cpus} CPUs, and each worker needs one")
    trainer = TorchTrainer(
        _work,
        train_loop_config={"real": real, "synthetic": synthetic, "out": str(run), "config": config},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=on_gpus(config.device, workers, gpus)),
        run_config=RunConfig(
            name=RAY_STATE, storage_path=str(run), failure_config=FailureConfig(max_failures=RESTARTS)
        ),
    )
    try:
        with followed(run, config.steps, console):
            trainer.fit()
    except TrainingFailedError as error:
        raise UserError(f"training on the cluster failed: {_reason(error)}") from error
    summary = json.loads((run / SUMMARY).read_text())
    return TrainSummary(**{**summary, "scores": tuple(summary["scores"])})


@contextmanager
def followed(run: Path, steps: int, console: Console) -> Iterator[None]:
    """Meanwhile the figures that the workers write into the run's folder are said here."""
    ended, path = threading.Event(), run / METRICS
    place = path.stat().st_size if path.exists() else 0

    def follow() -> None:
        nonlocal place
        while True:
            last = ended.wait(LOOK_EVERY)
            with suppress(FileNotFoundError), path.open() as lines:
                place = min(place, path.stat().st_size)  # a run that goes on drops lines
                lines.seek(place)
                while (line := lines.readline()).endswith("\n"):
                    place = lines.tell()
                    said = spoken(json.loads(line), steps)
                    if said:
                        console.print(said, markup=False, soft_wrap=True)
            if last:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def spoken(line: Mapping[str, Any], steps: int) -> str:
    """A line of a run's metrics, for people."""
    if "losses" in line:
        return step_line(line["step"], steps, line)
    scores = [score for score in line.get("held_out", ()) if score["domain"] == "all"]
    told = "  ".join(f"{s['task']} {s['score']:.3g} ({s['constant']:.3g})" for s in scores)
    return f"step {line['step']}/{steps}  held out: {told}" if told else ""


def on_gpus(device: str, workers: int, gpus: int) -> bool:
    """Whether each worker gets a GPU of the cluster's. Raises UserError if there are too few."""
    if device == "cpu" or (device == "auto" and not gpus):
        return False
    if gpus < workers:
        raise UserError(
            f"--workers {workers}: the Ray cluster has {gpus} GPUs, and each worker needs one; "
            "lower --workers, or give --device cpu"
        )
    return True


def _reason(error: TrainingFailedError) -> str:
    """What the first worker that failed said, in one line."""
    failures = error.worker_failures.values() if isinstance(error, WorkerGroupError) else ()
    first = str(next(iter(failures), error))
    return first.strip().splitlines()[-1]


def _work(arguments: dict[str, Any]) -> None:
    """One rank; Ray Train has set up the process group."""
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    begun = (Path(arguments["out"]) / checkpoint.CHECKPOINT).exists()  # before, or by workers that were lost
    fit(**arguments, resume=begun, quiet=True)
