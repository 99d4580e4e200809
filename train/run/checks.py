"""What is known to be wrong with a run before it begins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest
from freelabels.pipeline.shards.splits import TRAIN, VAL
from freelabels.pipeline.storage.uris import is_remote
from freelabels.train.config import TrainConfig
from freelabels.train.data.catalogue import Catalogue, read_catalogue
from freelabels.train.data.order import SAMPLING
from freelabels.train.data.windows import SYNTHETIC
from freelabels.train.model import ranks
from freelabels.train.objective.adversary import adversary_called
from freelabels.train.run.checkpoint import CHECKPOINT
from freelabels.train.run.config_file import CONFIG, difference, read_config
from freelabels.train.run.precision import PRECISIONS
from freelabels.train.run.trackers import check_trackers
from freelabels.train.tasks.contract.task import Task
from freelabels.train.tasks.labelled import ROBUST
from freelabels.train.tasks.tasks import FORM, choose

# Options that a run may be gone on with otherwise: where and how fast it is computed, what it says, when it ends.
FREE = (
    *("device", "steps", "save_every", "log_every", "picture_every", "evaluate", "log"),
    *("loader.workers", "loader.ahead", "loader.cache", "loader.cache_gib", "loader.resident"),
    *("channels_last", "compile"),
)


def run_folder(out: str) -> Path:
    """The folder of a run. Raises UserError for a place in an object store, where no run can write."""
    if is_remote(os.fspath(out)):
        raise UserError(
            f"--out {out}: a run writes into a folder; name one, and copy it to the store when it has ended"
        )
    return Path(out)


def check(
    real: Sequence[str], synthetic: Sequence[str], folder: Path, config: TrainConfig, resume: bool
) -> tuple[Catalogue, dict[str, Task], int]:
    """What a run will see and learn, and the form of its tasks (`FORM`).

    Raises UserError for all that is known to be wrong before it begins.
    """
    _check_options(config)
    begun = (SAMPLING, FORM)
    if ranks.rank() == 0:  # others may see the folder later
        begun = _check_folder(folder, config, resume)
    sampling, form = ranks.of_first(begun)
    loader = config.loader
    lists, versions, only = loader.exclude, loader.versions, (TRAIN, VAL)
    catalogue = read_catalogue(real, synthetic, loader.frames, lists, sampling, versions, only)
    if ranks.of_first(catalogue.digest) != catalogue.digest:
        raise UserError(
            f"rank {ranks.rank()} finds other data than rank 0: do all machines see the same datasets, and does "
            "nothing write to them now?"
        )
    has, names, frames = catalogue.has, catalogue.names, loader.frames
    longest = catalogue.longest
    tasks = choose(config.tasks, has, names, frames, config.set, config.robust, form, longest)
    domains = set(catalogue.windows.domain.tolist())
    name = config.adversary.name
    if len(domains) < 2 and adversary_called(name).needs_both_domains:
        missing = "synthetic" if SYNTHETIC not in domains else "real"
        raise UserError(f"the adversary {name} needs both domains, but there is no {missing} dataset")
    return catalogue, tasks, form


def _check_options(config: TrainConfig) -> None:
    if config.robust.choice not in ROBUST:
        raise UserError(f"--robust.choice {config.robust.choice}: {nearest(config.robust.choice, ROBUST)}")
    if config.precision not in PRECISIONS:
        raise UserError(f"--precision {config.precision}: {nearest(config.precision, PRECISIONS)}")
    if config.loader.size % 32:
        raise UserError(f"--loader.size {config.loader.size}: give a multiple of 32")
    check_trackers(config.log)
    for name in ("steps", "accumulate", "save_every", "log_every", "picture_every"):
        if getattr(config, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1")


def _check_folder(folder: Path, config: TrainConfig, resume: bool) -> tuple[int, int]:
    """Also tells how the run samples its windows and which form its tasks have: as it began."""
    has = (folder / CHECKPOINT).exists()
    if resume and not has:
        raise UserError(f"{folder} holds no checkpoint to go on with; train without --resume")
    if resume:
        old, data = read_config(folder / CONFIG)
        if clause := difference(old, config, FREE):
            raise UserError(
                f"{folder} was begun with another configuration: {clause}; resume with the old one"
            )
        return int(data.get("sampling", 1)), int(data.get("form", 1))
    if has:
        raise UserError(
            f"{folder} holds a run already; go on with --resume, or name another folder with --out"
        )
    return SAMPLING, FORM
