"""`freelabels tasks`: what there is, and whether data can feed it."""

import json
from pathlib import Path

import pytest

from benchmarks.tools.shapes import write_dataset
from freelabels.cli.main import main
from freelabels.train.data.windows import REAL
from freelabels.train.tasks.tasks import tasks


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, object]]:
    with pytest.raises(SystemExit) as end:
        main(["tasks", *arguments, "--json"])
    assert not end.value.code
    return {str(one["name"]): one for one in json.loads(capsys.readouterr().out)}


def test_all_tasks_are_listed_with_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys)
    assert found.keys() == {*tasks(), "--model.mix"}
    jigsaw = found["jigsaw"]
    assert (jigsaw["system"], jigsaw["hindrance"]) == ("Jigsaw", None)
    assert jigsaw["parameters"] == {"orders": 100, "puzzles": 8, "shared": True}
    assert found["--model.mix"]["system"] == "MultiTask"


def test_what_data_cannot_feed_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write_dataset(tmp_path / "photos", REAL, 4, 32, frames=1, labels=("edges", "flow"))
    found = {name: one["hindrance"] for name, one in listed(capsys, str(photos)).items()}
    assert found["edges"] == found["rotation"] == found["dcgan"] == ""
    assert found["depth"] == "the task depth needs the field depth, which no given shard holds"
    assert "no shards with clips of 2 frames or more" in str(found["flow"])
