"""Ranks: one process, torchrun, or a process group that somebody else has set up (Ray Train)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    """This process's number."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def total(x: Tensor) -> Tensor:
    """The sum of a tensor over all ranks."""
    if world() > 1:
        x = x.clone()
        dist.all_reduce(x)
    return x


def mean(x: Tensor) -> Tensor:
    """The mean of a tensor over all ranks."""
    return total(x) / world()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is up on some rank."""
    return flag if world() == 1 else bool(total(torch.tensor(float(flag), device=device)) > 0)


def gather(x: object) -> list[object]:
    """The objects of all ranks, in order."""
    if world() == 1:
        return [x]
    out: list[object] = [None] * world()
    dist.all_gather_object(out, x)
    return out


def barrier() -> None:
    """Wait for all ranks."""
    if world() > 1:
        dist.barrier()


def device_of(name: str) -> torch.device:
    """The device called `name`; auto: this rank's GPU if there is one, else the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return torch.device("cpu")


@contextmanager
def group(device: torch.device) -> Iterator[None]:
    """Join torchrun's process group for the duration, unless there is none or somebody has joined already."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if dist.is_initialized() or "WORLD_SIZE" not in os.environ or not dist.is_torchelastic_launched():
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()
