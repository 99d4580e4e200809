"""A source that can't be read costs itself; an output that can't be written ends the job."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.sources import decode
from freelabels.pipeline.stages import label_shard
from freelabels.pipeline.storage.local import LocalStorage
from tests.pipeline.stages.test_label import contents, run
from tests.sources import write_photos

LABELS = ["regions"]
REFUSALS = [errno.EACCES, errno.EPERM, errno.ENOENT, errno.EIO, errno.ESTALE]


def unreadable(monkeypatch: pytest.MonkeyPatch, path: Path, number: int) -> None:
    """From now on the file can be listed and not read: root may read whatever its mode says."""
    before = decode.read_bytes

    def read_bytes(uri: str) -> bytes:
        if uri == str(path):
            raise OSError(number, os.strerror(number), uri)
        return before(uri)

    monkeypatch.setattr(decode, "read_bytes", read_bytes)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.get)
def test_a_source_that_can_not_be_read_any_more_costs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    photos, out = write_photos(tmp_path / "photos", 4), tmp_path / "out"
    unreadable(monkeypatch, photos[1], number)
    summary = run([tmp_path / "photos"], out, labels=LABELS)
    assert (summary.made, summary.failed, summary.refused, summary.complete) == (1, 0, 1, True)
    [refusal] = lines(out / "rejected.jsonl")
    assert refusal["uri"] == str(photos[1]) and lines(out / "failures.jsonl") == []
    [name] = Dataset(out).shards()
    shard = Dataset(out).open(name)
    assert [clip["source"] for clip in shard.clips] == [[str(p)] for p in photos if p != photos[1]]
    assert shard.read_rows("clip").tolist() == [0, 1, 2]
    shard.close()
    before = contents(out)
    assert run([tmp_path / "photos"], out, labels=LABELS).made == 0  # asked again, and refused again
    monkeypatch.undo()
    assert run([tmp_path / "photos"], out, labels=LABELS).made == 1  # the one that was missing
    assert contents(out).items() > before.items()
    assert lines(out / "rejected.jsonl") == []
    assert run([tmp_path / "photos"], out, labels=LABELS).made == 0


def test_none_that_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [photo] = write_photos(tmp_path / "photos", 1)
    unreadable(monkeypatch, photo, errno.EACCES)
    summary = run([photo], tmp_path / "out", labels=LABELS)
    assert (summary.made, summary.failed, summary.refused) == (0, 0, 1)
    assert Dataset(tmp_path / "out").shards() == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC], ids=errno.errorcode.get)
def test_an_output_that_can_not_be_written_ends_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write_photos(tmp_path / "photos", 4)
    tried: list[str] = []

    def commit(self: LocalStorage, folder: str, files: Any, links: Any) -> bool:
        tried.append(folder)
        raise OSError(number, os.strerror(number), folder)

    monkeypatch.setattr(LocalStorage, "commit", commit)
    with pytest.raises(UserError, match=rf"can't write to .*out \({os.strerror(number)}\); 0 shards made"):
        run([tmp_path / "photos"], tmp_path / "out", labels=LABELS, shard_frames=1)
    assert len(tried) == 1  # neither again nor with the next shard


def test_an_error_of_the_detectors_own_files_is_no_verdict_on_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(tmp_path / "photos", 2)

    def detect(*_: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "weights")

    monkeypatch.setattr(label_shard, "run_detectors", detect)
    summary = run([tmp_path / "photos"], tmp_path / "out", labels=LABELS, shard_frames=1)
    assert (summary.made, summary.failed) == (0, 2)
    for failure in lines(tmp_path / "out" / "failures.jsonl"):
        assert failure["error"].startswith("PermissionError") and failure["node"] and failure["seconds"] >= 0


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EACCES], ids=errno.errorcode.get)
def test_a_shard_that_can_not_be_read_is_not_told_as_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A label is added to what is there: that is tried again, and the sources stay as good as they were."""
    write_photos(tmp_path / "photos", 2)
    out = tmp_path / "out"
    run([tmp_path / "photos"], out, labels=LABELS)
    read, tried = Shard.read_columns, []

    def fails(shard: Shard, *rest: Any) -> Any:
        tried.append(shard.name)
        if len(tried) <= failures:
            raise OSError(number, os.strerror(number))
        return read(shard, *rest)

    monkeypatch.setattr(Shard, "read_columns", fails)
    failures = 100
    summary = run([tmp_path / "photos"], out, labels=[*LABELS, "edges"])
    assert (summary.failed, summary.refused, len(tried)) == (1, 0, 3)
    [failure] = lines(out / "failures.jsonl")
    assert "can't be read" in failure["error"] and failure["error"].startswith("UserError: photo-")
    assert lines(out / "rejected.jsonl") == []
    failures, tried[:] = 1, []
    assert run([tmp_path / "photos"], out, labels=[*LABELS, "edges"]).complete and len(tried) > 1
