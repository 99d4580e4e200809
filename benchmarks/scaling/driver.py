"""What a shard costs the driver and Ray, whatever it does."""

from __future__ import annotations

import time

from benchmarks.tools.process import cpu_seconds
from freelabels.pipeline.stages.render import RenderOptions, RenderWork
from freelabels.pipeline.work.runner import Cluster, run


def nothing(work: RenderWork) -> str:
    """A stage that does no work."""
    return work.id


def pause(seconds: float) -> None:
    """A task that is not done."""
    time.sleep(seconds)


def driver(tasks: int = 4000, workers: int = 2, window: int = 20_000) -> None:
    """CPU of this process, and of all below it, for shards that cost nothing; and one wait for a full window."""
    options = RenderOptions()  # one for all, as a stage has it
    work = [RenderWork("nowhere", (clip,), None, options, "fast") for clip in range(tasks)]
    cluster = Cluster(workers=workers, memory=1)

    def all_of(items: list[RenderWork]) -> None:
        for outcome in run(nothing, items, lambda w: f"render {w.id}", cluster):
            assert outcome.result is not None, outcome.error

    all_of(work[:200])
    own, everything = time.process_time(), cpu_seconds()
    all_of(work)
    own, everything = time.process_time() - own, cpu_seconds() - everything
    print(f"driver: {own / tasks * 1e3:.3f} s CPU per 1,000 shards ({tasks} tasks that do nothing)")
    print(f"driver, Ray's daemons and workers: {everything / tasks * 1e3:.3f} s CPU per 1,000 shards")

    import ray

    blocked = ray.remote(num_cpus=0)(pause).remote(600)
    waiting = ray.remote(num_cpus=1)(pause)
    references = [waiting.remote(blocked) for _ in range(window)]
    started = time.process_time()
    for _ in range(3):
        ray.wait(references, num_returns=len(references), timeout=0)
    print(
        f"one wait for {window} tasks in flight: {(time.process_time() - started) / 3 * 1e3:.1f} ms of the driver"
    )
    ray.cancel(blocked, force=True)
