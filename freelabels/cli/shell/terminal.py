"""What a command writes, and the status it ends with."""

from __future__ import annotations

import dataclasses
import json as json_format
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freelabels.pipeline.work.progress import Reporter

DONE, FAILED, BAD_INPUT = 0, 1, 2
INTERRUPTED = 130  # as a shell reports a program that Ctrl-C ended


def say(line: str) -> None:
    """A result, on standard output."""
    sys.stdout.write(f"{line}\n")


def note(line: str) -> None:
    """What is worth knowing besides the result, on standard error."""
    sys.stderr.write(f"{line}\n")


def reporter(json: bool = False) -> Reporter:
    """What a stage reports its progress to: a terminal, a pipe, or JSON lines."""
    from freelabels.pipeline.work.progress import Reporter

    return Reporter("json" if json else "auto")


def conclude(json: bool, summary: Any, sentence: str) -> None:
    """The end of a stage: its summary (a dataclass) as a JSON line, or a sentence."""
    say(json_format.dumps({"summary": dataclasses.asdict(summary)}) if json else sentence)
