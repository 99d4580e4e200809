"""Shards: plain zarr v3 for everyone, whole or absent, every damaged byte noticed."""

import json
import os
import subprocess
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import tensorstore
import xarray
import zarr

from freelabels.generators.contract.fields import fields
from freelabels.ground.errors import CorruptShard, UserError
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset, NotADataset
from freelabels.pipeline.storage.local import ABANDONED, STAGING, LocalStorage
from tests.preloaded import Programs

ROWS, HEIGHT, WIDTH = 5, 24, 32


def some_columns(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(ROWS, HEIGHT, WIDTH, 3))
    flow = rng.normal(size=(ROWS, HEIGHT, WIDTH, 2)).astype(np.float16)
    flow[-1] = np.nan
    return {
        "image": rng.integers(0, 256, (ROWS, HEIGHT, WIDTH, 3), dtype=np.uint8),
        "flow": flow,
        "flow_confidence": np.full((ROWS, HEIGHT, WIDTH), 255, np.uint8),
        "normals": (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).astype(np.float16),
        "depth": np.full((ROWS, HEIGHT, WIDTH), np.inf, np.float32),
        "motion": np.zeros((ROWS, HEIGHT, WIDTH), np.uint8),
        "camera_K": np.tile(np.eye(3), (ROWS, 1, 1)),
        "time": np.arange(ROWS) / 10,
    }


CLIPS = [{"rows": [0, 2], "kind": "video"}, {"rows": [2, ROWS], "kind": "video"}]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "data", {"size": [HEIGHT, WIDTH]})


def commit(dataset: Dataset, columns: dict[str, np.ndarray], **options: object) -> str:
    made_by = {name: {"generator": "test", "version": 1} for name in columns}
    return commit_shard(dataset, "video-1", columns, CLIPS, made_by, **options)


def test_what_is_written_is_read(dataset: Dataset) -> None:
    columns = some_columns()
    shard = dataset.open(commit(dataset, columns))
    assert set(shard.fields) == set(columns)
    for name, values in columns.items():
        np.testing.assert_array_equal(shard.read_rows(name), values)
        np.testing.assert_array_equal(shard.read(name, 3), values[3])
        assert shard.read(name, 3).dtype == fields().get(name, fields()["motion"]).dtype
    np.testing.assert_array_equal(shard.read_rows("image", 1, 3), columns["image"][1:3])


def test_zarr_xarray_and_tensorstore_read_the_same(dataset: Dataset) -> None:
    columns = some_columns()
    name = commit(dataset, columns)
    group = zarr.open_group(dataset.path, mode="r")[name]
    table = xarray.open_zarr(Path(dataset.path) / name)
    for field, values in columns.items():
        np.testing.assert_array_equal(group[field][:], values)
        np.testing.assert_array_equal(table[field].values, values)
        store = {"driver": "file", "path": str(Path(dataset.path) / name / field)}
        array = tensorstore.open({"driver": "zarr3", "kvstore": store}).result()
        np.testing.assert_array_equal(array.read().result(), values)
    assert table["flow"].dims == ("frame", "y", "x", "uv")
    assert table["flow"].attrs["units"] == "px"
    assert table["depth"].attrs["units"] == "m"
    assert "optical axis" in table["depth"].attrs["long_name"]


def test_how_a_column_was_made_is_said_once(dataset: Dataset) -> None:
    made_by = {"generator": "test", "version": 2, "parameters": {"ranges": {"lamps": [1, 3]}}}
    columns = {"image": some_columns()["image"]}
    name = commit_shard(dataset, "video-1", columns, CLIPS, {"image": made_by})
    assert dataset.open(name).made_by("image") == made_by
    array = zarr.open_group(dataset.path, mode="r")[name]["image"]
    assert array.attrs["made_by"] == {"generator": "test", "version": 2}
    record = (Path(dataset.path) / name / "zarr.json").read_text()
    assert record.count("lamps") == 1


def every_column() -> dict[str, np.ndarray]:
    """Some columns, and those that xarray might take for coordinates."""
    return some_columns() | {
        "part": np.arange(ROWS * HEIGHT * WIDTH, dtype=np.uint16).reshape(ROWS, HEIGHT, WIDTH),
        "part_pose": np.tile(np.eye(4), (ROWS, 1, 3, 1, 1)),
        "instance": np.ones((ROWS, HEIGHT, WIDTH), np.uint16),
    }


def test_dask_reads_frame_by_frame(dataset: Dataset) -> None:
    columns = every_column()
    table = xarray.open_zarr(Path(dataset.path) / commit(dataset, columns), chunks={"frame": 1})
    assert set(table.data_vars) == set(columns)
    assert all(isinstance(table[field].data, dask.array.Array) for field in columns)
    assert table["image"].data.numblocks[0] == ROWS
    for field, values in columns.items():
        np.testing.assert_array_equal(table[field].data.compute(scheduler="synchronous"), values)


def test_xarray_writes_them_to_netcdf(dataset: Dataset, tmp_path: Path) -> None:
    columns = every_column()
    table = xarray.open_zarr(Path(dataset.path) / commit(dataset, columns), chunks=None)
    half = [name for name in table if table[name].dtype == np.float16]
    wide = table.assign({name: table[name].astype("float32") for name in half})
    for part in (wide, *wide.variables.values()):
        part.attrs = {
            k: v if isinstance(v, str | int | float) else json.dumps(v) for k, v in part.attrs.items()
        }
    wide.to_netcdf(tmp_path / "shard.nc", engine="h5netcdf")
    with xarray.open_dataset(tmp_path / "shard.nc", engine="h5netcdf", decode_times=False) as read:
        assert set(read.data_vars) == set(columns)
        for field, values in columns.items():
            np.testing.assert_array_equal(read[field].values, values)
        assert read["flow"].dims == ("frame", "y", "x", "uv") and read["flow"].attrs["units"] == "px"


def test_xarray_writes_them_to_zarr(dataset: Dataset, tmp_path: Path) -> None:
    columns = every_column()
    table = xarray.open_zarr(Path(dataset.path) / commit(dataset, columns), chunks=None)
    table.drop_encoding().to_zarr(tmp_path / "copy.zarr")
    copy = xarray.open_zarr(tmp_path / "copy.zarr", chunks=None)
    assert set(copy.data_vars) == set(columns)
    for field, values in columns.items():
        np.testing.assert_array_equal(copy[field].values, values)
        assert copy[field].dtype == values.dtype and copy[field].dims == table[field].dims


def test_tensorstore_reads_a_part_of_a_column(dataset: Dataset) -> None:
    columns = every_column()
    name = commit(dataset, columns)
    for field, values in columns.items():
        store = {"driver": "file", "path": str(Path(dataset.path) / name / field)}
        array = tensorstore.open({"driver": "zarr3", "kvstore": store}).result()
        np.testing.assert_array_equal(array[1:3].read().result(), values[1:3])


@pytest.mark.parametrize(("field", "shuffle"), [("flow", "shuffle"), ("image", "noshuffle")])
def test_bytes_are_those_of_zarr_python(dataset: Dataset, tmp_path: Path, field: str, shuffle: str) -> None:
    values = some_columns()[field]
    name = commit(dataset, {field: values})
    theirs = zarr.create_array(
        store=tmp_path / "theirs",
        shape=values.shape,
        shards=values.shape,
        chunks=(1, *values.shape[1:]),
        dtype=values.dtype,
        filters=[zarr.codecs.TransposeCodec(order=(0, 3, 1, 2))],
        compressors=[
            zarr.codecs.BloscCodec(cname="lz4", clevel=9, shuffle=shuffle),
            zarr.codecs.Crc32cCodec(),
        ],
        config={"write_empty_chunks": True},
    )
    theirs[:] = values
    key = "c/0/0/0/0"
    assert (Path(dataset.path) / name / field / key).read_bytes() == (tmp_path / "theirs" / key).read_bytes()


def test_a_new_column_is_a_new_revision_that_shares_the_others(dataset: Dataset) -> None:
    columns = some_columns()
    first = dataset.open(commit(dataset, columns))
    inode = (Path(dataset.path) / first.name / "image/c/0/0/0/0").stat().st_ino
    edges = np.ones((ROWS, HEIGHT, WIDTH), np.uint8)
    second = dataset.open(commit(dataset, {"edges": edges}, base=first, drop=("motion",)))
    assert dataset.shards() == [second.name] and second.revision == first.revision + 1
    assert set(second.fields) == {*columns, "edges"} - {"motion"}
    np.testing.assert_array_equal(second.read_rows("edges"), edges)
    np.testing.assert_array_equal(second.read_rows("image"), columns["image"])
    assert (Path(dataset.path) / second.name / "image/c/0/0/0/0").stat().st_ino == inode


def test_the_first_of_two_attempts_stays(dataset: Dataset) -> None:
    name = commit(dataset, some_columns(0))
    assert commit(dataset, some_columns(1)) == name
    np.testing.assert_array_equal(dataset.open(name).read_rows("image"), some_columns(0)["image"])
    assert [p.name for p in Path(dataset.path).iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "delete"])
@pytest.mark.parametrize("field", ["image", "flow", "motion", "camera_K"])
def test_damage_is_an_error_never_a_value(dataset: Dataset, field: str, damage: str) -> None:
    columns = some_columns()
    name = commit(dataset, columns)
    [path] = [p for p in (Path(dataset.path) / name / field / "c").rglob("*") if p.is_file()]
    data = path.read_bytes()
    for position in (0, len(data) // 3, len(data) - 1):
        if damage == "flip":
            path.write_bytes(data[:position] + bytes([data[position] ^ 16]) + data[position + 1 :])
        elif damage == "truncate":
            path.write_bytes(data[:position])
        elif damage == "empty":
            path.write_bytes(b"")
        else:
            path.unlink(missing_ok=True)
        shard = dataset.open(name)
        with pytest.raises(CorruptShard, match=f"{name}/{field}"):
            shard.read_rows(field)
        shard.close()


def test_a_damaged_record_is_an_error(dataset: Dataset) -> None:
    name = commit(dataset, some_columns())
    path = Path(dataset.path) / name / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["freelabels"]["rows"] = ROWS - 1
    path.write_text(json.dumps(document))
    with pytest.raises(CorruptShard, match="does not match its checksum"):
        dataset.open(name)
    path.write_text("{")
    with pytest.raises(CorruptShard, match="can't be read"):
        dataset.open(name)
    path.unlink()
    with pytest.raises(CorruptShard, match="no record"):
        dataset.open(name)


def test_a_newer_schema_is_refused_by_name(dataset: Dataset) -> None:
    name = commit(dataset, some_columns())
    path = Path(dataset.path) / name / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["freelabels"]["schema"] = 99
    path.write_text(json.dumps(document))
    with pytest.raises(CorruptShard, match="newer version"):
        dataset.open(name)


def test_the_contract_is_enforced(dataset: Dataset) -> None:
    too_long = np.full((ROWS, HEIGHT, WIDTH, 3), 1, np.float16)
    with pytest.raises(ValueError, match="normals: holds vectors"):
        commit(dataset, {"normals": too_long})
    with pytest.raises(ValueError, match="dtype is float64"):
        commit(dataset, {"flow": np.zeros((ROWS, HEIGHT, WIDTH, 2))})
    with pytest.raises(ValueError, match="has 1 frames"):
        commit(dataset, {**some_columns(), "edges": np.zeros((1, HEIGHT, WIDTH), np.uint8)})
    assert dataset.shards() == []


def test_a_folder_with_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(NotADataset, match="holds something else"):
        Dataset.create(tmp_path, {})
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_dataset_keeps_the_size_it_began_with(dataset: Dataset) -> None:
    with pytest.raises(UserError, match="begun with size"):
        Dataset.create(dataset.path, {"size": [64, 64]})


@pytest.mark.kill
def test_a_writer_killed_at_any_instant_leaves_all_or_nothing(dataset: Dataset, programs: Programs) -> None:
    script = textwrap.dedent(
        """
        import sys, numpy as np
        sys.path.insert(0, sys.argv[2])
        from tests.pipeline.shards.test_shards import some_columns, CLIPS
        from freelabels.pipeline.shards.commit import commit_shard
        from freelabels.pipeline.shards.dataset import Dataset
        dataset = Dataset(sys.argv[1])
        columns = some_columns()
        made_by = {name: {"generator": "test"} for name in columns}
        print("ready", flush=True)
        for n in range(10_000):
            commit_shard(dataset, f"video-{n}", columns, CLIPS, made_by)
        """
    )
    here = str(Path(__file__).parents[3])
    survivors: set[str] = set()
    for attempt in range(4):
        writer = programs.start("-c", script, dataset.path, here)
        assert writer.line() == "ready"
        while attempt and set(dataset.shards()) == survivors and writer.poll() is None:
            time.sleep(0.01)  # however slow the machine is, something is committed
        with suppress(subprocess.TimeoutExpired):
            writer.wait(timeout=0.15 + 0.06 * attempt)
        writer.kill()
        writer.communicate()
        found = set(dataset.shards())
        assert survivors <= found
        survivors = found
        for name in dataset.shards()[-2:]:
            shard = dataset.open(name)
            for field, values in some_columns().items():
                np.testing.assert_array_equal(shard.read_rows(field), values)
            shard.close()
    assert survivors
    dataset.storage.sweep()
    assert set(dataset.shards()) == survivors
    LocalStorage(Path(dataset.path), abandoned=timedelta(0)).sweep()
    assert [p.name for p in Path(dataset.path).iterdir() if p.name.startswith(".")] == []


def test_what_is_young_is_not_swept_and_what_is_old_is(dataset: Dataset) -> None:
    """A file as well as a folder; young and old by the time stamps of the file system alone."""
    left = [
        Path(dataset.path) / f"{STAGING}video-9.0-abc",
        Path(dataset.path) / f"{STAGING}exclusions.json-abc",
    ]
    left[0].mkdir()
    left[1].touch()
    assert dataset.storage.sweep() == 0 and all(path.exists() for path in left)
    now = left[0].stat().st_mtime
    for path in left:
        os.utime(path, (0, now - ABANDONED.total_seconds() - 1))
    with pytest.MonkeyPatch.context() as patch:  # a wrong clock here changes nothing
        patch.setattr(time, "time", lambda: 0.0)
        assert dataset.storage.sweep() == 2 and not any(path.exists() for path in left)


class Paused(dict[str, bytes]):
    """Files to commit; before the one called `at` is written, the attempt is swept."""

    def __init__(self, files: dict[str, bytes], storage: LocalStorage, at: str) -> None:
        super().__init__(files)
        self.storage, self.at = storage, at

    def items(self) -> Any:
        for name, data in super().items():
            if name == self.at:
                assert self.storage.sweep() == 1
            yield name, data


def test_an_attempt_that_was_swept_is_never_committed_and_can_be_made_again(dataset: Dataset) -> None:
    """A writer that is paused for long, at whichever file: what it had written is gone, and it is told."""
    columns = some_columns()
    storage = LocalStorage(Path(dataset.path), abandoned=timedelta(0))
    files = {"a/b": b"1", "c": b"2", "d/e/f": b"3", "zarr.json": b"{}"}
    for paused in files:
        with pytest.raises(OSError, match="took too long"):
            storage.commit("video-7.0", Paused(files, storage, paused), {})
        assert storage.folders() == []
    assert storage.commit("video-7.0", files, {}) and commit(dataset, columns)
    assert sorted(path.name for path in Path(dataset.path).glob(".*")) == []


def test_of_two_drivers_that_begin_a_dataset_the_first_decides(tmp_path: Path) -> None:
    def begin(size: int) -> str:
        try:
            return str(Dataset.create(tmp_path / "out", {"size": [size, size]}).attributes["size"])
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(begin, [16, 32] * 8))
    [began] = {line for line in said if line.startswith("[")}
    assert set(said) == {began, *(line for line in said if f"was begun with size {began}" in line)}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["zarr.json"]
