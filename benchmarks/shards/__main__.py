"""Our shards beside other formats: frames a CPU-second written, read in order and read at random, and MiB on disk.

    python -m benchmarks.shards [--dataset DIR] [--frames 512] [--repeats 5] [--peers .venv-peers]

All formats hold the same frames of six fields and give them back as arrays, checked. The peers run in an
environment of their own, which is made on first use; every repeat measures each format once, so that a busy
machine is busy for all. Reads come from the page cache: what is compared is the processor's part. CPU seconds
are those of the process with all its threads. Ours checks every frame's crc32c, and its writes are whole commits:
contract, statistics, sha256 and fsync; the peers check what they check by default.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time
from typing import IO, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from benchmarks.shards.frames import FIELDS, from_dataset, generated
from freelabels.pipeline.shards.shards import Dataset, Shard, commit_shard

Array = NDArray[Any]
HERE = Path(__file__).parent
OURS = "ours"
PEERS = (
    "zarr-python",
    "tensorstore",
    "webdataset npy",
    "litdata raw",
    "array_record raw",
    "array_record zstd",
    "MDS raw",
)
OPERATIONS = ("write", "sequential", "random")
SHARD = 64  # frames


@dataclass(frozen=True)
class Cost:
    """What an operation took; `frames` is 0 where a format has no such operation."""

    frames: int = 0
    seconds: float = 0.0
    bytes: int = 0


def ours(operation: str, order: list[int], scratch: Path, frames: dict[str, Array]) -> Cost:
    """Do one operation on our shards."""
    root, count = scratch / OURS, len(frames["image"])
    if operation == "write":
        shutil.rmtree(root, ignore_errors=True)
        dataset = Dataset.create(root, {"size": list(frames["image"].shape[1:3])})
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


def environment(folder: Path) -> Path:
    """The Python of the peers' environment, made with uv if it is absent or was made from another list."""
    python, wanted = folder / "bin" / "python", (HERE / "peers.txt").read_text()
    stamp = folder / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    if not stamp.exists():
        uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        if uv is None:
            raise SystemExit("uv is needed to make the peers' environment: pip install uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", python, "-r", HERE / "peers.txt"], check=True
        )
        stamp.touch()
    return python


def ask(server: subprocess.Popen[str], peer: str, operation: str, order: list[int]) -> Cost:
    """Have the peers' process do one operation."""
    requests, answers = server.stdin, server.stdout
    assert requests is not None and answers is not None
    print(json.dumps({"peer": peer, "operation": operation, "order": order}), file=requests, flush=True)
    line = answers.readline()
    if not line:
        raise SystemExit(f"the peers' process ended during {operation} of {peer}")
    return Cost(**json.loads(line))


def measure(
    frames: dict[str, Array], scratch: Path, python: Path, repeats: int, reads: int
) -> dict[tuple[str, str], list[Cost]]:
    """Costs by (format, operation), one a repeat."""
    (scratch / "frames").mkdir()
    for name, values in frames.items():
        np.save(scratch / "frames" / f"{name}.npy", values)
    server = subprocess.Popen(
        [python, HERE / "peers.py", scratch / "frames", scratch],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    costs: dict[tuple[str, str], list[Cost]] = {}
    names = [OURS, *PEERS]
    try:
        for repeat in range(repeats):
            order = np.random.default_rng(repeat).integers(0, len(frames["image"]), reads).tolist()
            for operation in OPERATIONS:
                for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
                    cost = (
                        ours(operation, order, scratch, frames)
                        if name == OURS
                        else ask(server, name, operation, order)
                    )
                    costs.setdefault((name, operation), []).append(cost)
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait()
    return costs


def report(costs: dict[tuple[str, str], list[Cost]], raw: int, to: IO[str]) -> None:
    """Print medians, and how many times faster and smaller ours is, repeat by repeat."""

    def rates(name: str, operation: str) -> list[float]:
        return [cost.frames / cost.seconds for cost in costs[name, operation] if cost.frames]

    print(
        f"{'frames a CPU-second':20}" + "".join(f"{o:>12}{'ours ÷':>8}" for o in OPERATIONS), end="", file=to
    )
    print(f"{'MiB':>8}{'ours ÷':>8}", file=to)
    for name in (OURS, *PEERS):
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
    peers: Path = Path(".venv-peers"),
    scratch: Path | None = None,
) -> None:
    """Measure and print the table.

    Args:
        dataset: A labelled dataset to take the frames from; default: made from the photos inside scikit-image.
        frames: How many frames at most.
        repeats: How often everything is measured; medians are printed.
        reads: Random reads a repeat.
        peers: Where the peers' environment lies, or is made.
        scratch: Folder for what is written and removed; default: the system's.
    """
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    python = environment(peers)
    arrays = generated(frames) if dataset is None else from_dataset(dataset, frames)
    print(f"{len(arrays['image'])} frames of {', '.join(FIELDS)} at {arrays['image'].shape[1:3]}")
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        costs = measure(arrays, Path(folder), python, repeats, reads)
    report(costs, sum(values.nbytes for values in arrays.values()), sys.stdout)


if __name__ == "__main__":
    tyro.cli(main)
