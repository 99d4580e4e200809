"""What features are worth to classifiers: with all labels, with few a class, and with a share of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from freelabels.train.config import ProbeConfig
from freelabels.train.model.network import Backbone
from freelabels.train.probing.classifiers import (
    NEIGHBOURS,
    Fitted,
    eleven_points,
    logistic,
    nearest_neighbours,
    quality,
    ridge,
    span,
    support_vectors,
)
from freelabels.train.probing.features import Pooled, Stage
from freelabels.train.probing.finetune import finetune
from freelabels.train.probing.layouts.sets import Classified
from freelabels.train.probing.splits import Split, few_shots
from freelabels.train.probing.transfer.few_labels import nested, percent

RIDGE, LOGISTIC, NEAREST = "linear, ridge", "linear, logistic", "nearest neighbours"
MACHINES = "support vector machines"
POINTS = "11 points"  # VOC2007's average precision; that of others isn't interpolated
TUNED, FROM_STAGE = "fine-tuned", "fine-tuned from the stage on, ten crops"
Measured = dict[str, list[tuple[float, float]]]
"""By measure, at each stage: the score and the setting chosen for it."""


def frozen_measures(
    features: Sequence[Pooled], about: Classified, split: Split, config: ProbeConfig, rng: np.random.Generator
) -> Measured:
    """All that classifiers on frozen features score, stage by stage, for one split."""
    truth = about.truth[split.train]
    shots = {k: [few_shots(truth, k, rng) for _ in range(config.draws)] for k in config.shots}
    found: Measured = {}
    choices = (config.neighbours,) if config.neighbours else NEIGHBOURS
    for stage in features:
        grid, mean = ((x[split.train].cpu(), x[split.test].cpu()) for x in (stage.grid, stage.mean))
        axes = span(*grid)
        fitted = {
            RIDGE: [ridge(axes[0], truth, axes[1], about.exclusive)],
            LOGISTIC: [logistic(axes[0], truth, axes[1], about.exclusive, split.held_out)],
            neighbours_called(config): [
                nearest_neighbours(mean[0], truth, mean[1], about.exclusive, choices)
            ],
        }
        if not about.exclusive:
            seed = int(rng.integers(2**31))
            fitted[MACHINES] = [support_vectors(grid[0], truth, grid[1], seed)]
        for k, draws in shots.items():
            fitted[f"low-shot, {k} a class"] = [
                ridge(*_few(mean[0][rows], truth[rows], mean[1]), about.exclusive)
                for rows in draws
                if rows is not None
            ]
        for measure, several in fitted.items():
            if several:
                found.setdefault(measure, []).append(_mean_score(several, about, split))
            if measure in (RIDGE, MACHINES) and not about.exclusive:
                score = eleven_points(about.truth[split.test], several[0].scores)
                found.setdefault(f"{measure}, {POINTS}", []).append((score, several[0].setting))
    return found


def neighbours_called(config: ProbeConfig) -> str:
    """The measure of nearest neighbours as tables call it: another name where their number isn't chosen."""
    return f"{NEAREST}, k {config.neighbours}" if config.neighbours else NEAREST


def _few(train: Tensor, truth: Tensor, test: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    coordinates, tested = span(train, test)
    return coordinates, truth, tested


def _mean_score(several: Sequence[Fitted], about: Classified, split: Split) -> tuple[float, float]:
    """The mean test score of several fits, and the first one's setting. Test truth is read for scores alone."""
    scores = [quality(about.truth[split.test], fitted.scores, about.exclusive) for fitted in several]
    return float(np.mean(scores)), several[0].setting


def tuned_measures(
    backbone: Backbone,
    chosen: Sequence[Stage],
    images: Tensor,
    about: Classified,
    split: Split,
    config: ProbeConfig,
    seed: int,
    device: torch.device,
) -> Measured:
    """What fine-tuning scores: of the whole, told at the last stage; and, if asked, from each stage on."""
    truth, wanted = about.truth[split.train], about.truth[split.test]

    def tuned(below: str | None) -> Fitted:
        train, test = images[split.train], images[split.test]
        epochs = config.finetune
        return finetune(
            backbone, train, truth, test, about.exclusive, split.held_out, epochs, seed, device, below
        )

    whole = tuned(None)
    score = quality(wanted, whole.scores, about.exclusive)
    found: Measured = {TUNED: [(math.nan, 0.0)] * (len(chosen) - 1) + [(score, whole.setting)]}
    if config.finetune_stages:
        names = ["", *(str(backbone.net.feature_info[stage.index]["module"]) for stage in chosen[:-1])]
        several = [tuned(below) for below in names]
        found[FROM_STAGE] = [(quality(wanted, f.scores, about.exclusive), f.setting) for f in several]
        if not about.exclusive:
            found[f"{FROM_STAGE}, {POINTS}"] = [(eleven_points(wanted, f.scores), f.setting) for f in several]
    return found


def by_share(
    backbone: Backbone,
    features: Sequence[Pooled],
    images: torch.Tensor,
    about: Classified,
    split: Split,
    config: ProbeConfig,
    rng: np.random.Generator,
    seed: int,
    device: torch.device,
) -> dict[str, list[tuple[float, float]]]:
    """By measure, at each stage: the score and the setting chosen, for each of `config.shares` but the whole.

    Fine-tuning is told at the last stage, and takes 1 / √share times `config.finetune` epochs.
    """
    truth = about.truth[split.train]
    groups = truth.argmax(1).numpy() if about.exclusive else np.zeros(len(truth), np.intp)
    wanted = about.truth[split.test]

    def told(fitted: Fitted) -> tuple[float, float]:
        return quality(wanted, fitted.scores, about.exclusive), fitted.setting

    found: dict[str, list[tuple[float, float]]] = {}
    for share, rows in nested(groups, [share for share in config.shares if share < 1], rng).items():
        train = split.train[rows]
        found[f"{RIDGE}, {percent(share)}"] = [
            told(_ridge(stage, train, truth[rows], split.test, about.exclusive)) for stage in features
        ]
        if config.finetune:
            held_out = split.held_out[rows]
            if not 0 < int(held_out.sum()) < len(held_out):
                held_out = torch.arange(len(rows)) == 0
            tuned = finetune(
                backbone,
                images[train],
                truth[rows],
                images[split.test],
                about.exclusive,
                held_out,
                round(config.finetune / math.sqrt(share)),
                seed,
                device,
            )
            found[f"{TUNED}, {percent(share)}"] = [(math.nan, 0.0)] * (len(features) - 1) + [told(tuned)]
    return found


def _ridge(
    stage: Pooled, train: torch.Tensor, truth: torch.Tensor, test: torch.Tensor, exclusive: bool
) -> Fitted:
    x, y = span(stage.grid[train].cpu(), stage.grid[test].cpu())
    return ridge(x, truth, y, exclusive)
