"""A million shards on ten thousand workers, in the runner's own loop with a stand-in for Ray."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.scaling.steps import step
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.index import index_of
from freelabels.pipeline.shards.summary import encoded
from freelabels.pipeline.stages.render import RenderOptions, plan_work
from freelabels.pipeline.work.attempt import Outcome
from freelabels.pipeline.work.window import windowed


@dataclass
class Simulated:
    """Stands in for Ray: tasks take simulated seconds on so many workers, the driver its real ones.

    task_cost, wait_cost: driver seconds that Ray would take for a task and for a wait per 10,000 in flight.
    """

    workers: int
    durations: Callable[[], float]
    task_cost: float
    wait_cost: float
    now: float = 0.0
    started: float = field(default_factory=time.process_time)
    free: list[float] = field(default_factory=list)
    ends: list[tuple[float, int]] = field(default_factory=list)
    count: int = 0
    most: int = 0
    waits: int = 0
    busy: float = 0.0

    def __post_init__(self) -> None:
        self.free = [0.0] * self.workers

    def clock(self) -> float:
        """Simulated seconds: those of tasks, moved on by the CPU time the driver took since it last looked."""
        cpu = time.process_time()
        self.now, self.busy = self.now + cpu - self.started, self.busy + cpu - self.started
        self.started = cpu
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds
        self.busy += seconds

    def window(self) -> int:
        return 2 * self.workers

    def cpus(self) -> int:
        return self.workers

    def describe(self, work: Any) -> tuple[str, float]:
        raise AssertionError("no item is slow")

    def submit(self, work: Any) -> int:
        self.spend(self.task_cost)
        begins = max(heapq.heappop(self.free), self.clock())
        ends = begins + self.durations()
        heapq.heappush(self.free, ends)
        heapq.heappush(self.ends, (ends, self.count))
        self.count += 1
        return self.count - 1

    def wait(self, references: list[int], enough: int) -> list[int]:
        self.most = max(self.most, len(references))
        self.waits += 1
        self.spend(self.wait_cost * len(references) / 10_000)
        self.now = max(self.clock(), heapq.nsmallest(enough, self.ends)[-1][0])
        done = []
        while self.ends and self.ends[0][0] <= self.now:
            done.append(heapq.heappop(self.ends)[1])
        return done

    def collect(self, reference: int, work: Any) -> Outcome[Any, str]:
        return Outcome(work, "done")

    def cancel(self, reference: int) -> None:
        raise AssertionError("nothing is left when all is done")


def simulate(
    shards: int = 1_000_000,
    workers: int = 10_000,
    seconds: float = 60.0,
    task_cost: float = 0.00124,
    wait_cost: float = 0.006,
) -> None:
    """Plan a million shards from nothing and drive them through the runner's window.

    Args:
        shards: How many.
        workers: CPUs of the simulated cluster.
        seconds: Mean of a shard's time; times are log-normal with a standard deviation of half of it.
        task_cost: Driver seconds a task, as `driver` measures them.
        wait_cost: Driver seconds of a wait for 10,000 tasks in flight.
    """
    rng = np.random.default_rng(0)
    sigma = np.sqrt(np.log(1.25))
    drawn = rng.lognormal(np.log(seconds) - sigma**2 / 2, sigma, shards)
    times = iter(drawn.tolist())
    options = RenderOptions(frames=64)
    with step(f"plan {shards} shards from nothing"):
        work = plan_work(
            "out", index_of(Dataset("out"), encoded([]), encoded([]), []), shards, options, "fast"
        )
    cluster = Simulated(workers, times.__next__, task_cost, wait_cost)
    with step(f"the runner's loop, {workers} workers"):
        done = sum(outcome.result is not None for outcome in windowed(cluster, work))
    assert done == shards
    ideal = drawn.sum() / workers
    print(
        f"{done} shards of {seconds:g} s: {cluster.now:.0f} s, {ideal / cluster.now:.1%} of what {workers} could"
    )
    print(
        f"driver busy {cluster.busy:.0f} s ({cluster.busy / cluster.now:.1%}), {cluster.waits} waits,",
        end=" ",
    )
    print(f"at most {cluster.most} in flight; it could feed {shards / cluster.busy:.0f} shards/s,", end=" ")
    print(f"{shards / cluster.busy * seconds:.0f} workers")
