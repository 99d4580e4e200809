"""Batch statistics measured in one go, where running averages have seen too little or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def measure_statistics(
    network: nn.Module, batches: Iterable[Tensor], forward: Callable[[Tensor], object] | None = None
) -> None:
    """Set the mean and variance of all batch normalisation in training mode to those of batches; nothing else.

    The mode is evaluation afterwards. forward: what is called, default the network. Running averages of a few
    dozen steps are of other weights and still near where they began. Wu and Johnson, Rethinking "batch" in
    BatchNorm, 2021, section 3.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
    if norms:
        for batch in batches:
            if len(batch) > 1:
                (forward or network)(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
