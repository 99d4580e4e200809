"""Raised, killed and paused at every named point while a second process works: the same bytes in the end."""

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from freelabels.ground import faults
from freelabels.pipeline.quality.verify import verify
from freelabels.pipeline.shards.dataset import INDEX, SCAN_CACHE, Dataset
from freelabels.pipeline.shards.quarantine import empty
from freelabels.pipeline.storage.local import ABANDONED, LocalStorage
from freelabels.pipeline.work.progress import Reporter
from freelabels.train.run.checkpoint import load, save
from tests.pipeline.stages.test_label import contents, run, without_revision
from tests.sources import write_photos

QUIET = Reporter("quiet")
GUARANTEES = Path(__file__).parents[3] / "docs" / "guarantees.md"
ACTIONS = ("raise", "kill", "pause")
HOW = {"size": (16, 16), "shard_frames": 1}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 3)
    return folder


@pytest.fixture(scope="module")
def hurt(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in need of everything: a broken column, shard and record, leftovers, sources touched since."""
    root = tmp_path_factory.mktemp("hurt")
    data = root / "data"
    run([photos], data, labels=["regions"], **HOW)
    one, two, _ = Dataset(data).shards()
    for path in (data / one / "regions/c/0/0/0", data / two / "zarr.json", data / "zarr.json"):
        path.write_bytes(path.read_bytes()[:-3])
    (data / ".tmp-left").mkdir()
    os.utime(data / ".tmp-left", (0, (data / ".tmp-left").stat().st_mtime - ABANDONED.total_seconds() - 9))
    for photo in photos.iterdir():
        os.utime(photo, (0, 0))
    return root


def everything(root: Path, photos: Path) -> None:
    """Repair, complete, begin, empty the quarantine, save a checkpoint: what passes all points."""
    verify(root / "data", repair=True, reporter=QUIET)
    run([photos], root / "data", labels=["regions", "edges"], **HOW)
    run([photos], root / "new", labels=["regions"], **HOW)
    empty(Dataset(root / "data"))
    save(root / "checkpoint.pt", {"step": 7, "weights": torch.ones(3)})


def process(work: Callable[[], object]) -> int:
    """Run something in a process of its own; returns its number. It ends with 0 if all went well."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def end_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def stopping_at(root: Path, photos: Path, point: str, action: str) -> None:
    """All the work, but stop at the point, once; and raise when told to go on, if that is the action."""

    def trouble(reached: str) -> None:
        if reached == point:
            faults.trouble = lambda _: None
            os.kill(os.getpid(), signal.SIGSTOP)
            if action == "raise":
                raise OSError(5, "injected")

    faults.trouble = trouble
    everything(root, photos)


def in_the_end(root: Path) -> dict[str, str]:
    """All that counts of what was made, and that nothing else is there."""
    for name in ("data", "new"):
        LocalStorage(root / name, abandoned=timedelta(0)).sweep()
        assert verify(root / name, reporter=QUIET).problems == ()
        assert len(Dataset(root / name).storage.folders()) == 3
        assert {path.name for path in (root / name).glob(".*")} <= {SCAN_CACHE, INDEX, ".quarantine"}
    assert load(root / "checkpoint.pt")["step"] == 7
    made = {name: without_revision(contents(root / name)) for name in ("data", "new")}
    found = {f"{name}/{key}": value for name, files in made.items() for key, value in files.items()}
    return {key: value for key, value in found.items() if key.count("/") != 2} | {
        f"{name}/zarr.json": (root / name / "zarr.json").read_text() for name in made
    }


@pytest.fixture(scope="module")
def undisturbed(hurt: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = shutil.copytree(hurt, tmp_path_factory.mktemp("undisturbed") / "root")
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faults, "trouble", seen.append)
        everything(root, photos)
    assert set(seen) == set(faults.POINTS)
    return in_the_end(root)


def test_the_points_are_those_of_the_document() -> None:
    section = GUARANTEES.read_text().partition("## Named fault points")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    assert rows[2:] == [[point, done] for point, done in faults.POINTS.items()]


@pytest.mark.kill
@pytest.mark.slow
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("point", faults.POINTS)
def test_the_same_bytes_in_the_end(
    hurt: Path, photos: Path, undisturbed: dict[str, str], tmp_path: Path, point: str, action: str
) -> None:
    root = shutil.copytree(hurt, tmp_path / "root")
    sys.stdout.flush()
    first = process(lambda: stopping_at(root, photos, point, action))
    _, status = os.waitpid(first, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"{point} was not reached"
    second = process(lambda: everything(root, photos))
    if action == "pause":
        end_of(second)  # all its work is done while the first stands still
    os.kill(first, signal.SIGKILL if action == "kill" else signal.SIGCONT)
    assert end_of(first) in {"raise": (0, 1), "kill": (-signal.SIGKILL,), "pause": (0, 1)}[action]
    if action != "pause":
        end_of(second)
    assert end_of(process(lambda: everything(root, photos))) == 0
    assert in_the_end(root) == undisturbed
