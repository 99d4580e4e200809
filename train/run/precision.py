"""Which floating-point format the network runs in."""

from __future__ import annotations

import time
from statistics import median

import torch

from freelabels.train.objective.learner import Learner

PRECISIONS = ("auto", "bf16", "fp32")


def choose_precision(name: str, learner: Learner, size: int, device: torch.device) -> torch.dtype | None:
    """bfloat16, or None for float32; name: one of `PRECISIONS`.

    auto: bfloat16 on GPUs that have it, and on CPUs with AVX512-BF16 or AMX where it is measured to be faster.
    """
    if name != "auto":
        return torch.bfloat16 if name == "bf16" else None
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    if device.type != "cpu" or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return None
    seconds = {dtype: _seconds(learner, size, dtype) for dtype in (None, torch.bfloat16)}
    return torch.bfloat16 if seconds[torch.bfloat16] < 0.9 * seconds[None] else None


def _seconds(learner: Learner, size: int, dtype: torch.dtype | None) -> float:
    """The median CPU time of a forward and backward pass of the trunk; leaves no trace in the learner."""
    image = torch.zeros(4, 3, size, size)
    buffers = {name: b.clone() for name, b in learner.named_buffers()}
    times = []
    for _ in range(4):
        began = time.process_time()
        with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
            shared = learner.model.features(image).shared
        shared.float().mean().backward()  # type: ignore[no-untyped-call]
        times.append(time.process_time() - began)
    learner.zero_grad()
    for name, buffer in learner.named_buffers():
        buffer.copy_(buffers[name])
    return median(times[1:])
