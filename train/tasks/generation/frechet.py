"""How far made images lie from real ones, by a net that nobody trained, and how many of them are distinct."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (3, 16, 32)
SAMPLE = 64  # made images, of which distinct ones are counted
THUMB = 16  # their side then
NEAR = 0.5  # of the median distance from a real image to the nearest other one


@cache
def _kernels() -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(0)
    pairs = pairwise(WIDTHS)
    return tuple(torch.randn(b, a, 3, 3, generator=g) / (9 * a) ** 0.5 for a, b in pairs)


def random_features(image: Tensor) -> Tensor:
    """float64 (N, 48) of images (N, 3, H, W), 0 … 255: mean responses of two random layers, always the same."""
    x, means = image.float() / 127.5 - 1, []
    for kernel in _kernels():
        x = F.relu(F.conv2d(x, kernel.to(x.device), stride=2, padding=1))
        means.append(x.mean((2, 3)))
    return torch.cat(means, 1).double()


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of the normal distributions of two sets of features (N, C), float64.

    Heusel et al., GANs trained by a two time-scale update rule, 2017, on whatever features are given.
    """
    means = [x.mean(0) for x in (a, b)]
    spreads = [(x - m).T @ (x - m) / max(1, len(x) - 1) for x, m in zip((a, b), means, strict=True)]
    values, vectors = torch.linalg.eigh(spreads[0])
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    middle = torch.linalg.eigvalsh(root @ spreads[1] @ root).clamp_min(0).sqrt().sum()
    return float((means[0] - means[1]).square().sum() + sum(s.trace() for s in spreads) - 2 * middle)


def distinct(genuine: Tensor, ours: Tensor) -> int:
    """How many of made images (N, …) lie far from all that were counted before, as far as real ones do.

    Nearer than half of the median distance between a real image and the real one nearest to it is not distinct.
    """
    real, made = (
        torch.cdist(x, x) + torch.diag(torch.full((len(x),), torch.inf, dtype=x.dtype))
        for x in (genuine.flatten(1).double(), ours.flatten(1).double())
    )
    near = NEAR * real.amin(1).median()
    kept: list[int] = []
    for k in range(len(made)):
        if not kept or bool(made[k, kept].min() >= near):
            kept.append(k)
    return len(kept)


def compared(genuine: Tensor, ours: Tensor, first: Tensor) -> tuple[Tensor, ...]:
    """Of real images (N, 3, H, W), made ones, and those of a new generator: features (N, 48) each, two thumbs."""
    return *(random_features(image) for image in (genuine, ours, first)), thumbs(genuine), thumbs(ours)


def thumbs(images: Tensor) -> Tensor:
    """uint8 (N, c, 16, 16) of images (N, c, H, W)."""
    return F.adaptive_avg_pool2d(images.float(), THUMB).round().byte()


def figures(columns: Sequence[Tensor]) -> dict[str, float]:
    """Distances of what `compared` gave for all images; and, of the first so many, how many are distinct."""
    genuine, ours, first, *small = columns
    if len(genuine) < 2:
        return {}
    found = {"distance": frechet(genuine, ours), "of a new generator": frechet(genuine, first)}
    if len(genuine) >= SAMPLE:
        found[f"distinct of {SAMPLE}"] = distinct(*(thumb[:SAMPLE] for thumb in small))
    return found


@torch.no_grad()
def by_a_new(make: Callable[[], nn.Module], noise: Tensor, seed: int = 0) -> Any:
    """What a generator that has learned nothing, always the same of a seed, makes of noise."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        net = make()
    return net.to(noise.device)(noise)


def spread(samples: Tensor) -> float:
    """The mean distance of two of N samples (N, …)."""
    flat = samples.flatten(1).double()
    apart = torch.cdist(flat, flat)
    return float(apart.sum()) / max(1, len(apart) * (len(apart) - 1))
