"""Tries a detector on a tiny clip, so that parameters it can't work with are known before a job starts."""

from __future__ import annotations

import multiprocessing
from functools import cache
from multiprocessing.connection import Connection

import cv2
import numpy as np

from freelabels.generators.contract.clip import CONSECUTIVE, INTRINSICS, SEED, SENSOR_DEPTH, STEREO, Clip
from freelabels.generators.contract.detector import Detector, plan
from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX, field
from freelabels.generators.contract.geometry import intrinsics_from_fov

FRAMES, SIDE = 4, 64
SECONDS = 60.0


def try_out(detector: Detector) -> None:
    """Run a detector on a small made-up clip that has all it may ask for.

    Raises whatever it raises, and ValueError if what it makes breaks the contract.
    """
    inputs = [need.removesuffix(CONFIDENCE_SUFFIX) for need in sorted(detector.needs) if _is_field(need)]
    clip = _clip()
    for before in plan(
        inputs, frozenset((CONSECUTIVE, STEREO, SENSOR_DEPTH, INTRINSICS, SEED)), {}
    ).detectors:
        clip = clip.with_labels(before(clip))
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


def _is_field(name: str) -> bool:
    try:
        field(name)
    except KeyError:
        return False
    return True


@cache
def _clip() -> Clip:
    """A textured wall that the camera passes, with its depth and a second view."""
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.random((SIDE, SIDE + 16, 3)).astype(np.float32), (0, 0), 1.5)
    wall = (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)
    views = np.stack([wall[:, k : k + SIDE] for k in range(FRAMES + 3)])
    return Clip(
        image=views[:FRAMES],
        time=np.arange(FRAMES) / 10,
        camera_K=intrinsics_from_fov(60.0, SIDE, SIDE),
        intrinsics="given",
        right=views[3:],
        baseline=0.1,
        sensor_depth=np.full((FRAMES, SIDE, SIDE), 2.0, np.float32),
    )
