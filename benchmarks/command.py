"""How a benchmark begins: with one thread a library, and with all of its parts when none is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

import tyro

from freelabels.pipeline.work.runner import SINGLE_THREADED

Part = Callable[..., None]


def on_one_thread(**more: str) -> None:
    """Begin this process again with one thread for every library, as workers have it, and `more` variables.

    Libraries read these variables when they are loaded, which they are by now. CPU time of waiting threads is no
    cost of the work.
    """
    wanted = {**SINGLE_THREADED, **more}
    if wanted.items() - os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})


def run_parts(about: str, parts: Mapping[str, Part], steps: Mapping[str, Part] | None = None) -> None:
    """Run the part that the command line names, or without arguments all of them with their defaults.

    steps: what parts call in processes of their own; they can be named but are not run by themselves.
    """
    if len(sys.argv) > 1:
        tyro.extras.subcommand_cli_from_dict({**parts, **(steps or {})}, description=about)
        return
    for name, part in parts.items():
        print(f"--- {name}", flush=True)
        part()
