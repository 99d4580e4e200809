"""What a stage says while it works: one live line on a terminal, plain lines in a pipe, JSON for machines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from freelabels.pipeline.work.attempt import Outcome
from freelabels.pipeline.work.window import SLOW

Mode = Literal["auto", "json", "quiet"]
SECONDS_BETWEEN_LINES = 5.0


def redraws(console: Console) -> bool:
    """Whether a line can be drawn anew: notebooks ask for colour (FORCE_COLOR), and keep all that was drawn."""
    return console.is_terminal and console.file.isatty()


@dataclass
class Reporter:
    """Prints messages and progress; `mode` auto tells a terminal from a pipe."""

    mode: Mode = "auto"
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))

    def say(self, sentence: str, **facts: Any) -> None:
        """One line for people, or the facts behind it for machines."""
        if self.mode == "json":
            print_json({"message": sentence, **facts})
        elif self.mode == "auto":
            self.console.print(sentence, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Tick]:
        """Follow `total` work items of a stage through the yielded counter."""
        tick = Tick(self, name, total)
        if self.mode == "auto" and redraws(self.console):
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[facts]}"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self.console) as tick.bar:
                tick.task = tick.bar.add_task(name, total=total, facts="")
                with tick.interrupted():
                    yield tick
        else:
            with tick.interrupted():
                yield tick
        tick.line(final=True)


@dataclass
class Tick:
    """Counts finished and failed items of a stage and shows the rate."""

    reporter: Reporter
    name: str
    total: int
    done: int = 0
    failed: int = 0
    frames: int = 0
    bar: Progress | None = None
    task: Any = None
    started: float = field(default_factory=time.monotonic)
    shown: float = field(default_factory=time.monotonic)

    def __call__(
        self, frames: int = 0, failed: bool = False, outcome: Outcome[Any, Any] | None = None
    ) -> None:
        """One more item is finished, with so many frames; its outcome is an event for machines."""
        if outcome is not None and self.reporter.mode == "json":
            print_json(event(self.name, outcome, frames))
        self.done += 1
        self.failed += failed
        self.frames += frames
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done, facts=self._facts())
        elif self.done < self.total and time.monotonic() - self.shown > SECONDS_BETWEEN_LINES:
            self.line()  # the end has its own

    def notice(self, items: list[str], limits: list[float], cpus: int) -> None:
        """Say which items have not come back for long; `window.Notice`."""
        names = ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
        self.reporter.say(
            f"{names}: not back after {SLOW / 60:g} min, on {cpus} CPUs; the limit is {max(limits) / 60:g} min",
            event="slow",
            stage=self.name,
            items=items,
            seconds=SLOW,
            limit=max(limits),
            cpus=cpus,
        )

    def line(self, final: bool = False) -> None:
        """Print the state as a line of its own, where there is no live one."""
        self.shown = time.monotonic()
        if self.reporter.mode == "json":
            state = {"stage": self.name, "done": self.done, "failed": self.failed, "total": self.total}
            print_json({**state, "frames": self.frames, "seconds": round(self._seconds(), 3)})
        elif self.reporter.mode == "auto" and (self.bar is None or final):
            facts = ", ".join(part for part in (self._facts(), self._left()) if part)
            self.reporter.console.print(
                f"{self.name}: {self.done} of {self.total} {facts}", markup=False, soft_wrap=True
            )

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """Where Ctrl-C ends the stage, its state is said all the same, and how long the rest would take."""
        try:
            yield
        except KeyboardInterrupt:
            self.line(final=True)
            raise

    def _left(self) -> str:
        """How long what is not done will take if it goes on as it went; "" if nothing is known of that."""
        rest = self.total - self.done
        if not rest or not self.done:
            return ""
        return f"{duration(self._seconds() / self.done * rest)} left"

    def _seconds(self) -> float:
        return max(time.monotonic() - self.started, 1e-3)

    def _facts(self) -> str:
        rate = f"{self.frames / self._seconds():.1f} frames/s" if self.frames else ""
        failed = f"{self.failed} failed" if self.failed else ""
        return ", ".join(part for part in (failed, rate) if part)


def duration(seconds: float) -> str:
    """About how long, for people."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} s"


def event(stage: str, outcome: Outcome[Any, Any], frames: int) -> dict[str, Any]:
    """What became of an item, for machines."""
    failed = outcome.result is None
    why = {"kind": outcome.kind, "error": outcome.error} if failed else {}
    counts = {name: round(amount, 3) for name, amount in sorted(outcome.counts.items())}
    return {
        "event": "failed" if failed else "done",
        "stage": stage,
        "item": outcome.item,
        "node": outcome.node,
        "seconds": round(outcome.seconds, 3),
        "frames": frames,
        **counts,
        **why,
    }


def print_json(document: Any) -> None:
    """One JSON line on standard output."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()
