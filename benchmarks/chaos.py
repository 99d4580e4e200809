"""Label and render on a Ray cluster of three nodes whose nodes and workers are killed at random all the time.

    python -m benchmarks.chaos [--shards 240] [--seconds 1.5 4]

Both stages run twice on a cluster of this machine: undisturbed, and while a node or a worker process is ended by
SIGKILL every few seconds (a node that was killed comes back). A reader opens and wholly checks every shard as soon
as it can be seen. In the end all shards must be there, byte for byte those of the undisturbed run.

Cost: some minutes on two cores, more the more is killed (docs/scaling.md has a run); `--shards 12` is quick.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks.tools.command import on_one_thread, run
from freelabels.pipeline.quality.verify import VerifyWork, verify_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.stages.label import label
from freelabels.pipeline.stages.render import RenderOptions, render
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from freelabels.renderers.draw.ranges import SceneRanges

QUIET = Reporter("quiet")
TINY = SceneRanges(families={"table": 1}, objects=(1, 2), clutter=(0, 0), groups={"primitive": 1}, attempts=1)
RENDERED = 33  # frames of a clip: more than half a shard, so that each clip is one
NODES = 3
NODE_SHARE = 0.3  # of the kills
MOST_RUNS = 5
Stage = Callable[[Path, int], bool]


@dataclass
class Reader(threading.Thread):
    """Lists all the time, and reads every shard wholly once it can be seen."""

    out: Path
    seen: set[str] = field(default_factory=set)
    partial: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        while not self.done.wait(0.05):
            self.look()

    def look(self) -> None:
        """List once and read what is new."""
        for name in Dataset(self.out).shards() if self.out.exists() else []:
            if name not in self.seen:
                self.seen.add(name)
                self.partial += map(str, verify_shard(VerifyWork(str(self.out), name)).problems)


@dataclass
class Killer:
    """Ends a worker process, or a node whole, by SIGKILL, at random moments; nodes come back.

    The first kill comes as soon as a task is seen at work, so that even a short run has one.
    """

    cluster: Any
    pauses: tuple[float, float]
    rng: random.Random
    kills: Counter[str] = field(default_factory=Counter)

    def work(self, over: threading.Event, most: int) -> None:
        """Kill until it is `over`, or so often. Runs in the main thread, where alone Ray can start a node."""
        while not self._at_work() and not over.wait(0.01):
            pass
        while self.kills.total() < most and not over.is_set():
            workers = self._at_work()
            if workers and self.rng.random() >= NODE_SHARE:
                with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
                    self.rng.choice(workers).kill()
                    self.kills["workers"] += 1
            else:
                self._kill_node()
            over.wait(self.rng.uniform(*self.pauses))
        over.wait()

    def _at_work(self) -> list[psutil.Process]:
        """The processes of tasks that are running now, on all nodes."""
        found = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                title = " ".join(process.cmdline())
                if title.startswith(("ray::label", "ray::render")):
                    found.append(process)
        return found

    def _kill_node(self) -> None:
        """A node other than the driver's, with all that runs on it."""
        nodes = sorted(self.cluster.worker_nodes, key=lambda node: str(node.unique_id))
        if not nodes:
            return
        node = self.rng.choice(nodes)
        for raylet in node.all_processes["raylet"]:
            for process in [*psutil.Process(raylet.process.pid).children(recursive=True), raylet.process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.kills["nodes"] += 1
        self.cluster.remove_node(node, allow_graceful=False)
        add_node(self.cluster)


NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


def add_node(cluster: Any, attempts: int = 5) -> None:
    """Add a node; on a machine this busy one may be too slow to start, which Ray takes for a failure."""
    for attempt in range(1, attempts + 1):
        try:
            cluster.add_node(**NODE)
            return
        except Exception:  # Ray has no type of its own for this
            if attempt == attempts:
                raise


@contextlib.contextmanager
def three_nodes() -> Iterator[Any]:
    """A Ray cluster of three nodes with one CPU each on this machine; the driver's is the first."""
    import ray
    from ray._common.utils import reset_ray_address
    from ray.cluster_utils import Cluster as LocalCluster

    cluster = LocalCluster(initialize_head=True, head_node_args=NODE)
    reset_ray_address()  # other programs of this machine are not to join it
    try:
        for _ in range(NODES - 1):
            add_node(cluster)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="CRITICAL")
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def write_photos(folder: Path, count: int) -> None:
    """Small photos of noise, every one another."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{number:04}.png")


def contents(out: Path) -> dict[str, str]:
    """sha256 of every file of every shard, by path."""
    files = [p for p in out.glob("[!.]*.*/**/*") if p.is_file()]
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@dataclass
class Run(threading.Thread):
    """A stage, run as a person would: again while something failed."""

    stage: Stage
    out: Path
    count: int
    times: int = 0
    seconds: float = 0.0
    error: BaseException | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        started = time.monotonic()
        try:
            complete = False
            while not complete and self.times < MOST_RUNS:
                self.times += 1
                complete = self.stage(self.out, self.count)
            if not complete:
                raise SystemExit(f"not complete after {self.times} runs: see {self.out / 'failures.jsonl'}")
        except BaseException as error:
            self.error = error
        finally:
            self.seconds = time.monotonic() - started
            self.over.set()

    def finish(self) -> None:
        """Wait for it. Raises what it raised."""
        self.over.wait()
        if self.error is not None:
            raise self.error


def undisturbed(stage: Stage, out: Path, count: int) -> float:
    """Run a stage in peace; returns the seconds it took."""
    run = Run(stage, out, count)
    run.start()
    run.finish()
    return run.seconds


def disturbed(
    stage: Stage, out: Path, calm: Path, count: int, killer: Killer, most: int
) -> tuple[float, int]:
    """Run a stage under fire and compare with a calm run; returns seconds and how many shards were read.

    Raises SystemExit if anything was lost, differs or was seen half done.
    """
    run, reader, before = Run(stage, out, count), Reader(out), killer.kills.copy()
    reader.start()
    run.start()
    killer.work(run.over, most)
    run.finish()
    reader.done.set()
    reader.join()
    reader.look()
    killed = ", ".join(f"{number} {what}" for what, number in sorted((killer.kills - before).items()))
    print(
        f"{out.name}: {run.seconds:.1f} s with {killed or 'nothing'} killed, {run.times} runs, "
        f"{len(reader.seen)} shards read, {len(reader.partial)} of them partial",
        flush=True,
    )
    if reader.partial:
        raise SystemExit("read half done: " + "; ".join(reader.partial[:3]))
    if Dataset(out).shards() != Dataset(calm).shards() or contents(out) != contents(calm):
        raise SystemExit(f"{out.name}: the bytes are not those of the undisturbed run")
    return run.seconds, len(reader.seen)


def main(
    shards: int = 240, seconds: tuple[float, float] = (1.5, 4.0), kills: int = 1000, seed: int | None = None
) -> None:
    """Measure and print; exits with an error if anything was lost.

    Args:
        shards: Shards in all, two thirds of them labelled, one third rendered.
        seconds: Shortest and longest pause between kills.
        kills: Most kills.
        seed: Of the killer; default: another one every time.
    """
    labelled = shards * 2 // 3
    cluster = Cluster(address="joined", memory=1 << 20)
    with tempfile.TemporaryDirectory() as folder, three_nodes() as nodes:
        home = Path(folder)
        write_photos(home / "photos", labelled)
        photos = sorted(str(path) for path in (home / "photos").iterdir())

        def label_all(out: Path, count: int) -> bool:
            options: dict[str, Any] = {"size": (64, 64), "shard_frames": 1}
            return label(photos[:count], out, cluster=cluster, reporter=QUIET, **options).complete

        def render_all(out: Path, count: int) -> bool:
            options = RenderOptions(frames=RENDERED, size=(16, 16), ranges=TINY)
            return render(out, count, options, cluster=cluster, reporter=QUIET).complete

        killer = Killer(nodes, seconds, random.Random(seed))
        lost, read = 0.0, 0
        for stage, count in ((label_all, labelled), (render_all, shards - labelled)):
            name = stage.__name__.removesuffix("_all")
            undisturbed(
                stage, home / f"{name} warm", min(count, 2 * NODES)
            )  # processes start, libraries load
            calm = undisturbed(stage, home / f"{name} calm", count)
            print(f"{name}: {calm:.1f} s undisturbed", flush=True)
            spent, seen = disturbed(stage, home / name, home / f"{name} calm", count, killer, kills)
            lost, read = lost + spent - calm, read + seen
        survived = killer.kills.total()
        print(
            f"{survived} kills survived, {shards} shards the same, {read} read, 0 partial, {lost:.0f} s lost"
        )


if __name__ == "__main__":
    on_one_thread(RAY_USAGE_STATS_ENABLED="0", RAY_DEDUP_LOGS_SKIP_REGEX="^")  # Ray prints every death
    run(main, __doc__)
