"""The planning index: a cache that spares opening records, and that nothing depends on."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import INDEX, Dataset
from freelabels.pipeline.shards.index import Index, read_index
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.storage.local import RECORD
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster

QUIET, IN_PROCESS = Reporter("quiet"), Cluster(workers=0)


def commit(dataset: Dataset, number: int, version: int = 1) -> str:
    columns = {"image": np.full((2, 4, 4, 3), number, np.uint8)}
    clips = [{"rows": [k, k + 1], "kind": "photo", "key": f"{2 * number + k:016x}"} for k in range(2)]
    made_by = {"image": {"generator": "test", "version": version}}
    return commit_shard(dataset, f"photo-{number:016x}", columns, clips, made_by)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    dataset = Dataset.create(tmp_path / "data", {"size": [4, 4]})
    for number in range(7):
        commit(dataset, number)
    return dataset


def index(dataset: Dataset) -> Index:
    return read_index(dataset, IN_PROCESS, QUIET)


def facts(index: Index) -> list[object]:
    made = [dict(index.recipes[number]) for number in index.made]
    return [names(index), made, [keys_of(index, k) for k in range(len(index))]]


def names(index: Index) -> list[str]:
    return [index.name(k) for k in range(len(index))]


def keys_of(index: Index, number: int) -> list[int]:
    """Keys of the clips of a shard, in order."""
    counts, keys = index.keys_of(np.array([number]))
    assert counts.tolist() == [len(keys)]
    return list(map(int, keys))


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the shards that are opened from now on."""
    names: list[str] = []
    parse = Shard.parse
    monkeypatch.setattr(
        Shard, "parse", lambda storage, name, *rest: names.append(name) or parse(storage, name, *rest)
    )
    return names


def test_the_index_tells_what_the_records_tell(dataset: Dataset) -> None:
    found = index(dataset)
    assert names(found) == dataset.shards()
    assert keys_of(found, 3) == [6, 7]
    assert keys_of(found, 5) == [10, 11]
    assert found.rows.tolist() == [2] * 7
    assert [dict(r) for r in found.recipes] == [{"image": {"generator": "test", "version": 1}}]


def test_only_new_records_are_opened(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    index(dataset)
    seen = opened(monkeypatch)
    index(dataset)
    assert seen == []
    new = commit(dataset, 9)
    assert keys_of(index(dataset), 7) == [18, 19]
    assert seen == [new]
    index(dataset)
    assert seen == [new]


def test_a_shard_that_was_dropped_and_made_otherwise_is_noticed(dataset: Dataset) -> None:
    index(dataset)
    name = dataset.shards()[2]
    dataset.storage.drop(name)
    assert commit(dataset, 2, version=2) == name
    found = index(dataset)
    assert found.recipes[found.made[2]]["image"]["version"] == 2
    dataset.storage.drop(name)
    assert name not in names(index(dataset))


@pytest.mark.slow
def test_a_cache_that_is_gone_or_damaged_is_made_again(dataset: Dataset) -> None:
    sound = facts(index(dataset))
    [path] = (Path(dataset.path) / INDEX).iterdir()
    data, rng = path.read_bytes(), random.Random(0)
    path.unlink()
    assert facts(index(dataset)) == sound
    for _ in range(100):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(rng.choice([bytes(damaged), data[: rng.randrange(len(data))]]))
        assert facts(index(dataset)) == sound


def test_workers_read_what_is_new(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = facts(index(dataset))
    shutil.rmtree(Path(dataset.path) / INDEX)
    monkeypatch.setattr("freelabels.pipeline.shards.index.SHARDS_PER_TASK", 2)
    assert facts(index(dataset)) == sound


@pytest.mark.parametrize("batch", [2, 500])
def test_a_damaged_record_is_one_sentence(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr("freelabels.pipeline.shards.index.SHARDS_PER_TASK", batch)
    name = dataset.shards()[1]
    (Path(dataset.path) / name / RECORD).write_text("{")
    with pytest.raises(UserError, match=f"{name}: its record can't be read; freelabels verify --repair"):
        index(dataset)


def test_an_empty_dataset_has_an_empty_index(tmp_path: Path) -> None:
    assert facts(index(Dataset.create(tmp_path / "data", {}))) == [[], [], []]
