"""Training on a Ray cluster: the one file of this package that knows Ray, imported only when asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from pipeline.errors import UserError
from pipeline.files import absolute
from train.trainer import SUMMARY, TrainConfig, TrainSummary, train


def train_on_cluster(
    real: Sequence[str],
    synthetic: Sequence[str],
    out: str,
    config: TrainConfig | None = None,
    resume: bool = False,
    workers: int = 1,
    address: str | None = None,
) -> TrainSummary:
    """As `train`, by `workers` processes of Ray Train, one GPU each if the cluster has enough.

    Datasets and `out` must lie where every node reaches them. Raises UserError with the reason if it fails.
    """
    if not ray.is_initialized():
        ray.init(address=address, logging_level="ERROR")
    gpu = ray.cluster_resources().get("GPU", 0) >= workers
    run = Path(out).resolve()
    arguments = {
        "real": [absolute(path) for path in real],
        "synthetic": [absolute(path) for path in synthetic],
        "out": str(run),
        "config": config,
        "resume": resume,
    }
    trainer = TorchTrainer(
        _work,
        train_loop_config=arguments,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu),
        run_config=RunConfig(name="ray", storage_path=str(run)),
    )
    try:
        trainer.fit()
    except Exception as error:  # Ray wraps a worker's error in kinds of its own
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"training on the cluster failed: {reason}") from error
    summary = json.loads((run / SUMMARY).read_text())
    return TrainSummary(**{**summary, "scores": tuple(summary["scores"])})


def _work(arguments: dict[str, Any]) -> None:
    """One rank; Ray Train has set up the process group."""
    torch.set_num_threads(1 if not torch.cuda.is_available() else torch.get_num_threads())
    train(**arguments)
