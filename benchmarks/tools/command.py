"""How a benchmark begins and ends: one thread a library, options out of a signature, an error as one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping

import tyro

from freelabels.ground.errors import UserError
from freelabels.pipeline.work.ray_executor import SINGLE_THREADED

Part = Callable[..., None]
FAILURES = (UserError, subprocess.CalledProcessError)


def on_one_thread(**more: str) -> None:
    """Begin this process again with one thread for every library, as workers have it, and `more` variables.

    Libraries read these variables when they are loaded, which they are by now. CPU time of waiting threads is no
    cost of the work.
    """
    wanted = {**SINGLE_THREADED, **more}
    if wanted.items() - os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})


def run(benchmark: Part, about: str | None) -> None:
    """Call it with the options of the command line. about: what --help says above them."""
    try:
        tyro.cli(benchmark, description=about)
    except FAILURES as error:
        raise SystemExit(str(error)) from error


def run_parts(about: str | None, parts: Mapping[str, Part], steps: Mapping[str, Part] | None = None) -> None:
    """Run the part that the command line names, or without arguments all of them with their defaults.

    A part that fails says why, and the others are run; in the end SystemExit names it. steps: what parts call in
    processes of their own; they can be named but are not run by themselves.
    """
    if len(sys.argv) > 1:
        try:
            tyro.extras.subcommand_cli_from_dict({**parts, **(steps or {})}, description=about)
        except FAILURES as error:
            raise SystemExit(str(error)) from error
        return
    failed = []
    for name, part in parts.items():
        print(f"--- {name}", flush=True)
        try:
            part()
        except FAILURES as error:
            print(f"{name} failed: {error}", flush=True)
            failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
