"""Two labellings of a field, compared: the measure of each kind, whose frames are matched, and what CI gets."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import freelabels
from benchmarks.tools.shapes import write_dataset
from freelabels.cli.commands.compare import _print
from freelabels.cli.main import main
from freelabels.generators.contract.fields import Array, as_stored, fields
from freelabels.pipeline.quality.compare import Comparison, FrameDifference
from freelabels.pipeline.quality.differences import MEASURES, difference, measure_of
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.viewer.comparison_page import write_comparison

SIDE = 32
x, y = np.meshgrid(np.arange(SIDE, dtype=np.float32), np.arange(SIDE, dtype=np.float32))


def square(start: int, stop: int, value: int = 255) -> Array:
    out = np.zeros((SIDE, SIDE), np.uint8)
    out[start:stop, start:stop] = value
    return out


def line(column: int) -> Array:
    out = np.zeros((SIDE, SIDE), np.uint8)
    out[:, column] = 255
    return out


def tilted(degrees: float) -> Array:
    angle = np.radians(degrees)
    return np.broadcast_to(np.array([np.sin(angle), 0, -np.cos(angle)]), (SIDE, SIDE, 3))


def moving(u: float, v: float) -> Array:
    return np.broadcast_to(np.array([u, v]), (SIDE, SIDE, 2))


CASES = {
    "normals": (tilted(10), tilted(40), 30.0),
    "flow": (moving(1, 1), moving(4, 5), 5.0),
    "depth": (2 + x / SIDE, (2 + x / SIDE) * 1.1, 0.1),
    "disparity": (x, 5 * x + 3, 0.0),  # a scale and a shift make no difference
    "motion": (square(0, 16), square(0, 8), 0.75),
    "edges": (line(10), line(12), 0.0),  # within 2 px
    "saliency": (square(0, 0), square(0, 0), 0.0),  # neither claims anything
    "instance": (square(0, 16, 3), square(0, 16, 9), 0.0),  # numbering is no difference
    "regions": (np.where(x < 16, 1, 2), np.where(x < 16, 1, np.where(y < 16, 2, 3)), 0.25),
    "edge_type": (square(0, 16, 1), square(0, 8, 1), 192 / SIDE**2),
    "image": (np.full((SIDE, SIDE, 3), 100), np.full((SIDE, SIDE, 3), 90), 10.0),
}


@pytest.mark.parametrize("name", CASES)
def test_each_kind_has_its_measure(name: str) -> None:
    a, b, apart = CASES[name]
    stored_a, stored_b = as_stored(name, a), as_stored(name, b)
    assert difference(name, stored_a, stored_b).value == pytest.approx(apart, rel=5e-3, abs=1e-6)
    same = difference(name, stored_a, stored_a)
    assert same.value == pytest.approx(0, abs=1e-6) and np.nanmax(same.map) == pytest.approx(0, abs=1e-6)


def test_edges_beyond_reach_differ_and_masks_of_objects_too() -> None:
    assert difference("edges", line(10), line(14)).value == 1
    packed = np.packbits(np.stack([square(0, 0), square(0, 16), square(0, 8)]) > 0, axis=-1)
    assert difference("amodal", packed, packed[:2]).value == pytest.approx(64 / 320)


def test_every_map_of_the_contract_can_be_compared() -> None:
    drawn = [name for name, spec in fields().items() if spec.is_map]
    assert all(measure_of(name) in MEASURES.values() for name in [*drawn, "edges_confidence", "amodal"])


def test_what_one_side_lacks_is_counted_and_not_compared() -> None:
    a, b = as_stored("depth", 2 + x), as_stored("depth", 2 + x)
    a[:16], b[:, :8] = np.nan, np.nan
    trust = np.full((SIDE, SIDE), 255, np.uint8)
    trust[:, -8:] = 0
    found = difference("depth", a, b, trust, None)
    assert (found.compared, found.only_a, found.only_b) == (16 * 16, 16 * 8, 16 * 24 + 16 * 8)
    assert np.isfinite(found.map).sum() == found.compared
    assert np.isnan(difference("depth", a, np.full_like(b, np.nan)).value)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Six clips, and five of them labelled again: the same but for the flow of one, a pixel further right."""
    root = tmp_path_factory.mktemp("compared")
    labels = ("edges", "flow")
    one = write_dataset(root / "one", 0, 6, SIDE, frames=2, labels=labels, confidence=255)
    other = write_dataset(root / "other", 0, 5, SIDE, frames=2, labels=labels, confidence=255)
    shard = Dataset(other).open("shapes-0000.0")
    flow = shard.read_rows("flow")
    flow[slice(*shard.clips[2]["rows"]), ..., 0] += 1
    columns = {"flow": flow, "flow_confidence": shard.read_rows("flow_confidence")}
    made_by = {name: {"generator": "shapes", "version": 2} for name in columns}
    commit_shard(Dataset(other), shard.id, columns, shard.clips, made_by, base=shard)
    return str(one), str(other)


def test_frames_are_matched_by_what_they_come_from(pair: tuple[str, str]) -> None:
    found = freelabels.compare(*pair, "flow", keep=1)
    assert (len(found.frames), found.frames_only_a, found.frames_only_b) == (10, 2, 0)
    apart = {(one.clip, one.frame): one.difference for one in found.frames}
    assert (
        apart[("0-2", 0)] == pytest.approx(1, rel=1e-2) and apart[("0-2", 1)] is None
    )  # a last frame has no flow
    assert {value for key, value in apart.items() if key[0] != "0-2"} == {0, None}
    assert found.difference == pytest.approx(1 / 5, rel=1e-2)  # of five frames that have flow
    [worst] = found.worst
    assert worst.about.clip == "0-2" and worst.image is not None and np.nanmin(worst.map) > 0.9
    turned = freelabels.compare(*pair[::-1], "flow")
    assert (turned.frames_only_a, turned.frames_only_b, turned.difference) == (0, 2, found.difference)


def test_a_detector_is_one_of_the_two(pair: tuple[str, str]) -> None:
    found = freelabels.compare(pair[0], "dense_inverse_search", "flow")
    turned = freelabels.compare("dense_inverse_search", pair[0], "flow")
    assert found.difference is not None and found.difference > 0
    assert turned.difference == pytest.approx(found.difference)
    assert turned.frames[0].confidence_b == found.frames[0].confidence_a == 1.0


def run(*arguments: object) -> Any:
    with pytest.raises(SystemExit) as end:
        main(["compare", *map(str, arguments)])
    return end.value.code


def test_the_command_tells_ci_and_people(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "deep" / "sheet.html"
    assert run(*pair, "--field", "flow", "--max-difference", "0.1", "--html", page, "--page-frames", 2) == 1
    said = capsys.readouterr()
    assert "flow of 10 frames: end-point error 0.2" in said.out and "in A alone: 2 frames" in said.out
    assert "more than --max-difference 0.1" in said.err
    text = page.read_text()
    assert text.count("<article") == 2 and text.count("<img") >= 8 and "at most 0.1 px was allowed" in text
    assert str(tmp_path.parent) not in text and str(Path(pair[0]).parent) not in text
    assert run(*pair, "--field", "flow", "--max-difference", "0.3", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["difference"] == pytest.approx(0.2, rel=1e-2) and len(told["frames"]) == 10
    assert run(*pair, "--field", "edges", "--max-difference", "0") == 0


def test_the_page_speaks_of_one_frame_as_of_one(tmp_path: Path) -> None:
    frame = FrameDifference("a.png", "a", 0, "photo-1.0", 0, 0.5, 1.0, 0.0, 0.0, None, None)
    found = Comparison("a", "b", "edges", "1 - F", "", 0.5, 1.0, 0.0, 0.0, 1, 2, (frame,))
    text = write_comparison(found, tmp_path / "sheet.html").read_text()
    assert "<b>1</b> frame in both" in text and "1 frame is in A alone, 2 in B alone" in text


def test_a_source_is_named_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """By its last folder and name; whole paths would fill the terminal's width."""
    source = "/data/of/somebody/who/nests/folders/photos/a.png"
    frame = FrameDifference(source, "a", 3, "photo-1.0", 0, 0.5, 1.0, 0.0, 0.0, None, None)
    _print(Comparison("a", "b", "edges", "1 - F", "", 0.5, 1.0, 0.0, 0.0, 0, 0, (frame,)))
    assert "photos/a.png" in capsys.readouterr().out.splitlines()[1]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{0} {1} --field egdes", "there is no such field: did you mean 'edges'?"),
        ("{0} {1} --field depth", "holds no depth"),
        ("{0} {1} --field camera_K", "has no value per pixel"),
        ("{0} dense_inverse_search --field edges", "dense_inverse_search makes flow, flow_backward"),
        ("{0} stereo --field disparity", "holds no disparity"),
        (
            "{0} superpixel --field regions",
            "nor a detector of regions: did you mean 'superpixels'",
        ),
        ("superpixels superpixels --field regions", "name a dataset on one side"),
        ("{0} {1} --field edges --max-difference -1", "--max-difference is a number from 0 on"),
    ],
)
def test_what_cannot_be_compared_costs_a_sentence(
    line: str, sentence: str, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*line.format(*pair).split()) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
