"""The trained backbone taken out of a run: for probing, and as a folder that timm loads."""

from __future__ import annotations

import json
import os
from collections.abc import Container
from functools import lru_cache
from pathlib import Path
from typing import Any

import timm
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from safetensors.torch import save_file
from timm.models import save_for_hf

from freelabels.ground.errors import UserError
from freelabels.ground.paths import AnyPath
from freelabels.ground.spelling import nearest
from freelabels.ground.versions import version_of
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.storage.uris import is_remote
from freelabels.train.config import TrainConfig
from freelabels.train.data.windows import DOMAIN_NAMES
from freelabels.train.model.clips import WIDTHS, ClipBackbone, narrowed
from freelabels.train.model.network import Backbone
from freelabels.train.predicting.programs import export_program
from freelabels.train.run import checkpoint
from freelabels.train.run.config_file import CONFIG, read_config
from freelabels.train.tasks.tasks import tasks

PREFIX = "backbone.net."  # of timm's own parameter names in the averaged model
CLIPS_PREFIX = "clips.net."  # of torchvision's
TRUNKS = ("frames", "clips")
CLASSES = 400  # of torchvision's networks for clips by default
WEIGHTS = "model.safetensors"
CARD = "README.md"
PACKAGES = ("freelabels", "torch", "timm")


def trained_backbone(run: str) -> tuple[Backbone, TrainConfig, dict[str, Any]]:
    """The backbone of a run with its averaged weights, in evaluation mode; the configuration; what it saw.

    The last holds ``real`` and ``synthetic`` (paths of datasets), ``digest``, ``tasks`` (names), ``step``.
    The run's datasets needn't be there any more. Raises UserError if the folder holds no run or no checkpoint.
    """
    state, config, facts = _averaged(run)
    backbone = Backbone(config.model.backbone, False, config.loader.size)
    backbone.net.load_state_dict(_named(state, PREFIX))
    return backbone.eval(), config, facts


def trained_clip_backbone(run: str) -> tuple[ClipBackbone, TrainConfig] | None:
    """As `trained_backbone`, of the trunk that sees clips; None if none of the run's tasks asks for one."""
    state, config, _ = _averaged(run)
    weights = _named(state, CLIPS_PREFIX)
    if not weights:
        return None
    backbone = ClipBackbone(config.model.clips, config.model.clip_share)
    backbone.net.load_state_dict(weights)
    return backbone.eval(), config


def _averaged(run: str) -> tuple[dict[str, torch.Tensor], TrainConfig, dict[str, Any]]:
    """The averaged weights of a run, and what `trained_backbone` says of it."""
    folder = Path(run)
    if not (folder / CONFIG).is_file():
        raise UserError(f"{run} is no run: it has no {CONFIG}; give the --out folder of a training")
    config, data = read_config(folder / CONFIG)
    if not (folder / checkpoint.CHECKPOINT).is_file():
        raise UserError(f"{run} holds no {checkpoint.CHECKPOINT} yet: let its training reach one first")
    file = folder / checkpoint.CHECKPOINT
    written = file.stat()
    averaged, step = _loaded(file.resolve(), (written.st_ino, written.st_size, written.st_mtime_ns))
    heads = dict.fromkeys(name.split(".")[1] for name in averaged if name.startswith("heads."))
    return averaged, config, {**data, "step": step, "tasks": tuple(heads)}


@lru_cache(maxsize=1)
def _loaded(file: Path, written: tuple[int, ...]) -> tuple[dict[str, torch.Tensor], int]:
    """The averaged weights of a checkpoint, and its step: one probe asks for them three times."""
    state = checkpoint.load(file)
    return state["ema"], int(state["step"])


def _named(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Those that begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def export(run: AnyPath, out: AnyPath, trunk: str = "frames", to: str = "timm") -> Path:
    """Write the backbone of a run (averaged weights) for timm, with a model card; returns the weights' path.

    The folder `out` then holds ``model.safetensors``, which ``timm.create_model(name, pretrained=True,
    pretrained_cfg_overlay={"file": …})`` loads, ``config.json``, with which ``local-dir:out`` loads too, and
    ``README.md``, the card. The weights include a classifier of zeros, which is there only because timm asks
    for one by default. Raises UserError if `run` holds no checkpoint or `out` can't be written.

    trunk: frames, or clips for that which saw clips as a whole, where a task has trained it: then
    ``model.safetensors`` is a state of torchvision's network of that name, its classifier too of zeros.

    to: timm; or onnx or torch, for backbone and heads in one program, see `predicting.programs`.
    """
    run = os.fspath(run)
    if to != "timm":
        return export_program(run, Path(out), to)
    if trunk not in TRUNKS:
        raise UserError(f"--trunk {trunk}: {nearest(trunk, TRUNKS)}")
    if trunk == "clips":
        return _export_clips(run, Path(out))
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


def _export_clips(run: str, folder: Path) -> Path:
    averaged, config, data = _averaged(run)
    weights = {name: value.contiguous() for name, value in _named(averaged, CLIPS_PREFIX).items()}
    if not weights:
        raise UserError(
            f"{run} has no trunk for clips: none of its tasks asks for one; export it without --trunk"
        )
    classifier = torch.zeros(CLASSES, narrowed(WIDTHS[-1], config.model.clip_share))
    weights |= {"fc.weight": classifier, "fc.bias": torch.zeros(CLASSES)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / WEIGHTS)
        (folder / CARD).write_text(_card(Path(run), config, data, None, "clips"))
    except OSError as error:
        raise UserError(
            f"{folder} can't be written ({error.strerror or error}); name another folder"
        ) from error
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


def _card(
    run: Path, config: TrainConfig, data: dict[str, Any], img_size: int | None, trunk: str = "frames"
) -> str:
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
        backbone=config.model.clips if trunk == "clips" else config.model.backbone,
        trunk=trunk,
        share=config.model.clip_share,
        pretrained=config.model.pretrained and trunk == "frames",
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
