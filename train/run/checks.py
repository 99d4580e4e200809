"""What is known to be wrong with a run before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest
from freelabels.train.config import TrainConfig
from freelabels.train.data.windows import SYNTHETIC, Catalogue, read_catalogue
from freelabels.train.objective.adversary import adversary_called
from freelabels.train.run.checkpoint import CHECKPOINT
from freelabels.train.run.config_file import CONFIG, difference, read_config
from freelabels.train.tasks.task import ROBUST, Task
from freelabels.train.tasks.tasks import choose


def check(
    real: Sequence[str], synthetic: Sequence[str], folder: Path, config: TrainConfig, resume: bool
) -> tuple[Catalogue, dict[str, Task]]:
    """What a run will see and learn. Raises UserError for all that is known to be wrong before it begins."""
    _check_options(config)
    _check_folder(folder, config, resume)
    catalogue = read_catalogue(real, synthetic, config.loader.frames, config.loader.exclude)
    tasks = choose(config.tasks, catalogue.has, catalogue.names, config.loader.frames)
    domains = {window.domain for window in catalogue.windows}
    name = config.adversary.name
    if len(domains) < 2 and adversary_called(name).needs_both_domains:
        missing = "synthetic" if SYNTHETIC not in domains else "real"
        raise UserError(f"the adversary {name} needs both domains, but there is no {missing} dataset")
    return catalogue, tasks


def _check_options(config: TrainConfig) -> None:
    if config.robust.choice not in ROBUST:
        raise UserError(f"--robust.choice {config.robust.choice}: {nearest(config.robust.choice, ROBUST)}")
    if config.loader.size % 32:
        raise UserError(f"--loader.size {config.loader.size}: give a multiple of 32")
    for name in ("steps", "accumulate", "save_every", "log_every", "picture_every"):
        if getattr(config, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1")


def _check_folder(folder: Path, config: TrainConfig, resume: bool) -> None:
    has = (folder / CHECKPOINT).exists()
    if resume and not has:
        raise UserError(f"{folder} holds no checkpoint to go on with; train without --resume")
    if resume:
        old, _ = read_config(folder / CONFIG)
        if clause := difference(old, config):
            raise UserError(
                f"{folder} was begun with another configuration: {clause}; resume with the old one"
            )
    elif has:
        raise UserError(
            f"{folder} holds a run already; go on with --resume, or name another folder with --out"
        )
