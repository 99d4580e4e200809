"""All state of a run: built from its configuration, saved, and taken up again bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from freelabels.ground.errors import UserError
from freelabels.train.config import TrainConfig
from freelabels.train.data.catalogue import Catalogue
from freelabels.train.data.loader import Loader
from freelabels.train.data.resident import Resident
from freelabels.train.model import ranks
from freelabels.train.objective.learner import Learner
from freelabels.train.objective.rates import groups
from freelabels.train.run import checkpoint
from freelabels.train.run.checks import check
from freelabels.train.run.config_file import CONFIG, write_config
from freelabels.train.run.logs import writing
from freelabels.train.run.precision import choose_precision
from freelabels.train.tasks.tasks import fields_of, reaches_of

HEADS = "model.heads."  # what names of heads' parameters begin with


@dataclass
class RunState:
    """What a run consists of; `step` counts the optimiser steps done, `wrapped` is the learner over all ranks."""

    folder: Path
    config: TrainConfig
    device: torch.device
    catalogue: Catalogue
    loader: Loader
    learner: Learner
    wrapped: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Any
    ema: ModelEmaV3
    step: int = 0

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The learner with the averaged weights, in evaluation mode."""
        own = self.learner.model
        self.learner.model = self.ema.module
        self.learner.eval()
        try:
            yield
        finally:
            self.learner.model = own
            self.learner.train()

    def save(self) -> None:
        """Write the checkpoint: rank 0's weights, and of every rank its random numbers and buffers."""
        randoms = ranks.gather(checkpoint.random_state(self.device))
        buffers = ranks.gather(self._buffers()) if ranks.world() > 1 else []
        if ranks.rank() == 0:
            state = {
                "step": self.step,
                "learner": self.learner.state_dict(),
                "ema": self.ema.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "random": randoms,
                "buffers": buffers,
                "precision": "bf16" if self.learner.precision else "fp32",
                "digest": self.catalogue.digest,
            }
            checkpoint.save(self.folder / checkpoint.CHECKPOINT, state)
        ranks.barrier()

    def restore(self) -> None:
        """Take up the checkpoint. Raises UserError if data, ranks or modules aren't those it was made with."""
        state = checkpoint.load(self.folder / checkpoint.CHECKPOINT)
        if state["digest"] != self.catalogue.digest:
            raise UserError(f"the data of {self.folder} has changed since its checkpoint; start a new run")
        randoms = state["random"]
        if len(randoms) != ranks.world():
            raise UserError(f"{self.folder} was trained by {len(randoms)} processes, not {ranks.world()}")
        self.step = int(state["step"])
        if ranks.of_first(self.step) != self.step:
            raise UserError(
                f"rank {ranks.rank()} reads another checkpoint in {self.folder} than rank 0 does: give --out a "
                "folder that all machines share"
            )
        if self.config.steps < self.step:
            raise UserError(
                f"{self.folder} has taken {self.step} steps already; give --steps {self.step} or more"
            )
        # Those made before buffers were kept for every rank have rank 0's for all.
        own = state["buffers"][ranks.rank()] if state.get("buffers") else {"learner": {}, "ema": {}}
        if clause := self._built_otherwise(state):
            raise UserError(
                f"{self.folder} was begun by another version: {clause}; go on with that one, or start a new run"
            )
        self.learner.load_state_dict(state["learner"] | own["learner"])
        self.ema.module.load_state_dict(state["ema"] | own["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.step(self.step)
        self.learner.precision = torch.bfloat16 if state["precision"] == "bf16" else None
        checkpoint.set_random_state(randoms[ranks.rank()], self.device)

    def _built_otherwise(self, state: Mapping[str, Any]) -> str:
        """What a checkpoint's modules have that these have otherwise, as a clause; "" if nothing."""
        own = self.learner.state_dict()
        for name in dict.fromkeys((*own, *state["learner"])):
            before, now = (_shape(one.get(name)) for one in (state["learner"], own))
            if before != now:
                return f"{_place(name)} was {before} and is now {now}"
        groups = state["optimizer"]["param_groups"], self.optimizer.param_groups
        sizes = [[len(group["params"]) for group in some] for some in groups]
        return (
            "" if sizes[0] == sizes[1] else f"its parameters lay in groups of {sizes[0]}, now of {sizes[1]}"
        )

    def _buffers(self) -> dict[str, dict[str, torch.Tensor]]:
        """What ranks don't share: running statistics of their own batches, past features that a judge is shown."""
        return {
            "learner": _without_parameters(self.learner),
            "ema": _without_parameters(self.ema.module),
        }


def _fused(config: TrainConfig) -> dict[str, bool]:
    """One kernel for a whole step, where the optimiser has such: a sixth of the time."""
    return {"fused": True} if config.optimizer in ("adam", "adamw") else {}


def _trunk(run: Path, backbone: nn.Module) -> dict[str, torch.Tensor]:
    """The trunk of another run. Raises UserError if it is of another kind."""
    averaged = checkpoint.load(run / checkpoint.CHECKPOINT)["ema"]
    found = {name: averaged.get(f"backbone.{name}") for name in backbone.state_dict()}
    fits = [v is not None and v.shape == backbone.state_dict()[name].shape for name, v in found.items()]
    if not all(fits):
        raise UserError(f"--start {run}: its trunk is another than --model.backbone builds")
    return found


def _shape(value: torch.Tensor | None) -> str:
    """How large it is, for a message."""
    return "not there" if value is None else " × ".join(map(str, value.shape)) or "a number"


def _place(name: str) -> str:
    """What a parameter is called for its reader: the task and its name in the task's head."""
    if not name.startswith(HEADS):
        return name
    task, _, inner = name.removeprefix(HEADS).partition(".")
    return f"{inner} of the task {task}"


def _without_parameters(module: nn.Module) -> dict[str, torch.Tensor]:
    """The state of a module but for its parameters, on the CPU."""
    learned = {name for name, _ in module.named_parameters()}
    return {name: value.cpu() for name, value in module.state_dict().items() if name not in learned}


def begin(
    real: Sequence[str],
    synthetic: Sequence[str],
    folder: Path,
    config: TrainConfig,
    resume: bool,
    device: torch.device,
) -> RunState:
    """Check the input, build everything, and take up the checkpoint if asked to. Raises UserError."""
    catalogue, tasks, form = check(real, synthetic, folder, config, resume)
    rank, world = ranks.rank(), ranks.world()
    fields, reaches = fields_of(tasks), reaches_of(tasks)
    told = (catalogue, fields, config.loader, config.seed, rank, world, reaches)
    loader = Resident(*told, device=device) if config.loader.resident else Loader(*told)
    torch.manual_seed(config.seed)
    learner = Learner(tasks, config)
    if config.start and not resume:
        learner.model.backbone.load_state_dict(
            _trunk(Path(config.start), learner.model.backbone), strict=True
        )
    if world > 1 and device.type == "cuda":
        learner.model = nn.SyncBatchNorm.convert_sync_batchnorm(learner.model)  # type: ignore[no-untyped-call]
    learner.to(device)
    if config.channels_last:
        learner.to(memory_format=torch.channels_last)
    ema = ModelEmaV3(learner.model, decay=config.ema, use_warmup=True)
    optimizer = create_optimizer_v2(
        learner,
        opt=config.optimizer,
        lr=config.lr,
        weight_decay=config.weight_decay,
        param_group_fn=lambda whole: groups(whole, config.weight_decay),
        **_fused(config),
    )
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=config.steps,
        warmup_epochs=max(1, round(config.steps * config.warmup)),
        warmup_lr=config.lr * 1e-2,
        min_lr=config.lr * 1e-2,
        step_on_epochs=True,
    )
    wrapped: nn.Module = learner
    if world > 1:
        # Some backbones end in layers that the intermediate features don't use.
        wrapped = DistributedDataParallel(learner, broadcast_buffers=False, find_unused_parameters=True)
    torch.manual_seed(config.seed + rank)
    state = RunState(folder, config, device, catalogue, loader, learner, wrapped, optimizer, scheduler, ema)
    if config.compile:
        learner.model.backbone.net.forward_intermediates = torch.compile(
            learner.model.backbone.net.forward_intermediates
        )
    if resume:
        state.restore()
    else:
        first = rank == 0  # whose machine decides for all
        chosen = choose_precision(config.precision, learner, config.loader.size, device) if first else None
        learner.precision = ranks.of_first(chosen)
    if rank == 0:
        data: dict[str, Any] = {"real": list(real), "synthetic": list(synthetic)}
        data |= {"digest": catalogue.digest, "sampling": catalogue.sampling, "form": form}
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_config(folder / CONFIG, config, data)
    ranks.barrier()
    return state
