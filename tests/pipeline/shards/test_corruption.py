"""A disk that lies: every damaged byte is named by `verify`, never read as a value, and made again as it was."""

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freelabels.ground.errors import CorruptShard
from freelabels.pipeline.quality.verify import verify
from freelabels.pipeline.shards.dataset import INDEX, SCAN_CACHE, Dataset, NotADataset
from freelabels.pipeline.sources.clip_specs import SourceOptions
from freelabels.pipeline.stages.label import label
from freelabels.pipeline.stages.render import RenderOptions, render
from freelabels.pipeline.storage.local import RECORD
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.train.config import LoaderConfig
from freelabels.train.data.catalogue import read_catalogue
from freelabels.train.data.loader import Loader
from tests.pipeline.stages.test_label import contents, without_revision
from tests.sources import moving_frames, write_photos, write_video

CASES = {
    "labelled": 60,
    "rendered": 20,
}  # of each of the seven kinds of damage; a render takes long to verify
QUIET, IN_PROCESS = Reporter("quiet"), Cluster(workers=0)
LABELS = ["edges", "flow", "regions", "disparity"]
RANGES = SceneRanges(
    families={"table": 1}, objects=(2, 2), clutter=(0, 0), groups={"primitive": 1}, attempts=2
)


@dataclass(frozen=True)
class Made:
    """A small sound dataset, how to make it again, and what it holds: values[shard][column]."""

    name: str
    path: Path
    stage: Callable[[Path], Any]
    values: dict[str, dict[str, np.ndarray]]

    @property
    def files(self) -> list[Path]:
        """All files that verification answers for."""
        beside = self.path, self.path / SCAN_CACHE, self.path / INDEX
        found = sorted(p for p in self.path.rglob("*") if p.is_file() and p.parent not in beside)
        return [*found, self.path / RECORD]


def made(name: str, path: Path, stage: Callable[[Path], Any]) -> Made:
    stage(path)
    shards = [Dataset(path).open(name) for name in Dataset(path).shards()]
    return Made(name, path, stage, {s.name: {name: s.read_rows(name) for name in s.fields} for s in shards})


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two shards of photos and two of a video, two frames each."""
    sources = tmp_path_factory.mktemp("sources")
    write_photos(sources / "photos", 4)
    write_video(sources / "clip.mp4", moving_frames(4))
    options: dict[str, Any] = {"labels": LABELS, "size": (32, 32), "shard_frames": 2}
    options |= {"options": SourceOptions(clip_length=2), "cluster": IN_PROCESS, "reporter": QUIET}
    out = tmp_path_factory.mktemp("labelled") / "data"
    return made("labelled", out, lambda path: label([str(sources)], path, **options))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two shards of one clip of two frames."""
    options = RenderOptions(frames=2, size=(16, 16), ranges=RANGES)

    def stage(out: Path) -> None:
        for clips in (1, 2):
            render(out, clips, options, cluster=IN_PROCESS, reporter=QUIET)

    return made("rendered", tmp_path_factory.mktemp("rendered") / "data", stage)


@pytest.fixture(params=["labelled", pytest.param("rendered", marks=pytest.mark.renders)])
def whole(request: pytest.FixtureRequest) -> Made:
    return request.getfixturevalue(request.param)


# --- damage: each returns the new contents of the files it changes ----------------------------------------------

Changes = dict[Path, bytes | None]


def flip(rng: random.Random, files: list[Path]) -> Changes:
    path, data = _any(rng, files)
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return {path: bytes(changed)}


def zero(rng: random.Random, files: list[Path]) -> Changes:
    """A block of zeros, as a file system leaves it after a power cut."""
    path, data = _any(rng, files)
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.choice([1, 16, 512, 4096]))
    return {path: data[:start] + bytes(stop - start) + data[stop:]}


def truncate(rng: random.Random, files: list[Path]) -> Changes:
    path, data = _any(rng, files)
    return {path: data[: rng.choice([0, rng.randrange(len(data))])]}


def delete(rng: random.Random, files: list[Path]) -> Changes:
    return {rng.choice(files): None}


def extend(rng: random.Random, files: list[Path]) -> Changes:
    path, data = _any(rng, files)
    return {path: data + rng.choice([b"\0", rng.randbytes(4), data[:16]])}


def swap_bytes(rng: random.Random, files: list[Path]) -> Changes:
    path, data = _any(rng, files)
    length = rng.choice([1, 8, 64])
    a, b = sorted(rng.randrange(len(data)) for _ in range(2))
    a = min(a, max(b - length, 0))
    one, two = data[a : min(a + length, b)], data[b : b + length]
    return {path: data[:a] + two + data[a + len(one) : b] + one + data[b + len(two) :]}


def swap_files(rng: random.Random, files: list[Path]) -> Changes:
    """Two sound files change places: of the same column in two shards, or any two."""
    one = rng.choice(files)
    like = [p for p in files if p != one and p.parts[-5:] == one.parts[-5:]]
    two = rng.choice(like if like and rng.random() < 0.7 else files)
    return {one: two.read_bytes(), two: one.read_bytes()}


def _any(rng: random.Random, files: list[Path]) -> tuple[Path, bytes]:
    path = rng.choice(files)
    return path, path.read_bytes()


KINDS = [flip, zero, truncate, delete, extend, swap_bytes, swap_files]


@contextmanager
def damaged(kind: Callable[..., Changes], rng: random.Random, files: list[Path]) -> Iterator[Changes]:
    """Change something for real, give what was there, and put it back."""
    while True:
        changes = kind(rng, files)
        before: Changes = {path: path.read_bytes() for path in changes}
        if before != changes:
            break  # zeros over zeros, or files alike, are no damage
    try:
        for path, data in changes.items():
            path.unlink() if data is None else path.write_bytes(data)
        yield {path: data for path, data in before.items() if data != changes[path]}
    finally:
        for path, data in before.items():
            if path.parent.exists():
                path.write_bytes(data or b"")


def place(whole: Made, path: Path) -> tuple[str, str]:
    """(shard, column) that a file belongs to, as verification names it."""
    parts = path.relative_to(whole.path).parts
    return (RECORD, "") if len(parts) == 1 else (parts[0], "" if len(parts) == 2 else parts[1])


# --- what must hold ---------------------------------------------------------------------------------------------


def reads_right_or_raises(whole: Made, before: Changes) -> None:
    """Values that can be read are those that were written; a damaged file that is read raises."""
    hurt = [path.relative_to(whole.path).as_posix() for path in before]
    places = {place(whole, path)[0] for path in before}
    dataset = Dataset(whole.path)
    for name, columns in whole.values.items():
        try:
            shard = dataset.open(name)
        except CorruptShard:
            assert f"{name}/{RECORD}" in hurt
            continue
        for column, values in columns.items():
            try:
                if name in places:
                    read = np.stack([shard.read(column, row) for row in range(shard.rows)])
                else:
                    read = shard.read_rows(column)  # which takes less
            except CorruptShard as error:
                assert f"{name}/{column}" in str(error)
                assert any(path.startswith(f"{name}/{column}/") for path in hurt)
            else:
                assert read.dtype == values.dtype and read.tobytes() == values.tobytes(), column
                assert not any(path.startswith(f"{name}/{column}/c/") for path in hurt), column
        shard.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_named_and_never_read_as_a_value(whole: Made, kind: Callable[..., Changes]) -> None:
    rng = random.Random(kind.__name__)
    files = whole.files
    for _ in range(CASES[whole.name]):
        with damaged(kind, rng, files) as before:
            named = {(p.shard, p.column) for p in verify(whole.path, reporter=QUIET).problems}
            hurt = {place(whole, path) for path in before}
            dead = {shard for shard, column in hurt if not column}
            assert named == {(shard, column) for shard, column in hurt if not column or shard not in dead}
            reads_right_or_raises(whole, before)
    assert verify(whole.path, reporter=QUIET).problems == ()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("column", ["image", "edges", "flow"])
def test_the_loader_raises(whole: Made, kind: Callable[..., Changes], column: str) -> None:
    catalogue = read_catalogue([str(whole.path)], [], 2)
    rng = random.Random(f"{kind.__name__} {column}")
    config = LoaderConfig(size=16, frames=2, batch=4, held_out=0)
    clips = "[vr]*"  # videos and renders: a photo has no window of two frames
    files = [p for p in sorted(whole.path.glob(f"{clips}/{column}/c/**/0")) if p.is_file()]
    loader = Loader(catalogue, ("edges", "flow"), config, seed=0)
    with damaged(kind, rng, files), pytest.raises(CorruptShard, match=column):
        for _ in loader.batches(stop=4):
            pass


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_repair_and_a_rerun_restore_the_bytes(
    whole: Made, tmp_path: Path, kind: Callable[..., Changes]
) -> None:
    rng = random.Random(kind.__name__)
    places = ["*/zarr.json", "*/*/zarr.json", "*/*/c/**/0", RECORD]
    for files in places if whole.name == "labelled" else rng.sample(places, 1):
        out = Path(shutil.copytree(whole.path, tmp_path / "copy", dirs_exist_ok=True))
        found = sorted(p for p in out.glob(files) if p.is_file())
        found = found if len(found) > 1 else [*found, out / Dataset(out).shards()[0] / RECORD]
        with damaged(kind, rng, found):
            assert verify(out, repair=True, reporter=QUIET).repaired >= 1
            assert verify(out, reporter=QUIET).problems == ()
            whole.stage(out)
            assert without_revision(contents(out)) == without_revision(contents(whole.path))
            assert (out / RECORD).read_bytes() == (whole.path / RECORD).read_bytes()
        shutil.rmtree(out)


def test_a_file_that_is_not_in_the_record_is_named(whole: Made, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole.path, tmp_path / "copy"))
    name = Dataset(out).shards()[0]
    (out / name / "image/c/0/0/0/1").write_bytes(b"what zarr would show as frames")
    [problem] = verify(out, reporter=QUIET).problems
    assert problem.shard == name and "image/c/0/0/0/1" in problem.reason


def test_a_shard_under_another_name_is_named(whole: Made, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole.path, tmp_path / "copy"))
    name = Dataset(out).shards()[0]
    (out / name).rename(out / "video-0123456789abcdef.0")
    with pytest.raises(CorruptShard, match="that of another shard"):
        Dataset(out).open("video-0123456789abcdef.0")
    assert [p.shard for p in verify(out, reporter=QUIET).problems] == ["video-0123456789abcdef.0"]


def test_a_dataset_whose_record_is_gone_says_how_to_mend_it(labelled: Made, tmp_path: Path) -> None:
    out = Path(shutil.copytree(labelled.path, tmp_path / "copy"))
    (out / RECORD).unlink()
    with pytest.raises(NotADataset, match=f"freelabels verify --repair {out} "):
        labelled.stage(out)
    verify(out, repair=True, reporter=QUIET)
    assert contents(out) == contents(labelled.path)
    assert (out / RECORD).read_bytes() == (labelled.path / RECORD).read_bytes()


@pytest.mark.slow
def test_what_was_remembered_of_sources_is_forgotten_when_damaged(labelled: Made, tmp_path: Path) -> None:
    """The scan's cache decides what is decoded: a flipped digit in it must not become another frame."""
    out = Path(shutil.copytree(labelled.path, tmp_path / "copy"))
    [cache] = (out / SCAN_CACHE).iterdir()
    sound = cache.read_bytes()
    rng = random.Random(0)
    for _ in range(12):
        data = bytearray(sound)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        cache.write_bytes(bytes(data))
        labelled.stage(out)
        assert contents(out) == contents(labelled.path)
