"""Configurations for the usual cases, to begin from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from freelabels.train.config import (
    AdversaryConfig,
    BalanceConfig,
    LoaderConfig,
    ModelConfig,
    RobustConfig,
    TrainConfig,
)


@dataclass(frozen=True)
class Recipe:
    """A usual case, in a clause, and its configuration."""

    about: str
    config: TrainConfig


RECIPES: Mapping[str, Recipe] = {
    "quick": Recipe(
        "a look at what comes out, in minutes on a laptop",
        TrainConfig(steps=200, loader=LoaderConfig(size=96, batch=8)),
    ),
    "photos": Recipe(
        "photos without renders: their labels, and rotation and jigsaw, which need none",
        TrainConfig(
            tasks=("edges", "saliency", "rotation", "jigsaw"), steps=20_000, loader=LoaderConfig(batch=32)
        ),
    ),
    "video": Recipe(
        "videos: flow and motion from pairs of frames beside depth and edges",
        TrainConfig(
            tasks=("edges", "motion", "flow", "disparity"),
            steps=20_000,
            loader=LoaderConfig(frames=2, batch=16),
        ),
    ),
    "renders": Recipe(
        "exact labels of renders, brought to real frames by an adversary",
        TrainConfig(
            steps=20_000,
            loader=LoaderConfig(synthetic=0.75, batch=32),
            adversary=AdversaryConfig("ridge", weight=0.6),
            balance=BalanceConfig("famo"),
        ),
    ),
    "noisy": Recipe(
        "labels of detectors alone, which err: part of the loss believes the averaged network instead",
        TrainConfig(steps=20_000, loader=LoaderConfig(batch=32), robust=RobustConfig("bootstrap")),
    ),
    "large": Recipe(
        "a machine with a GPU: resnet50 at 224 pixels, 100,000 steps of 64",
        TrainConfig(
            steps=100_000,
            save_every=2000,
            log_every=50,
            picture_every=5000,
            loader=LoaderConfig(size=224, batch=64, workers=8, ahead=8),
            model=ModelConfig("resnet50", width=128),
            balance=BalanceConfig("famo"),
        ),
    ),
}
