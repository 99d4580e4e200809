"""`freelabels train`: datasets of both domains → features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.options import FLAT
from freelabels.cli.shell.parsing import given, with_defaults
from freelabels.cli.shell.terminal import DONE, INTERRUPTED, say
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import counted, nearest
from freelabels.train.config import (
    AdversaryConfig,
    BalanceConfig,
    LoaderConfig,
    ModelConfig,
    RobustConfig,
    TrainConfig,
)
from freelabels.train.recipes import RECIPES

DEFAULTS = TrainConfig()
RUN_FILE = "train.toml"


def train(
    datasets: Positional[tuple[str, ...]] = (),
    /,
    *,
    out: str,
    real: tuple[str, ...] = (),
    synthetic: tuple[str, ...] = (),
    recipe: str = "",
    config: str = "",
    settings: Annotated[TrainConfig, FLAT] = DEFAULTS,
    resume: bool = False,
    quiet: bool = False,
    workers: int = 0,
    address: str | None = None,
) -> int:
    """Train a multitask model on label shards of both domains.

    Args:
        datasets: Datasets; which domain each holds is read from its shards.
        out: Folder of the run: checkpoints, metrics.jsonl, pictures, train.toml.
        real: Further datasets of real frames.
        synthetic: Further datasets of rendered frames.
        recipe: Begin from a usual case: quick, photos, video, renders, noisy or large; --help-all tells more.
        config: Begin from a run's train.toml, its datasets too unless others are named.
        settings: What to train and how.
        resume: Go on exactly where the run in --out stopped, with its own options and datasets.
        quiet: No progress bar.
        workers: Processes of Ray Train, a GPU each if the cluster has any; 0: this process alone.
        address: Address of a running Ray cluster (auto, ray://HOST:10001); default: one of its own.
    """
    if config and not (datasets or real or synthetic):
        from freelabels.train.run.config_file import read_config

        _, data = read_config(Path(config))
        real, synthetic = tuple(data.get("real", ())), tuple(data.get("synthetic", ()))
    summary = freelabels.fit(
        datasets,
        out,
        settings,
        resume,
        real=real,
        synthetic=synthetic,
        quiet=quiet,
        workers=workers,
        address=address,
    )
    say(f"{counted(summary.steps, 'step')}, run folder {summary.run}")
    return DONE if summary.finished else INTERRUPTED


def begun_from(arguments: Sequence[str]) -> TrainConfig:
    """The configuration that a command line begins from: a recipe's, a file's, or that of the run to go on with.

    Raises UserError.
    """
    from freelabels.train.run.config_file import read_config

    recipe, file, out = (given(name, arguments) for name in ("--recipe", "--config", "--out"))
    if "--resume" in arguments:
        if recipe or file:
            raise UserError("--resume goes on with the run's own options: leave out --recipe and --config")
        path = Path(out) / RUN_FILE
        return read_config(path)[0] if path.is_file() else DEFAULTS
    if recipe and file:
        raise UserError("begin from --recipe or from --config, not from both")
    if recipe:
        if recipe not in RECIPES:
            raise UserError(f"--recipe {recipe}: {nearest(recipe, RECIPES)}")
        return RECIPES[recipe].config
    return read_config(Path(file))[0] if file else DEFAULTS


@dataclass(frozen=True)
class Folded(TrainConfig):
    """The same, with its groups out of sight, as --help shows it."""

    loader: Annotated[LoaderConfig, tyro.conf.Suppress] = field(default_factory=LoaderConfig)
    model: Annotated[ModelConfig, tyro.conf.Suppress] = field(default_factory=ModelConfig)
    adversary: Annotated[AdversaryConfig, tyro.conf.Suppress] = field(default_factory=AdversaryConfig)
    balance: Annotated[BalanceConfig, tyro.conf.Suppress] = field(default_factory=BalanceConfig)
    robust: Annotated[RobustConfig, tyro.conf.Suppress] = field(default_factory=RobustConfig)


FOLDED = """

More groups, listed by --help-all: --loader.* (how frames become batches), --loader.augment.* (views), --model.*,
--adversary.* (brings the domains together), --balance.* (of the tasks), --robust.* (against wrong labels)."""


def prepared(arguments: Sequence[str]) -> tuple[Callable[..., int], Sequence[str]]:
    """The command as a command line asks for it, and what is left of that. Raises UserError."""
    if "--help-all" in arguments:
        usual = "\n".join(f"- {name}: {recipe.about}." for name, recipe in RECIPES.items())
        return with_defaults(train, f"\n\nRecipes:\n\n{usual}"), ["--help"]
    if {"--help", "-h"} & set(arguments):
        folded = with_defaults(train, FOLDED, settings=Folded())
        folded.__annotations__["settings"] = Annotated[Folded, FLAT]
        return folded, arguments
    return with_defaults(train, settings=begun_from(arguments)), arguments
