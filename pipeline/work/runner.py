"""Runs a stage's work items, on Ray or in this process. The only file that knows Ray.

One item is one Ray task that returns a small record; pixels never cross a process boundary. A worker that dies
is replaced and its item tried again; an item that keeps failing is reported and the rest goes on.
"""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

from freelabels.ground.errors import UserError

Work = TypeVar("Work")
Result = TypeVar("Result")

# Parallelism belongs to Ray: every library in a worker runs on one thread.
SINGLE_THREADED = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "NUMEXPR_NUM_THREADS": "1",
}
PARTS = 50  # of a window, after one of which has ended it is filled up again
LONGEST_WAIT = 1.0  # seconds
FATAL_ERRNOS = frozenset({"ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM"})


@dataclass(frozen=True)
class Cluster:
    """Where work runs.

    workers: tasks at a time; None: one per CPU; 0: in this process, without Ray. address: a running Ray
    cluster ("auto" or "ray://…"); None: one that lives as long as this process. memory: bytes a task may need,
    so that Ray starts no more than fit. attempts: how often an item is tried. seconds: time limit of an item.
    """

    workers: int | None = None
    address: str | None = None
    memory: int = 1 << 30
    attempts: int = 3
    seconds: float | None = None


@dataclass(frozen=True)
class Outcome(Generic[Work, Result]):
    """What became of one work item: its result, or the sentence that says why there is none."""

    work: Work
    result: Result | None = None
    error: str = ""
    traceback: str = ""
    fatal: bool = False


def run(
    function: Callable[[Work], Result], items: Iterable[Work], name: Callable[[Work], str], cluster: Cluster
) -> Iterator[Outcome[Work, Result]]:
    """Apply a module-level `function` to all items; yields outcomes as they come, in any order.

    items: each is asked for when its turn comes. name: what an item is called in Ray's dashboard. Closing the
    iterator cancels what has not begun.
    """
    waiting = iter(items)
    if cluster.workers == 0:
        for work in waiting:
            yield _attempts(function, work, cluster.attempts)
        return
    for first in waiting:  # Ray is not started for nothing
        yield from _run_on_ray(function, chain([first], waiting), name, cluster)


def _attempts(function: Callable[[Work], Result], work: Work, attempts: int) -> Outcome[Work, Result]:
    """Try an item until it succeeds, at most `attempts` times; an OS that says no is not asked again."""
    outcome: Outcome[Work, Result] = Outcome(work)
    for _ in range(max(attempts, 1)):
        try:
            return Outcome(work, function(work))
        except Exception as error:
            errno_name = _errno_name(error)
            last = f"{type(error).__name__}: {error}".strip().splitlines()[0].removesuffix(":")
            outcome = Outcome(
                work, None, last, traceback.format_exc(limit=-4), fatal=errno_name in FATAL_ERRNOS
            )
            if outcome.fatal:
                break
    return outcome


def _errno_name(error: BaseException) -> str:
    import errno

    return errno.errorcode.get(error.errno or 0, "") if isinstance(error, OSError) else ""


def _in_worker(function: Callable[[Any], Any], work: Any, attempts: int, seconds: float | None) -> Any:
    """Body of every Ray task."""
    import faulthandler

    import cv2

    cv2.setNumThreads(1)
    if seconds is not None:  # a hang inside native code can't be interrupted, only ended with its process
        faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        return _attempts(function, work, attempts)
    finally:
        faulthandler.cancel_dump_traceback_later()


class Executor(Protocol):
    """Where tasks run: Ray, or a stand-in for it. References are whatever it likes."""

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


def windowed(executor: Executor, items: Iterable[Work], window: int) -> Iterator[Outcome[Work, Any]]:
    """Outcomes of all items as they come, never more than `window` in flight; closing it cancels those.

    A wait costs the more, the more is in flight: so a large window is waited for until a part of it has ended.
    """
    waiting = iter(items)
    flying: dict[Any, Work] = {}
    try:
        while True:
            while len(flying) < window and (work := next(waiting, None)) is not None:
                flying[executor.submit(work)] = work
            if not flying:
                return
            for reference in executor.wait(list(flying), max(1, len(flying) // PARTS)):
                yield executor.collect(reference, flying.pop(reference))
    finally:
        for reference in flying:
            executor.cancel(reference)


@dataclass(frozen=True)
class _Ray:
    """Runs tasks on the Ray cluster that this process has joined."""

    function: Callable[[Any], Any]
    name: Callable[[Any], str]
    cluster: Cluster

    @cached_property
    def _task(self) -> Any:
        import ray

        retries = max(self.cluster.attempts - 1, 0)
        return ray.remote(
            num_cpus=1, memory=self.cluster.memory, max_retries=retries, retry_exceptions=False
        )(_in_worker)

    def submit(self, work: Any) -> Any:
        task = self._task.options(name=self.name(work))
        return task.remote(self.function, work, self.cluster.attempts, self.cluster.seconds)

    def wait(self, references: list[Any], enough: int) -> list[Any]:
        import ray

        ray.wait(references, num_returns=enough, timeout=LONGEST_WAIT)
        done, _ = ray.wait(references, num_returns=len(references), timeout=0)
        return list(done)

    def collect(self, reference: Any, work: Any) -> Outcome[Any, Any]:
        return _collect(reference, work, self.cluster)

    def cancel(self, reference: Any) -> None:
        import ray

        ray.cancel(reference, force=False)


def _run_on_ray(
    function: Callable[[Work], Result], items: Iterable[Work], name: Callable[[Work], str], cluster: Cluster
) -> Iterator[Outcome[Work, Result]]:
    connect(cluster)
    import ray

    if cluster.workers and cluster.address:
        window = cluster.workers  # others' CPUs are there too
    else:  # two tasks a CPU in flight: no worker waits for the driver, and a stop leaves little to abandon
        window = 2 * max(1, cluster.workers or int(ray.cluster_resources().get("CPU", 1)))
    yield from windowed(_Ray(function, name, cluster), items, window)


def _collect(reference: Any, work: Work, cluster: Cluster) -> Outcome[Work, Result]:
    import ray

    try:
        outcome: Outcome[Work, Result] = ray.get(reference)
        return outcome
    except ray.exceptions.OutOfMemoryError:
        return Outcome(work, error="ran out of memory; raise --memory so that fewer run at a time")
    except ray.exceptions.WorkerCrashedError:
        limit = f", or took longer than {cluster.seconds:g} s" if cluster.seconds else ""
        return Outcome(
            work, error=f"its worker died {cluster.attempts} times (a native library crashed{limit})"
        )
    except ray.exceptions.RayError as error:
        return Outcome(work, error=f"{type(error).__name__}: {error}".splitlines()[0])


def connect(cluster: Cluster) -> None:
    """Join the named Ray cluster, or start one that ends with this process."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without it a task that runs out of memory is tried for ever.
    os.environ.setdefault("RAY_task_oom_retries", str(max(cluster.attempts - 1, 0)))
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray prints a worker's death to the driver's standard output, where it would spoil --json; what a death
    # means for the work is in the outcome.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^")
    import ray

    if ray.is_initialized():
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if cluster.address is not None:
        _knock(cluster.address)
        options |= {"address": cluster.address, "runtime_env": {"env_vars": SINGLE_THREADED}}
    else:
        os.environ.update(SINGLE_THREADED)  # workers of an embedded cluster inherit them
        # "local": without it Ray joins whatever cluster was last started on this machine.
        options |= {"address": "local", "num_cpus": cluster.workers, "include_dashboard": False}
    try:
        ray.init(**options)
    except Exception as error:  # Ray has no type of its own for this
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        what = (
            f"could not reach the Ray cluster at {cluster.address}"
            if cluster.address
            else "Ray did not start"
        )
        raise UserError(f"{what} ({reason}); try again, or work without Ray by --workers 0") from error


def _knock(address: str) -> None:
    """Raise UserError at once if nobody listens at a HOST:PORT; Ray itself would go on asking for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # "auto", or something else that Ray looks up
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"could not reach the Ray cluster at {address} ({error}); is the address right and Ray running there?"
        ) from error
