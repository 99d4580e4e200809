"""Measures our shards and the peers in turns and prints the table: see `benchmarks.shards`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

import benchmarks.shards
from benchmarks.shards.environment import Cost, Peers, make_environment
from benchmarks.shards.frames import FIELDS, from_dataset, generated
from benchmarks.tools.command import on_one_thread, run
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.storage.layouts import FOLDERS, PACKED

Array = NDArray[Any]
Measure = Callable[[str, list[int]], Cost]  # operation, frames to read at random
Costs = dict[tuple[str, str], list[Cost]]  # by format and operation, one a repeat
OURS = "ours"
LAYOUT = {OURS: FOLDERS, "ours, packed": PACKED}  # of our formats
OPERATIONS = ("write", "sequential", "random")
SHARD = 64  # frames


def ours(
    operation: str, order: list[int], root: Path, frames: dict[str, Array], layout: str = FOLDERS
) -> Cost:
    """Do one operation on our shards."""
    count = len(frames["image"])
    if operation == "write":
        shutil.rmtree(root, ignore_errors=True)
        dataset = Dataset.create(root, {"size": list(frames["image"].shape[1:3])}, layout)
        started = process_time()
        for start in range(0, count, SHARD):
            part = {name: values[start : start + SHARD] for name, values in frames.items()}
            made_by = {name: {"generator": "benchmark", "version": 1} for name in part}
            clips = [{"rows": [0, len(part["image"])], "kind": "video"}]
            commit_shard(dataset, f"video-{start:06}", part, clips, made_by)
        seconds, done = process_time() - started, count
    else:
        dataset = Dataset(root)
        shards = [dataset.open(name) for name in dataset.shards()]
        for name, values in _get(shards, order[0]).items():
            np.testing.assert_array_equal(values, frames[name][order[0]])
        started = process_time()
        if operation == "random":
            for number in order:
                _get(shards, number)
        else:
            for shard in shards:
                for row in range(shard.rows):
                    {name: shard.read(name, row) for name in FIELDS}
        seconds, done = process_time() - started, len(order) if operation == "random" else count
        for shard in shards:
            shard.close()
    return Cost(done, seconds, sum(file.stat().st_size for file in root.rglob("*") if file.is_file()))


def _get(shards: list[Shard], number: int) -> dict[str, Array]:
    shard, row = shards[number // SHARD], number % SHARD
    return {name: shard.read(name, row) for name in FIELDS}


def start_peers(folder: Path | None, frames: dict[str, Array], scratch: Path) -> Peers | None:
    """The peers' process with the frames before it; None where there is no environment for it."""
    python = make_environment(folder) if folder is not None else None
    if python is None:
        return None
    (scratch / "frames").mkdir()
    for name, values in frames.items():
        np.save(scratch / "frames" / f"{name}.npy", values)
    return Peers(python, scratch / "frames", scratch)


def measure(formats: dict[str, Measure], count: int, repeats: int, reads: int) -> Costs:
    """Costs of all formats, each repeat beginning with another one."""
    costs: Costs = {}
    names = list(formats)
    for repeat in range(repeats):
        order = np.random.default_rng(repeat).integers(0, count, reads).tolist()
        first = repeat % len(names)
        for operation in OPERATIONS:
            for name in names[first:] + names[:first]:
                costs.setdefault((name, operation), []).append(formats[name](operation, order))
    return costs


def report(costs: Costs, raw: int, to: IO[str]) -> None:
    """Print medians, and how many times faster and smaller ours is, repeat by repeat."""

    def rates(name: str, operation: str) -> list[float]:
        return [cost.frames / cost.seconds for cost in costs[name, operation] if cost.frames]

    print(
        f"{'frames a CPU-second':20}" + "".join(f"{o:>12}{'ours ÷':>8}" for o in OPERATIONS), end="", file=to
    )
    print(f"{'MiB':>8}{'ours ÷':>8}", file=to)
    for name in dict.fromkeys(name for name, _ in costs):
        line = f"{name:20}"
        for operation in OPERATIONS:
            have, us = rates(name, operation), rates(OURS, operation)
            if have:
                ratio = median(a / b for a, b in zip(us, have, strict=True))
                line += f"{median(have):12.0f}{ratio:8.2f}"
            else:
                line += f"{'–':>12}{'':8}"
        size, us_size = costs[name, "write"][-1].bytes, costs[OURS, "write"][-1].bytes
        size = size or costs[name, "sequential"][-1].bytes
        print(f"{line}{size / 2**20:8.0f}{us_size / size:8.2f}", file=to)
    print(f"the arrays themselves are {raw / 2**20:.0f} MiB", file=to)


def main(
    dataset: Path | None = None,
    frames: int = 512,
    repeats: int = 5,
    reads: int = 512,
    peers: Path | None = Path(".venv-peers"),
    scratch: Path | None = None,
) -> None:
    """Measure and print the table.

    Args:
        dataset: A labelled dataset to take the frames from; default: made from the photos inside scikit-image.
        frames: How many frames at most.
        repeats: How often everything is measured; medians are printed.
        reads: Random reads a repeat.
        peers: Where the peers' environment lies, or is made; None: measure ours alone.
        scratch: Folder for what is written and removed; default: the system's.
    """
    arrays = generated(frames) if dataset is None else from_dataset(dataset, frames)
    count = len(arrays["image"])
    print(f"{count} frames of {', '.join(FIELDS)} at {arrays['image'].shape[1:3]}")
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        formats: dict[str, Measure] = {
            name: partial(ours, root=Path(folder) / layout, frames=arrays, layout=layout)
            for name, layout in LAYOUT.items()
        }
        server = start_peers(peers, arrays, Path(folder))
        try:
            if server:
                formats |= {name: partial(server.measure, name) for name in server.names}
            costs = measure(formats, count, repeats, reads)
        finally:
            if server:
                server.close()
    report(costs, sum(values.nbytes for values in arrays.values()), sys.stdout)


if __name__ == "__main__":
    on_one_thread()
    run(main, benchmarks.shards.__doc__)
