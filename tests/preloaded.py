"""Starts Python programs that have the large libraries loaded already: most of what short ones take is imports."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from freelabels.pipeline.work.ray_executor import SINGLE_THREADED

ROOT = Path(__file__).parents[1]
# A program for PATH that has the server run another one in its place.
SHIM = """#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = {{"arguments": [*{program!r}, *sys.argv[1:]], "cwd": os.getcwd(), "env": dict(os.environ)}}
socket.send_fds(server, [json.dumps(request).encode() + b"\\n"], [0, 1, 2])
_, code = server.makefile()
code = int(code)
sys.exit(code if code >= 0 else 128 - code)
"""


@dataclass
class Running:
    """A program that runs, or ran; the part of `subprocess.Popen` that tests use. What it says is kept."""

    arguments: Sequence[str]
    pid: int
    returncode: int | None = field(default=None, init=False)
    _server: socket.socket
    _out: IO[bytes]
    _errors: IO[bytes]

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, when it has ended. Raises TimeoutExpired."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(list(self.arguments), timeout or 0)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._server.settimeout(timeout)
            try:
                self.returncode = int(self._server.recv(64))
            except (TimeoutError, BlockingIOError):
                return None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it said, on standard output and as errors, until its end. Raises TimeoutExpired."""
        self.wait(timeout)
        self._server.close()
        return _read(self._out), _read(self._errors)

    def line(self) -> str:
        """The first line that it says on standard output, as soon as that is there."""
        while "\n" not in (said := _read(self._out)):
            assert self.poll() is None, _read(self._errors)
            time.sleep(0.005)
        return said.partition("\n")[0]


def _read(stream: IO[bytes]) -> str:
    """What has been written to a file, by position: who writes shares the stream's own."""
    return os.pread(stream.fileno(), os.fstat(stream.fileno()).st_size, 0).decode()


@dataclass(frozen=True)
class Programs:
    """Starts Python programs by way of the server at `address`; arguments are those of `python`."""

    address: str

    def start(
        self, *arguments: object, cwd: str | os.PathLike[str] = ROOT, env: Mapping[str, str] | None = None
    ) -> Running:
        """Start one; env: default: this process's, and one thread a library."""
        line = [str(argument) for argument in arguments]
        request = {
            "arguments": line,
            "cwd": os.fspath(cwd),
            "env": dict({**os.environ, **SINGLE_THREADED} if env is None else env),
        }
        out, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        server = socket.socket(socket.AF_UNIX)
        server.connect(self.address)
        with open(os.devnull) as nothing:
            streams = [stream.fileno() for stream in (nothing, out, errors)]
            data = json.dumps(request).encode() + b"\n"
            sent = socket.send_fds(server, [data], streams)
            server.sendall(data[sent:])
        pid = b""
        while not pid.endswith(b"\n"):
            byte = server.recv(1)
            assert byte, "the fork server ended"
            pid += byte
        return Running(line, int(pid), server, out, errors)

    def run(
        self,
        *arguments: object,
        cwd: str | os.PathLike[str] = ROOT,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run one to its end. Raises TimeoutExpired, having killed it."""
        running = self.start(*arguments, cwd=cwd, env=env)
        try:
            out, errors = running.communicate(timeout)
        except subprocess.TimeoutExpired:
            running.kill()
            raise
        assert running.returncode is not None
        return subprocess.CompletedProcess(list(running.arguments), running.returncode, out, errors)

    def shim(self, path: Path, *program: str) -> None:
        """Put a program at `path` that runs another Python program, given by its file, or stands for `python`."""
        path.write_text(SHIM.format(python=sys.executable, address=self.address, program=program))
        path.chmod(0o755)


@contextmanager
def preloaded() -> Iterator[Programs]:
    """Hold on to the server of this run of the tests, which all its processes share; start it if there is none.

    One thread a library, as workers have it.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    address = f"{tempfile.gettempdir()}/fl-{run[:16]}.sock"
    holding = socket.socket(socket.AF_UNIX)
    with _alone():
        try:
            holding.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            Path(address).unlink(missing_ok=True)
            _start(address)
            holding.connect(address)
        holding.sendall(b"null\n")
    with holding:
        yield Programs(address)


@contextmanager
def _alone() -> Iterator[None]:
    handle = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _start(address: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "fork_server.py"), address],
        cwd=ROOT, env=environment | SINGLE_THREADED, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n", "the fork server did not start"
    _SERVERS.append(server)  # it outlives who started it


_SERVERS: list[subprocess.Popen[str]] = []
