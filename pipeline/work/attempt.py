"""One work item, tried until it succeeds, and what became of it."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from freelabels.ground.errors import Unwritable
from freelabels.pipeline.work import tally
from freelabels.pipeline.work.memory import keep_freed_memory

Work = TypeVar("Work")
Result = TypeVar("Result")

NOT_INSTALLED = "NotInstalled"  # kind of outcomes of which the item is innocent: its worker lacks a module


@dataclass(frozen=True)
class Cluster:
    """Where work runs.

    workers: tasks at a time; None: one per CPU; 0: in this process, without Ray. address: a running Ray
    cluster ("auto" or "ray://…"); None: one that lives as long as this process. memory: bytes a task may need,
    so that Ray starts no more than fit. attempts: how often an item is tried. seconds: time limit of an item;
    None: that of its stage. In this process there is no limit. say: told before Ray is started or joined, which
    takes seconds.
    """

    workers: int | None = None
    address: str | None = None
    memory: int = 1 << 30
    attempts: int = 3
    seconds: float | None = None
    say: Callable[[str], None] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Outcome(Generic[Work, Result]):
    """What became of one work item: its result, or the sentence that says why there is none.

    item: what it is called. kind: of error, such as OSError. fatal: the rest would fail in the same way. node:
    name of the machine, "" if the worker died without saying. seconds: of the last attempt. counts: see `tally`.
    """

    work: Work
    result: Result | None = None
    item: str = ""
    error: str = ""
    kind: str = ""
    traceback: str = ""
    fatal: bool = False
    node: str = ""
    seconds: float = 0.0
    counts: Mapping[str, float] = field(default_factory=dict)


def attempted(
    function: Callable[[Work], Result], work: Work, item: str, attempts: int
) -> Outcome[Work, Result]:
    """Try an item until it succeeds, at most `attempts` times; once, if it would fail again in the same way.

    That is where the output can't be written, or a package is missing.
    """
    keep_freed_memory()
    node, began = socket.gethostname(), 0.0
    outcome: Outcome[Work, Result] = Outcome(work, item=item)
    for _ in range(max(attempts, 1)):
        began = time.monotonic()
        with tally.of_item() as counts:
            try:
                result = function(work)
            except Exception as error:
                kind = NOT_INSTALLED if isinstance(error, ImportError) else type(error).__name__
                sentence = f"{kind}: {error}".strip().splitlines()[0].removesuffix(":")
                outcome = Outcome(
                    work,
                    item=item,
                    error=sentence,
                    kind=kind,
                    traceback=traceback.format_exc(limit=-4),
                    fatal=isinstance(error, Unwritable),
                    node=node,
                    seconds=time.monotonic() - began,
                    counts=counts,
                )
                if outcome.fatal or kind == NOT_INSTALLED:
                    break
            else:
                taken = time.monotonic() - began
                return Outcome(work, result, item, node=node, seconds=taken, counts=counts)
    return outcome
