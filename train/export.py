"""The trained backbone taken out of a run: for probing, and as a folder that timm loads."""

from __future__ import annotations

import json
import os
from collections.abc import Container
from pathlib import Path
from typing import Any

import timm
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from timm.models import save_for_hf

from freelabels.ground.errors import UserError
from freelabels.ground.paths import AnyPath
from freelabels.ground.versions import version_of
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.storage.uris import is_remote
from freelabels.train.config import TrainConfig
from freelabels.train.data.windows import DOMAIN_NAMES
from freelabels.train.model.network import Backbone
from freelabels.train.run import checkpoint
from freelabels.train.run.config_file import CONFIG, read_config
from freelabels.train.tasks.tasks import tasks

PREFIX = "backbone.net."  # of timm's own parameter names in the averaged model
WEIGHTS = "model.safetensors"
CARD = "README.md"
PACKAGES = ("freelabels", "torch", "timm")


def trained_backbone(run: str) -> tuple[Backbone, TrainConfig, dict[str, Any]]:
    """The backbone of a run with its averaged weights, in evaluation mode; the configuration; what it saw.

    The last holds ``real`` and ``synthetic`` (paths of datasets), ``digest``, ``tasks`` (names), ``step``.
    The run's datasets needn't be there any more. Raises UserError if the folder holds no run or no checkpoint.
    """
    folder = Path(run)
    if not (folder / CONFIG).is_file():
        raise UserError(f"{run} is no run: it has no {CONFIG}; give the --out folder of a training")
    config, data = read_config(folder / CONFIG)
    if not (folder / checkpoint.CHECKPOINT).is_file():
        raise UserError(f"{run} holds no {checkpoint.CHECKPOINT} yet: let its training reach one first")
    state = checkpoint.load(folder / checkpoint.CHECKPOINT)
    backbone = Backbone(config.model.backbone, False, config.loader.size)
    averaged = state["ema"]
    backbone.net.load_state_dict(
        {name.removeprefix(PREFIX): value for name, value in averaged.items() if name.startswith(PREFIX)}
    )
    heads = dict.fromkeys(name.split(".")[1] for name in averaged if name.startswith("heads."))
    return backbone.eval(), config, {**data, "step": int(state["step"]), "tasks": tuple(heads)}


def export(run: AnyPath, out: AnyPath) -> Path:
    """Write the backbone of a run (averaged weights) for timm, with a model card; returns the weights' path.

    The folder `out` then holds ``model.safetensors``, which ``timm.create_model(name, pretrained=True,
    pretrained_cfg_overlay={"file": …})`` loads, ``config.json``, with which ``local-dir:out`` loads too, and
    ``README.md``, the card. The weights include a classifier of zeros, which is there only because timm asks
    for one by default. Raises UserError if `run` holds no checkpoint or `out` can't be written.
    """
    run = os.fspath(run)
    backbone, config, data = trained_backbone(run)
    name, size, folder = config.model.backbone, config.loader.size, Path(out)
    fixed = bool(backbone.net.pretrained_cfg.get("fixed_input_size"))
    net = timm.create_model(name, **({"img_size": size} if fixed else {}))
    _zero_classifier(net)
    missing, _ = net.load_state_dict(backbone.net.state_dict(), strict=False)
    if left := set(missing) - set(_classifier(net)):
        raise UserError(
            f"{name} can't be exported: its weights {sorted(left)[0]} are not part of the backbone"
        )
    try:
        save_for_hf(
            net,
            str(folder),
            safe_serialization=True,
            data_config={"input_size": (3, size, size), "crop_pct": 1.0},
        )
        # safetensors writes for the owner alone
        (folder / WEIGHTS).chmod((folder / "config.json").stat().st_mode)
        (folder / CARD).write_text(_card(Path(run), config, data, size if fixed else None))
    except OSError as error:
        raise UserError(f"{out} can't be written ({error.strerror or error}); name another folder") from error
    return folder / WEIGHTS


def _classifier(net: Any) -> list[str]:
    """Names of the classifier's parameters."""
    names = net.pretrained_cfg["classifier"]
    prefixes = tuple(f"{name}." for name in ([names] if isinstance(names, str) else names or ()))
    return [name for name, _ in net.named_parameters() if name.startswith(prefixes)]


@torch.no_grad()
def _zero_classifier(net: Any) -> None:
    for name in _classifier(net):
        net.get_parameter(name).zero_()


def _card(run: Path, config: TrainConfig, data: dict[str, Any], img_size: int | None) -> str:
    """The model card, Markdown."""
    templates = Environment(
        loader=PackageLoader("freelabels.train", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    labels = {field for name in data["tasks"] if name in tasks() for field in tasks()[name].needs.fields}
    summary, probed = _figures(run, "summary.json"), run / "probe.md"
    return templates.get_template("export.md.jinja").render(
        backbone=config.model.backbone,
        pretrained=config.model.pretrained,
        size=config.loader.size,
        img_size=img_size,
        step=data["step"],
        steps=config.steps,
        images=data["step"] * config.loader.batch * config.loader.frames * config.accumulate,
        tasks=data["tasks"],
        adversary=config.adversary.name,
        balance=config.balance.name,
        robust=config.robust.choice,
        sides={side: [_dataset(path, labels) for path in data.get(side, ())] for side in DOMAIN_NAMES},
        digest=data.get("digest", ""),
        scores=[s for s in summary.get("scores", ()) if s["domain"] == "all"],
        domains=summary.get("domains"),
        probed=probed.read_text().partition("\n")[2].strip() if probed.is_file() else "",
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """The versions of what made a run or a report."""
    return {package: version_of(package) for package in PACKAGES}


def _figures(run: Path, name: str) -> dict[str, Any]:
    """A JSON file of the run, empty if it isn't there."""
    path = run / name
    document: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return document


def _dataset(path: str, labels: Container[str]) -> dict[str, Any]:
    """What a card says of a dataset: its name (not where it lies), its size, and what made each of the labels."""
    known: dict[str, Any] = {"name": Path(path).resolve().name, "frames": None, "labels": {}}
    if not is_remote(path) and not Path(path).is_dir():
        return known
    dataset = Dataset(path)
    frames = 0
    for shard in dataset.open_all(dataset.shards()):
        frames += shard.rows
        for column in (name for name in shard.fields if name in labels):
            made = shard.made_by(column)
            maker = f"{made.get('generator', '?')} {made.get('version', '')}".strip()
            known["labels"].setdefault(column, maker)
    return {**known, "frames": frames}
