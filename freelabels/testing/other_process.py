"""Runs a detector in a process of its own, as workers do: other threads, hashes and randomness, no network."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import Detector
from freelabels.generators.contract.fields import Array

SECONDS = 600.0  # after which the process is taken to hang
NOT_FOR_WORKERS = ("torch", "ray", "zarr")  # cost every worker seconds and memory


@dataclass(frozen=True)
class Answer:
    """What the other process says: made labels by clip, or one sentence on why there are none."""

    made: Mapping[str, Mapping[str, Array]]
    loaded: tuple[str, ...] = ()  # modules that no detector may load
    called: tuple[str, ...] = ()  # addresses that it reached for
    failure: str = ""


def stir(number: int) -> None:
    """Put every global random generator into a state that belongs to `number`."""
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002  (the one that a detector must not depend on)
    cv2.setRNGSeed(number)


def called_elsewhere(detector: bytes, clips: Mapping[str, Clip]) -> Answer:
    """Call a pickled detector with each of the clips in a process that is started for it."""
    threads = "4" if cv2.getNumThreads() == 1 else "1"
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    hashes = "8" if os.environ.get("PYTHONHASHSEED") == "7" else "7"
    environment = {
        **os.environ,
        **dict.fromkeys(pools, threads),
        "PYTHONPATH": path,
        "PYTHONHASHSEED": hashes,
    }
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder, "request"), Path(folder, "answer")
        request.write_bytes(pickle.dumps((detector, dict(clips), int(threads))))
        run = f"from {__name__} import respond; respond({str(request)!r}, {str(answer)!r})"
        try:
            done = subprocess.run(
                [sys.executable, "-c", run], env=environment, capture_output=True, text=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return Answer({}, failure=f"has not finished after {SECONDS:g} s")
        if done.returncode or not answer.exists():
            last = done.stderr.strip().rpartition("\n")[2]
            return Answer({}, failure=f"ends the process with status {done.returncode} ({last})")
        found: Answer = pickle.loads(answer.read_bytes())
    return found


def respond(request: str, answer: str) -> None:
    """What the other process does: read the request's file and write that of the answer."""
    pickled, clips, threads = pickle.loads(Path(request).read_bytes())
    cv2.setNumThreads(threads)
    Path(answer).write_bytes(pickle.dumps(_answer(pickled, clips)))


def _answer(pickled: bytes, clips: Mapping[str, Clip]) -> Answer:
    called: list[str] = []

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
            called.append(str(arguments[1][0]))
        elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
            called.append(str(arguments[0]))
        else:
            return
        raise ConnectionRefusedError("a detector has no network")

    sys.addaudithook(listen)
    made, failure = {}, ""
    try:
        detector: Detector = pickle.loads(pickled)
    except Exception as error:  # whatever importing its module raises
        failure = f"can't be loaded there ({type(error).__name__}: {error}): its class belongs in a module"
    else:
        for name, clip in clips.items():
            stir(3)
            try:
                made[name] = dict(detector(clip))
            except Exception as error:  # the contract allows none, so none is expected more than another
                failure = f"raises {type(error).__name__} on the clip {name!r}: {error}"
                break
    loaded = tuple(module for module in NOT_FOR_WORKERS if module in sys.modules)
    return Answer(made, loaded, tuple(called), failure)
