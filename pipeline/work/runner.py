"""Runs a stage's work items, on Ray or in this process.

One item is one Ray task that returns a small record; pixels never cross a process boundary. A worker that dies
is replaced and its item tried again; an item that keeps failing is reported and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain
from typing import Any

from freelabels.ground.errors import UserError
from freelabels.pipeline.work.attempt import NOT_INSTALLED, Cluster, Outcome, Result, Work, attempted
from freelabels.pipeline.work.ray_executor import RayExecutor, connect
from freelabels.pipeline.work.window import Notice, unnoticed, windowed

__all__ = ["Cluster", "Outcome", "run"]

LIMIT = 3600.0  # seconds an item may take, where neither its stage nor the user says otherwise


def an_hour(work: Any) -> float:
    """The time limit of items of which nothing else is known."""
    return LIMIT


def run(
    function: Callable[[Work], Result],
    items: Iterable[Work],
    name: Callable[[Work], str],
    cluster: Cluster,
    *,
    seconds: Callable[[Work], float] = an_hour,
    notice: Notice = unnoticed,
) -> Iterator[Outcome[Work, Result]]:
    """Apply a module-level `function` to all items; yields outcomes as they come, in any order.

    items: each is asked for when its turn comes. name: what an item is called, its stage first. seconds: its time
    limit, unless the cluster has one. Closing the iterator cancels what has not begun. Raises UserError where a
    worker can't import what it needs, which is no item's fault.
    """
    with closing(_outcomes(function, items, name, cluster, seconds, notice)) as outcomes:
        for outcome in outcomes:
            if outcome.kind == NOT_INSTALLED:
                where = "this process"
                if cluster.workers != 0:
                    where = f"a worker on {outcome.node}" if outcome.node else "a worker"
                raise UserError(
                    f"{where} can't import what it needs ({outcome.error}): install there what is installed "
                    f"here, and see that no file or folder of yours has the name of a package"
                )
            yield outcome


def _outcomes(
    function: Callable[[Work], Result],
    items: Iterable[Work],
    name: Callable[[Work], str],
    cluster: Cluster,
    seconds: Callable[[Work], float],
    notice: Notice,
) -> Generator[Outcome[Work, Result]]:
    """As `run`, whatever became of the items."""
    waiting = iter(items)
    if cluster.workers == 0:
        for work in waiting:
            yield attempted(function, work, name(work), cluster.attempts)
        return
    for first in waiting:  # Ray is not started for nothing
        connect(cluster)
        limit = seconds if cluster.seconds is None else lambda work: cluster.seconds or LIMIT
        yield from windowed(RayExecutor(function, name, limit, cluster), chain([first], waiting), notice)
