"""Ranks: one process, torchrun, or a process group that somebody else has set up (Ray Train)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from freelabels.ground.errors import UserError

T = TypeVar("T")
# Of this process on its machine, as torchrun and Ray Train tell them: its number, and how many there are.
LOCAL = (("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "1"))


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


class _Together(torch.autograd.Function):
    """Rows of all ranks, padded to the longest; the gradient of each rank's is summed over all ranks."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        every = [torch.empty_like(rows) for _ in range(world())]
        dist.all_gather(every, rows.contiguous())
        return torch.stack(every)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return total(gradient.contiguous())[rank()]


def together(rows: Tensor) -> tuple[Tensor, int]:
    """Rows (n, …) of all ranks one after the other, with their gradient, and where this rank's begin."""
    if world() == 1:
        return rows, 0
    lengths: list[int] = gather(len(rows))  # type: ignore[assignment]
    padding = rows.new_zeros(max(lengths) - len(rows), *rows.shape[1:])
    every = cast(Tensor, _Together.apply(torch.cat([rows, padding])))
    parts = [part[:length] for part, length in zip(every, lengths, strict=True)]
    return torch.cat(parts), sum(lengths[: rank()])


def next_of(rows: Tensor) -> Tensor:
    """For each row that of the next sample, the ranks' batches taken together."""
    everything, begin = together(rows)
    here = torch.arange(begin + 1, begin + 1 + len(rows), device=rows.device)
    return everything[here % len(everything)]


def barrier() -> None:
    """Wait for all ranks."""
    if world() > 1:
        dist.barrier()


def of_first(x: T) -> T:
    """What rank 0 has, whatever this rank has."""
    if world() == 1:
        return x
    held: list[T] = [x]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def device_of(name: str) -> torch.device:
    """The device called `name` (auto: the GPU if there is one, else the CPU), of GPUs this rank's own.

    Raises UserError if there is no such device, or no GPU for this rank.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cuda":
        try:
            return torch.device(name)
        except RuntimeError:
            raise UserError(f"--device is auto, cpu or cuda, not {name!r}") from None
    if not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch finds no GPU here; give --device cpu, or look at nvidia-smi")
    number, processes = (int(os.environ.get(key, default)) for key, default in LOCAL)
    if processes > (gpus := torch.cuda.device_count()):
        raise UserError(
            f"{processes} processes on this machine, but {gpus} GPUs: start one a GPU, or give --device cpu"
        )
    return torch.device("cuda", number)


@contextmanager
def group(name: str) -> Iterator[torch.device]:
    """Join torchrun's process group for the duration, unless there is none or somebody has joined already.

    name: of the device, see `device_of`. Yields this rank's; what auto means is decided on rank 0. Raises
    UserError if this rank lacks such a device.
    """
    if dist.is_initialized() or "WORLD_SIZE" not in os.environ or not dist.is_torchelastic_launched():
        yield _used(device_of(of_first(device_of(name).type) if name == "auto" else name))
        return
    store, number, processes = next(iter(rendezvous("env://")))
    if name == "auto":  # asked for before the group is there, because its backend depends on the answer
        store.set(f"device of {number}", device_of(name).type)
        name = store.get("device of 0").decode()
    device = _used(device_of(name))
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=PrefixStore("group", store), rank=number, world_size=processes)
    try:
        yield device
    finally:
        dist.destroy_process_group()


def _used(device: torch.device) -> torch.device:
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
