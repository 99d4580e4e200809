"""How many work items are in flight, on a cluster that grows and shrinks, and which of them are named as slow."""

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from freelabels.pipeline.work import ray_executor
from freelabels.pipeline.work.attempt import Cluster, Outcome
from freelabels.pipeline.work.ray_executor import AHEAD, RayExecutor
from freelabels.pipeline.work.window import SLOW, windowed

SECONDS_A_TASK = 30.0
HANGS = 10_000.0  # seconds


@dataclass
class GrowingCluster:
    """An executor on simulated time: a machine of 8 CPUs comes a minute after tasks wait, up to 100 of them.

    window_of: tasks in flight for so many CPUs, as the runner has it. leave: when machines go, and how many stay.
    """

    most: int = 100
    machines: int = 0
    window_of: Any = None
    hangs: tuple[int, ...] = ()
    leave: tuple[float, int] = (float("inf"), 0)
    now: float = 0.0
    coming: list[float] = field(default_factory=list)
    queue: list[int] = field(default_factory=list)
    running: list[tuple[float, int]] = field(default_factory=list)
    numbers: Any = field(default_factory=count)
    works: dict[int, Any] = field(default_factory=dict)
    in_flight: list[tuple[float, int]] = field(default_factory=list)
    peak: int = 0

    def cpus(self) -> int:
        return 8 * self.machines

    def window(self) -> int:
        return self.window_of(self.cpus())  # type: ignore[no-any-return]

    def describe(self, work: Any) -> tuple[str, float]:
        return f"item {work}", 3600.0

    def submit(self, work: Any) -> int:
        number = next(self.numbers)
        self.works[number] = work
        self.queue.append(number)
        return number

    def wait(self, references: list[int], enough: int) -> list[int]:
        """A second passes."""
        self.now += 1
        if self.now >= self.leave[0]:
            self.machines, self.most = self.leave[1], self.leave[1]
        while self.coming and self.coming[0] <= self.now:
            self.machines, _ = self.machines + 1, self.coming.pop(0)
        wanted = -(-(len(self.queue) + len(self.running)) // 8)  # what an autoscaler starts
        for _ in range(self.machines + len(self.coming), min(self.most, wanted)):
            self.coming.append(self.now + 60)
        while self.queue and len(self.running) < self.cpus():
            number = self.queue.pop(0)
            lasts = HANGS if self.works[number] in self.hangs else SECONDS_A_TASK
            heapq.heappush(self.running, (self.now + lasts, number))
        self.peak = max(self.peak, len(self.running))
        self.in_flight.append((self.now, len(references)))
        done = []
        while self.running and self.running[0][0] <= self.now:
            done.append(heapq.heappop(self.running)[1])
        return done

    def collect(self, reference: int, work: Any) -> Outcome[Any, str]:
        return Outcome(work, "done")

    def cancel(self, reference: int) -> None:
        raise AssertionError("nothing is left when all is done")


def window_of(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> Any:
    """The runner's window as a function of the cluster's CPUs."""
    executor = RayExecutor(str, str, lambda work: 60.0, cluster)

    def of(cpus: int) -> int:
        monkeypatch.setattr(executor, "cpus", lambda: cpus)
        return executor.window()

    return of


ON_A_CLUSTER = Cluster(address="auto")


@pytest.mark.slow
def test_from_no_machine_at_all_a_hundred_are_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = GrowingCluster(window_of=window_of(monkeypatch, ON_A_CLUSTER))
    done = sum(1 for _ in windowed(cluster, range(20_000), clock=lambda: cluster.now))
    assert done == 20_000
    assert cluster.peak == 800
    busy = 20_000 * SECONDS_A_TASK / 800
    assert cluster.now < busy + 4 * 60 + SECONDS_A_TASK  # it grows in a few steps of a minute


@pytest.mark.slow
def test_the_window_shrinks_with_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    of = window_of(monkeypatch, ON_A_CLUSTER)
    cluster = GrowingCluster(machines=100, window_of=of, leave=(100.0, 1))
    for _ in windowed(cluster, range(6000), clock=lambda: cluster.now):
        pass
    assert max(flying for now, flying in cluster.in_flight if now < 100) == of(800)
    late = [flying for now, flying in cluster.in_flight if flying and now > 9000]
    assert late and max(late) <= of(8) < of(800)


@pytest.mark.parametrize(
    ("cluster", "windows"),
    [
        (Cluster(), {0: 2, 2: 4, 800: 1600}),
        (Cluster(workers=3), {8: 6}),  # of a cluster of its own
        (ON_A_CLUSTER, {0: AHEAD, 8: 16 + AHEAD, 800: 1600 + AHEAD}),
        (Cluster(workers=3, address="auto"), {0: 3, 800: 3}),  # no more than the user said
    ],
)
def test_the_window(cluster: Cluster, windows: dict[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    of = window_of(monkeypatch, cluster)
    assert {cpus: of(cpus) for cpus in windows} == windows


def test_the_cpus_are_asked_for_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    now, cpus, asked = [0.0], [0], [0]

    def resources() -> dict[str, float]:
        asked[0] += 1
        return {"CPU": cpus[0]} if cpus[0] else {}

    monkeypatch.setattr(ray, "cluster_resources", resources)
    monkeypatch.setattr(ray_executor.time, "monotonic", lambda: now[0])
    executor = RayExecutor(str, str, lambda work: 60.0, ON_A_CLUSTER)
    assert executor.window() == AHEAD
    cpus[0] = 16
    assert executor.window() == AHEAD and asked == [1]
    now[0] = 10.0
    assert executor.window() == AHEAD + 32 and asked == [2]


@pytest.mark.parametrize("hangs", [(0,), (3, 399)], ids=["among others", "the last one too"])
def test_an_item_that_does_not_come_back_is_named_once(hangs: tuple[int, ...]) -> None:
    said: list[tuple[float, list[str]]] = []
    cluster = GrowingCluster(machines=2, most=2, window_of=lambda cpus: 2 * cpus, hangs=hangs)
    for _ in windowed(
        cluster,
        range(400),
        lambda items, limits, cpus: said.append((cluster.now, items)),
        lambda: cluster.now,
    ):
        pass
    assert [item for _, items in said for item in items] == [f"item {work}" for work in hangs]
    for when, _ in said:
        assert when >= SLOW
    assert said[0][0] <= 2 * SLOW


def test_items_that_come_back_in_time_are_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[list[str]] = []
    # Of 256 in flight most wait for half an hour; that is not what is meant.
    cluster = GrowingCluster(machines=1, most=1, window_of=window_of(monkeypatch, ON_A_CLUSTER))
    for _ in windowed(
        cluster, range(600), lambda items, limits, cpus: said.append(items), lambda: cluster.now
    ):
        pass
    assert said == []


def test_a_cluster_on_which_nothing_begins_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[int, int]] = []
    cluster = GrowingCluster(machines=0, most=0, window_of=window_of(monkeypatch, ON_A_CLUSTER))
    outcomes = windowed(
        cluster, range(600), lambda items, limits, cpus: said.append((len(items), cpus)), lambda: cluster.now
    )
    cluster.wait = lambda references, enough: _wait_until(cluster, SLOW + 60)  # type: ignore[method-assign]
    with pytest.raises(TimeoutError):
        next(outcomes)
    assert said == [(AHEAD, 0)]


def _wait_until(cluster: GrowingCluster, end: float) -> list[int]:
    cluster.now += 1
    cluster.cancel = lambda reference: None  # type: ignore[method-assign]
    if cluster.now > end:
        raise TimeoutError
    return []
