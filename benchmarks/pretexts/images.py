"""Tasks that learn from images, as rows of the table of features; what is measured is said in the package."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.tags import KINDS, drawn
from freelabels.train.bench.features import bench_features
from freelabels.train.bench.report import BASELINE
from freelabels.train.bench.work import RECORDS
from freelabels.train.config import BenchConfig, ProbeConfig
from freelabels.train.tasks.tasks import tasks

DRAWN = (40, 10)  # of each kind, in train/ and in val/
PROBE = "linear, ridge"


def main(
    data: str = "",
    out: str = "runs/pretexts",
    only: tuple[str, ...] = (),
    megapixels: float | None = None,
    size: int = 64,
    batch: int = 32,
    backbone: str = "resnet18",
    photos: int = 4500,
    scored: int = 4000,
    probe_images: int = 2000,
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
        photos: Most photos of train/ that are learned from or kept for scores.
        scored: Most photos kept from training that scores are taken on.
        probe_images: Most photos of the probe.
    """
    torch.set_num_threads(1)
    names = (BASELINE, *(name for name in only or systems() if name != BASELINE))
    folder = Path(data) if data else made_up(Path(out) / "drawn")
    config = BenchConfig(
        rows=names,
        seeds=1,
        budget=megapixels or (20.0 if data else 4.0),
        size=size,
        batch=batch,
        backbone=backbone,
        width=32,
        photos=photos,
        held_out=1 / 3,
        scored=scored,
        precision="fp32",
        device="cpu",
        probe=ProbeConfig(seeds=1, draws=1, shots=(1,), images=probe_images, rotation="skip"),
    )
    table = bench_features(folder, out, (), folder / "train", config)
    stages = "".join(f"{stage:>7}" for stage in table.stages)
    print(f"{'task':18}{'lines':>6}{'score':>9}{'trivial':>9}{'gap':>7}{stages}{'CPU s':>7}  measure")
    for name in names:
        record = Path(out) / RECORDS / f"{name}-{config.seed}.json"
        if record.exists():
            for line in lines(json.loads(record.read_text())):
                print(line)
    for name, why in table.failed.items():
        print(f"{name} failed: {why}")


def systems() -> tuple[str, ...]:
    """All tasks that learn from single photos and nothing beside them."""
    alone = (name for name, task in tasks().items() if not task.needs.fields and task.needs.frames == 1)
    return tuple(name for name in alone if name != "tags")


def lines(record: Mapping[str, Any]) -> Iterator[str]:
    """A row: a line for each of its scores on photos kept from it, or one without."""
    probes = [table for table in record["tables"] if table["measure"] == PROBE]
    shares = [share for table in probes[:1] for share in table["values"]]
    ends = "".join(f"{'' if share is None else f'{100 * share:.1f}':>7}" for share in shares)
    ends += f"{record['seconds']:>7.0f}"
    for score in record["scores"] or [None]:
        if score is None:
            yield f"{record['row']:18}{'':31}{ends}"
        elif score["domain"] == "all":
            length = record.get("lines", {}).get(score["task"], "")  # rows of before have none
            figures = f"{length:>6}{score['score']:>9.3f}{score['constant']:>9.3f}{gap_of(score):>7}"
            more = "".join(f"; {name}: {value:.3g}" for name, value in score.get("beside", {}).items())
            yield f"{record['row']:18}{figures}{ends}  {score['metric']} ({score['trivial']}){more}"


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
