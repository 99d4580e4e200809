"""What features are worth with a share of the labels: ridge on them frozen, and fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from freelabels.train.config import ProbeConfig
from freelabels.train.model.network import Backbone
from freelabels.train.probing.classifiers import Fitted, quality, ridge, span
from freelabels.train.probing.features import Pooled
from freelabels.train.probing.finetune import finetune
from freelabels.train.probing.layouts.sets import Classified
from freelabels.train.probing.splits import Split
from freelabels.train.probing.transfer.few_labels import nested, percent

RIDGE, TUNED = "linear, ridge", "fine-tuned"


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
