"""Serves the benchmark: operations on the formats whose libraries this environment has.

The arguments are the folder of the frames and scratch space. The first line of the answer is a JSON object: the
formats that can be measured, and by library why others can't. Then it reads a JSON request a line from standard
input, ``{"peer", "operation", "order"}``, and answers each with a line: the frames handled, the CPU seconds of
this process with all its threads, and the bytes on disk.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from benchmarks.shards.peers.peer import Frame, Frames, Peer, count

FORMATS = (
    "zarr_shards",
    "tensorstore_shards",
    "webdataset_tars",
    "litdata_chunks",
    "array_records",
    "mosaic_shards",
)


def installed() -> tuple[dict[str, Peer], dict[str, str]]:
    """Formats by name, and by file why those are left out whose library can't be imported."""
    peers: dict[str, Peer] = {}
    missing = {}
    for name in FORMATS:
        try:
            peers |= import_module(f"benchmarks.shards.peers.{name}").PEERS
        except ImportError as error:
            missing[name] = str(error)
    return peers, missing


def bytes_below(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def check(frame: Frame, frames: Frames, number: int) -> None:
    """Stop if a format did not give back what it was given."""
    for name, values in frames.items():
        np.testing.assert_array_equal(frame[name], values[number], err_msg=name)


def measure(peer: Peer, operation: str, order: list[int], path: Path, frames: Frames) -> dict[str, Any]:
    """Do one operation: what it cost, or that the format has no such thing."""
    started, done = 0.0, count(frames)
    if operation == "write":
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        started = process_time()
        peer.write(path, frames)
    elif operation == "random":
        if peer.random is None:
            return {}
        get = peer.random(path, frames)
        order = order[: max(1, int(peer.share * len(order)))]
        check(get(order[0]), frames, order[0])
        started, done = process_time(), len(order)
        for number in order:
            get(number)
    else:
        check(next(iter(peer.in_order(path, frames))), frames, 0)
        started = process_time()
        for _ in peer.in_order(path, frames):
            pass
    return {"frames": done, "seconds": process_time() - started, "bytes": bytes_below(path)}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    frames = {path.stem: np.load(path) for path in sorted(Path(sys.argv[1]).glob("*.npy"))}
    scratch, (peers, missing) = Path(sys.argv[2]), installed()
    print(json.dumps({"peers": list(peers), "missing": missing}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        name = request["peer"]
        path = scratch / name.replace(" ", "-")
        answer = measure(peers[name], request["operation"], request["order"], path, frames)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
