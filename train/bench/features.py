"""The runner, `bench_features`: rows × seeds as work items, finished ones kept, failures recorded."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from freelabels.ground.errors import UserError
from freelabels.ground.paths import AnyPath, path_list
from freelabels.ground.spelling import nearest
from freelabels.pipeline.storage.uris import absolute
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster, run
from freelabels.train.bench.budget import LEAST
from freelabels.train.bench.photos import MARGIN, photo_dataset
from freelabels.train.bench.report import FeatureTable, table_of, write
from freelabels.train.bench.rows import PHOTOS, ROWS, row_of
from freelabels.train.bench.work import RECORDS, CantProbe, RowWork, costs_of, lacking, run_row
from freelabels.train.config import BenchConfig
from freelabels.train.data.catalogue import by_domain
from freelabels.train.model import ranks
from freelabels.train.probing.options import check
from freelabels.train.run.precision import PRECISIONS
from freelabels.train.tasks.tasks import tasks

SETTINGS, FAILURES = "bench.json", "failures.jsonl"
FREE = (
    "rows",
    "seeds",
    "cost",
    "device",
    "precision",
    "resident",
    "compile",
)  # what may differ when the same command goes on
DOMAINS = ("real", "synthetic")  # as settings call datasets
PROBES = ("data", "probe")  # what may differ until the first row is finished
MEMORY = 3 << 30  # bytes a row may need
LIMIT = 7 * 24 * 3600.0  # seconds


def bench_features(
    data: AnyPath | Sequence[AnyPath],
    out: AnyPath,
    datasets: AnyPath | Sequence[AnyPath] = (),
    pictures: AnyPath = "",
    config: BenchConfig | None = None,
    *,
    cluster: Cluster | None = None,
    reporter: Reporter | None = None,
) -> FeatureTable:
    """Train rows at equal trunk pixels, probe them on labelled images, and write the table into the folder `out`.

    data: what is probed on, as `probe` reads it. datasets: of labels, whose domain is read from their shards.
    pictures: a folder of them, a folder a class (the classes are for the supervised row alone), or such folders in
    train/ and val/, of which those of val/ are kept for the tasks' scores; without it the
    frames of real datasets. cluster: where rows run, one a worker; by default this process. Rows that are finished
    stay, one that was interrupted goes on from its checkpoint, one that fails is recorded and the rest goes on.
    Raises UserError for bad input, and where `out` was begun with other settings.
    """
    config, folder, reporter = config or BenchConfig(), Path(out), reporter or Reporter()
    cluster = cluster or Cluster(workers=0)
    cluster = replace(cluster, memory=max(cluster.memory, MEMORY), attempts=1 if not cluster.workers else 2)
    probed = tuple(absolute(path) for path in path_list(data))
    _check(config, probed)
    names = tuple(dict.fromkeys(config.rows or ROWS))
    rows = {name: row_of(name, tasks()) for name in names}
    real, synthetic = by_domain(path_list(datasets))
    real, synthetic = [absolute(path) for path in real], [absolute(path) for path in synthetic]
    if foreign := [path for path in costs_of(config.cost) if path not in (*real, *synthetic)]:
        raise UserError(f"--cost {foreign[0]}: is none of the datasets that are given")
    shown = {"data": list(probed), "pictures": os.fspath(pictures), "real": real, "synthetic": synthetic}
    _begin(folder, {**asdict(config), **shown})
    shots = real
    if pictures and any(PHOTOS in row.data or row.second for row in rows.values()):
        side = round(config.size * MARGIN)
        made = photo_dataset(Path(pictures), folder / f"photos-{side}-{config.photos}", side, config.photos)
        shots = [absolute(str(made))]
    sources = (probed, tuple(shots), tuple(real), tuple(synthetic))
    work = [
        RowWork(name, config.seed + k, absolute(str(folder)), config, *sources)
        for k in range(config.seeds)  # a whole table of the first seed first
        for name in names
    ]
    left_out = {w.row: why for w in work[: len(names)] if (why := lacking(w, rows[w.row]))}
    if not pictures and "supervised" in names:
        left_out["supervised"] = "no --pictures are given whose folders are their classes"
    if config.rows and left_out:
        name, why = next(iter(left_out.items()))
        raise UserError(f"--rows {name}: {why}")
    failed = dict(_failures([w for w in work if w.row not in left_out], folder, cluster, reporter))
    records = [json.loads(path.read_text()) for path in sorted((folder / RECORDS).glob("*.json"))]
    order = dict.fromkeys((*names, *(record["row"] for record in records)))
    table = table_of(records, tuple(order), failed, left_out, {**asdict(config), **shown})
    write(table, folder)
    return table


def _check(config: BenchConfig, probed: Sequence[str]) -> None:
    """Raise UserError for what is known to be wrong before anything is trained."""
    if not probed and not config.probe.detection:
        raise UserError("give labelled images with --data")
    for path in probed:
        if "://" not in path and not os.path.exists(path):
            raise UserError(f"--data {path}: there is no such folder")
    for name in ("seeds", "batch", "photos", "scored", "width"):
        if getattr(config, name) < 1:
            raise UserError(f"--{name} must be at least 1")
    for name in ("budget", "lr", "pretext_lr"):
        if not 0 < getattr(config, name) < math.inf:
            raise UserError(f"--{name.replace('_', '-')} must be above 0")
    if config.size < LEAST or config.size % LEAST:
        raise UserError(f"--size {config.size}: give a multiple of {LEAST}")
    if not 0 < config.held_out < 1:
        raise UserError(f"--held-out is a share between 0 and 1, not {config.held_out}")
    if config.precision not in PRECISIONS:
        raise UserError(f"--precision {config.precision}: {nearest(config.precision, PRECISIONS)}")
    ranks.device_of(config.device)
    check(config.probe, probed)


def _failures(
    work: Sequence[RowWork], folder: Path, cluster: Cluster, reporter: Reporter
) -> Iterator[tuple[str, str]]:
    """Run what isn't finished; (name, sentence) of what failed."""
    to_do = [one for one in work if not one.record.exists()]
    if len(to_do) < len(work):
        reporter.say(f"{len(work) - len(to_do)} of {len(work)} rows are finished already")

    def called(one: RowWork) -> str:
        return f"bench {one.name}"

    with reporter.stage("bench", len(to_do)) as tick:
        outcomes = run(run_row, to_do, called, cluster, seconds=lambda w: LIMIT, notice=tick.notice)
        for outcome in outcomes:
            bad = outcome.result is None
            tick(0, failed=bad, outcome=outcome)  # rows aren't frames, whose rate would be told
            name = outcome.work.name
            if outcome.kind == CantProbe.__name__:  # nor can the others be; what is trained stays
                raise UserError(outcome.error.removeprefix(f"{outcome.kind}: "))
            if bad:
                entry = {"row": name, "error": outcome.error, "traceback": outcome.traceback}
                with (folder / FAILURES).open("a") as log:
                    log.write(json.dumps(entry) + "\n")
                reporter.say(f"{name} failed: {outcome.error}")
                yield name, outcome.error
            elif outcome.result:
                reporter.say(f"{name}: {outcome.result['seconds']:.0f} CPU-seconds")


def _begin(folder: Path, settings: Mapping[str, Any]) -> None:
    """Keep the settings beside the rows. Raises UserError if rows were made with others."""
    path = folder / SETTINGS
    try:
        (folder / RECORDS).mkdir(parents=True, exist_ok=True)
        plain = json.loads(json.dumps(settings))
        if path.exists():
            free = FREE if any((folder / RECORDS).glob("*.json")) else (*FREE, *PROBES)
            old, new = (
                _flat({k: v for k, v in every.items() if k not in free})
                for every in (json.loads(path.read_text()), plain)
            )
            as_ever = _flat(json.loads(json.dumps(asdict(BenchConfig()))))  # for options that came later
            old = {**{name: value for name, value in as_ever.items() if name in new}, **old}
            for name in (name for name in new if name in old and old[name] != new[name]):
                what = f"list of {name} datasets" if name in DOMAINS else f"--{name.replace('_', '-')}"
                raise UserError(
                    f"{folder} was begun with another {what}: {old[name]!r}, not {new[name]!r}; go on with the "
                    "old one, or name another --out"
                )
        path.write_text(json.dumps(plain, indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"{folder} can't be written ({error.strerror or error}); name another --out"
        ) from error


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by the names of their options: those of the probe one by one."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat
