"""What labelling costs: frames a CPU-second of every step, KiB a frame of every column, what Ray adds.

    python -m benchmarks.label [--data FOLDER] [--size 256] [--repeats 3]
    python -m benchmarks.label --before CHECKOUT --sources PATH…    the command's cost against another checkout's

The bare functions are the same stage with ``workers=0``, where the runner is a plain loop; a stopwatch sits on
each step of it. Through Ray the CPU time is that of all processes: this one and every one below it (Ray's daemons
and workers, on Linux also those that ended). Ray's own start is left out: a small run each way, not
counted, comes first, in which processes start and import what they need. Bare and Ray take turns, so that a busy
machine is busy for both; medians are printed.

Cost: about one CPU minute.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any
from unittest.mock import patch

import cv2

import freelabels.pipeline.sources.scan
import freelabels.pipeline.stages.label
import freelabels.pipeline.stages.label_shard
from benchmarks.tools.against import compare
from benchmarks.tools.command import on_one_thread, run
from benchmarks.tools.process import cpu_seconds
from freelabels.generators.contract.detector import detectors
from freelabels.generators.contract.fields import Array
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.stages.label import LabelSummary
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from tests.sources import moving_frames, write_photos, write_video

STEPS = {
    "examine": (freelabels.pipeline.sources.scan, "examine"),
    "decode": (freelabels.pipeline.stages.label_shard, "read"),
    "shard write": (freelabels.pipeline.stages.label_shard, "commit_shard"),
}


@dataclass
class Stopwatch:
    """CPU seconds and frames by step."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    frames: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def on(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, timed."""

        def timed(*arguments: Any, **options: Any) -> Any:
            started = process_time()
            result = function(*arguments, **options)
            self.seconds[step] += process_time() - started
            self.frames[step] += _frames(arguments, result)
            return result

        return timed


def _frames(arguments: tuple[Any, ...], result: Any) -> int:
    """How many frames a call was about."""
    if hasattr(result, "clips"):  # examined
        return sum(clip.frames for clip in result.clips)
    if hasattr(result, "image"):  # decoded
        return len(result)
    columns: dict[str, Array] = result if isinstance(result, dict) else arguments[2]
    return len(next(iter(columns.values())))


@contextmanager
def watched() -> Iterator[Stopwatch]:
    """A stopwatch on every step of the stage in this process."""
    watch = Stopwatch()
    with ExitStack() as stack:
        for step, (module, name) in STEPS.items():
            stack.enter_context(patch.object(module, name, watch.on(step, getattr(module, name))))
        for cls in detectors().values():
            stack.enter_context(patch.object(cls, "__call__", watch.on(cls.name, cls.__call__)))
        yield watch


def own_sources(folder: Path, photos: int, clips: int, frames: int) -> Path:
    """Photos, and clips of a camera that pans while something moves its own way."""
    write_photos(folder, photos, 160)
    for k in range(clips):
        write_video(folder / f"clip {k}.mp4", moving_frames(frames, 240, 320 - 16 * k))
    return folder


def label(source: Path, out: Path, size: int, workers: int, shard_frames: int) -> LabelSummary:
    """Label everything from nothing."""
    shutil.rmtree(out, ignore_errors=True)
    return freelabels.pipeline.stages.label.label(
        [str(source)],
        out,
        size=(size, size),
        shard_frames=shard_frames,
        cluster=Cluster(workers=workers),
        reporter=Reporter("quiet"),
    )


def kib_a_frame(out: Path) -> dict[str, float]:
    """KiB that a frame of each column takes, where there is one."""
    dataset = Dataset(out)
    size, rows = defaultdict[str, int](int), defaultdict[str, int](int)
    for shard in dataset.open_all(dataset.shards()):
        for column, about in shard.record["columns"].items():
            size[column] += sum(one["bytes"] for one in about["objects"].values())
            rows[column] += shard.rows
    return {column: size[column] / rows[column] / 1024 for column in size}


def main(
    data: Path | None = None,
    size: int = 256,
    repeats: int = 3,
    workers: int = 2,
    shard_frames: int = 8,
    before: Path | None = None,
    sources: tuple[Path, ...] = (),
) -> None:
    """Measure and print.

    Args:
        data: Folder of photos and videos; default: made from the photos inside scikit-image.
        size: Side of the frames.
        repeats: How often the whole is measured each way; medians are printed.
        workers: Tasks at a time through Ray.
        shard_frames: Frames of a shard; small, so that a small source gives all workers enough to do.
        before: Another checkout of this project; the command `label` takes turns there and here, on each source.
        sources: What --before labels, each by itself; default: two clips made as for --data.
    """
    if before is None and sources:
        raise UserError("--sources are what --before compares; give --data for the rest")
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        if before is not None:
            made = sources or sorted(own_sources(Path(folder) / "sources", 0, 2, 12).glob("*.mp4"))
            compare(before, made, size, repeats)
            return
        source, out = data or own_sources(Path(folder) / "sources", 8, 2, 12), Path(folder) / "out"
        watches, bare, ray = [], [], []
        warm = own_sources(Path(folder) / "warm", 4, 2, 4)
        for number in (0, workers):
            label(warm, out, size, number, shard_frames=1)
        for _ in range(repeats):
            with watched() as watch:
                started = process_time()  # of this process alone: Ray's daemons idle meanwhile
                summary = label(source, out, size, 0, shard_frames)
                bare.append(process_time() - started)
            watches.append(watch)
            started = cpu_seconds()
            label(source, out, size, workers, shard_frames)
            ray.append(cpu_seconds() - started)
        print(
            f"{summary.frames} frames in {summary.shards} shards at {size} × {size}, {summary.failed} failed"
        )
        print(f"{'':24}{'frames':>8}{'frames a CPU-second':>22}{'share of the stage':>20}")
        for step, frames in watches[0].frames.items():
            seconds = median(watch.seconds[step] for watch in watches)
            share = median(watch.seconds[step] / whole for watch, whole in zip(watches, bare, strict=True))
            print(f"{step:24}{frames:8}{frames / seconds:22.2f}{share:20.1%}")
        print(f"{'the stage, in a loop':24}{summary.frames:8}{summary.frames / median(bare):22.2f}")
        for column, kib in sorted(kib_a_frame(out).items(), key=lambda one: -one[1]):
            print(f"{column:24}{kib:8.2f} KiB a frame")
        more = median(a / b - 1 for a, b in zip(ray, bare, strict=True))
        print(f"{f'the stage, Ray × {workers}':24}{summary.frames:8}{summary.frames / median(ray):22.2f}")
        each = ", ".join(f"{a:.1f} against {b:.1f} s" for a, b in zip(ray, bare, strict=True))
        print(f"through Ray: {more:+.1%} CPU ({each})")


if __name__ == "__main__":
    on_one_thread()
    run(main, __doc__)
