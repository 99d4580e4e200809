"""Raised, killed and paused at every named point while a second process works: the same bytes in the end."""

import contextlib
import gc
import hashlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from fsspec.core import url_to_fs

from freelabels.generators.contract.clip import Clip
from freelabels.generators.edges import ContourEdges
from freelabels.ground import faults
from freelabels.ground.errors import UserError
from freelabels.pipeline.quality.verify import verify
from freelabels.pipeline.shards.dataset import INDEX, SCAN_CACHE, Dataset
from freelabels.pipeline.shards.quarantine import empty
from freelabels.pipeline.storage.local import ABANDONED
from freelabels.pipeline.work.progress import Reporter
from freelabels.train.run.checkpoint import load, save
from tests.pipeline.shards.test_s3 import change_file
from tests.pipeline.stages.test_label import run
from tests.sources import write_photos

QUIET = Reporter("quiet")
GUARANTEES = Path(__file__).parents[3] / "docs" / "guarantees.md"
ACTIONS = ("raise", "kill", "pause")
HOW = {"size": (16, 16), "shard_frames": 1}


@pytest.fixture(scope="module", autouse=True)
def edges_at_once() -> Iterator[None]:
    """Edges of the next best bytes: finding them took a fifth of the time, and is nothing that fails here."""

    def look(_: ContourEdges, clip: Clip) -> dict[str, np.ndarray]:
        return {"edges": clip.image[..., 0].copy(), "edges_confidence": clip.image[..., 1].copy()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ContourEdges, "__call__", look)
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 3)
    return folder


@pytest.fixture(scope="module", params=["folders", "packed"])
def hurt(photos: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A dataset in need of everything: a broken column, shard and record, leftovers, sources touched since."""
    root = tmp_path_factory.mktemp("hurt") / request.param
    data = root / "data"
    for photo in photos.iterdir():
        os.utime(photo, (9, 9))
    run([photos], data, labels=["regions"], layout=request.param, **HOW)
    spoil(Dataset(data))
    (data / ".tmp-left").mkdir()
    os.utime(data / ".tmp-left", (0, (data / ".tmp-left").stat().st_mtime - ABANDONED.total_seconds() - 9))
    for photo in photos.iterdir():
        os.utime(photo, (0, 0))
    return root


def spoil(dataset: Dataset) -> None:
    """Change the last bytes of a column, of a shard's record and of the dataset's own."""
    one, two, _ = dataset.shards()
    for shard, file in ((one, "regions/c/0/0/0"), (two, "zarr.json")):
        change_file(dataset, shard, file, lambda sound: sound[:-3] + b"???")
    dataset.place.write("zarr.json", dataset.place.read("zarr.json")[:-3])


def everything(root: Path, photos: Path, place: str = "") -> None:
    """Repair, complete, begin, empty the quarantine, save a checkpoint: what passes all points.

    place: of the datasets, if that is not the folder `root` of the checkpoint.
    """
    place, layout = place or str(root), root.name
    verify(f"{place}/data", repair=True, reporter=QUIET)
    run([photos], f"{place}/data", labels=["regions", "edges"], layout=layout, **HOW)
    run([photos], f"{place}/new", labels=["regions"], layout=layout, **HOW)
    empty(Dataset(f"{place}/data"))
    save(root / "checkpoint.pt", {"step": 7, "weights": torch.ones(3)})


def process(work: Callable[[], object]) -> int:
    """Run something in a process of its own; returns its number. It ends with 0 if all went well."""
    child = os.fork()
    if child:
        return child
    gc.freeze()  # a collection would copy all that the process has loaded
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


def in_the_end(root: Path, place: str = "") -> dict[str, str]:
    """All that counts of what was made, and that nothing else is there."""
    found = {}
    for name in ("data", "new"):
        dataset = Dataset(f"{place or root}/{name}")
        replace(dataset.place, abandoned=timedelta(0)).sweep()
        assert verify(dataset.path, reporter=QUIET).problems == ()
        assert len(dataset.shards()) == 3 and dataset.superseded() == []
        beside = {path.partition("/")[0] for path in dataset.place.files("") if path.startswith(".")}
        assert beside <= {SCAN_CACHE, INDEX, ".commits", ".clock"}
        found[name] = dataset.place.read("zarr.json").decode()
        for shard in map(dataset.open, dataset.shards()):
            for file in dataset.storage.files(shard.place):
                if file != "zarr.json":
                    data = dataset.storage.read(f"{shard.place}/{file}")
                    found[f"{name}/{shard.id}/{file}"] = hashlib.sha256(data).hexdigest()
    assert load(root / "checkpoint.pt")["step"] == 7
    return found


@pytest.fixture(scope="module")
def undisturbed(hurt: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = shutil.copytree(hurt, tmp_path_factory.mktemp("undisturbed") / hurt.name)
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faults, "trouble", seen.append)
        everything(root, photos)
    assert set(seen) == set(faults.POINTS[hurt.name])
    return in_the_end(root)


def test_the_points_are_those_of_the_document() -> None:
    section = GUARANTEES.read_text().partition("## Named fault points")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    every = {point: done for points in faults.POINTS.values() for point, done in points.items()}
    wanted = [
        [point, done, *("×" if point in points else "–" for points in faults.POINTS.values())]
        for point, done in every.items()
    ]
    assert rows[0][2:] == list(faults.POINTS) and rows[2:] == wanted


@pytest.mark.kill
@pytest.mark.slow
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("hurt", "point"),
    [(layout, point) for layout in ("folders", "packed") for point in faults.POINTS[layout]],
    indirect=["hurt"],
    scope="module",
)
def test_the_same_bytes_in_the_end(
    hurt: Path, photos: Path, undisturbed: dict[str, str], tmp_path: Path, point: str, action: str
) -> None:
    root = shutil.copytree(hurt, tmp_path / hurt.name)
    sys.stdout.flush()
    first = process(lambda: stopping_at(root, photos, point, action))
    _, status = os.waitpid(first, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"{point} was not reached"
    if action != "pause":
        os.kill(first, signal.SIGKILL if action == "kill" else signal.SIGCONT)
    with contextlib.suppress(Exception):  # it may meet the first one's work half done
        everything(root, photos)
    if action == "pause":
        os.kill(first, signal.SIGCONT)  # it stood still while the second did all its work
    assert end_of(first) in {"raise": (0, 1), "kill": (-signal.SIGKILL,), "pause": (0, 1)}[action]
    everything(root, photos)
    assert in_the_end(root) == undisturbed


# --- in an object store ---------------------------------------------------------------------------------------

ONLY_THERE = {
    kind: sorted(points.keys() - faults.COMMON.keys())
    for kind, points in faults.POINTS.items()
    if kind.endswith("in a store")
}


class Killed(BaseException):
    """What nothing catches, as nothing does a kill: a store's code has nothing to clean up on the way."""


@pytest.fixture
def store(request: pytest.FixtureRequest, photos: Path, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A hurt dataset in a store in memory, and a folder for what lies beside it."""
    root = tmp_path / request.param.partition(" ")[0]
    root.mkdir()
    place = f"memory://{tmp_path.name}"
    run([photos], f"{place}/data", labels=["regions"], layout=root.name, **HOW)
    if root.name == "packed":
        spoil(Dataset(f"{place}/data"))
    else:
        one, two, _ = Dataset(f"{place}/data").shards()
        change_file(Dataset(f"{place}/data"), one, "regions/c/0/0/0", lambda sound: sound[:-3])
        Dataset(f"{place}/data").place.write(f".commits/{two}", b"nonsense")
    yield root, place
    forget(place)  # the more such a store holds, the longer it looks


def forget(place: str) -> None:
    system, path = url_to_fs(place)
    system.rm(path, recursive=True)


@pytest.mark.slow
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("store", "point"),
    [(kind, point) for kind in ONLY_THERE for point in ONLY_THERE[kind]],
    indirect=["store"],
)
def test_the_same_in_a_store(
    store: tuple[Path, str], photos: Path, monkeypatch: pytest.MonkeyPatch, point: str, action: str
) -> None:
    root, place = store
    seen: list[str] = []

    def trouble(reached: str) -> None:
        if reached != point or seen:
            return
        seen.append(reached)
        if action == "pause":
            everything(root, photos, place)  # a second one does all its work meanwhile
        else:
            raise OSError(5, "injected") if action == "raise" else Killed

    monkeypatch.setattr(faults, "trouble", trouble)
    with contextlib.suppress(Killed, OSError, UserError):
        everything(root, photos, place)
    assert seen == [point]
    everything(root, photos, place)
    disturbed = in_the_end(root, place)
    for name in ("data", "new"):
        forget(f"{place}/{name}")
    run([photos], f"{place}/data", labels=["regions"], layout=root.name, **HOW)
    everything(root, photos, place)
    assert in_the_end(root, place) == disturbed
