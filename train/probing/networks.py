"""The networks a probe compares: the run's, random initialisation, rotation at the same compute, and others."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from timm.models import load_state_dict
from torch import Tensor

from freelabels.ground.errors import MissingFile, UserError
from freelabels.ground.spelling import counted
from freelabels.train.config import AdversaryConfig, BalanceConfig, RobustConfig, TrainConfig
from freelabels.train.data.catalogue import read_catalogue
from freelabels.train.data.loader import Loader
from freelabels.train.data.windows import spread
from freelabels.train.export import trained_backbone
from freelabels.train.model.network import Backbone
from freelabels.train.model.statistics import measure_statistics
from freelabels.train.probing.probe_report import RANDOM, ROTATION, SUPERVISED
from freelabels.train.run import checkpoint
from freelabels.train.run.evaluate import learned
from freelabels.train.run.logs import METRICS
from freelabels.train.run.trainer import SUMMARY, fit

BATCH = 64
FAILED = "FAILED: at chance on held-out windows"
SEEN = 1024  # unlabelled images that statistics are measured on


@dataclass(frozen=True)
class Network:
    """A network: its name, what it was trained on, its weights for a seed, and whether these vary with it."""

    name: str
    pretext: str
    load: Callable[[int], Backbone]
    varies: bool = False


def random_network(trained: TrainConfig, size: int, first: int, images: Tensor | None = None) -> Network:
    """New weights for each seed, counted from `first`, with batch statistics of unlabelled `images`.

    images: uint8 (n, 3, S, S), as `seen_images` gives them. A network that has seen none normalises by no
    statistics at all, and loses to one that only measured them 2 to 5 points.
    """

    def load(seed: int) -> Backbone:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(first + seed)
            backbone = Backbone(trained.model.backbone, False, size)
        if images is not None:
            measure_statistics(backbone.train(), torch.split(images, BATCH))
        return backbone.eval()

    return Network(RANDOM, "none" if images is None else "none, batch statistics alone", load, varies=True)


def seen_images(data: dict[str, Any], trained: TrainConfig, size: int) -> Tensor | None:
    """Up to 1024 centre views of what a run was trained on, uint8 (n, 3, size, size); None if it is gone.

    data: as `trained_backbone` tells it.
    """
    config = replace(trained.loader, size=size, frames=1)
    sides = [list(data.get(side, ())) for side in ("real", "synthetic")]
    try:
        catalogue = read_catalogue(
            sides[0], sides[1], 1, config.exclude, int(data.get("sampling", 1)), config.versions
        )
        loader = Loader(catalogue, (), config, trained.seed)
        windows = spread(catalogue.windows, SEEN)
        parts = [loader.centred(windows[k : k + BATCH])["image"][:, 0] for k in range(0, len(windows), BATCH)]
    except (UserError, MissingFile, OSError):
        return None
    return torch.cat(parts)


def run_networks(runs: Sequence[str], size: int) -> list[Network]:
    """A row a run, all of one architecture, by the names of their folders."""
    networks: list[Network] = []
    reserved = {RANDOM, ROTATION, SUPERVISED}
    first = ""
    for run in runs:
        backbone, config, seen = trained_backbone(run)
        first = first or config.model.backbone
        if config.model.backbone != first:
            raise UserError(
                f"{run} trained a {config.model.backbone}, {runs[0]} a {first}; compare runs of one"
            )
        name = base = Path(run).resolve().name
        while name in reserved | {network.name for network in networks}:
            name = f"{base} ({len(networks) + 1})"
        networks.append(
            Network(name, _pretext(run, seen["tasks"]), _always(_resized(backbone, config, size)))
        )
    return networks


def at_chance(run: Path) -> frozenset[str]:
    """Tasks of which a run, by its record, has not `learned` the question."""
    found: dict[str, dict[str, Any]] = {}
    for name in (METRICS, SUMMARY):  # the last says it best
        file = run / name
        if file.is_file():
            text = file.read_text()
            records = [json.loads(text)] if name == SUMMARY else map(json.loads, text.splitlines())
            scores = [one for r in records for one in r.get("scores" if name == SUMMARY else "held_out", ())]
            found |= {score["task"]: score for score in scores if score["domain"] == "all"}
    return frozenset(name for name, score in found.items() if not learned(score))


def _pretext(run: str, tasks: Sequence[str]) -> str:
    """What a run was trained on, for the table."""
    failed = at_chance(Path(run))
    return ", ".join(f"{name} ({FAILED})" if name in failed else name for name in tasks)


def rotation_network(
    choice: str, trained: TrainConfig, data: dict[str, Any], out: Path, size: int, say: Callable[[str], None]
) -> Network:
    """The rotation pretext: of the run in the folder `choice`, or, if that is train, trained into `out`.

    It is trained on the run's data with its configuration, for as many steps of as many images; if it was begun
    before, it goes on.
    """
    run = choice
    if choice == "train":
        loader = replace(trained.loader, frames=1, batch=trained.loader.batch * trained.loader.frames)
        config = replace(
            trained,
            tasks=(ROTATION,),
            steps=int(data["step"]),
            loader=loader,
            adversary=AdversaryConfig(),
            balance=BalanceConfig(),
            robust=RobustConfig(),
        )
        begun = (out / checkpoint.CHECKPOINT).is_file()
        say(f"training the rotation pretext for {counted(config.steps, 'step')} into {out}")
        summary = fit(data.get("real", ()), data.get("synthetic", ()), str(out), config, begun, quiet=True)
        if not summary.finished:
            raise KeyboardInterrupt
        run = str(out)
    (network,) = run_networks([run], size)
    return replace(network, name=ROTATION, pretext=_pretext(run, [ROTATION]))


def supervised_network(source: str, trained: TrainConfig, size: int) -> Network:
    """The same architecture with the weights in a file, or, if `source` is timm, timm's own."""
    name = trained.model.backbone
    if source == "timm":
        return Network(SUPERVISED, "human labels", _always(Backbone(name, True, size)))
    if not Path(source).is_file():
        raise UserError(f"--supervised {source}: there is no such file; give a checkpoint of {name}, or timm")
    backbone = Backbone(name, False, trained.loader.size)
    try:
        missing, _ = backbone.net.load_state_dict(load_state_dict(source), strict=False)
    except Exception as error:  # torch, pickle and safetensors raise half a dozen kinds
        reason = str(error).splitlines()[0]
        raise UserError(f"--supervised {source}: is no checkpoint of {name}: {reason}") from error
    if missing:
        raise UserError(f"--supervised {source}: is no checkpoint of {name}, it lacks {missing[0]}")
    return Network(SUPERVISED, "human labels", _always(_resized(backbone, trained, size)))


def _always(backbone: Backbone) -> Callable[[int], Backbone]:
    return lambda seed: backbone.eval()


def _resized(backbone: Backbone, its: TrainConfig, size: int) -> Backbone:
    """The backbone for images of another size; only some transformers tell the difference."""
    if size != its.loader.size and hasattr(backbone.net, "set_input_size"):
        backbone.net.set_input_size(img_size=(size, size))
    return backbone
