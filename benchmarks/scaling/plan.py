"""Planning renders against very many committed shards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.scaling.remember import remember_shards
from benchmarks.scaling.steps import EXAMPLE_RECORD, HERE, QUIET, SMALL, step
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.index import read_index
from freelabels.pipeline.shards.record import canonical, digest
from freelabels.pipeline.shards.summary import number_of
from freelabels.pipeline.stages.render import RenderOptions, RenderWork, plan_work, render
from freelabels.pipeline.storage.local import RECORD


def plan(shards: int = 20_000, folder: str | None = None, records: int = 500) -> None:
    """List, remember and plan so many committed shards of renders, one clip of 64 frames each.

    Args:
        shards: How many.
        folder: Where to put them; default: the system's folder for temporary files.
        records: How many real records to read, for the cost of building the index from nothing.
    """
    options = RenderOptions(frames=64)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        out = Path(scratch) / "out"
        dataset = Dataset.create(out, {"size": list(options.size), "seed": options.seed})
        _build(dataset, options, shards)
        command = [sys.executable, "-m", "benchmarks.scaling", "replan", "--path", str(out)]
        subprocess.run([*command, "--shards", str(shards)], check=True)  # with a peak of its own
        _rebuild(Path(scratch) / "real", records)


def _build(dataset: Dataset, options: RenderOptions, shards: int) -> None:
    """Folders and small records of so many shards, and their index."""
    root = os.fspath(dataset.path)
    with step(f"make {shards} folders and records"):
        keys = {}
        for clip in range(shards):
            name = RenderWork(root, (clip,), None, options, "fast").id
            keys[name] = number_of(options.key(clip))
            os.mkdir(f"{root}/{name}.0")
            with open(f"{root}/{name}.0/{RECORD}", "wb") as stream:
                stream.write(EXAMPLE_RECORD)
    with step("remember them"):
        made_by = dict.fromkeys(("image", "depth", "flow"), options.recipe)
        recipe = canonical(made_by).decode()
        remember_shards(dataset, lambda name: np.array([keys[name]], np.uint64), recipe, "render", 64)


def replan(path: str, shards: int) -> None:
    """What a stage does before it begins: list and read the index, plan all, plan a tenth more."""
    dataset, options = Dataset(path), RenderOptions(frames=64)
    with step("start of the process and imports"):
        _ = options.recipe
    with step("all: list, read the index, plan"):
        with step("  list and read the index"):
            index = read_index(dataset, HERE, QUIET)
        with step("  plan as many"):
            work = plan_work(path, index, shards, options, "fast")
    assert not work, len(work)
    with step("plan a tenth more"):
        work = plan_work(path, index, shards + shards // 10, options, "fast")
    assert len(work) == shards // 10, len(work)
    other = replace(options, seed=1)
    with step("plan as many others beside them"):
        work = plan_work(path, index, shards, other, "fast")
    assert len(work) == shards


def _rebuild(path: Path, records: int) -> None:
    """The cost of a record that is not remembered, on real ones."""
    options = RenderOptions(frames=64, size=(32, 32), ranges=SMALL)
    render(path, 1, options, cluster=HERE, reporter=QUIET)
    dataset = Dataset(path)
    [name] = dataset.shards()
    text = len((path / name / RECORD).read_bytes())
    for number in range(records):
        again = path / f"render-{number:016x}.0"
        again.mkdir()
        document = json.loads((path / name / RECORD).read_bytes())
        document["attributes"]["freelabels"]["id"] = f"render-{number:016x}"
        del document["attributes"]["freelabels"]["sha256"]
        document["attributes"]["freelabels"]["sha256"] = digest(document)
        (again / RECORD).write_bytes(canonical(document))
    started = time.process_time()
    read_index(dataset, HERE, QUIET)
    spent = time.process_time() - started
    each = f"{spent / records * 1e3:.2f} ms CPU a shard on one core"
    print(f"index from nothing: {each} (records of {text / 1024:.0f} KiB)")
