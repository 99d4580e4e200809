"""A parser's complaint about a command line → one sentence, before anything is run."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import re
from collections.abc import Callable
from typing import Any

from freelabels.ground.errors import UserError


def deferred(command: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """A command that, when the parser calls it, gives back what is to be run."""

    @functools.wraps(command)
    def given(*positional: Any, **options: Any) -> Callable[[], int]:
        return lambda: command(*positional, **options)

    return given


def parsed(parse: Callable[[], Any], program: str) -> Callable[[], int]:
    """The deferred command that `parse` (a call of tyro's) makes of the command line of `program`.

    Raises UserError with one sentence of what is wrong with it; help is printed and ends the process as usual.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            chosen: Callable[[], int] = parse()
    except SystemExit as end:
        if not end.code:
            raise
        raise UserError(f"{_complaint(said.getvalue())}; see {program} --help") from None
    return chosen


def _complaint(box: str) -> str:
    """What a framed message says is wrong, in one line; frames are drawn in Unicode or ASCII."""
    lines = [line.strip(" │|") for line in re.sub(r"\x1b\[[0-9;]*m", "", box).strip().splitlines()]
    said = lines[1:] if lines[1:] and lines[1].strip("─-") else lines[2:]  # after the title and its rule
    wrong = " ".join(" ".join(itertools.takewhile(lambda line: not line or line.strip("─-╰╯"), said)).split())
    wrong = re.sub(r"^Error parsing (\S+): .*Got errors:.*<class '\w+'>: ", r"\1: ", wrong)
    return re.sub(r"^Error parsing (\S+):", r"\1:", wrong).rstrip(".")
