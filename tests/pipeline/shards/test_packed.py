"""Packed shards: one object a commit, whole or absent, read like any other, refused by who doesn't know them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray
import zarr

from freelabels.ground import faults
from freelabels.ground.errors import CorruptShard, UserError
from freelabels.pipeline.quality.verify import verify
from freelabels.pipeline.shards import record as records
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.storage import packed
from freelabels.pipeline.work.progress import Reporter
from tests.object_store import Proxy
from tests.pipeline.shards.test_s3 import root, server, through  # noqa: F401, fixtures
from tests.pipeline.shards.test_shards import CLIPS, HEIGHT, ROWS, WIDTH, some_columns

QUIET = Reporter("quiet")
EDGES = np.ones((ROWS, HEIGHT, WIDTH), np.uint8)


def columns_of(seed: int = 0) -> dict[str, np.ndarray]:
    columns = some_columns(seed)
    columns["flow_confidence"][-1] = 0  # where there is no flow
    return columns


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "data", {"size": [HEIGHT, WIDTH]}, "packed")


def commit(dataset: Dataset, columns: dict[str, np.ndarray] | None = None, **options: Any) -> str:
    columns = columns_of() if columns is None else columns
    made_by = {name: {"generator": "test", "version": options.pop("version", 1)} for name in columns}
    return commit_shard(dataset, options.pop("shard", "video-1"), columns, CLIPS, made_by, **options)


def packs(dataset: Dataset) -> list[str]:
    return dataset.place.files("shards")


def test_a_commit_is_one_object_and_a_column_added_later_another(dataset: Dataset) -> None:
    first = dataset.open(commit(dataset))
    path = Path(dataset.path) / "shards" / "-1" / "video-1.0.pack"
    assert [str(p) for p in Path(dataset.path).rglob("*") if p.is_file()] == [
        str(Path(dataset.path) / "zarr.json"),
        str(path),
    ]
    before = path.read_bytes()
    second = dataset.open(commit(dataset, {"edges": EDGES}, base=first))
    assert packs(dataset) == ["-1/video-1.0.pack", "-1/video-1.1.pack"] and path.read_bytes() == before
    assert path.with_name("video-1.1.pack").stat().st_size < 10_000 + len(second.group) * EDGES.nbytes
    assert dataset.shards() == ["video-1.1"] and dataset.superseded() == []
    for name, values in {**columns_of(), "edges": EDGES}.items():
        np.testing.assert_array_equal(second.read_rows(name), values)
        np.testing.assert_array_equal(second.read(name, 3), values[3])


def test_what_no_revision_uses_any_more_goes(dataset: Dataset) -> None:
    first = dataset.open(commit(dataset))
    second = dataset.open(commit(dataset, {"edges": EDGES}, base=first))
    third = dataset.open(commit(dataset, {"edges": EDGES * 2}, base=second, version=2))
    assert packs(dataset) == ["-1/video-1.0.pack", "-1/video-1.2.pack"]  # edges of the second were all it had
    images = {"image": columns_of(1)["image"]}
    commit(dataset, images, base=third, version=2)  # none of the others fits other images
    assert packs(dataset) == ["-1/video-1.3.pack"]


def test_what_a_kill_left_of_former_revisions_is_found(dataset: Dataset) -> None:
    first = dataset.open(commit(dataset))
    second = dataset.open(commit(dataset, {"edges": EDGES}, base=first))
    commit(dataset, {"edges": EDGES * 2}, base=second, version=2, retire=lambda name: None)
    assert dataset.superseded() == ["video-1.1"]
    dataset.storage.drop("video-1.1")
    assert packs(dataset) == ["-1/video-1.0.pack", "-1/video-1.2.pack"] and dataset.superseded() == []
    assert verify(dataset.path, reporter=QUIET).problems == ()


def interrupted(monkeypatch: pytest.MonkeyPatch, point: str, work: Callable[[], object]) -> None:
    """At a named point, once, something else is done."""

    def trouble(reached: str) -> None:
        if reached == point:
            monkeypatch.setattr(faults, "trouble", lambda _: None)
            work()

    monkeypatch.setattr(faults, "trouble", trouble)


def test_a_writer_that_stood_still_never_wins_with_parts_that_are_gone(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is about to add a column, others replace the images twice, so that its revision's name is free."""
    first = dataset.open(commit(dataset))

    def others() -> None:
        for version in (2, 3):
            base = Dataset(dataset.path).newest("video-1")
            commit(dataset, columns_of(version), base=base, version=version)
        assert packs(dataset) == ["-1/video-1.2.pack"]

    interrupted(monkeypatch, "pack: made", others)
    name = commit(dataset, {"edges": EDGES}, base=first)
    shard = dataset.open(name)
    assert dataset.shards() == [name] == ["video-1.3"] and "edges" in shard.fields
    np.testing.assert_array_equal(shard.read_rows("image"), columns_of(3)["image"])
    assert dataset.superseded() == ["video-1.1"] or dataset.superseded() == []
    assert verify(dataset.path, reporter=QUIET).problems == ()


def test_a_shard_taken_out_meanwhile_does_not_come_back_in_part(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dataset.open(commit(dataset))
    interrupted(monkeypatch, "pack: made", lambda: dataset.storage.drop(first.name))
    with pytest.raises(CorruptShard, match="files of it are missing"):
        commit(dataset, {"edges": EDGES}, base=first)
    assert packs(dataset) == []


def test_files_are_never_looked_for_in_another_pack_of_the_name(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = dataset.open(commit(dataset))
    dataset.storage.drop(shard.name)
    commit(dataset, columns_of(1))
    monkeypatch.setattr(packed, "REMEMBERED", 0)
    shard.storage.record(shard.name)  # as a reader that has seen many others since
    with pytest.raises(CorruptShard, match="its file is missing"):
        shard.read_rows("image")


def test_every_flipped_bit_of_an_index_is_refused(dataset: Dataset) -> None:
    name = commit(dataset, base=None)
    second = commit(dataset, {"edges": EDGES}, base=dataset.open(name))
    path = Path(dataset.path) / "shards" / "-1" / f"{second}.pack"
    sound = path.read_bytes()
    end = sound.index(b"\n") + 1
    written = {**columns_of(), "edges": EDGES}
    rng = np.random.default_rng(0)
    for position in {0, 1, end - 1, *rng.integers(0, end, 60).tolist()}:
        path.write_bytes(
            sound[:position] + bytes([sound[position] ^ (1 << int(rng.integers(8)))]) + sound[position + 1 :]
        )
        assert verify(dataset.path, reporter=QUIET).problems, position
        for column, values in written.items():
            try:
                read = Dataset(dataset.path).open(second).read_rows(column)
            except CorruptShard:
                continue
            np.testing.assert_array_equal(read, values)


def test_a_pack_that_is_cut_short_is_an_error(dataset: Dataset) -> None:
    name = commit(dataset)
    path = Path(dataset.path) / "shards" / "-1" / f"{name}.pack"
    sound = path.read_bytes()
    for length in (0, 9, len(sound) // 2, len(sound) - 4000):
        path.write_bytes(sound[:length])
        problems = verify(dataset.path, reporter=QUIET).problems
        assert problems and not any(problem.unread for problem in problems), length
        with pytest.raises(CorruptShard, match=name):
            Dataset(dataset.path).open(name).read_rows("time" if length > 9 else "image")
    path.unlink()
    assert dataset.shards() == []


def test_bytes_behind_the_end_of_a_pack_are_named(dataset: Dataset) -> None:
    first = commit(dataset)
    second = commit(dataset, {"edges": EDGES}, base=dataset.open(first))
    assert verify(dataset.path, reporter=QUIET).problems == ()
    for name in (first, second):  # a revision lies in its own pack and in that of the one before
        path = Path(dataset.path) / "shards" / "-1" / f"{name}.pack"
        sound = path.read_bytes()
        path.write_bytes(sound + b"\0")
        [problem] = verify(dataset.path, reporter=QUIET).problems
        assert (problem.shard, problem.unread) == (second, False)
        assert str(problem).endswith(f"bytes behind the last file of shards/-1/{name}.pack")
        path.write_bytes(sound)
    path.write_bytes(b"nonsense" + sound)
    assert verify(dataset.path, reporter=QUIET).problems


@pytest.mark.parametrize("head", [1, 600, 5000])
def test_a_record_longer_than_the_first_read_is_read(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, head: int
) -> None:
    name = commit(dataset)
    monkeypatch.setattr(packed, "HEAD", head)
    shard = Dataset(dataset.path).open(name)
    np.testing.assert_array_equal(shard.read_rows("image"), columns_of()["image"])
    assert [one.name for one in Dataset(dataset.path).open_all([name])] == [name]


def test_the_layout_is_the_datasets_and_no_other(dataset: Dataset, tmp_path: Path) -> None:
    assert (
        Dataset(dataset.path).layout == "packed"
        and "layout" not in Dataset.create(tmp_path / "b", {}).attributes
    )
    assert Dataset.create(dataset.path, {}).layout == "packed"  # goes on as it was begun
    with pytest.raises(UserError, match="was begun with layout packed, not folders"):
        Dataset.create(dataset.path, {}, "folders")
    with pytest.raises(UserError, match="was begun with layout folders, not packed"):
        Dataset.create(tmp_path / "b", {}, "packed")
    with pytest.raises(UserError, match="--layout is one of folders, packed, not 'zipped'"):
        Dataset.create(tmp_path / "c", {}, "zipped")
    assert Dataset.create("memory://packed-by-default", {}).layout == "packed"


def test_who_knows_the_schema_before_alone_refuses_it_in_a_sentence(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(dataset)
    assert (
        json.loads((Path(dataset.path) / "zarr.json").read_bytes())["attributes"]["freelabels"]["schema"] == 3
    )
    monkeypatch.setattr(records, "SCHEMA", 2)
    with pytest.raises(UserError, match=r"newer version \(schema 3, this one reads 2\); update freelabels"):
        _ = Dataset(dataset.path).attributes


def test_a_dataset_whose_record_is_damaged_is_still_seen_to_be_packed_and_mended(dataset: Dataset) -> None:
    commit(dataset)
    path = Path(dataset.path) / "zarr.json"
    sound = path.read_bytes()
    path.write_bytes(b"nonsense")
    assert verify(dataset.path, repair=True, reporter=QUIET).repaired == 1
    assert path.read_bytes() == sound and Dataset(dataset.path).shards() == ["video-1.0"]


@pytest.fixture(params=["folder", "store"])
def placed(request: pytest.FixtureRequest, dataset: Dataset) -> Iterator[Dataset]:
    if request.param == "folder":
        return dataset
    return Dataset.create(request.getfixturevalue("root"), {"size": [HEIGHT, WIDTH]})


@pytest.mark.slow
def test_other_zarr_readers_open_a_shard(placed: Dataset) -> None:
    first = placed.open(commit(placed))
    second = placed.open(commit(placed, {"edges": EDGES}, base=first))
    remote = "s3" if str(placed.path).startswith("s3") else "file"
    system = fsspec.filesystem(
        "reference",
        fo=second.references(),
        remote_protocol=remote,
        remote_options={"asynchronous": True} if remote == "s3" else {},
        asynchronous=True,
        skip_instance_cache=True,
    )
    store = zarr.storage.FsspecStore(system, read_only=True)
    group = zarr.open_group(store, mode="r")
    table = xarray.open_zarr(store)
    for name, values in {**columns_of(), "edges": EDGES}.items():
        np.testing.assert_array_equal(group[name][:], values)
        np.testing.assert_array_equal(table[name].values, values)


@pytest.mark.slow
def test_a_commit_is_one_put_and_a_frame_one_ranged_read(
    root: str,  # noqa: F811
    server: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = Dataset.create(root, {"size": [HEIGHT, WIDTH]})
    with Proxy(server) as proxy:
        through(proxy, monkeypatch)
        writer = Dataset(root)
        assert writer.shards() == []  # knows the layout, and is connected
        proxy.requests.clear()
        name = commit(writer)
        assert proxy.requests == {"PUT": 1}
        shard = Dataset(root).open(name)
        shard.read("image", 2)  # its index, and a frame
        proxy.requests.clear()
        shard.read("image", 0)
        assert proxy.requests == {"GET": 1}
    assert len(packs(dataset)) == 1
