"""What is known to be wrong with the options of a probe before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from freelabels.ground.errors import UserError
from freelabels.pipeline.storage.uris import is_remote
from freelabels.train.config import ProbeConfig
from freelabels.train.probing.dense_probe import FIELDS


def check(config: ProbeConfig, data: Sequence[str]) -> None:
    """Raise UserError for what is known to be wrong before anything is read."""
    if not data and not config.detection:
        raise UserError("missing: --data, folders of labelled images, or --detection, folders of boxes")
    for name in ("seeds", "draws", "images", "frames", "clips", "clip_frames", "detection_steps"):
        if getattr(config, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1")
    for name in ("seed", "neighbours", "finetune", "segmentation_steps", "stream"):
        if (getattr(config, name) or 0) < 0:
            raise UserError(f"--{name.replace('_', '-')} must be at least 0")
    if wrong_shots := [shots for shots in config.shots if shots < 1]:
        raise UserError(f"--shots {wrong_shots[0]}: give numbers of images a class, 1 or more")
    if config.finetune_stages and not config.finetune:
        raise UserError("--finetune-stages needs the number of epochs: give --finetune too")
    if config.random not in ("add", "skip"):
        raise UserError(f"--random {config.random}: give add or skip")
    for path in (*data, *config.detection):
        if not is_remote(path) and not Path(path).is_dir():
            option = "--data" if path in data else "--detection"
            raise UserError(f"{option} {path}: there is no such folder")
    if not 0 < config.test < 1:
        raise UserError(f"--test is a share between 0 and 1, not {config.test}")
    if unknown := [name for name in config.fields if name not in FIELDS]:
        raise UserError(f"--fields {unknown[0]}: there are {', '.join(FIELDS)}")
    if wrong := [share for share in config.shares if not 0 < share <= 1]:
        raise UserError(f"--shares {wrong[0]}: give shares of the labels above 0, at most 1")
    if config.size is not None and (config.size < 32 or config.size % 32):
        raise UserError(f"--size {config.size}: give a multiple of 32")
