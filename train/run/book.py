"""Labels that a task makes of what the network sees: anew at known steps, kept by version in the run's folder.

A version belongs to a step, and is made of the averaged network as it is then. A run that goes on at an earlier
step comes to the same network and finds the file, so it is the run that never stopped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from freelabels.ground.errors import UserError
from freelabels.train.data.loader import Batch
from freelabels.train.model import ranks
from freelabels.train.run.logs import writing
from freelabels.train.run.state import RunState
from freelabels.train.tasks.contract.task import Task, label_of

BOOK = "book"


def renew(state: RunState, number: int) -> None:
    """Have the labels that belong to a step, of every task that makes its own. Called by every rank.

    number: the step, counted from 0: the one that comes next, or one that was. Raises UserError where a version is
    missing that can't be made any more.
    """
    for name, task in state.learner.tasks.items():
        if not task.every:
            continue
        version = number // task.every
        if state.labels.get(name, (-1,))[0] == version:
            continue
        path = _path(state, name, version)
        if not ranks.of_first(path.exists()):
            if number % task.every or number != state.step:
                raise UserError(f"{path} is missing, without which the run can't go on; start a new one")
            _make(state, name, task, version, path)
        with np.load(path, allow_pickle=False) as file:
            state.labels[name] = (version, torch.from_numpy(file["labels"]))


def with_labels(state: RunState, batch: Batch) -> Batch:
    """The batch, and for every task that makes its own labels those of its samples; of window -1 any."""
    out = dict(batch)
    for name, (_, labels) in state.labels.items():
        numbers = np.maximum(batch["window"].numpy(), 0)
        out[label_of(name)] = labels[torch.from_numpy(state.catalogue.windows.run_of(numbers))]
    return out


def forget(folder: Path) -> None:
    """Remove what a run that never came to a checkpoint left."""
    shutil.rmtree(folder / BOOK, ignore_errors=True)


def _path(state: RunState, name: str, version: int) -> Path:
    return state.folder / BOOK / name / f"{version:06d}.npz"


def _make(state: RunState, name: str, task: Task, version: int, path: Path) -> None:
    """Write a version: of every run of windows a label, from the centre view of its first frame."""
    with state.averaged(), torch.no_grad():
        features = _features(state)
        if ranks.rank() == 0:
            previous = state.labels[name][1] if name in state.labels else None
            seed = int(np.random.SeedSequence(state.config.seed, spawn_key=(version,)).generate_state(1)[0])
            head = state.learner.model.heads[name]
            labels = task.assign(head, features.to(state.device), previous, seed)
            with writing(state.folder):
                path.parent.mkdir(parents=True, exist_ok=True)
                scratch = path.with_name(f".{path.name}.{os.getpid()}")
                with scratch.open("wb") as file:
                    np.savez(file, labels=labels.cpu().numpy())
                scratch.replace(path)
    ranks.barrier()


def _features(state: RunState) -> Tensor:
    """The last stage's mean over places (runs, C), float32, of all runs of windows, on every rank."""
    windows = state.catalogue.windows
    first = windows.first[:-1].astype(np.int64)
    mine = first[ranks.rank() :: ranks.world()]
    parts = []
    for k in range(0, len(mine), state.config.loader.batch):
        batch = state.loader.centred(
            [windows[int(number)] for number in mine[k : k + state.config.loader.batch]]
        )
        stage = state.learner.model.backbone(batch["image"][:, 0].to(state.device))[-1]
        parts.append(stage.float().mean((2, 3)).cpu())
    every: Sequence[Any] = ranks.gather(torch.cat(parts))
    out = torch.empty(len(first), parts[0].shape[1])
    for number, part in enumerate(every):
        out[number :: ranks.world()] = part
    return out
