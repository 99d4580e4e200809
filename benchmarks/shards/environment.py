"""The environment of the peers, and the process in it that measures them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parent / "peers" / "requirements.txt"


@dataclass(frozen=True)
class Cost:
    """What an operation took; `frames` is 0 where a format has no such operation."""

    frames: int = 0
    seconds: float = 0.0
    bytes: int = 0


def make_environment(folder: Path) -> Path | None:
    """Python of the peers' environment, made with uv if it is absent or was made from another list.

    None if there is no uv or it can't make one. Libraries that can't be installed are left out.
    """
    wanted = REQUIREMENTS.read_text()
    python = folder / "bin" / "python"
    stamp = folder / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    if stamp.exists():
        return python
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if uv is None:
        print("the peers are left out: uv, which makes their environment, is absent (pip install uv)")
        return None
    if subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder]).returncode:
        print(f"the peers are left out: uv can't make their environment in {folder}")
        return None

    def install(*requirements: str | Path) -> bool:
        command = [uv, "pip", "install", "--quiet", "--python", python, *requirements]
        return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0

    if install("-r", REQUIREMENTS):
        stamp.touch()
    else:  # the rest without those that this machine can't have; all are tried again next time
        for requirement in ("numpy", *wanted.split()):
            if not install(requirement):
                print(f"can't be installed here: {requirement}")
    return python


class Peers:
    """The process that measures the peers; `names` are the formats it can."""

    def __init__(self, python: Path, frames: Path, scratch: Path) -> None:
        self._server = subprocess.Popen(
            [python, "-m", "benchmarks.shards.peers", frames, scratch],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        told = self._answer("start")
        for name, why in told["missing"].items():
            print(f"{name} is left out: {why}")
        self.names: tuple[str, ...] = tuple(told["peers"])

    def measure(self, peer: str, operation: str, order: list[int]) -> Cost:
        """Have one operation done. Raises SystemExit if the process ends of it."""
        request = json.dumps({"peer": peer, "operation": operation, "order": order})
        print(request, file=self._server.stdin, flush=True)
        return Cost(**self._answer(f"{operation} of {peer}"))

    def _answer(self, to: str) -> Any:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            raise SystemExit(f"the peers' process ended during {to}")
        return json.loads(line)

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()
