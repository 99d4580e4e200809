"""The training loop: `fit` trains a run to its last step, scores it, and leaves its record in a folder."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from freelabels.ground.spelling import counted
from freelabels.train.config import TrainConfig
from freelabels.train.data.windows import DOMAINS
from freelabels.train.model import ranks
from freelabels.train.objective.learner import Learner
from freelabels.train.run.checks import run_folder
from freelabels.train.run.evaluate import Score, draw, evaluate
from freelabels.train.run.labelling import take_up, turn
from freelabels.train.run.logs import Log, writing
from freelabels.train.run.separability import separability
from freelabels.train.run.state import RunState, begin
from freelabels.train.run.step import step

SUMMARY = "summary.json"  # in the run's folder
OnStep = Callable[[int, Learner], None]


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
    on_step: OnStep | None = None,
) -> TrainSummary:
    """Train on datasets of both domains into the run folder `out`; with `resume`, go on exactly where it stopped.

    Called by every rank. on_step is called after each step, with its number and the learner. Raises UserError
    for bad input, and for a loss that isn't finite, after which the last checkpoint stands.
    """
    config, folder = config or TrainConfig(), run_folder(out)
    with ranks.group(config.device) as device:
        state = begin(real, synthetic, folder, config, ranks.of_first(resume), device)
        active = ranks.rank() == 0
        with Log(folder, config, state.step, active, quiet) as log, _interrupts() as stop:
            _introduce(state, log)
            take_up(state)
            speed = _loop(state, log, stop, on_step)
            return _conclude(state, log, speed)


def _introduce(state: RunState, log: Log) -> None:
    """Say what is trained on what."""
    state.loader.say = log.say
    windows = state.catalogue.windows
    counts = windows.counts(np.ones(len(windows.row), bool))
    real, synthetic = (int(counts[windows.domain == d].sum()) for d in DOMAINS)
    excluded = f", {counted(state.catalogue.excluded, 'frame')} excluded" if state.catalogue.excluded else ""
    log.say(
        f"{', '.join(state.learner.tasks)} from {real} real and {synthetic} synthetic windows, "
        f"{len(state.loader.held_out)} held out{excluded}; {state.config.model.backbone}, {state.device}, "
        f"{'bf16' if state.learner.precision else 'fp32'}"
    )

    for column, made in state.catalogue.mixed.items():
        if column in state.loader.fields:
            rows = ", ".join(f"{counted(frames, 'frame')} by {version}" for version, frames in made.items())
            log.say(
                f"{column} is of several versions: {rows}; --loader.versions {column}=… takes one of them"
            )


def _loop(state: RunState, log: Log, stop: threading.Event, on_step: OnStep | None) -> dict[str, float]:
    """Train to the last step, or until stopped, and save; returns the speed over all of it."""
    config, loader, learner = state.config, state.loader, state.learner
    began = logged = (time.perf_counter(), loader.waited, state.step)
    saved = state.step or -1
    batches = loader.batches(state.step * config.accumulate, config.steps * config.accumulate)
    try:
        while state.step < config.steps and not ranks.any_rank(stop.is_set(), state.device):
            number = state.step + 1
            reporting = number % config.log_every == 0 or number == config.steps
            turn(state, log.say)
            learner.measure = reporting and config.adversary.name not in ("none", "fourier", "refiner")
            facts = step(state, [next(batches) for _ in range(config.accumulate)])
            log.tick(number)
            if reporting:
                values = _plain(facts)
                now = (time.perf_counter(), loader.waited, number)
                log.numbers(number, {**values, **_speed(config, logged, now)})
                logged = now
            if number % config.save_every == 0:
                state.save()
                saved = number
            if on_step is not None:
                on_step(number, learner)
            if number % config.picture_every == 0 and number < config.steps:
                _show(state, log)
    finally:
        batches.close()  # type: ignore[attr-defined]
    speed = _speed(config, began, (time.perf_counter(), loader.waited, state.step))
    if saved != state.step:
        state.save()
    return speed


def _conclude(state: RunState, log: Log, speed: Mapping[str, float]) -> TrainSummary:
    """Score a run that has come to its last step, and write its summary."""
    run, config = str(state.folder), state.config
    if state.step < config.steps:
        log.say(f"stopped after step {state.step}; go on with --resume")
        return TrainSummary(run, state.step, False, (), None, **speed)
    scores = tuple(score.as_dict() for score in _show(state, log))
    with state.averaged():
        backbone, stage = state.learner.model.backbone, config.adversary.stage
        shown = state.learner.adversary.images
        domains = separability(backbone, state.loader, stage, state.device, shown)
    if domains is not None:
        log.say(f"a fresh probe on frozen features tells the domains apart in {domains:.1%} of cases")
    summary = TrainSummary(run, state.step, True, scores, domains, **speed)
    if ranks.rank() == 0:
        with writing(state.folder):
            (state.folder / SUMMARY).write_text(json.dumps(vars(summary), indent=1) + "\n")
    return summary


def _show(state: RunState, log: Log) -> list[Score]:
    """Score the averaged model on held-out windows and draw its predictions."""
    loader, learner = state.loader, state.learner
    if not len(loader.held_out):
        log.say("nothing is held out: each domain has a single source, so there are no scores")
    with state.averaged(), torch.random.fork_rng(devices=[]):
        scores = evaluate(learner, loader, state.device, state.config.evaluate)
        log.scores(state.step, scores)
        if ranks.rank() == 0:
            shown = loader.some(loader.held if loader.held.any() else ~loader.held, 3)
            log.pictures(state.step, draw(learner, loader.centred(shown), state.device))
    ranks.barrier()
    return scores


def _speed(
    config: TrainConfig, before: tuple[float, float, int], now: tuple[float, float, int]
) -> dict[str, float]:
    """Samples a second and the share of time spent waiting, from (seconds, seconds waited, step) twice."""
    seconds = max(now[0] - before[0], 1e-9)
    samples = (now[2] - before[2]) * config.loader.batch * config.accumulate * ranks.world()
    return {"samples_per_second": samples / seconds, "waited": (now[1] - before[1]) / seconds}


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Figures as plain numbers."""
    return {
        name: _plain(value) if isinstance(value, Mapping) else float(value) for name, value in facts.items()
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
