"""The dense linear probe: one linear map from a frozen feature to each pixel's label.

Boundaries that people drew are told from other pixels by logistic regression, on as many of both, and scored as
BSDS does: see `transfer.boundaries`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from freelabels.train.probing.classifiers import LOGISTIC_PENALTIES, TINY, minimise
from freelabels.train.probing.transfer.boundaries import count, score, thresholded
from freelabels.train.tasks.labelled import Labelled
from freelabels.train.tasks.losses import EPSILON, unit_spread
from freelabels.train.tasks.metrics import Metric
from freelabels.train.tasks.tasks import tasks

RIDGE_PENALTIES = (1e1, 1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
PLACES = 256  # pixels of a training image that are fitted to
CATEGORY, DRAWN = "semantic", "edges"
NEIGHBOUR = 1.5  # pixels within which a boundary counts as found in views too small for BSDS's tolerance
AGREED = 0.5  # share of people from which on a pixel is a boundary; one that fewer drew counts neither way


@dataclass(frozen=True)
class Goal:
    """What is fitted. towards: labels (N, C, P) and weights (N, P) → what is regressed; back: the way back."""

    towards: Callable[[Tensor, Tensor], Tensor]
    back: Callable[[Tensor], Tensor]


def _per_frame(target: Tensor, weight: Tensor) -> Tensor:
    return unit_spread(target[..., None], weight[..., None])[..., 0]


GOALS = {
    "depth": Goal(lambda target, weight: target.clamp_min(EPSILON).log(), torch.exp),
    "normals": Goal(lambda target, weight: target, lambda value: F.normalize(value, dim=1)),
    "disparity": Goal(_per_frame, lambda value: value),
}
FIELDS = (CATEGORY, *GOALS)


@dataclass(frozen=True)
class DenseImages:
    """Images with a label a pixel.

    images: uint8 (N, 3, S, S). target: float32 (N, C, S, S), class ids for semantic. weight: (N, S, S), 0 = no
    label. classes: of semantic and edges, else 0. test: (N,) bool, what is never fitted to; None: the probe draws
    it. drawn: of edges, the boundaries that each person drew in an image, (people, S, S).
    """

    name: str
    field: str
    images: Tensor
    target: Tensor
    weight: Tensor
    classes: int = 0
    test: Tensor | None = None
    drawn: tuple[NDArray[np.bool_], ...] = ()

    @property
    def metric(self) -> Metric:
        """How predictions are scored."""
        task = tasks()[self.field]
        assert isinstance(task, Labelled)
        return task.metric


@dataclass(frozen=True)
class Sampled:
    """Pixels of training images.

    where: (n, P, 2), in grid_sample's coordinates. target: (n, C, P). weight: (n, P).
    """

    where: Tensor
    target: Tensor
    weight: Tensor


def sample(data: DenseImages, rows: Tensor, generator: torch.Generator) -> Sampled:
    """PLACES labelled pixels of each image in `rows`, drawn with repetition."""
    side = data.images.shape[-1]
    weight = data.weight[rows].flatten(1)
    drawable = torch.where((weight > 0).any(1, keepdim=True), (weight > 0).float(), torch.ones_like(weight))
    if data.field == DRAWN:  # as likely a boundary as none
        edge = (data.target[rows].flatten(1) > 0) & (weight > 0)
        ratio = drawable.sum(1, keepdim=True) / edge.sum(1, keepdim=True).clamp_min(1) - 1
        drawable = torch.where(edge, drawable * ratio.clamp_min(TINY), drawable)
    place = torch.multinomial(drawable, PLACES, replacement=True, generator=generator)
    where = torch.stack([place % side, place // side], dim=-1) + 0.5
    target = data.target[rows].flatten(2)
    target = target.gather(2, place[:, None].expand(-1, target.shape[1], -1))
    return Sampled(where * 2 / side - 1, target, weight.gather(1, place))


def dense_probe(
    maps: Tensor, data: DenseImages, train: Tensor, held_out: Tensor, test: Tensor, sampled: Sampled
) -> tuple[float, float]:
    """The score on test images, and the penalty that was best on training images not fitted to.

    maps: a stage's features (N, C, h, w). train, test: numbers of images. held_out: (len(train),) bool, the
    training images on which the penalty is chosen. sampled: pixels of the training images.
    """
    x = F.grid_sample(
        maps[train], sampled.where[:, None].to(maps), padding_mode="border", align_corners=False
    )
    x = x[:, :, 0].transpose(1, 2).cpu()  # (n, P, C)
    mean, spread = x.mean((0, 1)), x.std((0, 1))
    scale = 1 / (torch.where(spread > TINY, spread, torch.inf) * x.shape[2] ** 0.5)
    x = (x - mean) * scale
    category = data.field in (CATEGORY, DRAWN)
    target = sampled.target if category else GOALS[data.field].towards(sampled.target, sampled.weight)
    prepare = _classes(data.classes) if category else _values
    penalties = LOGISTIC_PENALTIES if category else RIDGE_PENALTIES

    def solver(chosen: Tensor) -> Solver:
        y = target[chosen].transpose(1, 2).flatten(0, 1)
        return prepare(x[chosen].flatten(0, 1), y, sampled.weight[chosen].flatten())

    best: tuple[float, float] | None = None
    weight: Tensor | None = None
    solve = solver(~held_out)
    for penalty in penalties:  # each begins where the one before ended
        weight = solve(penalty, weight)
        value = (x[held_out] @ weight[:-1] + weight[-1]).transpose(1, 2)
        reached = data.metric.score(_back(data, value), sampled.target[held_out], sampled.weight[held_out])
        if best is None or (reached != best[0] and data.metric.better(reached, best[0])):
            best = (reached, penalty)
    assert best is not None
    weight = solver(torch.ones_like(held_out))(best[1], weight)
    kernel = weight[:-1] * scale[:, None]  # of the maps as they are
    bias = weight[-1] - mean @ kernel
    values = []
    for part in torch.split(test, 16):
        small = torch.einsum("nchw,ck->nkhw", maps[part].cpu(), kernel) + bias[:, None, None]
        size = data.images.shape[-2:]
        whole = F.interpolate(small, size=size, mode="bilinear", align_corners=False)
        values.append(_back(data, whole.flatten(2)))
    return _score(data, torch.cat(values), test), best[1]


def _score(data: DenseImages, values: Tensor, rows: Tensor) -> float:
    """The score of predictions (n, C, S²) for images."""
    if data.field == DRAWN:
        maps = (255 * values).round().to(torch.uint8).reshape(-1, *data.images.shape[-2:]).numpy()
        pairs = zip(maps, (data.drawn[k] for k in rows), strict=True)
        return score([count(thresholded(each), list(drawn), NEIGHBOUR) for each, drawn in pairs]).ods
    return data.metric.score(values, data.target[rows].flatten(2), data.weight[rows].flatten(1))


def drawn_images(
    name: str, images: Tensor, drawn: Sequence[NDArray[np.bool_]], test: Tensor | None
) -> DenseImages:
    """Images and people's boundaries as data: a pixel that most people drew, or its neighbour, is one."""
    share = torch.stack([F.max_pool2d(torch.from_numpy(d).float(), 3, 1, 1).mean(0) for d in drawn])
    edge = share >= AGREED
    weight = (edge | (share == 0)).float()
    return DenseImages(name, DRAWN, images, edge[:, None].float(), weight, 2, test, tuple(drawn))


def best_constant(data: DenseImages, test: Tensor) -> float:
    """What the best constant prediction scores on the test images."""
    if data.field == DRAWN:
        return _score(data, torch.ones(len(test), 1, data.images.shape[-1] ** 2), test)
    return data.metric.constant(
        data.target[test].flatten(2)[..., ::4], data.weight[test].flatten(1)[..., ::4]
    )


def _back(data: DenseImages, value: Tensor) -> Tensor:
    """Predictions (N, C, P) in the labels' space."""
    if data.field == CATEGORY:
        return value.argmax(1, keepdim=True).float()
    if data.field == DRAWN:
        return value.softmax(1)[:, 1:]
    return GOALS[data.field].back(value)


Solver = Callable[[float, Tensor | None], Tensor]
"""Penalty, where to begin → weights (C + 1, K), the intercept last, which isn't penalised."""
Prepare = Callable[[Tensor, Tensor, Tensor], Solver]
"""x (n, C), y (n, K) and weights (n,) → a solver for any penalty."""


def _classes(classes: int) -> Prepare:
    """Logistic regression of class ids (n, 1)."""

    def prepare(x: Tensor, y: Tensor, weight: Tensor) -> Solver:
        def loss(w: Tensor) -> Tensor:
            each = F.cross_entropy(x @ w[:-1] + w[-1], y[:, 0].long(), reduction="none")
            return (weight * each).sum() / weight.sum().clamp_min(TINY)

        def solve(penalty: float, start: Tensor | None) -> Tensor:
            return minimise(loss, x.new_zeros(x.shape[1] + 1, classes) if start is None else start, penalty)

        return solve

    return prepare


def _values(x: Tensor, y: Tensor, weight: Tensor) -> Solver:
    """Ridge regression in closed form: the moments are made once, for all penalties."""
    x, y, share = x.double(), y.double(), (weight / weight.sum().clamp_min(TINY)).double()
    mean, level = share @ x, share @ y
    centred = x - mean
    weighted = (centred * share[:, None]).T
    moment, cross = weighted @ centred, weighted @ (y - level)

    def solve(penalty: float, start: Tensor | None) -> Tensor:
        w = torch.linalg.solve(moment + penalty * torch.eye(x.shape[1], dtype=x.dtype), cross)
        return torch.cat([w, (level - mean @ w)[None]]).float()

    return solve
