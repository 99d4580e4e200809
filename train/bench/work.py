"""One row of the table for one seed: trained from its last checkpoint on, billed, and probed."""

from __future__ import annotations

import inspect
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from freelabels.ground.errors import UserError
from freelabels.pipeline.storage.uris import absolute
from freelabels.train.bench.budget import fitted
from freelabels.train.bench.rows import PHOTOS, REAL, RENDERS, Row, row_of
from freelabels.train.config import (
    AdversaryConfig,
    BenchConfig,
    LoaderConfig,
    ModelConfig,
    RobustConfig,
    TrainConfig,
)
from freelabels.train.data.catalogue import Catalogue, read_catalogue
from freelabels.train.data.loader import to_device
from freelabels.train.model import ranks
from freelabels.train.model.statistics import measure_statistics
from freelabels.train.objective.learner import Learner
from freelabels.train.probing.probe import probe
from freelabels.train.run.checkpoint import CHECKPOINT
from freelabels.train.run.evaluate import learned
from freelabels.train.run.state import begin
from freelabels.train.run.trainer import fit
from freelabels.train.tasks.tasks import DEFAULT, choose, tasks

RECORDS, RUNS = "rows", "runs"  # folders in that of the table
MISSING = {PHOTOS: "no pictures", REAL: "no labels of real frames", RENDERS: "no renders"}
BILL = "bill.json"  # in a run's folder: what its steps up to the last checkpoint have cost
NEVER = 1_000_000
SECOND = "-second"
STATISTICS = 50  # batches that the random row's statistics are measured on
ANY_TASK = "rotation"  # of a run that learns nothing but must be one


class CantProbe(UserError):
    """What rows are to be probed on can't be, whichever row it is."""


@dataclass(frozen=True)
class RowWork:
    """What a worker is told: which row of which seed, from what, into which folder."""

    row: str
    seed: int
    out: str
    config: BenchConfig
    data: tuple[str, ...]
    photos: tuple[str, ...]
    real: tuple[str, ...]
    synthetic: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its folder and its record are called."""
        return f"{self.row}-{self.seed}"

    @property
    def record(self) -> Path:
        """Where what was found stands; it is there if and only if the row is finished."""
        return Path(self.out) / RECORDS / f"{self.name}.json"

    def sources(self, row: Row) -> tuple[list[str], list[str]]:
        """Datasets of real and of rendered frames that a row learns from."""
        by_kind = {PHOTOS: self.photos, REAL: self.real, RENDERS: self.synthetic}
        real = [path for kind in row.data if kind != RENDERS for path in by_kind[kind]]
        return real, list(self.synthetic) if RENDERS in row.data else []


def lacking(work: RowWork, row: Row) -> str:
    """Why the data can't feed a row, as a clause; "" if they can."""
    needed = (*row.data, *([PHOTOS] if row.second else []))
    for kind, given in ((PHOTOS, work.photos), (REAL, work.real), (RENDERS, work.synthetic)):
        if kind in needed and not given:
            return f"{MISSING[kind]} are given"
    if not row.learns:
        return ""
    catalogue = read_catalogue(*work.sources(row), 1)
    for name in row.tasks:
        if missing := [field for field in tasks()[name].needs.fields if not catalogue.has(field)]:
            return f"nothing holds {missing[0]}"
    return "" if _names(row, catalogue) else "nothing holds a label"


def run_row(work: RowWork) -> dict[str, Any]:
    """Train and probe a row; returns and writes its record. What was trained before is not trained again."""
    if work.record.exists():
        done: dict[str, Any] = json.loads(work.record.read_text())
        return done
    row = row_of(work.row, tasks())
    folder = Path(work.out) / RUNS / work.name
    facts = trained(work, row, folder)
    began = time.process_time()
    seen = replace(work.config.probe, seed=work.config.probe.seed + work.seed, device=work.config.device)
    try:
        report = probe(
            facts["run"], work.data, folder / "probe", replace(seen, rotation="skip", random="skip")
        )
    except UserError as error:
        raise CantProbe(str(error)) from error
    facts |= {
        "stages": list(report.stages),
        "data": [dict(one) for one in report.data],
        "tables": [
            {
                **{k: getattr(table, k) for k in ("data", "measure", "unit", "higher_is_better", "constant")},
                "columns": list(table.columns),
                "values": [None if one is None else one.mean for one in next(iter(table.rows.values()))],
            }
            for table in report.tables
        ],
        "probe_seconds": time.process_time() - began,
    }
    work.record.parent.mkdir(parents=True, exist_ok=True)
    scratch = work.record.with_suffix(".part")
    scratch.write_text(json.dumps(facts, indent=1) + "\n")
    scratch.replace(work.record)
    return facts


def trained(work: RowWork, row: Row, folder: Path) -> dict[str, Any]:
    """Train a row, or what is left of it; what it was, what it scored on held-out clips, and the bill."""
    real, synthetic = work.sources(row)
    facts: dict[str, Any] = {"row": work.row, "seed": work.seed, "about": row.about, "run": str(folder)}
    facts |= {"labels": labels_cost(work.config.cost, [] if PHOTOS in row.data else [*real, *synthetic])}
    if not row.learns:
        seconds = with_statistics(configured(work, row, (ANY_TASK,)), real, synthetic, folder)
        return {**facts, "tasks": [], "steps": 0, "batch": 0, "side": work.config.size, "pixels": 0.0} | {
            "lines": {},
            "seconds": seconds,
            "scores": [],
            "at_chance": False,
        }
    catalogue = read_catalogue(real, synthetic, 1)
    budget, scores = work.config.budget, list[dict[str, Any]]()
    first = budget * (1 - row.share) if row.second else budget
    config, seconds, told = phase(work, row, _names(row, catalogue), real, synthetic, folder, first)
    scores += told
    facts |= {"tasks": list(config.tasks), "steps": config.steps, "batch": config.loader.batch}
    facts |= {"side": config.loader.size, "pixels": budget}
    if row.second:
        after = folder.with_name(folder.name + SECOND)
        last = Row(row.about, (PHOTOS,), row.second, laterals=row.laterals)
        config, more, told = phase(
            work, last, row.second, list(work.photos), [], after, budget - first, start=str(folder)
        )
        facts |= {"run": str(after), "tasks": [*facts["tasks"], *row.second]}
        facts |= {"steps": facts["steps"] + config.steps}
        seconds, scores = seconds + more, scores + told
    facts |= {"lines": {name: lines_of(name) for name in facts["tasks"]}}
    return facts | {"seconds": seconds, "scores": scores, "at_chance": at_chance(scores)}


def lines_of(name: str) -> int:
    """How many lines the file of a task has; 0 where it has none."""
    try:
        return len(Path(inspect.getfile(type(tasks()[name]))).read_text().splitlines())
    except (OSError, TypeError):
        return 0


def _names(row: Row, catalogue: Catalogue) -> tuple[str, ...]:
    free = [n for n in DEFAULT if row.free and all(map(catalogue.has, tasks()[n].needs.fields))]
    return tuple(dict.fromkeys((*free, *row.tasks)))


def configured(work: RowWork, row: Row, names: Sequence[str], start: str = "") -> TrainConfig:
    """The configuration of a row's run, but for its steps."""
    own = work.config
    return TrainConfig(
        tasks=tuple(names),
        set=row.set,
        lr=own.lr if PHOTOS not in row.data else own.pretext_lr,
        precision=own.precision,
        device=own.device,
        seed=own.seed + work.seed,
        log_every=50,
        picture_every=NEVER,
        evaluate=own.scored,
        start=start,
        channels_last=own.resident,
        compile=own.compile,
        loader=LoaderConfig(
            size=own.size,
            batch=own.batch,
            held_out=1 - row.kept * (1 - own.held_out),
            resident=own.resident,
            frames=max(tasks()[name].needs.shared for name in names),
        ),
        model=ModelConfig(own.backbone, width=own.width, laterals=row.laterals),
        adversary=AdversaryConfig(row.adversary),
        robust=RobustConfig(row.robust),
    )


def phase(
    work: RowWork,
    row: Row,
    names: Sequence[str],
    real: Sequence[str],
    synthetic: Sequence[str],
    folder: Path,
    budget: float,
    start: str = "",
) -> tuple[TrainConfig, float, list[dict[str, Any]]]:
    """Train on a number of megapixels; its configuration, CPU-seconds and held-out scores."""
    config = configured(work, row, names, start)
    catalogue = read_catalogue(real, synthetic, config.loader.frames)
    learned = choose(
        names, catalogue.has, catalogue.names, config.loader.frames, config.set, config.robust,
        longest=catalogue.longest,
    )  # fmt: skip
    config = fitted(config, learned, catalogue, budget)
    config = replace(config, save_every=max(20, min(200, config.steps // 10)))
    spent = spent_before(folder)
    began = time.process_time()

    def bill(number: int, learner: Learner | None = None) -> None:
        if learner is None or number % config.save_every == 0 or number == config.steps:
            seconds = spent + time.process_time() - began
            (folder / BILL).write_text(json.dumps({"steps": number, "seconds": seconds}))

    summary = fit(
        real, synthetic, str(folder), config, (folder / CHECKPOINT).exists(), quiet=True, on_step=bill
    )
    if not summary.finished:
        bill(summary.steps)  # it has saved where it was stopped
        raise KeyboardInterrupt
    return config, spent_before(folder), [dict(score) for score in summary.scores]


def spent_before(folder: Path) -> float:
    """CPU-seconds of the steps that a run's checkpoint has behind it."""
    return float(json.loads((folder / BILL).read_text())["seconds"]) if (folder / BILL).exists() else 0.0


def with_statistics(
    config: TrainConfig, real: Sequence[str], synthetic: Sequence[str], folder: Path
) -> float:
    """A run of no steps whose batch statistics are the pictures': the least that any training gives; CPU-seconds.

    Without them a random net is worth 2 to 5 points less, and a pretext that taught nothing would seem to teach.
    """
    began = time.process_time()
    if not (folder / CHECKPOINT).exists():
        device = ranks.device_of(config.device)
        state = begin(real, synthetic, folder, config, False, device)
        model = state.ema.module.train()
        batches = (to_device(one, device)["image"] for one in state.loader.batches(0, STATISTICS))
        measure_statistics(
            model, (images.flatten(0, 1) for images in batches), lambda images: model.features(images, 0)
        )
        state.save()
    return time.process_time() - began


def labels_cost(told: Sequence[str], datasets: Sequence[str]) -> float | None:
    """CPU-seconds that a row's labels took to make, None where that isn't known."""
    costs = costs_of(told)
    each = [costs.get(absolute(path)) for path in datasets]
    return None if None in each else sum(one for one in each if one is not None)


def costs_of(told: Sequence[str]) -> dict[str, float]:
    """CPU-seconds by dataset, of PATH=SECONDS. Raises UserError for what isn't such."""
    costs: dict[str, float] = {}
    for one in told:
        path, _, seconds = one.rpartition("=")
        try:
            costs[absolute(path)] = float(seconds)
        except ValueError as error:
            raise UserError(f"--cost is PATH=SECONDS, such as data/real=120, not {one!r}") from error
        if not 0 <= costs[absolute(path)] < math.inf:
            raise UserError(f"--cost {one}: seconds are 0 or more")
    return costs


def at_chance(scores: Sequence[Mapping[str, Any]]) -> bool:
    """Whether none of a row's tasks has learned its question, by what it scores on held-out clips."""
    whole = [score for score in scores if score["domain"] == "all"]
    return bool(whole) and not any(map(learned, whole))
