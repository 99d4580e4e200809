"""Forks Python programs, pytest's workers among them, from a process that has loaded the large libraries already.

Who connects to its socket sends a line of JSON with what to run and in which environment, and the three standard
streams. It is sent the process's number and, when that has ended, its exit code. Who sends `null` just holds on:
the server ends when nobody does any more.
"""

import atexit
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

# None of Freelabels, so that what is forked shows what Freelabels itself loads and when.
LIBRARIES = (
    *("cv2", "open3d", "scipy.ndimage", "scipy.optimize", "scipy.sparse.linalg", "skimage.segmentation"),
    *("av", "PIL.Image", "numcodecs.blosc", "zarr", "tyro", "rich.progress"),
    *("torch", "torchvision", "timm.optim", "torch.utils.tensorboard", "ray", "fsspec", "psutil"),
    *("scipy.stats", "scipy.io", "trimesh", "pyarrow.parquet", "jinja2", "ray.train.torch"),
    # What tests need besides.
    *("hypothesis.strategies", "datasets", "mlcroissant", "dask.array", "xarray", "tornado.httpserver"),
)


def receive(connection: socket.socket) -> tuple[Any, list[int]]:
    """A request, and the streams that came with it; None without one."""
    data, streams, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while data and not data.endswith(b"\n"):
        data += connection.recv(1 << 16)
    return (json.loads(data) if data else None), list(streams)


def fork(connection: socket.socket, request: dict[str, Any], streams: list[int]) -> bool:
    """Fork the process and a keeper, which waits for it. Returns whether this is the process."""
    if os.fork():
        for stream in streams:
            os.close(stream)
        return False
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # in a shell's background it is ignored
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return True
    for stream in streams:
        os.close(stream)
    try:
        connection.sendall(f"{child}\n".encode())
        connection.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())
    finally:
        os._exit(0)


def requests(address: str) -> dict[str, Any]:
    """Answer requests; returns one only in a process that has been forked for it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener, holders = socket.socket(socket.AF_UNIX), 0
    listener.bind(address)
    listener.listen(64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is not listener:
                waiting.unregister(key.fileobj)
                holders -= 1
                if not holders:
                    os.unlink(address)
                    os._exit(0)
                continue
            connection, _ = listener.accept()
            request, streams = receive(connection)
            if request is None:
                waiting.register(connection, selectors.EVENT_READ)
                holders += 1
                continue
            if fork(connection, request, streams):
                waiting.close()
                listener.close()
                connection.close()
                return request
            connection.close()


def become(arguments: list[str], path: list[str]) -> None:
    """Go on as `python ARGUMENTS…` does: -m MODULE, -c TEXT or a file."""
    kind, *rest = arguments = arguments[arguments[0] == "-u" :]  # the streams are the caller's
    sys.orig_argv = [sys.executable, *arguments]
    sys.argv = rest if kind == "-m" else ["-c", *rest[1:]] if kind == "-c" else arguments
    first = {"-m": os.getcwd(), "-c": ""}.get(kind, os.path.dirname(kind))
    sys.path[:1] = [first, *path]
    if kind == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        main = ModuleType("__main__")
        sys.modules["__main__"] = main
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        runpy.run_path(kind, run_name="__main__")


def end_with(code: object) -> None:
    """End as Python does, but for taking apart, module by module, what was there before the fork."""
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    for library in LIBRARIES:
        with suppress(ImportError):  # not every Python has all
            import_module(library)
    gc.freeze()
    asked = requests(sys.argv[1])
    try:
        become(asked["arguments"], [p for p in asked["env"].get("PYTHONPATH", "").split(os.pathsep) if p])
    except SystemExit as end:
        end_with(end.code)
    except BaseException:
        traceback.print_exc()
        end_with(1)
    end_with(0)
