"""Ray as an executor: tasks on a cluster that was joined or started here."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from freelabels.ground.errors import UserError
from freelabels.pipeline.work import metrics
from freelabels.pipeline.work.attempt import NOT_INSTALLED, Cluster, Outcome, attempted

# Parallelism belongs to Ray: every library in a worker runs on one thread.
SINGLE_THREADED = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "NUMEXPR_NUM_THREADS": "1",
}
LONGEST_WAIT = 1.0  # seconds
# On a cluster so many tasks more wait than have a CPU: they are what an autoscaler sees, and starts machines for.
AHEAD = 256
CPUS_ARE_KNOWN_FOR = 5.0  # seconds
# Before a task of ours runs, Ray imports it; what fails there it tells as text.
NOT_IMPORTED = re.compile(r"failed to import on the worker|\b(ModuleNotFoundError|ImportError)\b")
NOT_LET_IN = "Failed to connect to Ray cluster"
AUTHENTICATION = ("AuthenticationError", "authentication token", "Unauthenticated", "UNAUTHENTICATED")


def _in_worker(
    function: Callable[[Any], Any], work: Any, item: str, attempts: int, seconds: float
) -> Outcome[Any, Any]:
    """Body of every Ray task."""
    import faulthandler

    import cv2

    cv2.setNumThreads(1)
    # A hang inside native code can't be interrupted, only ended with its process.
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        return attempted(function, work, item, attempts)
    finally:
        faulthandler.cancel_dump_traceback_later()


@dataclass
class RayExecutor:
    """Runs tasks on the Ray cluster that this process has joined; `window.Executor`."""

    function: Callable[[Any], Any]
    name: Callable[[Any], str]
    seconds: Callable[[Any], float]
    cluster: Cluster
    _cpus: int = 0
    _looked: float = float("-inf")

    @cached_property
    def _task(self) -> Any:
        import ray

        retries = max(self.cluster.attempts - 1, 0)
        return ray.remote(
            num_cpus=1, memory=self.cluster.memory, max_retries=retries, retry_exceptions=False
        )(_in_worker)

    def window(self) -> int:
        """As many as the user said, else two for each CPU; on a cluster, which may grow, `AHEAD` more.

        With two no worker waits for the driver, and a stop leaves little to abandon.
        """
        if self.cluster.address is None:
            return 2 * max(1, self.cluster.workers or self.cpus())
        return self.cluster.workers or 2 * self.cpus() + AHEAD  # others' CPUs are there too

    def cpus(self) -> int:
        """CPUs of the cluster, asked for now and then."""
        import ray

        if time.monotonic() - self._looked > CPUS_ARE_KNOWN_FOR:
            self._cpus = int(ray.cluster_resources().get("CPU", 0))
            self._looked = time.monotonic()
        return self._cpus

    def describe(self, work: Any) -> tuple[str, float]:
        """Name and time limit of an item."""
        return self.name(work), self.seconds(work)

    def submit(self, work: Any) -> Any:
        """Begin a task."""
        name = self.name(work)
        task = self._task.options(name=name)
        return task.remote(self.function, work, name, self.cluster.attempts, self.seconds(work))

    def wait(self, references: list[Any], enough: int) -> list[Any]:
        """Wait for a second, or until `enough` have ended; returns all that have."""
        import ray

        ray.wait(references, num_returns=enough, timeout=LONGEST_WAIT)
        done, _ = ray.wait(references, num_returns=len(references), timeout=0)
        return list(done)

    def collect(self, reference: Any, work: Any) -> Outcome[Any, Any]:
        """What became of a task that has ended."""
        outcome = self._outcome(reference, work)
        metrics.publish(outcome)
        return outcome

    def _outcome(self, reference: Any, work: Any) -> Outcome[Any, Any]:
        import ray

        failed = partial(Outcome[Any, Any], work, item=self.name(work))
        try:
            outcome: Outcome[Any, Any] = ray.get(reference)
            return outcome
        except ray.exceptions.OutOfMemoryError:
            error = "ran out of memory; raise --memory so that fewer run at a time"
            return failed(error=error, kind="OutOfMemory")
        except ray.exceptions.WorkerCrashedError:
            tried, limit = self.cluster.attempts, self.seconds(work)
            error = (
                f"its worker died {tried} times (a native library crashed, or took longer than {limit:g} s)"
            )
            return failed(error=error, kind="WorkerDied")
        except ray.exceptions.RayError as exception:
            if isinstance(exception, ImportError) or NOT_IMPORTED.search(str(exception)):
                reason = next((line for line in reversed(str(exception).splitlines()) if line.strip()), "")
                return failed(error=reason.strip(), kind=NOT_INSTALLED)
            kind = type(exception).__name__
            return failed(error=f"{kind}: {exception}".splitlines()[0], kind=kind)

    def cancel(self, reference: Any) -> None:
        """Stop a task that has not begun."""
        import ray

        ray.cancel(reference, force=False)


def connect(cluster: Cluster) -> None:
    """Join the named Ray cluster, or start one that ends with this process. Raises UserError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without it a task that runs out of memory is tried for ever.
    os.environ.setdefault("RAY_task_oom_retries", str(max(cluster.attempts - 1, 0)))
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray prints a worker's death to the driver's standard output, where it would spoil --json; what a death
    # means for the work is in the outcome.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^")
    import ray

    if cluster.address is not None:
        _knock(cluster.address)
    if ray.is_initialized():
        return _joined_already(cluster.address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if cluster.address is not None:
        options |= {"address": cluster.address, "runtime_env": {"env_vars": SINGLE_THREADED}}
    else:
        os.environ.update(SINGLE_THREADED)  # workers of an embedded cluster inherit them
        # "local": without it Ray joins whatever cluster was last started on this machine.
        options |= {"address": "local", "num_cpus": cluster.workers, "include_dashboard": False}
    if cluster.say is not None:
        own = "starting Ray …" if cluster.workers is None else f"starting Ray with {cluster.workers} CPUs …"
        cluster.say(own if cluster.address is None else f"joining the Ray cluster at {cluster.address} …")
    try:
        ray.init(**options)
    except Exception as error:  # Ray has no type of its own for this
        raise UserError(_why_not(cluster.address, error)) from error


def _joined_already(address: str | None) -> None:
    """Raise UserError if this process has joined another Ray cluster than the one it is asked to join."""
    import ray

    host, _, port = (address or "").rpartition(":")
    here = ray.get_runtime_context().gcs_address  # by the head's own name for itself
    its_host, _, its_port = here.rpartition(":")
    same = port == its_port and (host in (its_host, "localhost") or host.startswith("127."))
    if host and "://" not in host and not same:
        raise UserError(
            f"this process works on the Ray cluster at {here} already, not on {address}; "
            f"call ray.shutdown() first, or leave out the address"
        )


def _why_not(address: str | None, error: Exception) -> str:
    """The sentence for a Ray that could not be reached or started."""
    said = f"{type(error).__name__}: {error}"
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    how = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what `ray get-auth-token` prints on its head"
    if address is None:
        return f"Ray did not start ({reason}); try again, or work without Ray by --workers 0"
    if any(word in said for word in AUTHENTICATION):
        return f"the Ray cluster at {address} asks for its token: {how}"
    if NOT_LET_IN in said:  # somebody listens there; Ray keeps to itself why it was not let in
        return f"{address} does not let us join ({reason}); if the cluster there asks for its token, {how}"
    return f"could not reach the Ray cluster at {address} ({reason}); try again, or use --workers 0"


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
