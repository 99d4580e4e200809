"""Looking at very many committed shards: the first time, and when all of them are remembered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.scaling.steps import step
from benchmarks.tools.process import cpu_seconds
from benchmarks.tools.shapes import write_dataset
from freelabels.pipeline.cards import About, card
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.record import KEY, canonical, digest
from freelabels.pipeline.storage.local import RECORD
from freelabels.pipeline.viewer.inspect import inspect as figures_of


def inspect(shards: int = 10_000, folder: str | None = None) -> None:
    """Make so many shards that say what a real one of 64 frames says, and look at them.

    Args:
        shards: How many; 100,000 take about 3 GB.
        folder: Where to put them; default: the system's folder for temporary files.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        out = write_dataset(Path(scratch) / "out", 1, 4, 32, frames=16, confidence=200)
        with step(f"make {shards} folders and records"):
            _copy(out, shards)
        for how in ("the first time", "again"):
            command = [sys.executable, "-m", "benchmarks.scaling", "look", "--path", str(out), "--how", how]
            subprocess.run([*command, "--shards", str(shards)], check=True)  # with a peak of its own


def _copy(out: Path, shards: int) -> None:
    """Other shards with the one's record, each under its own name; they have no columns' files."""
    [name] = Dataset(out).shards()
    record = (out / name / RECORD).read_bytes()
    print(f"records of {len(record) / 1024:.0f} KiB")
    for number in range(1, shards):
        document = json.loads(record)
        attributes = document["attributes"][KEY]
        attributes["id"] = f"render-{number:016x}"
        for k, clip in enumerate(attributes["clips"]):
            clip["key"] = f"{4 * number + k:016x}"
        del attributes["sha256"]
        attributes["sha256"] = digest(document)
        os.mkdir(out / f"render-{number:016x}.0")
        (out / f"render-{number:016x}.0" / RECORD).write_bytes(canonical(document))


def look(path: str, how: str, shards: int) -> None:
    """What `freelabels inspect` and `freelabels card` do."""
    began = cpu_seconds()
    with step(f"inspect {shards} shards, {how}"):
        figures = figures_of(path)
    print(f"{'':4}with all that it started: {cpu_seconds() - began:.1f} s CPU")
    assert (figures["shards"], figures["rows"]) == (shards, 64 * shards), figures
    assert figures["fields"]["edges"]["confidence"] == round(200 / 255, 4)
    if how == "again":
        with step("card"):
            card(path, About())
