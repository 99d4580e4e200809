"""What rendering costs here and in another checkout of this project, clip by clip in turns.

    python benchmarks/tools/render_turns.py      the worker: jobs on standard input, a JSON line each

Each checkout renders in a process of its own, by the same Python and libraries.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[2]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def compare(
    before: Path, then: Mapping[str, Any], now: Mapping[str, Any], size: int, clips: int, frames: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """CPU-seconds a frame of everything, from seed to columns, and of labels alone: there, and here.

    before: the other checkout. then, now: what differs from the default ranges there and here.
    """
    spent = [[0.0, 0.0], [0.0, 0.0]]
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(checkout)) for checkout in (before, HERE)]
        for clip in range(clips):
            for worker, ranges, total in zip(workers, (then, now), spent, strict=True):
                assert worker.stdin is not None and worker.stdout is not None
                job = {"ranges": ranges, "clip": clip, "frames": frames, "size": size}
                worker.stdin.write(json.dumps(job) + "\n")
                worker.stdin.flush()
                drawn, rendered, labelled = json.loads(worker.stdout.readline())
                total[0] += (drawn + rendered) / clips / frames
                total[1] += labelled / clips / frames
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.close()
    (there, there_labels), (here, here_labels) = spent
    return (there, there_labels), (here, here_labels)


def _worker(checkout: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__],
        cwd=checkout,
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": str(checkout.resolve())},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _module(*names: str) -> Any:
    """The first of the modules that this checkout has: the sub-packages had other names once."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError(" or ".join(names))


def _serve() -> None:
    inside = (Path.cwd() / "freelabels" / "renderers").exists()
    package = "freelabels.renderers" if inside else "renderers"
    ranges = _module(f"{package}.draw.ranges", f"{package}.ranges").SceneRanges()
    assets = _module(f"{package}.scene.assets", f"{package}.assets").library()
    render = _module(f"{package}.render")
    import cv2

    cv2.setNumThreads(1)
    for line in sys.stdin:
        job = json.loads(line)
        changed = {k: tuple(v) if isinstance(v, list) else v for k, v in job["ranges"].items()}
        asked = dataclasses.replace(ranges, **changed)
        clip, frames, size = job["clip"], job["frames"], job["size"]
        render.find_scene(0, clip, asked, assets, 1, size)  # reads the assets
        times = [time.process_time()]
        scene, motion = render.find_scene(0, clip, asked, assets, frames, size)
        times.append(time.process_time())
        render.render_clip(scene, assets, frames, size, simulation=motion)
        times.append(time.process_time())
        render.render_clip(scene, assets, frames, size, image=None, simulation=motion)
        times.append(time.process_time())
        print(json.dumps([b - a for a, b in pairwise(times)]), flush=True)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: its modules would hide others
    _serve()
