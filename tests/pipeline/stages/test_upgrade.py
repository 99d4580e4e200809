"""After an upgrade: what older versions made stays and is said, what is missing is made, `update` remakes."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freelabels.cli.main import main
from freelabels.generators.contract.calibration import stored_maps, using
from freelabels.generators.contract.detector import detectors
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.stages import planning
from freelabels.pipeline.viewer.inspect import inspect
from tests.pipeline.stages.test_label import contents, run, without_revision
from tests.sources import moving_frames, write_photos, write_video

LABELS = ["regions", "edges"]


def maker(label: str) -> Any:
    """The class of the detector that makes a label."""
    return next(cls for cls in detectors().values() if label in cls.makes)


@pytest.fixture
def upgrade(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give the detector of a label its next version."""

    def upgrade(label: str) -> None:
        monkeypatch.setattr(maker(label), "version", maker(label).version + 1)

    return upgrade


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A dataset of photos, made before any upgrade."""
    write_photos(tmp_path / "photos", 3)
    label(tmp_path / "out", LABELS)
    return tmp_path / "out"


def label(out: Path, labels: list[str] = LABELS, **options: Any) -> Any:
    return run([out.parent / "photos"], out, labels=labels, **options)


def versions(out: Path, column: str) -> list[int]:
    dataset = Dataset(out)
    return [dataset.open(name).made_by(column)["version"] for name in dataset.shards()]


def test_what_an_older_version_made_stays_and_is_said(out: Path, upgrade: Callable[[str], None]) -> None:
    before, old = contents(out), maker("edges").version
    upgrade("edges")
    summary = label(out)
    assert (summary.made, summary.failed, summary.older) == (0, 0, 2)  # the label and its confidence
    assert contents(out) == before and versions(out, "edges") == [old]


def test_the_command_says_what_stays_and_what_remaking_would_cost(
    out: Path, upgrade: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    generator, old = maker("edges").name, maker("edges").version
    upgrade("edges")
    command = ["label", str(out.parent / "photos"), "--out", str(out), "--labels", *LABELS]
    command += ["--size", "64", "--workers", "0"]
    with pytest.raises(SystemExit):
        main(command)
    said = " ".join(capsys.readouterr().err.split())
    these = f"edges by {generator} {old}: 1 shard, 3 frames"
    assert f"older versions or confidence maps made these, which stay ({these})" in said
    with pytest.raises(SystemExit):
        main([*command, "--json"])
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [event] = [event for event in events if event.get("event") == "older"]
    assert event["columns"] == 2
    assert {"column": "edges", "made_by": f"{generator} {old}", "shards": 1, "frames": 3} in event["older"]
    with pytest.raises(SystemExit):
        main([*command, "--update", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]["made"] == 1
    assert versions(out, "edges") == [old + 1]


def test_after_a_fit_of_confidence_alone_labels_stay_and_update_makes_them_to_the_same_bytes(
    out: Path,
) -> None:
    shard = Dataset(out).open(Dataset(out).shards()[0])
    before = {name: shard.read_rows(name) for name in ("edges", "edges_confidence")}
    with using({name: each for name, each in stored_maps().items() if name != "edges"}):
        assert (label(out).made, label(out).older) == (0, 2)
        assert label(out, update=("edges",)).made == 1
    shard = Dataset(out).open(Dataset(out).shards()[0])
    assert np.array_equal(shard.read_rows("edges"), before["edges"])
    assert not np.array_equal(shard.read_rows("edges_confidence"), before["edges_confidence"])


def test_what_is_missing_is_made_beside_it(tmp_path: Path, upgrade: Callable[[str], None]) -> None:
    write_photos(tmp_path / "photos", 3)
    out = tmp_path / "out"
    label(out, ["regions"])
    before, old = contents(out), maker("regions").version
    upgrade("regions")
    summary = label(out)
    assert (summary.made, summary.older) == (1, 2)
    assert versions(out, "regions") == [old] and versions(out, "edges") == [maker("edges").version]
    kept = {name: digest for name, digest in without_revision(before).items() if "/regions/" in name}
    assert kept and kept.items() <= without_revision(contents(out)).items()
    assert label(out).made == 0


def test_new_sources_are_labelled_by_the_new_version_and_inspect_tells(
    out: Path, upgrade: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    old = maker("edges").version
    write_photos(out.parent / "more", 5)
    for photo in sorted((out.parent / "more").iterdir())[3:]:
        photo.rename(out.parent / "photos" / f"z {photo.name}")
    upgrade("edges")
    assert label(out).made == 1
    assert sorted(versions(out, "edges")) == [old, old + 1]
    name = maker("edges").name
    assert inspect(out)["fields"]["edges"]["made_by"] == {f"{name} {old}": 3, f"{name} {old + 1}": 2}
    with pytest.raises(SystemExit):
        main(["inspect", str(out)])
    said = " ".join(capsys.readouterr().out.split())
    [line] = re.findall(r"edges is of several versions: [^:]*", said)
    assert f"3 rows by {name} {old}" in line and f"2 rows by {name} {old + 1}" in line


@pytest.mark.parametrize("update", [(), ("edges",), ("regions", "edges")])
def test_an_update_remakes(out: Path, upgrade: Callable[[str], None], update: tuple[str, ...]) -> None:
    old = maker("edges").version
    upgrade("edges")
    summary = label(out, update=update)
    assert (summary.made, summary.older) == (1, 0)
    assert versions(out, "edges") == [old + 1]
    assert label(out, update=update).made == 0  # once


def test_an_update_of_another_label_leaves_it(out: Path, upgrade: Callable[[str], None]) -> None:
    upgrade("edges")
    assert label(out, update=("regions",)).made == 0
    with pytest.raises(UserError, match="--update edge: there is no such label: did you mean 'edges'"):
        label(out, update=("edge",))


def test_changed_parameters_remake_whatever_the_version(out: Path, upgrade: Callable[[str], None]) -> None:
    cls = maker("edges")
    name, value = next((k, v) for k, v in vars(cls()).items() if isinstance(v, float))
    other = replace(cls(), **{name: value * 1.5})
    upgrade("edges")
    assert label(out, detectors=[other]).made == 1
    assert versions(out, "edges") == [cls.version]
    assert label(out).made == 1  # of this version with other parameters than asked for


def test_an_upgrade_that_changes_defaults_is_an_upgrade(
    out: Path, upgrade: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = planning.provenance

    def provenance(detector: Any) -> dict[str, Any]:
        made = before(detector)
        return {**made, "parameters": {**made["parameters"], "of the new version": 1.0}}

    upgrade("edges")
    upgrade("regions")
    monkeypatch.setattr(planning, "provenance", provenance)
    assert label(out).made == 0


def test_what_is_made_of_an_updated_column_is_made_again(
    tmp_path: Path, upgrade: Callable[[str], None]
) -> None:
    write_video(tmp_path / "photos" / "clip.mp4", moving_frames(6))
    out = tmp_path / "out"
    label(out, ["flow", "motion"])
    upgrade("flow")
    assert label(out, ["flow", "motion"]).made == 0
    before = Dataset(out).open(Dataset(out).shards()[0]).made_by("motion")
    assert label(out, ["flow", "motion"], update=("flow",)).made == 1
    after = Dataset(out).open(Dataset(out).shards()[0]).made_by("motion")
    assert after["version"] == before["version"] and after["inputs"] != before["inputs"]
    assert label(out, ["flow", "motion"], update=()).made == 0


def test_another_decoding_is_an_upgrade_too(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(out)
    monkeypatch.setattr(planning, "DECODE", {**planning.DECODE, "version": planning.DECODE["version"] + 1})
    summary = label(out)
    assert summary.made == 0 and summary.older and contents(out) == before
    summary = label(out, [*LABELS, "foreground"])
    assert (summary.made, summary.failed) == (1, 0)  # made of the pixels that are there
    kept = {name: digest for name, digest in without_revision(before).items() if "/image/" in name}
    assert kept.items() <= without_revision(contents(out)).items()
    assert label(out, update=("image",)).made == 1
    assert versions(out, "image") == [planning.DECODE["version"]]
    assert label(out, update=()).made == 0
