"""Work items through an executor, some at a time; those that don't come back are named."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from freelabels.pipeline.work.attempt import Outcome, Work

PARTS = 50  # of a window, after one of which has ended it is filled up again
SLOW = 300.0  # seconds after which an item that has not come back is named


class Notice(Protocol):
    """Is told of items that have not come back for `SLOW` seconds."""

    def __call__(self, items: list[str], limits: list[float], cpus: int) -> None:
        """Names of the items, their time limits in seconds, and how many CPUs the cluster has."""


def unnoticed(items: list[str], limits: list[float], cpus: int) -> None:
    """A `Notice` that nobody reads."""


class Executor(Protocol):
    """Where tasks run: Ray, or a stand-in for it. References are whatever it likes."""

    def window(self) -> int:
        """How many tasks to have in flight now; it may change as machines come and go."""
        ...

    def cpus(self) -> int:
        """How many tasks can run at a time now."""
        ...

    def describe(self, work: Any) -> tuple[str, float]:
        """What a work item is called, and its time limit in seconds."""
        ...

    def submit(self, work: Any) -> Any:
        """Begin a task; returns a reference to it."""
        ...

    def wait(self, references: list[Any], enough: int) -> list[Any]:
        """Wait until `enough` tasks have ended, or not too long; returns the references of all that have."""
        ...

    def collect(self, reference: Any, work: Any) -> Outcome[Any, Any]:
        """What became of a task that has ended."""
        ...

    def cancel(self, reference: Any) -> None:
        """Stop a task that has not begun."""
        ...


def windowed(
    executor: Executor,
    items: Iterable[Work],
    notice: Notice = unnoticed,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Outcome[Work, Any]]:
    """Outcomes of all items as they come, as many in flight as the executor's window; closing it cancels those.

    A wait costs the more, the more is in flight: so a large window is waited for until a part of it has ended.
    """
    waiting = iter(items)
    flying: dict[Any, Work] = {}
    watch = _Watch(clock)
    try:
        while True:
            window = max(1, executor.window())
            while len(flying) < window and (work := next(waiting, None)) is not None:
                reference = executor.submit(work)
                flying[reference] = work
                watch.submitted(reference)
            if not flying:
                return
            for reference in executor.wait(list(flying), max(1, len(flying) // PARTS)):
                watch.ended(reference)
                yield executor.collect(reference, flying.pop(reference))
            if slow := watch.slow():
                names, limits = zip(*(executor.describe(flying[one]) for one in slow), strict=True)
                notice(list(names), list(limits), executor.cpus())
    finally:
        for reference in flying:
            executor.cancel(reference)


class _Watch:
    """Which tasks in flight are slow.

    Tasks begin in the order of submission: one that a later one has overtaken must have begun by then.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.numbers: dict[Any, int] = {}  # of the tasks in flight, in order, less those that were named
        self.count = 0
        self.furthest = -1  # number of the last submitted of the tasks that ended
        self.marks = deque([(clock(), -1)])  # when, and how far `furthest` was then
        self.quiet_since = clock()

    def submitted(self, reference: Any) -> None:
        self.numbers[reference] = self.count
        self.count += 1

    def ended(self, reference: Any) -> None:
        self.furthest = max(self.furthest, self.numbers.pop(reference, -1))
        self.quiet_since = self.clock()

    def slow(self) -> list[Any]:
        """Those that have become slow since it was asked last: they were overtaken, or nothing came, long ago."""
        now = self.clock()
        if now - self.marks[-1][0] >= SLOW / 10:
            self.marks.append((now, self.furthest))
        while len(self.marks) > 1 and now - self.marks[1][0] >= SLOW:
            self.marks.popleft()
        passed = self.marks[0][1] if now - self.marks[0][0] >= SLOW else -1
        quiet = now - self.quiet_since >= SLOW
        found = []
        for reference, number in self.numbers.items():
            if not (quiet or number < passed):
                break
            found.append(reference)
        for reference in found:
            del self.numbers[reference]
        return found
