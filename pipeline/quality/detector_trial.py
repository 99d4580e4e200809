"""Tries a detector on a tiny clip, so that parameters it can't work with are known before a job starts."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection

import cv2

from freelabels.generators.contract.detector import Detector
from freelabels.generators.contract.fields import field
from freelabels.generators.contract.sample_clips import filmed, ready_for

FRAMES, SIDE = 4, 64
SECONDS = 60.0


def try_out(detector: Detector) -> None:
    """Run a detector on a small made-up clip that has all it may ask for.

    Raises whatever it raises, and ValueError if what it makes breaks the contract.
    """
    clip = ready_for(detector, filmed(FRAMES, SIDE, SIDE))
    if clip is None:  # it reads what no detector makes: it can only be tried on a real source
        return
    for name, values in detector(clip).items():
        field(name).check(values)


def complaint(detector: Detector) -> str:
    """Why a detector can't work with its parameters, one line; empty if it can.

    It is tried in a process of its own, because native code may end or hang the process on a bad number.
    """
    spawn = multiprocessing.get_context("spawn")
    listen, speak = spawn.Pipe(duplex=False)
    trial = spawn.Process(target=_report, args=(detector, speak), daemon=True)
    trial.start()
    speak.close()
    try:
        if not listen.poll(SECONDS):
            return f"it had not finished a small clip after {SECONDS:g} s"
        return str(listen.recv())
    except EOFError:
        trial.join()
        return f"the process ended with status {trial.exitcode}"
    finally:
        trial.kill()
        trial.join()


def _report(detector: Detector, speak: Connection) -> None:
    cv2.setNumThreads(1)
    try:
        try_out(detector)
        speak.send("")
    except Exception as error:  # whatever a library makes of the value
        speak.send(" ".join(str(error).split()) or type(error).__name__)
