"""The training loop: one typed entry, `train`, that the front door calls."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from freelabels.ground.errors import UserError
from freelabels.train.config import (
    TrainConfig,
)
from freelabels.train.data.loader import Batch, Loader, to_device
from freelabels.train.data.windows import DOMAINS, SYNTHETIC, Catalogue, read_catalogue, spread
from freelabels.train.model import ranks as parallel
from freelabels.train.objective.adversary import adversary_called
from freelabels.train.objective.learner import TEACHER_OFF, Inputs, Learner, prepare
from freelabels.train.run import checkpoint
from freelabels.train.run.evaluate import draw, evaluate
from freelabels.train.run.logs import Log, writing
from freelabels.train.run.precision import choose_precision
from freelabels.train.run.separability import separability
from freelabels.train.tasks.tasks import Task, choose

SUMMARY = "summary.json"  # in the run's folder


@dataclass(frozen=True)
class TrainSummary:
    """How a run ended. scores: held-out figures, see `Score`; domains: the fresh domain probe's accuracy."""

    run: str
    steps: int
    finished: bool
    scores: tuple[dict[str, object], ...]
    domains: float | None
    samples_per_second: float
    waited: float


def fit(
    real: Sequence[str],
    synthetic: Sequence[str],
    out: str,
    config: TrainConfig | None = None,
    resume: bool = False,
    quiet: bool = False,
    on_step: Callable[[int, Learner], None] | None = None,
) -> TrainSummary:
    """Train on datasets of both domains into the run folder `out`; with `resume`, go on exactly where it stopped.

    Called by every rank. on_step is called after each step, with its number and the learner. Raises UserError
    for bad input, and for a loss that isn't finite, after which the last checkpoint stands.
    """
    config = config or TrainConfig()
    device = parallel.device_of(config.device)
    with parallel.group(device):
        run = _Run.begin(real, synthetic, Path(out), config, resume, device)
        first = run.step
        with Log(Path(out), config.steps, first, parallel.rank() == 0, quiet) as log, _interrupts() as stop:
            return run.go(log, stop, on_step)


@dataclass
class _Run:
    """All state of a run; `step` counts the optimiser steps done."""

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

    @staticmethod
    def begin(
        real: Sequence[str],
        synthetic: Sequence[str],
        folder: Path,
        config: TrainConfig,
        resume: bool,
        device: torch.device,
    ) -> _Run:
        """Check the input, build everything, and take up the checkpoint if asked to."""
        catalogue, tasks = check(real, synthetic, folder, config, resume)
        fields = dict.fromkeys(name for task in tasks.values() for name in task.reads)
        rank, world = parallel.rank(), parallel.world()
        loader = Loader(catalogue, tuple(fields), config.loader, config.seed, rank, world)
        torch.manual_seed(config.seed)
        learner = make_learner(tasks, config)
        if world > 1 and device.type == "cuda":
            learner.model = nn.SyncBatchNorm.convert_sync_batchnorm(learner.model)  # type: ignore[no-untyped-call]
        learner.to(device)
        ema = ModelEmaV3(learner.model, decay=config.ema, use_warmup=True)
        optimizer = create_optimizer_v2(
            learner, opt=config.optimizer, lr=config.lr, weight_decay=config.weight_decay
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
        run = _Run(folder, config, device, catalogue, loader, learner, wrapped, optimizer, scheduler, ema)
        data = {"real": list(real), "synthetic": list(synthetic), "digest": catalogue.digest}
        if resume:
            run.restore(checkpoint.load(folder / checkpoint.CHECKPOINT))
        else:
            if rank == 0:
                with writing(folder):
                    folder.mkdir(parents=True, exist_ok=True)
                    checkpoint.write_config(folder / checkpoint.CONFIG, config, data)
            learner.precision = choose_precision(config.precision, learner, config.loader.size, device)
        parallel.barrier()
        return run

    def go(
        self, log: Log, stop: threading.Event, on_step: Callable[[int, Learner], None] | None
    ) -> TrainSummary:
        """Train to the last step, or until stopped; evaluate and save."""
        config, accumulate = self.config, self.config.accumulate
        precision = "bf16" if self.learner.precision else "fp32"
        sides = {d: sum(w.domain == d for w in self.catalogue.windows) for d in DOMAINS}
        excluded = f", {self.catalogue.excluded} frames excluded" if self.catalogue.excluded else ""
        log.say(
            f"{', '.join(self.learner.tasks)} from {sides[0]} real and {sides[1]} synthetic windows, "
            f"{len(self.loader.held_out)} held out{excluded}; {config.model.backbone}, {self.device}, {precision}"
        )
        batches = self.loader.batches(self.step * accumulate, config.steps * accumulate)
        began, first, logged = time.perf_counter(), self.step, (time.perf_counter(), 0.0, self.step)
        saved = self.step if self.step else -1
        try:
            while self.step < config.steps and not parallel.any_rank(stop.is_set(), self.device):
                next_step = self.step + 1
                reporting = next_step % config.log_every == 0 or next_step == config.steps
                self.learner.measure = reporting and config.adversary.name not in ("none", "fourier")
                facts = self.update([next(batches) for _ in range(accumulate)])
                self.step = next_step
                log.tick(self.step)
                if reporting:
                    values = _finite(facts, self.step)
                    now = (time.perf_counter(), self.loader.waited, self.step)
                    log.numbers(self.step, {**values, **self._speed(logged, now)})
                    logged = now
                if self.step % config.save_every == 0:
                    self.save()
                    saved = self.step
                if on_step is not None:
                    on_step(self.step, self.learner)
                if self.step % config.picture_every == 0 and self.step < config.steps:
                    self.show(log)
        finally:
            batches.close()  # type: ignore[attr-defined]
        speed = self._speed((began, 0.0, first), (time.perf_counter(), self.loader.waited, self.step))
        if saved != self.step:
            self.save()
        if self.step < config.steps:
            log.say(f"stopped after step {self.step}; go on with --resume")
            return TrainSummary(str(self.folder), self.step, False, (), None, *speed.values())
        scores = self.show(log)
        with self._averaged():
            backbone, stage = self.learner.model.backbone, config.adversary.stage
            domains = separability(backbone, self.loader, stage, self.device)
        if domains is not None:
            log.say(f"a fresh probe on frozen features tells the domains apart in {domains:.1%} of cases")
        done = tuple(score.as_dict() for score in scores)
        summary = TrainSummary(str(self.folder), self.step, True, done, domains, *speed.values())
        if parallel.rank() == 0:
            with writing(self.folder):
                (self.folder / SUMMARY).write_text(json.dumps(vars(summary), indent=1) + "\n")
        return summary

    def update(self, batches: Sequence[Batch]) -> dict[str, Any]:
        """One optimiser step on the parts of a step; returns its figures as tensors."""
        config, learner = self.config, self.learner
        parts = [prepare(learner.tasks, to_device(batch, self.device)) for batch in batches]
        learner.adversary.advance((self.step + 1) / config.steps)
        teach = self.teach if config.robust.choice == "bootstrap" else None
        losses, adversarial = backward(learner, self.wrapped, parts, teach)
        norm = nn.utils.clip_grad_norm_(learner.parameters(), config.clip or float("inf"))
        if not bool(torch.isfinite(norm)):
            names = [name for name, x in zip(learner.tasks, losses, strict=True) if not bool(x.isfinite())]
            what = f"loss of {', '.join(names)}" if names else "gradient"
            raise UserError(
                f"step {self.step + 1}: the {what} is not finite; the last checkpoint stands. "
                "Lower --lr, or look at the labels with `freelabels verify`"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.update(learner.model, step=self.step)
        self.scheduler.step(self.step + 1)
        facts: dict[str, Any] = {"losses": dict(zip(learner.tasks, parallel.mean(losses), strict=True))}
        facts |= {"gradient_norm": norm, "lr": self.optimizer.param_groups[0]["lr"]}
        if config.adversary.name != "none":
            facts["adversary"] = {"loss": adversarial, "ramp": learner.adversary.ramp}
            if learner.adversary.seen is not None:
                facts["adversary"]["domain_accuracy"] = learner.adversary.seen
            if learner.measure:
                facts["adversary"]["gradient_ratio"] = learner.gradient_ratio
        return facts

    @torch.no_grad()
    def teach(self, inputs: Inputs) -> dict[str, Tensor]:
        """The EMA model's predictions in the targets' space."""
        with self._averaged():
            outputs, _, _ = self.learner.predict(inputs)
            return {
                name: task.value(outputs[name].float())
                for name, task in self.learner.tasks.items()
                if task.pretext is None
            }

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The learner with the averaged weights, in evaluation mode."""
        own = self.learner.model
        self.learner.model = self.ema.module
        self.learner.eval()
        try:
            yield
        finally:
            self.learner.model = own
            self.learner.train()

    def show(self, log: Log) -> list[Any]:
        """Score the averaged model on held-out windows and draw its predictions."""
        if not self.loader.held_out:
            log.say("nothing is held out: each domain has a single source, so there are no scores")
        with self._averaged(), torch.random.fork_rng(devices=[]):
            scores = evaluate(self.learner, self.loader, self.device, self.config.evaluate)
            log.scores(self.step, scores)
            if parallel.rank() == 0:
                pool = self.loader.held_out or self.catalogue.windows
                shown = [w for d in DOMAINS for w in spread([w for w in pool if w.domain == d], 3)]
                log.pictures(self.step, draw(self.learner, self.loader.centred(shown), self.device))
        parallel.barrier()
        return scores

    def save(self) -> None:
        """Write the checkpoint: rank 0's weights and every rank's random numbers."""
        randoms = parallel.gather(checkpoint.random_state(self.device))
        if parallel.rank() == 0:
            state = {
                "step": self.step,
                "learner": self.learner.state_dict(),
                "ema": self.ema.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "random": randoms,
                "precision": "bf16" if self.learner.precision else "fp32",
                "digest": self.catalogue.digest,
            }
            checkpoint.save(self.folder / checkpoint.CHECKPOINT, state)
        parallel.barrier()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a checkpoint."""
        if state["digest"] != self.catalogue.digest:
            raise UserError(f"the data of {self.folder} has changed since its checkpoint; start a new run")
        randoms = state["random"]
        if len(randoms) != parallel.world():
            raise UserError(f"{self.folder} was trained by {len(randoms)} processes, not {parallel.world()}")
        self.step = int(state["step"])
        self.learner.load_state_dict(state["learner"])
        self.ema.module.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.step(self.step)
        self.learner.precision = torch.bfloat16 if state["precision"] == "bf16" else None
        checkpoint.set_random_state(randoms[parallel.rank()], self.device)

    def _speed(self, before: tuple[float, float, int], now: tuple[float, float, int]) -> dict[str, float]:
        seconds = max(now[0] - before[0], 1e-9)
        samples = (now[2] - before[2]) * self.config.loader.batch * self.config.accumulate * parallel.world()
        return {"samples_per_second": samples / seconds, "waited": (now[1] - before[1]) / seconds}


def backward(
    learner: Learner,
    wrapped: nn.Module,
    parts: Sequence[Inputs],
    teach: Callable[[Inputs], Mapping[str, Tensor]] | None = None,
) -> tuple[Tensor, Tensor]:
    """Leave the gradient of a whole step in `learner`, from this rank's parts of it.

    wrapped: the learner itself, or it in DistributedDataParallel. Returns this rank's summed losses (k,), whose
    mean over ranks is the step's, and the adversary's. However the batch is split, the gradient is the same.
    """
    counts = parallel.total(torch.stack([part.counts() for part in parts]).sum(0))
    losses, adversarial = [], []
    for k, part in enumerate(parts):
        last = k == len(parts) - 1
        hold = (
            wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) and not last else nullcontext()
        )
        with hold:
            objective = wrapped(part, counts, 1 / len(parts), teach(part) if teach else TEACHER_OFF)
            objective.backward()
        losses.append(learner.losses)
        adversarial.append(learner.adversarial)
    return torch.stack(losses).sum(0), torch.stack(adversarial).sum()


def make_learner(tasks: Mapping[str, Task], config: TrainConfig) -> Learner:
    """The learner of a configuration."""
    size = config.loader.size
    return Learner(tasks, size, config.model, config.adversary, config.balance, config.robust)


def load_run(folder: str) -> tuple[Learner, TrainConfig, dict[str, Any]]:
    """A trained run: its learner with the averaged weights, its configuration, and the record of its data."""
    config, data = checkpoint.read_config(Path(folder) / checkpoint.CONFIG, TrainConfig)
    state = checkpoint.load(Path(folder) / checkpoint.CHECKPOINT)
    catalogue = read_catalogue(data["real"], data["synthetic"], config.loader.frames, config.loader.exclude)
    tasks = choose(config.tasks, catalogue.has, catalogue.names, config.loader.frames)
    learner = make_learner(tasks, config)
    learner.model.load_state_dict(state["ema"])
    return learner.eval(), config, data


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
    if config.loader.size % 32:
        raise UserError(f"--loader.size {config.loader.size}: give a multiple of 32")
    for name in ("steps", "accumulate", "save_every", "log_every", "picture_every"):
        if getattr(config, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1")


def _check_folder(folder: Path, config: TrainConfig, resume: bool) -> None:
    has = (folder / checkpoint.CHECKPOINT).exists()
    if resume and not has:
        raise UserError(f"{folder} holds no checkpoint to go on with; train without --resume")
    if resume:
        old, _ = checkpoint.read_config(folder / checkpoint.CONFIG, TrainConfig)
        if clause := checkpoint.difference(old, config):
            raise UserError(
                f"{folder} was begun with another configuration: {clause}; resume with the old one"
            )
    elif has:
        raise UserError(
            f"{folder} holds a run already; go on with --resume, or name another folder with --out"
        )


def _finite(facts: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Figures as plain numbers."""
    return {
        name: _finite(value, step) if isinstance(value, Mapping) else float(value)
        for name, value in facts.items()
    }


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a polite kill sets, so that the step is finished; a second one ends at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(*_: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
