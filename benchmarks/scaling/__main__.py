"""What happens beyond one machine: speed-up by workers, the driver's cost, and planning for a million shards.

    python -m benchmarks.scaling workers              wall time of a render stage with 1 and with 2 workers
    python -m benchmarks.scaling driver               CPU of the driver and of Ray per 1,000 shards, and of a wait
    python -m benchmarks.scaling plan --folder DISK   list, remember and plan a million committed shards, for real
    python -m benchmarks.scaling label --folder DISK  the same for `label`: a million videos, or millions of photos
    python -m benchmarks.scaling simulate             10,000 workers and a million shards in the runner's window

`plan` and `label` make a folder and a record for every shard (of a few hundred bytes, about 8 GB on most file
systems) and remove them. `simulate` runs the runner's own loop on a stand-in for Ray with a clock that the tasks'
simulated times move, and the driver's real CPU time with them; what Ray adds to a task comes in by --task-cost, as
`driver` measures it.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from freelabels.generators.contract.detector import label_names
from freelabels.pipeline.shards.index import EMPTY, Index, number_of, read_index, save_index
from freelabels.pipeline.shards.shards import GROUP, Dataset, canonical, digest
from freelabels.pipeline.sources.clip_specs import Clips, ClipSpec, SourceOptions, spans
from freelabels.pipeline.sources.examine import Probed
from freelabels.pipeline.sources.find import Item, find
from freelabels.pipeline.sources.scan_cache import fingerprinter, spec_reader, write_part
from freelabels.pipeline.stages import label as stage
from freelabels.pipeline.stages.label import plan_work as plan_labels
from freelabels.pipeline.stages.planning import pack
from freelabels.pipeline.stages.render import RenderOptions, RenderWork, render
from freelabels.pipeline.stages.render import plan_work as plan_renders
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import SINGLE_THREADED, Cluster, Outcome, run, windowed
from freelabels.renderers.draw.ranges import SceneRanges

QUIET = Reporter("quiet")
HERE = Cluster(workers=0)
Kind = Literal["photo", "video"]
SMALL = SceneRanges(objects=(2, 3), clutter=(0, 0), groups={"primitive": 1}, attempts=2)


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB (getrusage's may be the one of its parent)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


class Stopwatch:
    """Prints what each step took."""

    @contextmanager
    def step(self, name: str) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        spent = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{name:58}{spent[0]:8.1f} s wall{spent[1]:8.1f} s CPU{peak_mib():8.0f} MiB peak", flush=True)


# --- 1 → 2 workers ----------------------------------------------------------------------------------------------


def workers(shards: int = 24, frames: int = 16, size: int = 96, counts: tuple[int, ...] = (1, 2)) -> None:
    """Wall time of rendering so many shards, Ray's start left out."""
    spent = {}
    for count in counts:
        command = [sys.executable, "-m", "benchmarks.scaling", "once", "--workers", str(count)]
        command += ["--shards", str(shards), "--frames", str(frames), "--size", str(size)]
        spent[count] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        load = os.getloadavg()[0]
        print(f"{count} workers: {spent[count]:.1f} s for {shards} shards (load of the machine {load:.1f})")
    first, last = counts[0], counts[-1]
    print(f"{first} → {last} workers: {spent[first] / spent[last]:.2f}×")


def once(workers: int, shards: int, frames: int, size: int) -> None:
    """One run, in a process of its own; prints its wall seconds."""
    options = RenderOptions(frames=frames, size=(size, size), ranges=SMALL)
    cluster = Cluster(workers=workers)
    with tempfile.TemporaryDirectory() as folder:
        clips = max(1, 64 // frames)
        render(Path(folder) / "warm", 2 * workers * clips, options, cluster=cluster, reporter=QUIET)
        started = time.perf_counter()
        render(Path(folder) / "out", shards * clips, options, cluster=cluster, reporter=QUIET)
        print(time.perf_counter() - started)


# --- the driver ---------------------------------------------------------------------------------------------


def nothing(work: RenderWork) -> str:
    """A stage that does no work."""
    return work.id


def pause(seconds: float) -> None:
    """A task that is not done."""
    time.sleep(seconds)


def driver(tasks: int = 4000, workers: int = 2, window: int = 20_000) -> None:
    """CPU of this process, and of all below it, for shards that cost nothing; and one wait for a full window."""
    from benchmarks.label import cpu_seconds

    options = RenderOptions()  # one for all, as a stage has it
    work = [RenderWork("nowhere", (clip,), None, options, "fast") for clip in range(tasks)]
    cluster = Cluster(workers=workers, memory=1)

    def all_of(items: list[RenderWork]) -> None:
        for outcome in run(nothing, items, lambda w: f"render {w.id}", cluster):
            assert outcome.result is not None, outcome.error

    all_of(work[:200])
    own, everything = time.process_time(), cpu_seconds()
    all_of(work)
    own, everything = time.process_time() - own, cpu_seconds() - everything
    print(f"driver: {own / tasks * 1e3:.3f} s CPU per 1,000 shards ({tasks} tasks that do nothing)")
    print(f"driver, Ray's daemons and workers: {everything / tasks * 1e3:.3f} s CPU per 1,000 shards")

    import ray

    blocked = ray.remote(num_cpus=0)(pause).remote(600)
    waiting = ray.remote(num_cpus=1)(pause)
    references = [waiting.remote(blocked) for _ in range(window)]
    started = time.process_time()
    for _ in range(3):
        ray.wait(references, num_returns=len(references), timeout=0)
    print(
        f"one wait for {window} tasks in flight: {(time.process_time() - started) / 3 * 1e3:.1f} ms of the driver"
    )
    ray.cancel(blocked, force=True)


# --- planning ---------------------------------------------------------------------------------------------------


def plan(shards: int = 1_000_000, folder: str | None = None, records: int = 5000) -> None:
    """List, remember and plan so many committed shards of renders, one clip of 64 frames each.

    Args:
        shards: How many.
        folder: Where to put them; default: the system's folder for temporary files.
        records: How many real records to read, for the cost of building the index from nothing.
    """
    options = RenderOptions(frames=64)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        out = Path(scratch) / "out"
        dataset = Dataset.create(out, {"size": list(options.size), "seed": options.seed})
        _build(dataset, options, shards)
        command = [sys.executable, "-m", "benchmarks.scaling", "replan", "--path", str(out)]
        subprocess.run([*command, "--shards", str(shards)], check=True)  # with a peak of its own
        _rebuild(Path(scratch) / "real", records)


def _build(dataset: Dataset, options: RenderOptions, shards: int) -> None:
    """Folders and small records of so many shards, and their index."""
    root, watch = os.fspath(dataset.path), Stopwatch()
    record = canonical({"attributes": {"freelabels": {"a record of": "a few hundred bytes " * 10}}})
    with watch.step(f"make {shards} folders and records"):
        by_name = {}
        for clip in range(shards):
            name = f"{RenderWork(root, (clip,), None, options, 'fast').id}.0"
            by_name[name] = number_of(options.key(clip))
            os.mkdir(f"{root}/{name}")
            with open(f"{root}/{name}/{GROUP}", "wb") as stream:
                stream.write(record)
    with watch.step("remember them"):
        stamps = dataset.stamps()
        made_by = dict.fromkeys(("image", "depth", "flow"), options.recipe)
        index = Index(
            list(stamps),
            list(stamps.values()),
            np.zeros(shards, np.int32),
            [json.loads(canonical(made_by))],
            np.arange(shards + 1, dtype=np.int64),
            np.fromiter((by_name[name] for name in stamps), np.uint64, shards),
        )
        save_index(dataset, index)


def replan(path: str, shards: int) -> None:
    """What a stage does before it begins: list and read the index, plan all, plan a tenth more."""
    watch, dataset, options = Stopwatch(), Dataset(path), RenderOptions(frames=64)
    with watch.step("start of the process and imports"):
        _ = options.recipe
    with watch.step("all: list, read the index, plan"):
        with watch.step("  list and read the index"):
            index = read_index(dataset, HERE, QUIET)
        with watch.step("  plan as many"):
            work = plan_renders(path, index, shards, options, "fast")
    assert not work, len(work)
    with watch.step("plan a tenth more"):
        work = plan_renders(path, index, shards + shards // 10, options, "fast")
    assert len(work) == shards // 10, len(work)
    other = replace(options, seed=1)
    with watch.step("plan as many others beside them"):
        work = plan_renders(path, index, shards, other, "fast")
    assert len(work) == shards


def _rebuild(path: Path, records: int) -> None:
    """The cost of a record that is not remembered, on real ones."""
    options = RenderOptions(frames=64, size=(32, 32), ranges=SMALL)
    render(path, 1, options, cluster=HERE, reporter=QUIET)
    dataset = Dataset(path)
    [name] = dataset.shards()
    text = len((path / name / GROUP).read_bytes())
    for number in range(records):
        again = path / f"render-{number:016x}.0"
        again.mkdir()
        document = json.loads((path / name / GROUP).read_bytes())
        document["attributes"]["freelabels"]["id"] = f"render-{number:016x}"
        del document["attributes"]["freelabels"]["sha256"]
        document["attributes"]["freelabels"]["sha256"] = digest(document)
        (again / GROUP).write_bytes(canonical(document))
    started = time.process_time()
    read_index(dataset, HERE, QUIET)
    spent = time.process_time() - started
    each = f"{spent / records * 1e3:.2f} ms CPU a shard on one core"
    print(f"index from nothing: {each} (records of {text / 1024:.0f} KiB)")


def label(kind: Kind = "video", shards: int = 1_000_000, folder: str | None = None) -> None:
    """Run `label` on sources that are all known, labelled and committed: it lists, plans and finds nothing to do.

    Videos are empty files that are listed for real, each remembered as one clip of 64 frames; photos, 64 to a
    shard, come from a list that is made up, since tens of millions of files fit on few disks. All else is real.

    Args:
        kind: What the shards hold.
        shards: How many.
        folder: Where to put them; default: the system's folder for temporary files.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        sources, out = f"{scratch}/sources", f"{scratch}/out"
        _remember_sources(kind, shards, sources, out)
        command = [sys.executable, "-m", "benchmarks.scaling", "relabel", "--kind", kind]
        command += ["--sources", sources, "--out", out, "--shards", str(shards)]
        subprocess.run(command, check=True)  # with a peak of its own


def _remember_sources(kind: Kind, shards: int, sources: str, out: str) -> None:
    """Sources, what the scan remembers of them, and a committed shard of each."""
    watch, size = Stopwatch(), (256, 256)
    dataset = Dataset.create(out, {"size": list(size), "seed": 0})
    if kind == "video":
        with watch.step(f"make {shards} empty files"):
            for item in _items(kind, shards, sources):
                Path(item.uris[0]).parent.mkdir(parents=True, exist_ok=True)
                Path(item.uris[0]).touch()
    fingerprint, parts = fingerprinter(SourceOptions()), []
    with watch.step("remember what came of them"):
        items = iter(_listed(kind, shards, sources))
        number = 0
        while batch := list(islice(items, 1 << 11 if kind == "video" else 1 << 14)):
            found = [
                (item, fingerprint(item), Probed((_clip(kind, item.uris, number + k),)))
                for k, item in enumerate(batch)
            ]
            number += len(batch)
            parts.append(write_part(dataset, found))
    clips = Clips(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.frames for part in parts]),
        np.concatenate([part.offers for part in parts]),
        parts[0].kinds,
        spec_reader(dataset, parts),
    )
    planned = pack(clips)
    assert len(planned) == shards, len(planned)
    work, _ = plan_labels(planned, EMPTY, out, label_names(), {}, size, 0, "fast")
    recipes = json.loads(canonical(next(iter(work)).recipes))
    record = canonical({"attributes": {"freelabels": {"a record of": "a few hundred bytes " * 10}}})
    with watch.step(f"make {shards} folders and records"):
        for name in planned.ids:
            os.mkdir(f"{out}/{name}.0")
            with open(f"{out}/{name}.0/{GROUP}", "wb") as stream:
                stream.write(record)
    with watch.step("remember them"):
        stamps = dataset.stamps()
        order = np.array(sorted(range(shards), key=planned.ids.__getitem__), np.int64)
        counts = np.diff(planned.starts)[order]
        keys = clips.keys[planned.members][spans(planned.starts[order], counts)]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        made = np.zeros(shards, np.int32)
        save_index(dataset, Index(list(stamps), list(stamps.values()), made, [recipes], starts, keys))


def _items(kind: Kind, shards: int, folder: str) -> Iterator[Item]:
    """A thousand files in each folder."""
    for number in range(shards if kind == "video" else 64 * shards):
        place = f"{folder}/{number // 1000:06d}/{number:09d}"
        if kind == "video":
            yield Item("video", (f"{place}.mp4",), "")
        else:
            yield Item("image", (f"{place}.jpg",), f"{number}-{number}")


def _listed(kind: Kind, shards: int, sources: str) -> Iterable[Item]:
    found = find([sources]) if kind == "video" else _items(kind, shards, sources)
    return (item for item in found if isinstance(item, Item))


def _clip(kind: Kind, uris: tuple[str, ...], number: int) -> ClipSpec:
    """A clip that is told by its number."""
    frames = 1 if kind == "photo" else 64
    indices = tuple(range(number, number + 3 * frames, 3))
    video: dict[str, Any] = {"pts": tuple(1024 * k for k in indices), "rate": 10.0, "shot": f"{number:016x}"}
    spec = ClipSpec(
        kind=kind,
        uris=uris,
        sha256=hashlib.sha256(f"{number}".encode()).hexdigest(),
        size=(1080, 1920),
        indices=indices if kind == "video" else (0,),
        times=tuple(k / 30 for k in indices) if kind == "video" else (0.0,),
        camera=(1600.0 + number, 1600.0 + number, 960.0, 540.0),
        intrinsics="assumed",
        **(video if kind == "video" else {}),
    )
    spec.__dict__["key"] = spec.sha256[:16]  # as good as any, and costs nothing
    return spec


def relabel(kind: Kind, sources: str, out: str, shards: int) -> None:
    """Run the stage on what is committed."""
    watch = Stopwatch()
    with watch.step("start of the process and imports"):
        label_names()
    if kind == "photo":
        vars(stage)["find"] = lambda *_, **__: _items(kind, shards, sources)
    else:
        with watch.step("list the sources alone"):
            assert sum(1 for _ in find([sources])) == shards
    with watch.step(f"label {shards} committed shards of {kind}s"):
        summary = stage.label([sources], out, cluster=HERE, reporter=Reporter("json"))
    assert (summary.shards, summary.made, summary.failed) == (shards, 0, 0), summary


# --- 10,000 workers -----------------------------------------------------------------------------------------


@dataclass
class Simulated:
    """Stands in for Ray: tasks take simulated seconds on so many workers, the driver its real ones.

    task_cost, wait_cost: driver seconds that Ray would take for a task and for a wait per 10,000 in flight.
    """

    workers: int
    durations: Callable[[], float]
    task_cost: float
    wait_cost: float
    now: float = 0.0
    started: float = field(default_factory=time.process_time)
    free: list[float] = field(default_factory=list)
    ends: list[tuple[float, int]] = field(default_factory=list)
    count: int = 0
    most: int = 0
    waits: int = 0
    busy: float = 0.0

    def __post_init__(self) -> None:
        self.free = [0.0] * self.workers

    def clock(self) -> float:
        """Simulated seconds: those of tasks, moved on by the CPU time the driver took since it last looked."""
        cpu = time.process_time()
        self.now, self.busy = self.now + cpu - self.started, self.busy + cpu - self.started
        self.started = cpu
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds
        self.busy += seconds

    def submit(self, work: Any) -> int:
        self.spend(self.task_cost)
        begins = max(heapq.heappop(self.free), self.clock())
        ends = begins + self.durations()
        heapq.heappush(self.free, ends)
        heapq.heappush(self.ends, (ends, self.count))
        self.count += 1
        return self.count - 1

    def wait(self, references: list[int], enough: int) -> list[int]:
        self.most = max(self.most, len(references))
        self.waits += 1
        self.spend(self.wait_cost * len(references) / 10_000)
        self.now = max(self.clock(), heapq.nsmallest(enough, self.ends)[-1][0])
        done = []
        while self.ends and self.ends[0][0] <= self.now:
            done.append(heapq.heappop(self.ends)[1])
        return done

    def collect(self, reference: int, work: Any) -> Outcome[Any, str]:
        return Outcome(work, "done")

    def cancel(self, reference: int) -> None:
        raise AssertionError("nothing is left when all is done")


def simulate(
    shards: int = 1_000_000,
    workers: int = 10_000,
    seconds: float = 60.0,
    task_cost: float = 0.00124,
    wait_cost: float = 0.006,
) -> None:
    """Plan a million shards from nothing and drive them through the runner's window.

    Args:
        shards: How many.
        workers: CPUs of the simulated cluster.
        seconds: Mean of a shard's time; times are log-normal with a standard deviation of half of it.
        task_cost: Driver seconds a task, as `driver` measures them.
        wait_cost: Driver seconds of a wait for 10,000 tasks in flight.
    """
    watch, rng = Stopwatch(), np.random.default_rng(0)
    sigma = np.sqrt(np.log(1.25))
    drawn = rng.lognormal(np.log(seconds) - sigma**2 / 2, sigma, shards)
    times = iter(drawn.tolist())
    options = RenderOptions(frames=64)
    with watch.step(f"plan {shards} shards from nothing"):
        work = plan_renders("out", EMPTY, shards, options, "fast")
    cluster = Simulated(workers, times.__next__, task_cost, wait_cost)
    with watch.step(f"the runner's loop, {workers} workers"):
        done = sum(outcome.result is not None for outcome in windowed(cluster, work, 2 * workers))
    assert done == shards
    ideal = drawn.sum() / workers
    print(
        f"{done} shards of {seconds:g} s: {cluster.now:.0f} s, {ideal / cluster.now:.1%} of what {workers} could"
    )
    print(
        f"driver busy {cluster.busy:.0f} s ({cluster.busy / cluster.now:.1%}), {cluster.waits} waits,",
        end=" ",
    )
    print(f"at most {cluster.most} in flight; it could feed {shards / cluster.busy:.0f} shards/s,", end=" ")
    print(f"{shards / cluster.busy * seconds:.0f} workers")


if __name__ == "__main__":
    if SINGLE_THREADED.items() - os.environ.items():
        os.environ.update(SINGLE_THREADED)
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.scaling", *sys.argv[1:]])
    tyro.extras.subcommand_cli_from_dict(
        {
            "workers": workers,
            "once": once,
            "driver": driver,
            "plan": plan,
            "replan": replan,
            "label": label,
            "relabel": relabel,
            "simulate": simulate,
        }
    )
