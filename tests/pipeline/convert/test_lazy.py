"""`freelabels.open`: all shards as one lazy xarray Dataset."""

from pathlib import Path

import numpy as np
import pytest

import freelabels
from benchmarks.tools.shapes import write_dataset
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of shapes and one that has an image alone."""
    path = write_dataset(tmp_path_factory.mktemp("made") / "shapes", 0, 5, 16, 2, labels=("edges", "flow"))
    columns = {"image": np.full((1, 16, 16, 3), 7, np.uint8)}
    made_by = {"image": {"generator": "test", "version": 1}}
    commit_shard(Dataset(path), "z", columns, [{"rows": [0, 1], "kind": "photo", "key": "z"}], made_by)
    return path


def test_frames_of_all_shards_follow_each_other(path: Path) -> None:
    table = freelabels.open(path)
    assert dict(table.sizes) | {"frame": 11, "y": 16, "x": 16} == dict(table.sizes)
    assert table["flow"].dims == ("frame", "y", "x", "uv") and table["flow"].attrs["units"] == "px"
    assert not set(table.coords) & set(table.dims)  # as "row" would be one of poses
    dataset = Dataset(path)
    for name in dataset.shards():
        shard, mine = dataset.open(name), table["shard"].values == name
        assert table["shard_row"].values[mine].tolist() == list(range(shard.rows))
        for field in shard.fields:
            np.testing.assert_array_equal(table[field].isel(frame=mine).values, shard.read_rows(field))


def test_nothing_is_read_before_it_is_asked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, str]] = []
    before = freelabels.pipeline.shards.shard.Shard.read_rows

    def noted(self, name, *rows):  # type: ignore[no-untyped-def]
        read.append((self.name, name))
        return before(self, name, *rows)

    monkeypatch.setattr(freelabels.pipeline.shards.shard.Shard, "read_rows", noted)
    table = freelabels.open(path)
    assert not read
    table["edges"].isel(frame=0).compute(scheduler="synchronous")
    assert read == [(table["shard"].values[0], "edges")]


def test_what_a_shard_lacks_is_no_label(path: Path) -> None:
    last = freelabels.open(path, ["image", "flow"]).isel(frame=-1)
    assert set(last.data_vars) == {"image", "flow"}
    assert (last["image"].values == 7).all() and np.isnan(last["flow"].values).all()


def test_a_column_that_nobody_has_is_named(path: Path) -> None:
    with pytest.raises(UserError, match="has no column 'egdes': did you mean 'edges'"):
        freelabels.open(path, ["egdes"])
