"""`freelabels detectors` and `fields`, ranges of `--set`, and `--detector`."""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import freelabels
from freelabels.cli.main import main
from freelabels.cli.shell.options import chosen, configured
from freelabels.generators.contract import detector as registry
from freelabels.generators.contract.detector import detectors, plan
from freelabels.generators.contract.fields import fields
from freelabels.generators.contract.overview import detector_facts
from freelabels.generators.contract.ranges import parameters_of
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from tests.sources import write_photos


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code
    return capsys.readouterr().out


def test_every_detector_is_listed_with_its_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    found = {one["name"]: one for one in json.loads(said(capsys, "detectors", "--json"))}
    assert list(found) == list(detectors())
    edges = found["edges"]
    assert (edges["makes"], edges["needs"], edges["plugin"]) == (["edges"], [], "")
    [longest] = [one for one in edges["parameters"] if one["name"] == "longest"]
    assert longest == {"name": "longest", "type": "int", "default": 400, "range": {"low": 64, "high": 4096}}
    assert found["normals"]["needs"] == ["disparity"]  # its confidence goes without saying


@pytest.mark.parametrize(
    ("command", "name", "parts"),
    [
        (
            "detectors",
            "edges",
            ["edges, version", "--set edges.longest=400  (int, 64 to 4096)", "single frames"],
        ),
        ("fields", "flow", ["unit: px", "shape: H, W, 2", "detectors: dense_inverse_search"]),
    ],
)
def test_one_is_described_in_full(
    command: str, name: str, parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, command, name)
    assert all(part in text for part in parts)


def test_every_field_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    found = {one["name"]: one for one in json.loads(said(capsys, "fields", "--json"))}
    assert list(found) == list(fields())
    assert (found["depth"]["unit"], found["depth"]["invalid"], found["instance"]["detectors"]) == (
        "m",
        "nan",
        [],
    )
    assert "flow_visibility" in said(capsys, "fields")


@pytest.mark.parametrize("name", detectors())
def test_defaults_lie_in_their_ranges(name: str) -> None:
    for one in parameters_of(detectors()[name]).values():
        assert one.range is None or one.default in one.range, one.name


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("edges.longest=3", "longest goes from 64 to 4096, not 3"),
        ("flow.patch=4", "there is no detector 'flow'"),
    ],
)
def test_what_is_out_of_range_is_refused_before_it_is_tried(setting: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        configured([setting])


class Flat:
    """A stranger's detector of edges, and of regions where it is told to make both."""

    name: ClassVar[str] = "flat"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[str, ...]] = ("edges", "edges_confidence")
    needs: ClassVar[frozenset[str]] = frozenset()


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> type[object]:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Seven(Flat):
        """Edges that are 7 everywhere."""

        def __call__(self, clip: freelabels.Clip) -> dict[str, freelabels.Array]:
            one = np.full((len(clip), *clip.size), 7, np.uint8)
            return {"edges": one, "edges_confidence": one}

    detectors()
    monkeypatch.setitem(registry._REGISTRY, "flat", Seven)
    return Seven


def test_a_plug_in_is_told_from_ours(stranger: type[object]) -> None:
    [one] = detector_facts("flat")
    assert one.plugin == stranger.__module__ and one.about.startswith("Edges that are 7")


def test_a_detector_is_chosen_among_several(stranger: type[object], tmp_path: Path) -> None:
    assert [one.name for one in plan(["edges"], frozenset(), {}).detectors] == ["edges"]
    assert [one.name for one in plan(["edges"], frozenset(), {}, chosen(["edges=flat"])).detectors] == [
        "flat"
    ]
    write_photos(tmp_path / "photos", 1)
    line = ["label", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--labels", "edges"]
    line += ["--size", "32", "--workers", "0", "--detector", "edges=flat"]
    with pytest.raises(SystemExit) as end:
        main(line)
    assert not end.value.code
    dataset = Dataset(tmp_path / "out")
    shard = dataset.open(dataset.shards()[0])
    assert shard.made_by("edges")["generator"] == "flat" and (shard.read("edges", 0) == 7).all()


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ("edges", "--detector is LABEL=NAME"),
        ("egdes=edges", "no detector makes 'egdes': did you mean 'edges'"),
        ("edges=normals", "'normals' does not make edges: there are: edges"),
    ],
)
def test_a_choice_that_cannot_be_is_said(choice: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        chosen([choice])


def test_labels_that_are_made_together_are_chosen_together() -> None:
    gives = frozenset({"sensor depth", "consecutive frames"})
    makers = chosen(["disparity=video_disparity"])
    assert [one.name for one in plan(["disparity"], gives, {}, makers).detectors] == ["video_disparity"]
    with pytest.raises(
        UserError, match="sensor_depth makes depth, disparity together, so video_disparity can't"
    ):
        plan(["depth"], gives, {}, makers)
