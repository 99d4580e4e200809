"""What the outer world does to a long job, done to it: the rest goes on, nothing is lost, a sentence says why."""

import json
import os
import random
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from freelabels.cli.main import main
from freelabels.pipeline.quality.verify import verify
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.work.progress import Reporter
from tests.pipeline.stages.test_label import contents, run
from tests.preloaded import Programs
from tests.sources import write_photos

ROOT = Path(__file__).parents[3]
QUIET = Reporter("quiet")
LABELS = ["regions", "edges"]
COMMAND = ["--labels", *LABELS, "--size", "64", "--shard-frames", "1", "--workers", "0"]

# Items of a stage that go wrong in every way; the runner's outcome for each is printed.
TROUBLE = """
    import ctypes, json, os, sys, time
    import psutil

    root, workers, *items = sys.argv[1:]
    if "eats" in items:  # Ray's monitor looks at the whole machine: it would end other items as well
        memory = psutil.virtual_memory()
        os.environ["RAY_memory_usage_threshold"] = f"{1 - memory.available / memory.total + 0.1:.3f}"
        os.environ["RAY_memory_monitor_refresh_ms"] = "50"
    sys.path.insert(0, root)
    from freelabels.pipeline.work.runner import Cluster, run

    def work(item):
        if item == "hangs":
            ctypes.CDLL(None).sleep(1000)  # in native code, where no exception can reach it
        if item == "eats":
            held = []
            while len(held) * (100 << 20) < psutil.virtual_memory().total * 0.3:
                held.append(b"x" * (100 << 20))
                time.sleep(0.01)
            time.sleep(60)
        if item == "crashes":
            os.abort()
        if item == "asks too much":
            bytearray(1 << 50)
        if item == "fails":
            raise ArithmeticError("no good")
        return item.upper()

    cluster = Cluster(workers=int(workers), memory=1 << 20, attempts=2, seconds=2)
    for outcome in run(work, items, str, cluster):
        print(json.dumps([outcome.work, outcome.result, outcome.error]), flush=True)
"""


def trouble(programs: Programs, tmp_path: Path, workers: int, *items: str) -> tuple[set[str], dict[str, str]]:
    """Run items on Ray; returns those that came out well, and the sentence of each that did not."""
    script = tmp_path / "trouble.py"
    script.write_text(textwrap.dedent(TROUBLE))
    done = programs.run(script, ROOT, workers, *items, timeout=270)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert {item for item, _, _ in lines} == set(items), done.stderr
    return {item for item, result, _ in lines if result}, {item: error for item, _, error in lines if error}


@pytest.mark.ray
@pytest.mark.kill
@pytest.mark.timeout(280)
def test_what_goes_wrong_with_one_item_costs_that_item(tmp_path: Path, programs: Programs) -> None:
    well, errors = trouble(
        programs, tmp_path, 2, "fine", "hangs", "crashes", "asks too much", "fails", "fine too"
    )
    assert well == {"fine", "fine too"}
    assert errors["hangs"] == "its worker died 2 times (a native library crashed, or took longer than 2 s)"
    assert errors["crashes"].startswith("its worker died 2 times (a native library crashed")
    assert errors["asks too much"] == "MemoryError"
    assert errors["fails"] == "ArithmeticError: no good"


@pytest.mark.ray
@pytest.mark.kill
@pytest.mark.timeout(280)
def test_an_item_that_eats_the_memory_costs_itself(tmp_path: Path, programs: Programs) -> None:
    well, errors = trouble(programs, tmp_path, 1, "fine", "eats", "fine too")
    assert well == {"fine", "fine too"}
    # Ended by Ray's memory monitor, or by its time limit where memory grows too slowly to be noticed.
    assert errors["eats"].startswith(("ran out of memory; raise --memory", "its worker died 2 times"))


# --- the disk ---------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which can be made read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place]
    mount = subprocess.run(command, capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"no right to mount a file system here ({mount.stderr.strip()})")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def freelabels_label(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["label", *map(str, arguments), *COMMAND])
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.mark.kill
def test_a_disk_that_becomes_read_only(
    disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = write_photos(tmp_path / "photos", 3), disk / "out"
    assert freelabels_label(*photos[:2], "--out", out) == 0
    before = contents(out)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    capsys.readouterr()
    assert freelabels_label(*photos, "--out", out) == 2
    said = capsys.readouterr().err.splitlines()
    [sentence] = [line for line in said if line.startswith("freelabels: ")]
    assert sentence.startswith(f"freelabels: can't write to {out} (Read-only file system)")
    assert contents(out) == before
    assert verify(out, reporter=QUIET).problems == ()  # reading goes on
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert freelabels_label(*photos, "--out", out) == 0
    assert contents(out).items() > before.items()
    assert len(Dataset(out).shards()) == 3


# --- two drivers, a wrong clock ---------------------------------------------------------------------------------


@pytest.mark.ray
@pytest.mark.kill
def test_two_drivers_on_one_output_by_mistake(tmp_path: Path, programs: Programs) -> None:
    write_photos(tmp_path / "photos", 9)
    run([tmp_path / "photos"], tmp_path / "alone", labels=LABELS, shard_frames=1)
    out = tmp_path / "out"
    command = ("-m", "freelabels", "label", tmp_path / "photos", "--out", out, *COMMAND)
    drivers = [programs.start(*command) for _ in range(2)]
    for driver in drivers:
        _, errors = driver.communicate(timeout=200)
        assert driver.returncode == 0, errors
    assert contents(out) == contents(tmp_path / "alone")
    assert (out / "zarr.json").read_bytes() == (tmp_path / "alone" / "zarr.json").read_bytes()
    assert [p.name for p in out.iterdir() if p.name.startswith(".tmp-")] == []
    assert verify(out, reporter=QUIET).problems == ()


def test_a_clock_that_was_set_back_changes_nothing(tmp_path: Path) -> None:
    """Files of the dataset and its sources from the future, from 1970 and in any order."""
    photos = write_photos(tmp_path / "photos", 4)
    out = tmp_path / "out"
    run(photos[:3], out, labels=LABELS, shard_frames=1)
    before = contents(out)
    rng = random.Random(0)
    for path in sorted([*tmp_path.rglob("*")], key=lambda _: rng.random()):
        os.utime(path, ns=(0, rng.choice([0, rng.randrange(4_000_000_000_000_000_000)])))
    assert run(photos[:3], out, labels=LABELS, shard_frames=1).made == 0
    assert contents(out) == before
    assert verify(out, reporter=QUIET).problems == ()
    summary = run(photos, out, labels=LABELS, shard_frames=1)
    assert summary.made == 1 and contents(out).items() > before.items()
    shutil.rmtree(out)
    run(photos[:3], out, labels=LABELS, shard_frames=1)
    assert contents(out) == before
