"""Checkpoints: files that are whole or not there, and the random numbers that a run goes on with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from freelabels.ground.errors import UserError
from freelabels.ground.faults import reached

CHECKPOINT = "checkpoint.pt"


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint: to another name, to the disk, read back, then renamed over the old one.

    Raises UserError, and leaves the old one as it is, if a tensor isn't finite or the disk is full.
    """
    broken = next((name for name, t in _tensors("", state) if not bool(torch.isfinite(t).all())), None)
    if broken is not None:
        raise UserError(f"{path} is left as it was: {broken} has values that are not finite")
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        torch.load(scratch, map_location="cpu", weights_only=True, mmap=True)
        reached("checkpoint: written")
        scratch.replace(path)
        reached("checkpoint: replaced")
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, RuntimeError) as error:
        old = "the one before is untouched" if path.exists() else "there is none before it"
        why = "it ended early: is the disk full?" if "unexpected pos" in str(error) else error
        raise UserError(f"the checkpoint {path} can't be written ({why}); {old}") from error
    finally:
        scratch.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU. Raises UserError if it is missing or damaged."""
    if not path.is_file():
        raise UserError(f"{path.parent} holds no {path.name}; train without --resume first")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise UserError(f"{path} is damaged and can't be read: {error}") from error
    return state


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of torch's random numbers."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Go on with the random numbers of a state."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def _tensors(name: str, value: Any) -> Any:
    """All floating tensors in nested containers, with dotted names."""
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(f"{name}.{key}" if name else str(key), item)
    elif isinstance(value, list | tuple):
        for key, item in enumerate(value):
            yield from _tensors(f"{name}.{key}", item)
