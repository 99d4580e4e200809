"""Random numbers that belong to a sample: the same on any device, in any batch, on any rank, after any resume."""

from __future__ import annotations

import math
import zlib

import torch
from torch import Tensor

# SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014), as signed numbers.
STEP, FIRST, SECOND = (c - (1 << 64) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Draw:
    """Random numbers of the samples with the seeds (B,), another sequence for each `name`.

    Every method gives a row a sample that depends on its seed and on what was drawn before, and on nothing else.
    """

    def __init__(self, seed: Tensor, name: str):
        self._start = _mixed(seed.long() + _mixed(torch.tensor(zlib.crc32(name.encode()))).to(seed.device))
        self._drawn = 0

    @property
    def device(self) -> torch.device:
        """Where the numbers lie."""
        return self._start.device

    def bits(self, *shape: int) -> Tensor:
        """int64 (B, *shape), all 64 bits random."""
        count = math.prod(shape)
        counter = torch.arange(self._drawn + 1, self._drawn + count + 1, device=self._start.device)
        self._drawn += count
        return _mixed(self._start[:, None] + counter * STEP).view(-1, *shape)

    def uniform(self, *shape: int) -> Tensor:
        """float32 (B, *shape) in [0, 1)."""
        return _shifted(self.bits(*shape), 40).float() / (1 << 24)

    def integers(self, below: int, *shape: int) -> Tensor:
        """int64 (B, *shape) in 0 … below - 1."""
        return (_shifted(self.bits(*shape), 33) * below) >> 31

    def order(self, length: int, *shape: int) -> Tensor:
        """int64 (B, *shape, length): permutations of 0 … length - 1."""
        return torch.sort(self.bits(*shape, length), dim=-1, stable=True).indices

    def normal(self, *shape: int) -> Tensor:
        """float32 (B, *shape), mean 0 and variance 1 (Box and Muller)."""
        radius = (-2 * torch.log1p(-self.uniform(*shape))).sqrt()
        return radius * torch.cos(2 * math.pi * self.uniform(*shape))


def _shifted(x: Tensor, by: int) -> Tensor:
    """Shifted right without its sign."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _mixed(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * FIRST
    x = (x ^ _shifted(x, 27)) * SECOND
    return x ^ _shifted(x, 31)
