"""Tasks that learn from images, as rows of the table of features; what is measured is said in the package."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.tags import KINDS, drawn
from freelabels.pipeline.work.runner import Cluster
from freelabels.train.assign import assign
from freelabels.train.bench.features import bench_features
from freelabels.train.bench.photos import MARGIN
from freelabels.train.bench.report import BASELINE
from freelabels.train.bench.work import RECORDS, RUNS
from freelabels.train.config import BenchConfig, ProbeConfig
from freelabels.train.tasks.generation.gan import GAN
from freelabels.train.tasks.tasks import tasks

DRAWN = (40, 20)  # of each kind, in train/ and in val/
PROBE = "linear, ridge"
OPPONENTS = "opponents"  # folder in --out of the rows whose trunk judges a generator
LONGER = 2.0  # how many times as much of them is seen
SLOWER = 1e-3  # peak learning rate of those
PUPIL, TEACHER = "boosting", "deep_cluster"
CLUSTERS = 32  # that the one learns of the other's features
TABLE = "table.md"


def main(
    data: str = "",
    out: str = "runs/pretexts",
    only: tuple[str, ...] = (),
    megapixels: float | None = None,
    size: int = 64,
    batch: int = 32,
    backbone: str = "resnet18",
    photos: int = 3000,
    scored: int = 2000,
    probe_images: int = 1000,
) -> None:
    """Measure and print.

    Args:
        data: Folder with train/ and val/, each with a folder of photos a class; default: drawn patterns.
        out: Folder of the runs, the finished rows and the table (features.md, features.json, features.png).
        only: Tasks to measure; default: all that learn from photos alone.
        megapixels: How much the trunk sees of each; default: 20, of drawn patterns 4.
        size: Side of the views, pixels; twice that where a task cuts views of less than the trunk takes.
        batch: Samples of a step.
        backbone: The timm model.
        photos: Most photos of train/ that are learned from, and of val/ that are kept for scores.
        scored: Most photos of val/ that scores are taken on.
        probe_images: Most photos of the probe.
    """
    torch.set_num_threads(1)
    names = tuple(dict.fromkeys((BASELINE, *(only or systems()))))
    folder, where = Path(data) if data else made_up(Path(out) / "drawn"), Path(out)
    config = BenchConfig(
        rows=names,
        seeds=1,
        budget=megapixels or (20.0 if data else 4.0),
        size=size,
        batch=batch,
        backbone=backbone,
        width=32,
        photos=photos,
        scored=scored,
        precision="fp32",
        device="cpu",
        probe=ProbeConfig(seeds=1, draws=1, shots=(1,), images=probe_images, rotation="skip"),
    )
    longer = replace(config, budget=LONGER * config.budget, pretext_lr=SLOWER)
    failed: dict[str, str] = {}

    def measure(rows: Sequence[str], below: Path, config: BenchConfig) -> None:
        if rows:
            made = replace(config, rows=tuple(rows))
            failed.update(bench_features(folder, below, (), folder, made).failed)

    made = [name for name in names if judges(name)]
    first = [name for name in names if name not in (*made, PUPIL)]
    measure([*first, *([TEACHER] if PUPIL in names and TEACHER not in first else [])], where, config)
    measure(made, where / OPPONENTS, longer)
    if PUPIL in names and f"{TEACHER}-{config.seed}" not in failed:
        if not record_of(PUPIL, where, config.seed).exists():
            teacher, shown = (
                where / RUNS / f"{TEACHER}-{config.seed}",
                f"photos-{round(size * MARGIN)}-{photos}",
            )
            assign(teacher, where / shown, CLUSTERS, into=True, cluster=Cluster(workers=0))
        measure([PUPIL], where, config)
    found = [record_of(name, where, config.seed) for name in names]
    records = [json.loads(path.read_text()) for path in found if path.exists()]
    stages = records[0]["stages"] if records else ()
    titles = "".join(f"{stage:>7}" for stage in stages)
    print(f"{'task':18}{'lines':>6}{'score':>9}{'trivial':>9}{'gap':>7}{titles}{'CPU s':>7}  measure")
    for record in records:
        for line in lines(record):
            print(line)
    for name, why in failed.items():
        print(f"{name} failed: {why}")
    (where / TABLE).write_text(about(config, bool(data), records) + "\n" + markdown(records, stages))


def record_of(name: str, out: Path, seed: int) -> Path:
    """Where a row's record lies."""
    return (out / OPPONENTS if judges(name) else out) / RECORDS / f"{name}-{seed}.json"


def judges(name: str) -> bool:
    """Whether the trunk judges what a generator makes of noise: it sees twice as many images in a step."""
    return isinstance(tasks().get(name), GAN)


def systems() -> tuple[str, ...]:
    """All tasks that learn from single photos and nothing beside them, and the one that learns from another."""
    alone = (name for name, task in tasks().items() if not task.needs.fields and task.needs.frames == 1)
    return (*(name for name in alone if name != "tags"), PUPIL)


def lines(record: Mapping[str, Any]) -> Iterator[str]:
    """A row: a line for each of its scores on photos kept from it, or one without."""
    ends = "".join(f"{share:>7}" for share in probed(record)) + f"{record['seconds']:>7.0f}"
    for score in record["scores"] or [None]:
        if score is None:
            yield f"{record['row']:18}{'':31}{ends}"
        elif score["domain"] == "all":
            length = record.get("lines", {}).get(score["task"], "")  # rows of before have none
            figures = f"{length:>6}{score['score']:>9.3f}{score['constant']:>9.3f}{gap_of(score):>7}"
            more = "".join(f"; {name}: {value:.3g}" for name, value in score.get("beside", {}).items())
            yield f"{record['row']:18}{figures}{ends}  {score['metric']} ({score['trivial']}){more}"


def about(config: BenchConfig, given: bool, records: Sequence[Mapping[str, Any]]) -> str:
    """What the table is of, for docs/pretexts.md."""
    scored = max((score["frames"] for record in records for score in record["scores"]), default=0)
    command = (
        f"images{' --data FOLDER' if given else ''} --megapixels {config.budget:g} --photos {config.photos:,}"
    )
    return (
        f"Of `{command.replace(',', '')}`, one seed: a {config.backbone}, views of {config.size} px. Rows whose "
        f"trunk judges a generator saw {LONGER * config.budget:g} megapixels. Scores are of {scored:,} photos of "
        "val/, beside the trivial answer; *gap* is how much better than that, in standard errors, where questions "
        "about one photo count one by one; by three a task has learned its question. Then the linear probe of "
        f"each stage, % right of the classes of val/, of {config.probe.images:,} photos of both.\n"
    )


def markdown(records: Sequence[Mapping[str, Any]], stages: Sequence[str]) -> str:
    """The same as a table for docs/pretexts.md: a line for each score."""
    titles = ["task", "measure", "score", "trivial answer", "gap", *stages, "CPU s", "lines of its file"]
    rows = [titles, ["---", "---", *["---:"] * (len(titles) - 2)]]
    for record in records:
        ends = [*probed(record), f"{record['seconds']:.0f}"]
        scores = [score for score in record["scores"] if score["domain"] == "all"]
        if not scores:
            rows.append([f"`{record['row']}`", "", "", "", "", *ends, ""])
        for score in scores:
            beside = [f"{name}: {value:.3g}" for name, value in score.get("beside", {}).items()]
            figures = [
                f"{score['score']:.3f}",
                f"{score['constant']:.3f} ({score['trivial']})",
                gap_of(score),
            ]
            length = str(record.get("lines", {}).get(score["task"], ""))
            rows.append(
                [f"`{record['row']}`", "; ".join([score["metric"], *beside]), *figures, *ends, length]
            )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def probed(record: Mapping[str, Any]) -> list[str]:
    """Percent right of the linear probe of each stage; "" where there is none."""
    probes = [table for table in record["tables"] if table["measure"] == PROBE]
    return [
        "" if share is None else f"{100 * share:.1f}" for table in probes[:1] for share in table["values"]
    ]


def gap_of(score: Mapping[str, Any]) -> str:
    """By how many standard errors a score is better than the trivial answer's; "" where these aren't known."""
    difference = abs(score["score"] - score["constant"]) * (1 if score["better"] else -1)
    return f"{difference / score['error']:.1f}" if score["error"] else ""


def made_up(folder: Path) -> Path:
    """Drawn patterns, a folder a kind in train/ and in val/, the same each time."""
    rng = np.random.default_rng(0)
    for part, count in zip(("train", "val"), DRAWN, strict=True):
        for kind in KINDS:
            (folder / part / kind).mkdir(parents=True, exist_ok=True)
            for k in range(count):
                Image.fromarray(drawn(kind, rng)).save(folder / part / kind / f"{k:03d}.png")
    return folder
