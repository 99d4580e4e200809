"""Runs modules as `python -m` does, in processes forked from one that has loaded the large libraries already."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from freelabels.pipeline.work.ray_executor import SINGLE_THREADED

ROOT = Path(__file__).parents[1]
# Loading them takes most of what a short run takes, and torchvision loads all of torch. Whoever is forked goes on
# below as if it had been started with its own arguments, and ends as any program does.
SERVER = """
import json, os, runpy, sys
import cv2, ray, timm, torch, torchvision, zarr
for line in sys.stdin:
    task = json.loads(line)
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
for stream, name in ((0, os.devnull), (1, task["out"]), (2, task["errors"])):
    os.dup2(os.open(name, os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT), stream)
sys.argv = [task["module"], *task["arguments"]]
sys.orig_argv = [sys.executable, "-m", *sys.argv]
runpy.run_module(task["module"], run_name="__main__", alter_sys=True)
"""


class RunModule(Protocol):
    """What `preloaded` gives: run a module with arguments; standard output and error are kept in a folder."""

    def __call__(self, module: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]: ...


@contextmanager
def preloaded() -> Iterator[RunModule]:
    """One thread a library, as workers have it; modules run one after the other, in the checkout."""
    environment = {**os.environ, **SINGLE_THREADED}
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:

        def run(module: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
            assert server.stdin is not None and server.stdout is not None
            out, errors = folder / "out.txt", folder / "errors.txt"
            task = {"module": module, "arguments": arguments, "out": str(out), "errors": str(errors)}
            print(json.dumps(task), file=server.stdin, flush=True)
            code = int(server.stdout.readline())
            return subprocess.CompletedProcess(
                [module, *arguments], code, out.read_text(), errors.read_text()
            )

        yield run
