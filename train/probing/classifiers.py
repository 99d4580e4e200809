"""Linear and nearest-neighbour classifiers on frozen features, whose settings are chosen on training data alone.

`truth` is (n, classes) float: 1 the image shows the class, 0 it doesn't, NaN not said. With `exclusive`,
each image shows exactly one. Nothing here sees test truth: fitting functions take training data and test
features, and return test scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.train.tasks.metrics import precision_over_levels

PENALTIES = tuple(10.0 ** (k / 2) for k in range(8, -9, -1))  # strong first: ties go to the stronger
LOGISTIC_PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)
NEIGHBOURS = (50, 20, 10, 5, 1)
TEMPERATURE = 0.07
ITERATIONS = 100
TINY = 1e-12
COSTS = (1e-2, 1e-1, 1.0, 1e1, 1e2)  # of support vector machines
MACHINE_ITERATIONS = 30  # of each, from the one of the next lower cost
FOLDS = 3
POSITIVE = 2.0  # what an error on a picture that shows the class counts


@dataclass(frozen=True)
class Fitted:
    """What a classifier says of test images, and how it was chosen.

    scores: (m, classes), larger is likelier. setting: what was chosen on training data. validation: what it
    scored there, on images that it wasn't fitted to.
    """

    scores: Tensor
    setting: float
    validation: float


def quality(truth: Tensor, scores: Tensor, exclusive: bool) -> float:
    """Share of right answers; of images that show several classes, the mean of the classes' average precision.

    Average precision isn't interpolated, and equal scores share a rank; NaN if no image shows any class.
    """
    if exclusive:
        return float((scores.argmax(1) == truth.argmax(1)).double().mean())
    each = [_average_precision(t, s) for t, s in _said(truth, scores)]
    return sum(each) / len(each) if each else math.nan


def eleven_points(truth: Tensor, scores: Tensor) -> float:
    """The mean of the classes' average precision as VOC2007 has it: the mean of the best at recalls 0, 0.1, …, 1.

    At each of these the best precision at that recall or a higher one. Equal scores share a rank.
    """
    each = [_at_points(t > 0, s) for t, s in _said(truth, scores)]
    return sum(each) / len(each) if each else math.nan


def _at_points(shown: Tensor, scores: Tensor) -> float:
    order = scores.argsort(descending=True)
    hits = shown[order].cumsum(0)
    last = torch.cat([scores[order].diff() != 0, torch.ones(1, dtype=torch.bool)])  # of those of equal scores
    hits, rank = hits[last].double(), torch.arange(1, len(scores) + 1)[last]
    best = (hits / rank).flip(0).cummax(0).values.flip(0)
    first = torch.searchsorted(
        10 * hits, torch.arange(11) * hits[-1]
    )  # exact: no shares of recall are rounded
    return float(best[first].mean())


def chance(truth: Tensor, exclusive: bool) -> float:
    """What the best constant answer scores: the largest class's share, or the classes' mean prevalence."""
    if exclusive:
        return float(truth.mean(0).max())
    each = [float(t.mean()) for t, _ in _said(truth, truth)]
    return sum(each) / len(each) if each else math.nan


def _said(truth: Tensor, scores: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Truth and scores of each class that occurs, where truth is known."""
    columns = [(t[~t.isnan()], s[~t.isnan()]) for t, s in zip(truth.T, scores.T, strict=True)]
    return [(t, s) for t, s in columns if bool((t > 0).any())]


def _average_precision(truth: Tensor, scores: Tensor) -> float:
    levels = torch.unique(scores, return_inverse=True)[1]
    return precision_over_levels(levels, truth > 0, torch.ones_like(truth))


def span(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Features (n, d), (m, d) standardised by the training ones, in coordinates of what these span, float64.

    The coordinates (n, r), (m, r), r ≤ min(n - 1, d), are the principal ones, scaled so that a training row's mean
    squared norm is 1. A linear classifier with a quadratic penalty is the same in them as in all d dimensions.
    """
    mean, spread = train.mean(0), train.std(0)
    spread = torch.where(spread > 1e-6 * spread.max().clamp_min(TINY), spread, torch.inf)
    live = spread.isfinite().sum().clamp_min(1)
    return _coordinates(*((part - mean) / spread / live.sqrt() for part in (train, test)))


def _coordinates(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in the principal axes of x, float64: all inner products with those of x stay."""
    if x.shape[0] <= x.shape[1]:
        values, vectors = torch.linalg.eigh((x @ x.T).double())
        kept = values > values[-1] * 1e-7
        root = values[kept].sqrt()
        return vectors[:, kept] * root, (y @ x.T).double() @ (vectors[:, kept] / root)
    values, vectors = torch.linalg.eigh((x.T @ x).double())
    basis = vectors[:, values > values[-1] * 1e-7]
    return x.double() @ basis, y.double() @ basis


def ridge(train: Tensor, truth: Tensor, test: Tensor, exclusive: bool) -> Fitted:
    """Least squares with a quadratic penalty, chosen by exact leave-one-out on the training images.

    train, test: coordinates as `span` gives them. The intercept isn't penalised.
    """
    known = torch.where(truth.isnan(), torch.nan, truth.double())
    mean = known.nanmean(0)
    target = torch.where(known.isnan(), 0, known - mean)  # what isn't said pulls neither way
    energy = train.square().sum(0)  # the columns are orthogonal
    single = bool((known > 0).sum(0).max() < 2)  # of one example, leaving it out leaves nothing
    best: Fitted | None = None
    for penalty in (1.0,) if single else PENALTIES:
        weight = (train.T @ target) / (energy + penalty)[:, None]
        leverage = train.square() @ (1 / (energy + penalty)) + 1 / len(train)
        left_out = target - (target - train @ weight) / (1 - leverage).clamp_min(TINY)[:, None]
        score = math.nan if single else quality(truth, left_out + mean, exclusive)
        if best is None or score > best.validation:
            best = Fitted(test @ weight + mean, penalty, score)
    assert best is not None
    return best


def logistic(train: Tensor, truth: Tensor, test: Tensor, exclusive: bool, held_out: Tensor) -> Fitted:
    """Logistic regression whose penalty is chosen on the training images marked in `held_out` (n,), then refitted.

    train, test: coordinates as `span` gives them.
    """

    scores = []
    weight = torch.zeros(train.shape[1] + 1, truth.shape[1])
    for penalty in LOGISTIC_PENALTIES:  # each begins where the one before ended
        weight = _fit_logistic(train[~held_out], truth[~held_out], exclusive, penalty, weight)
        scores.append(quality(truth[held_out], _affine(train[held_out], weight), exclusive))
    chosen = max(range(len(scores)), key=lambda k: (scores[k], -k))
    weight = _fit_logistic(train, truth, exclusive, LOGISTIC_PENALTIES[chosen], weight)
    return Fitted(_affine(test, weight), LOGISTIC_PENALTIES[chosen], scores[chosen])


def support_vectors(train: Tensor, truth: Tensor, test: Tensor, seed: int) -> Fitted:
    """A linear support vector machine a class, whose cost is chosen by threefold cross-validation, class by class.

    train, test: features, scaled here to unit length. Errors on what shows the class count twice; squared
    hinge and penalty (on the intercept too) are liblinear's. Goyal et al., Scaling and benchmarking
    self-supervised visual representation learning, 2019. setting: the geometric mean of the classes' costs.
    """
    x, y = _coordinates(F.normalize(train, dim=1), F.normalize(test, dim=1))
    generator = torch.Generator().manual_seed(seed)
    fold = torch.randperm(len(x), generator=generator) % FOLDS
    scores = torch.zeros(len(COSTS), truth.shape[1])
    for k in range(FOLDS):
        weight = torch.zeros(x.shape[1] + 1, truth.shape[1])
        for row, cost in enumerate(COSTS):  # each begins where the one before ended
            weight = fit_support_vectors(x[fold != k], truth[fold != k], cost, weight)
            told = _affine(x[fold == k], weight)
            for column in range(truth.shape[1]):
                some = slice(column, column + 1)
                score = quality(truth[fold == k, some], told[:, some], False)
                scores[row, column] += 0.0 if math.isnan(score) else score / FOLDS
    chosen = scores.argmax(0)  # ties go to the least cost
    told = torch.zeros(len(y), truth.shape[1], dtype=y.dtype)
    weight = torch.zeros(x.shape[1] + 1, truth.shape[1])
    for row in sorted(set(chosen.tolist())):
        weight = fit_support_vectors(x, truth, COSTS[row], weight)
        told[:, chosen == row] = _affine(y, weight)[:, chosen == row]
    costs = torch.tensor(COSTS)[chosen]
    return Fitted(told, float(costs.log().mean().exp()), float(scores.max(0).values.mean()))


def fit_support_vectors(x: Tensor, truth: Tensor, cost: float, start: Tensor) -> Tensor:
    """Weights (r + 1, classes) of the least |weights|² / 2 + cost × the errors' sum, the intercepts last."""
    x, truth = x.float(), truth.float()
    side = torch.where(truth > 0, 1.0, -1.0)
    counts = torch.where(truth.isnan(), 0.0, torch.where(truth > 0, POSITIVE, 1.0))

    def loss(weight: Tensor) -> Tensor:
        short = F.relu(1 - side * _affine(x, weight))
        return (counts * short.square()).sum() + weight[-1].square().sum() / (2 * cost)

    return minimise(loss, start.to(x), 1 / cost, MACHINE_ITERATIONS)


def _affine(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight[:-1].to(x) + weight[-1].to(x)


def _fit_logistic(x: Tensor, truth: Tensor, exclusive: bool, penalty: float, start: Tensor) -> Tensor:
    """Weights (r + 1, classes), the intercepts last; x is centred, of unit mean square norm."""
    x, truth = x.float(), truth.float()
    known, classes = ~truth.isnan(), truth.argmax(1)
    target = torch.nan_to_num(truth)

    def loss(weight: Tensor) -> Tensor:
        logits = _affine(x, weight)
        if exclusive:
            return F.cross_entropy(logits, classes)
        each = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return (each * known).sum() / len(x)

    return minimise(loss, start.to(x), penalty)


def minimise(
    loss: Callable[[Tensor], Tensor], start: Tensor, penalty: float, iterations: int = ITERATIONS
) -> Tensor:
    """Weights (r + 1, k) of the least loss + penalty / 2 |weights|² (not the intercepts', which stand last).

    scikit-learn's LogisticRegression finds the same minimum in seven times the time, and no labels left unsaid.
    """
    weight = start.clone().requires_grad_(True)
    solver = torch.optim.LBFGS([weight], max_iter=iterations, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        total = loss(weight) + penalty / 2 * weight[:-1].square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    solver.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach()


def nearest_neighbours(
    train: Tensor, truth: Tensor, test: Tensor, exclusive: bool, choices: Sequence[int] = NEIGHBOURS
) -> Fitted:
    """Votes of the k most similar training images, weighted by exp(cosine / 0.07); k by leave-one-out.

    choices: of k. train, test: features, standardised here by the training ones. Wu et al., Unsupervised
    feature learning via non-parametric instance discrimination, 2018, section 3.4.
    """
    mean, spread = train.mean(0), train.std(0).clamp_min(TINY)
    x, y = (F.normalize((part - mean) / spread, dim=1) for part in (train, test))
    within = (x @ x.T).fill_diagonal_(-torch.inf)
    votes = torch.nan_to_num(truth).float()
    best: Fitted | None = None
    for k in [k for k in choices if k < len(x)] or [max(1, len(x) - 1)]:
        score = quality(truth, _vote(within, votes, k), exclusive)
        if best is None or score > best.validation:
            best = Fitted(_vote(y @ x.T, votes, k), k, score)
    assert best is not None
    return best


def _vote(similarity: Tensor, votes: Tensor, k: int) -> Tensor:
    top, which = similarity.topk(k, dim=1)
    weight = torch.softmax(top / TEMPERATURE, dim=1)
    return (weight[..., None] * votes[which]).sum(1)
