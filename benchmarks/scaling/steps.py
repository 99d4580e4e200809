"""What the parts share: settings, and a stopwatch that prints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.tools.process import peak_mib
from freelabels.pipeline.shards.record import canonical
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from freelabels.renderers.draw.ranges import SceneRanges

QUIET = Reporter("quiet")
HERE = Cluster(workers=0)
SMALL = SceneRanges(
    families={"table": 1}, objects=(2, 3), clutter=(0, 0), groups={"primitive": 1}, attempts=2
)
EXAMPLE_RECORD = canonical({"attributes": {"freelabels": {"a record of": "a few hundred bytes " * 10}}})


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print what a step took."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    spent = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name:58}{spent[0]:8.1f} s wall{spent[1]:8.1f} s CPU{peak_mib():8.0f} MiB peak", flush=True)
