"""Kill a worker, then the driver, at random moments: the next run ends with the bytes of an undisturbed one."""

import contextlib
import random
import threading
import time
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from freelabels.ground.errors import CorruptShard
from freelabels.pipeline.quality.verify import VerifyWork, verify, verify_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.stages.render import RenderOptions, render
from freelabels.pipeline.stages.render_inputs import load_ranges
from freelabels.pipeline.storage.local import LocalStorage
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from tests.pipeline.stages.test_label import contents, run
from tests.preloaded import Programs, Running
from tests.sources import moving_frames, write_photos, write_video

OPTIONS = ["--size", "64", "--shard-frames", "2", "--clip-length", "2"]


def assert_leaves_nothing(out: Path) -> None:
    """What the dead have left goes when it is old, as if it were so now."""
    LocalStorage(out, abandoned=timedelta(0)).sweep()
    assert [p.name for p in out.iterdir() if p.name.startswith(".tmp-")] == []


class Watcher(threading.Thread):
    """Opens and wholly checks every shard as soon as it can be seen."""

    def __init__(self, out: Path) -> None:
        super().__init__(daemon=True)
        self.out, self.seen, self.bad, self.stop = out, set[str](), list[str](), False

    def run(self) -> None:
        while not self.stop:
            self.look()
            time.sleep(0.02)
        self.look()

    def look(self) -> None:
        for name in Dataset(self.out).shards() if (self.out / "zarr.json").exists() else []:
            if name not in self.seen:
                self.seen.add(name)
                self.bad += [str(p) for p in verify_shard(VerifyWork(str(self.out), name)).problems]


def wait_for(condition: object, driver: Running | None = None, seconds: float = 250) -> None:
    """Wait until something is so; if a program that must not end before ends, fail with what it said."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert driver is None or driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def workers_of(driver: Running) -> list[psutil.Process]:
    family = psutil.Process(driver.pid).children(recursive=True)
    found = []
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):  # one that ends meanwhile
            if process.name().startswith("ray::label"):
                found.append(process)
    return found


@pytest.mark.ray
@pytest.mark.kill
@pytest.mark.timeout(280)
def test_killed_at_random_moments_the_same_bytes_in_the_end(tmp_path: Path, programs: Programs) -> None:
    sources = tmp_path / "sources"
    write_photos(sources / "photos", 16)
    write_video(sources / "clip.mp4", moving_frames(16))
    undisturbed = tmp_path / "undisturbed"
    summary = run([sources], undisturbed, shard_frames=2, options=_clip_length(2), cluster=Cluster(workers=0))
    assert summary.complete and summary.shards == 16
    out = tmp_path / "out"
    watcher = Watcher(out)
    watcher.start()
    rng = random.Random()

    command = ("-m", "freelabels", "label", sources, "--out", out, *OPTIONS)
    driver = programs.start(*command, "--workers", "2")
    wait_for(lambda: len(watcher.seen) >= 1 and workers_of(driver), driver)
    time.sleep(rng.random() * 0.3)
    for worker in workers_of(driver)[:1]:
        worker.kill()
    more = len(watcher.seen) + 2
    wait_for(lambda: len(watcher.seen) >= more or driver.poll() is not None)
    time.sleep(rng.random() * 0.2)
    driver.kill()
    driver.wait()
    survivors = contents(out)

    again = programs.run(*command, "--workers", "0", timeout=200)  # without Ray, which takes longer to start
    watcher.stop = True
    watcher.join()
    assert again.returncode == 0, again.stderr
    assert contents(out) == contents(undisturbed)
    assert contents(out).items() >= survivors.items()
    assert_leaves_nothing(out)
    assert watcher.bad == [] and len(watcher.seen) == 16
    assert verify(out, reporter=Reporter("quiet")).problems == ()


RENDER = ["--frames", "33", "--size", "16", "--seed", "3"]  # a clip of 33 frames is a shard of its own
RANGES = "objects = [1, 2]\nclutter = [0, 0]\nattempts = 1\ngroups.primitive = 1\nfamilies.table = 1\n"


@pytest.mark.ray
@pytest.mark.kill
@pytest.mark.renders
@pytest.mark.timeout(280)
def test_a_render_that_is_killed_and_resumed_with_other_workers_has_the_same_bytes(
    tmp_path: Path, programs: Programs
) -> None:
    ranges = tmp_path / "ranges.toml"
    ranges.write_text(RANGES)
    options = RenderOptions(seed=3, frames=33, size=(16, 16), ranges=load_ranges(str(ranges)))
    undisturbed = tmp_path / "undisturbed"
    render(undisturbed, 4, options, cluster=Cluster(workers=0), reporter=Reporter("quiet"))
    out = tmp_path / "out"
    command = ("-m", "freelabels", "render", "--out", out, "--clips", "4", "--ranges", ranges, *RENDER)
    driver = programs.start(*command, "--workers", "2")
    wait_for(lambda: out.exists() and Dataset(out).shards(), driver)
    time.sleep(random.random() * 0.2)
    driver.kill()
    driver.wait()
    survivors = contents(out)
    assert survivors and survivors.items() <= contents(undisturbed).items()
    again = programs.run(*command, "--workers", "0", timeout=200)
    assert again.returncode == 0, again.stderr
    assert contents(out) == contents(undisturbed)
    assert_leaves_nothing(out)


def _clip_length(frames: int) -> object:
    from freelabels.pipeline.sources.clip_specs import SourceOptions

    return SourceOptions(clip_length=frames)


def test_a_reader_of_a_replaced_revision_is_told(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2)
    out = tmp_path / "out"
    run([tmp_path / "photos"], out, labels=["regions"])
    [name] = Dataset(out).shards()
    old = Dataset(out).open(name)
    run([tmp_path / "photos"], out)
    with pytest.raises(CorruptShard, match="missing"):
        old.read("image", 0)
