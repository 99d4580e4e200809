"""Wall time of a render stage by workers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.scaling.steps import QUIET, SMALL
from freelabels.pipeline.stages.render import RenderOptions, render
from freelabels.pipeline.work.runner import Cluster


def workers(shards: int = 24, frames: int = 16, size: int = 96, counts: tuple[int, ...] = (1, 2)) -> None:
    """Wall time of rendering so many shards, Ray's start left out."""
    spent = {}
    for count in counts:
        command = [sys.executable, "-m", "benchmarks.scaling", "once", "--workers", str(count)]
        command += ["--shards", str(shards), "--frames", str(frames), "--size", str(size)]
        spent[count] = float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        load = os.getloadavg()[0]
        print(f"{count} workers: {spent[count]:.1f} s for {shards} shards (load of the machine {load:.1f})")
    first, last = counts[0], counts[-1]
    print(f"{first} → {last} workers: {spent[first] / spent[last]:.2f}×")


def once(workers: int, shards: int, frames: int, size: int) -> None:
    """One run, in a process of its own; prints its wall seconds."""
    options = RenderOptions(frames=frames, size=(size, size), ranges=SMALL)
    cluster = Cluster(workers=workers)
    with tempfile.TemporaryDirectory() as folder:
        clips = max(1, 64 // frames)
        render(Path(folder) / "warm", 2 * workers * clips, options, cluster=cluster, reporter=QUIET)
        started = time.perf_counter()
        render(Path(folder) / "out", shards * clips, options, cluster=cluster, reporter=QUIET)
        print(time.perf_counter() - started)
