"""`verify --repair` takes out what is proven broken and nothing else, and what it takes out can be put back."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freelabels.cli.main import main
from freelabels.generators.contract import fields as contract
from freelabels.generators.contract.fields import Field, Kind
from freelabels.ground.errors import UserError
from freelabels.pipeline.quality.verify import VerifyWork, verify, verify_shard
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.quarantine import empty, in_quarantine, restore
from freelabels.pipeline.shards.record import KEY
from freelabels.pipeline.storage.local import LocalStorage
from freelabels.pipeline.storage.object_store import ObjectStorage
from freelabels.pipeline.work.progress import Reporter
from tests.pipeline.shards.test_s3 import change_file, contents, root, server  # noqa: F401, fixtures
from tests.pipeline.shards.test_shards import CLIPS, some_columns

QUIET = Reporter("quiet")
SHARDS = ("video-1.0", "video-2.0")


@pytest.fixture(params=["folders", "packed", "folders in a store", "packed in a store"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    """Two sound shards, in either layout, in a folder or in an object store."""
    layout, _, store = request.param.partition(" ")
    where = request.getfixturevalue("root") if store else tmp_path / "data"
    dataset = Dataset.create(where, {"size": [24, 32], "seed": 7}, layout)
    for number, name in enumerate(SHARDS):
        make(dataset, name[:-2], number)
    return dataset


@pytest.fixture
def folder(tmp_path: Path) -> Dataset:
    dataset = Dataset.create(tmp_path / "data", {"size": [24, 32], "seed": 7})
    for number, name in enumerate(SHARDS):
        make(dataset, name[:-2], number)
    return dataset


def make(dataset: Dataset, shard: str, seed: int = 0) -> str:
    whole = some_columns(seed)
    columns = {name: whole[name] for name in ("image", "flow", "flow_confidence", "motion", "time")}
    columns["flow_confidence"][-1] = 0  # where there is no flow
    return commit_shard(dataset, shard, columns, CLIPS, {name: {"generator": name} for name in columns})


def damage(dataset: Dataset, folder: str, file: str) -> None:
    """Change a byte of a file."""
    change_file(dataset, folder, file, lambda sound: sound[:-9] + bytes([sound[-9] ^ 1]) + sound[-8:])


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_bytes())
    change(document["attributes"][KEY])
    path.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")))


def repaired_nothing(dataset: Dataset, problems: int) -> str:
    """Repair, and see that nothing was touched; returns what was said."""
    before = contents(dataset.path)
    summary = verify(dataset.path, repair=True, reporter=QUIET)
    assert summary.repaired == 0 and len(summary.problems) == problems
    assert all(problem.unread for problem in summary.problems)
    assert contents(dataset.path) == before and in_quarantine(dataset) == []
    return "\n".join(map(str, summary.problems))


# --- what is not read is not broken -----------------------------------------------------------------------------


def test_a_shard_of_a_newer_schema_is_left_alone(folder: Dataset) -> None:
    rewrite(Path(folder.path) / SHARDS[0] / "zarr.json", lambda record: record.update(schema=99))
    said = repaired_nothing(folder, 1)
    assert said.startswith(f"{SHARDS[0]}: was written by a newer version (schema 99")


def test_a_dataset_of_a_newer_schema_is_refused_and_left_alone(folder: Dataset) -> None:
    record = Path(folder.path) / "zarr.json"
    rewrite(record, lambda record: record.update(schema=99))
    newer = record.read_bytes()
    with pytest.raises(UserError, match="newer version"):
        _ = Dataset(folder.path).attributes
    with pytest.raises(UserError, match="newer version"):
        Dataset.create(folder.path, {"size": [24, 32]})
    repaired_nothing(folder, 1)
    assert record.read_bytes() == newer


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Install a plug-in's field, or take it away."""

    def plug(there: bool) -> None:
        spec = Field("heat", Kind.PROBABILITY, "uint8", ("y", "x"), (None, None), "how warm")
        known = {one.name: one for one in (*contract.BUILT_IN, *([spec] if there else []))}
        monkeypatch.setattr(contract, "fields", lambda: known)

    return plug


def test_a_column_of_a_plug_in_that_is_absent_is_left_alone_unless_it_is_damaged(
    folder: Dataset, plugged: Callable[[bool], None]
) -> None:
    plugged(True)
    base = folder.open(SHARDS[0])
    heat = np.full((base.rows, 24, 32), 9, np.uint8)
    name = commit_shard(folder, base.id, {"heat": heat}, CLIPS, {"heat": {"generator": "heat"}}, base=base)
    assert verify(folder.path, reporter=QUIET).problems == ()
    plugged(False)
    assert "heat: is of a field that is not installed" in repaired_nothing(folder, 1)
    damage(folder, name, "heat/c/0/0/0")
    [problem] = verify(folder.path, repair=True, reporter=QUIET).problems
    assert not problem.unread and "checksum" in problem.reason
    assert "heat" not in folder.open(folder.shards()[0]).fields


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EMFILE, errno.EIO, errno.ETIMEDOUT, errno.EACCES])
@pytest.mark.parametrize("file", ["zarr.json", "flow/c/0/0/0/0", "flow/zarr.json", f"{SHARDS[0]}/zarr.json"])
def test_what_can_not_be_read_now_is_left_alone(
    folder: Dataset, monkeypatch: pytest.MonkeyPatch, number: int, file: str
) -> None:
    """Every way to fail, for the dataset's record, a shard's record and the files of a column."""
    real, sick = LocalStorage.read, [True]

    def read(self: LocalStorage, key: str) -> bytes:
        if sick[0] and key in (file, f"{SHARDS[0]}/{file}") and (key == "zarr.json") == (file == "zarr.json"):
            raise OSError(number, os.strerror(number))
        return real(self, key)

    monkeypatch.setattr(LocalStorage, "read", read)
    before = contents(folder.path) if file == "zarr.json" else None
    summary = verify(folder.path, repair=True, reporter=QUIET)
    assert summary.repaired == 0 and len(summary.problems) == 1 and summary.problems[0].unread
    assert os.strerror(number) in str(summary.problems[0])
    sick[0] = False
    assert before is None or contents(folder.path) == before
    assert verify(folder.path, reporter=QUIET).problems == () and in_quarantine(folder) == []


def test_a_dead_worker_is_no_proof(folder: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(_: VerifyWork) -> None:
        raise MemoryError

    monkeypatch.setattr("freelabels.pipeline.quality.verify.verify_shard", dies)
    repaired_nothing(folder, 2)


def test_a_revision_that_is_replaced_while_it_is_looked_at_is_no_problem(folder: Dataset) -> None:
    base = folder.open(SHARDS[0])
    edges = np.zeros((base.rows, 24, 32), np.uint8)
    commit_shard(folder, base.id, {"edges": edges}, CLIPS, {"edges": {}}, base=base)
    assert verify_shard(VerifyWork(str(folder.path), SHARDS[0])).problems == ()


def test_what_nfs_keeps_of_a_removed_file_is_no_problem(folder: Dataset) -> None:
    (Path(folder.path) / SHARDS[0] / "flow" / ".nfs000000000123").write_bytes(b"still open somewhere")
    assert verify(folder.path, reporter=QUIET).problems == ()


# --- the quarantine ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("file", ["flow/c/0/0/0/0", "image/c/0/0/0/0", "zarr.json"])
def test_a_repair_can_be_undone(dataset: Dataset, file: str) -> None:
    """A column, a shard that can't stand without it, a shard's record: set aside with the reason, and put back."""
    if file == "zarr.json" and isinstance(dataset.storage, ObjectStorage):
        pytest.skip("the record of a shard in a store is in its commit, see the next test")
    damage(dataset, SHARDS[0], file)
    before = contents(dataset.path)
    [problem] = verify(dataset.path, repair=True, reporter=QUIET).problems
    assert verify(dataset.path, reporter=QUIET).problems == ()
    assert SHARDS[0] not in dataset.shards()
    [aside] = in_quarantine(dataset)
    assert aside.shard == SHARDS[0] and aside.reasons == (str(problem),)

    back = restore(dataset, aside.name)
    assert back == ("video-1.2" if file.startswith("flow") else "video-1.0")
    dataset.storage.drop("video-1.1")
    assert {key.replace("video-1.2", "video-1.0"): v for key, v in contents(dataset.path).items()} == before
    assert [p.reason for p in verify(dataset.path, reporter=QUIET).problems] == [problem.reason]

    assert empty(dataset) == 1 and in_quarantine(dataset) == []
    assert dataset.storage.files(".quarantine") == []
    assert {key.replace("video-1.2", "video-1.0"): v for key, v in contents(dataset.path).items()} == before


@pytest.mark.slow
def test_a_shard_whose_commit_is_damaged_goes_into_the_quarantine(root: str) -> None:  # noqa: F811
    dataset = Dataset.create(root, {"size": [24, 32]}, "folders")
    name = make(dataset, "video-1")
    before = contents(dataset.path)
    dataset.storage.write(f".commits/{name}", b"nonsense")
    assert verify(root, repair=True, reporter=QUIET).repaired == 1
    assert dataset.shards() == []
    [aside] = in_quarantine(dataset)
    assert restore(dataset, aside.name) == name and contents(dataset.path) == before


@pytest.mark.slow
def test_two_repairs_of_one_shard_are_both_kept(dataset: Dataset) -> None:
    for _ in range(2):
        damage(dataset, dataset.shards()[0], "image/c/0/0/0/0")
        verify(dataset.path, repair=True, reporter=QUIET)
        make(dataset, "video-1")
    assert [aside.shard for aside in in_quarantine(dataset)] == [SHARDS[0]] * 2
    with pytest.raises(UserError, match="set nothing aside that is called video-9"):
        restore(dataset, "video-9.0-0123456789ab")


# --- the dataset's own record -----------------------------------------------------------------------------------


def test_a_record_that_no_shard_can_tell_anew_is_left_as_it_is(folder: Dataset) -> None:
    """Shards of schema 1 don't say how their dataset was begun: its record must not go for that."""
    for name in SHARDS:
        path = Path(folder.path) / name / "zarr.json"
        rewrite(path, lambda record: [record.pop("dataset"), record.update(schema=99)])
    record = Path(folder.path) / "zarr.json"
    record.write_bytes(record.read_bytes().replace(b"24", b"25"))
    damaged = record.read_bytes()
    with pytest.raises(UserError, match=r"no shard tells how the dataset was begun.*put back zarr\.json"):
        verify(folder.path, repair=True, reporter=QUIET)
    assert record.read_bytes() == damaged and Dataset(folder.path).shards() == list(SHARDS)


@pytest.mark.slow
def test_a_damaged_record_is_written_anew_and_kept(dataset: Dataset) -> None:
    sound = dataset.storage.read("zarr.json")
    dataset.storage.write("zarr.json", sound.replace(b"24", b"25"))
    assert verify(dataset.path, repair=True, reporter=QUIET).repaired == 1
    assert dataset.storage.read("zarr.json") == sound
    [aside] = in_quarantine(dataset)
    assert aside.shard == "zarr.json"
    assert empty(dataset) == 1 and dataset.storage.files(".quarantine") == []


@pytest.mark.slow
def test_a_dataset_with_nothing_but_a_quarantine_can_be_begun_anew(dataset: Dataset) -> None:
    for name in SHARDS:
        _break_record(dataset, name)
    dataset.storage.write("zarr.json", b"nonsense")
    assert verify(dataset.path, repair=True, reporter=QUIET).repaired == 3
    assert dataset.shards() == [] and not dataset.storage.exists("zarr.json")
    assert Dataset.create(dataset.path, {"size": [24, 32]}).shards() == []


def test_a_column_is_taken_out_though_the_datasets_record_is_damaged_too(folder: Dataset) -> None:
    sound = folder.storage.read("zarr.json")
    folder.storage.write("zarr.json", b"nonsense")
    damage(folder, SHARDS[0], "motion/c/0/0/0")
    assert verify(folder.path, repair=True, reporter=QUIET).repaired == 2
    assert folder.storage.read("zarr.json") == sound
    assert verify(folder.path, reporter=QUIET).problems == () and folder.shards() == ["video-1.1", SHARDS[1]]


def _break_record(dataset: Dataset, name: str) -> None:
    if isinstance(dataset.storage, ObjectStorage):
        key = f".commits/{name}"
        dataset.storage.write(key, dataset.storage.read(key).replace(b'"rows"', b'"rowz"'))
    else:
        change_file(dataset, name, "zarr.json", lambda record: record.replace(b'"rows"', b'"rowz"'))


def test_prune_shows_puts_back_and_removes(folder: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    def prune(*arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(["prune", str(folder.path), *arguments])
        assert end.value.code == 0
        out, err = capsys.readouterr()
        return out + err

    assert "0 set aside" in prune()
    damage(folder, SHARDS[0], "image/c/0/0/0/0")
    [problem] = verify(folder.path, repair=True, reporter=QUIET).problems
    [aside] = in_quarantine(folder)
    assert f"set aside: {aside.name} ({problem})" in prune()
    assert "put back as video-1.0" in prune("--restore", aside.name)
    assert folder.shards() == list(SHARDS)
    assert "1 of those set aside removed" in prune("--quarantine")
    assert in_quarantine(folder) == [] and folder.shards() == list(SHARDS)
