"""The loop that trains a head on a backbone, frozen or not, and goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from freelabels.ground.errors import UserError
from freelabels.train.run import checkpoint

SAVE_EVERY = 60.0  # seconds between checkpoints
CLIP = 10.0  # the gradient's norm, at most
WARM_UP = 0.1  # of the steps
RESULT, STATE = ".json", ".pt"


@dataclass(frozen=True)
class Tuning:
    """How a head is trained: AdamW on a rate that rises over the first tenth, then falls to nothing as a cosine.

    frozen: the backbone keeps its weights and its batch statistics; else both are trained with the head.
    """

    frozen: bool
    steps: int
    batch: int = 8
    rate: float = 1e-3
    decay: float = 0.05


def tune(
    model: nn.Module,
    backbone: nn.Module,
    loss: Callable[[Tensor], Tensor],
    count: int,
    tuning: Tuning,
    seed: int,
    device: torch.device,
    state: Path | None = None,
) -> None:
    """Train in place, from where `state` has got to.

    backbone: the part of the model that `tuning.frozen` is about. loss: numbers of images (b,) → a number; it may
    draw from torch's random numbers. count: of images. state: a file in which the training is kept as it goes, and
    from which it goes on, bit for bit.
    """
    model.train()
    backbone.requires_grad_(not tuning.frozen)
    backbone.train(not tuning.frozen)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=tuning.rate, weight_decay=tuning.decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, tuning.rate, total_steps=max(tuning.steps, 2), pct_start=WARM_UP
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        begun = _restore(state, model, optimizer, schedule, device)
        saved = time.monotonic()
        for step in range(begun, tuning.steps):
            rows = batch_of(step, count, tuning.batch, seed)
            optimizer.zero_grad()
            loss(rows).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            if state is not None and time.monotonic() - saved > SAVE_EVERY:
                _keep(state, step + 1, model, optimizer, schedule, device)
                saved = time.monotonic()


def batch_of(step: int, count: int, batch: int, seed: int) -> Tensor:
    """Numbers of the images of a step: each pass over all is in a new order, batches run on across passes."""
    first = step * batch
    orders = {
        epoch: torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
        for epoch in range(first // count, (first + batch - 1) // count + 1)
    }
    return torch.stack([orders[k // count][k % count] for k in range(first, first + batch)])


def _keep(
    path: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    device: torch.device,
) -> None:
    checkpoint.save(
        path,
        {
            "step": step,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "random": checkpoint.random_state(device),
        },
    )


def _restore(
    path: Path | None,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    device: torch.device,
) -> int:
    """The step to begin with."""
    if path is None or not path.is_file():
        return 0
    kept = checkpoint.load(path)
    model.load_state_dict(kept["model"])
    optimizer.load_state_dict(kept["optimizer"])
    schedule.load_state_dict(kept["schedule"])
    checkpoint.set_random_state(kept["random"], device)
    return int(kept["step"])


def once(
    folder: Path | None, key: Mapping[str, object], compute: Callable[[Path | None], dict[str, float]]
) -> dict[str, float]:
    """What `compute` finds, from a file if it was found before for the same `key`.

    compute: is given the file in which to keep its training while it goes on. The key holds all that the outcome
    depends on. Raises UserError if the folder can't be written.
    """
    if folder is None:
        return compute(None)
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
    result, state = folder / f"{name}{RESULT}", folder / f"{name}{STATE}"
    if result.is_file():
        found: dict[str, float] = json.loads(result.read_text())["found"]
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = compute(state)
        partial = result.with_suffix(".part")
        partial.write_text(json.dumps({"key": key, "found": made}))
        os.replace(partial, result)
        state.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} can't be written ({error.strerror or error}); name another --out"
        ) from error
    return made


def fingerprint(*tensors: Tensor) -> str:
    """A digest of values, shapes and types."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:20]
