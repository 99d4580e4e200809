"""Confidence is a probability: maps rise, the same seed gives the same ones, and they hold on fresh clips."""

import json
from collections.abc import Container
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freelabels.generators.contract.calibration import (
    STORED,
    ConfidenceMap,
    calibrated,
    map_name,
    maps_from_json,
    stored_maps,
    using,
)
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import detectors, provenance
from freelabels.generators.contract.fields import Array
from freelabels.generators.edges import ContourEdges
from freelabels.generators.regions import Superpixels
from freelabels.ground.errors import UserError
from freelabels.pipeline.quality.detector_views import VIEWS, sensed_depth, tallies_of
from freelabels.pipeline.quality.plots import draw_reliability
from freelabels.pipeline.quality.reliability import (
    EVEN,
    KNOTS,
    RAISED,
    FootageCount,
    Tally,
    clips_in,
    counts_as_json,
    cross_validated,
    fit_map,
    footage_helps,
    held_out,
    together,
)
from freelabels.pipeline.quality.rightness import edges_right, normals_right, order_right, regions_right
from freelabels.pipeline.stages import calibrate as stage
from freelabels.pipeline.stages.calibrate import (
    SHIPPED,
    _with_other_maps,
    calibrate,
    calibration_options,
    counts_digest,
    read_counts,
    rendered_views,
    usable,
)
from freelabels.pipeline.stages.label import label
from freelabels.pipeline.stages.render import RenderOptions
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from tests.sources import write_photos

View = tuple[Clip, dict[str, Array]]  # and what is true of it
SCORES = np.linspace(0, 1, 101)
IN_PROCESS = Cluster(workers=0)
QUIET = Reporter("quiet")


def drawn(seed: int, count: int = 200_000) -> tuple[np.ndarray, np.ndarray]:
    """Scores × 255, and labels that are right with probability 0.2 + 0.7 · score²."""
    rng = np.random.default_rng(seed)
    score = rng.integers(1, 256, count).astype(np.uint8)
    return score, (rng.random(count) < 0.2 + 0.7 * (score / 255) ** 2).astype(np.float32)


def test_the_fit_finds_the_true_probability_and_never_falls() -> None:
    found = fit_map(Tally.of(*drawn(1)))
    assert len(found.score) <= KNOTS + 1
    assert np.all(np.diff(found.score) > 0) and np.all(np.diff(found.confidence) >= 0)
    inner = SCORES[(SCORES > 0.05) & (SCORES < 0.97)]
    assert np.abs(found(inner) - (0.2 + 0.7 * inner**2)).max() < 0.03


def test_a_score_that_misleads_gives_one_confidence() -> None:
    score, right = drawn(2)
    found = fit_map(Tally.of(255 - np.minimum(score, 254), right))
    assert np.ptp(found(SCORES[SCORES > 0.2])) < 0.02
    assert np.all(found(SCORES) <= RAISED * SCORES + 1e-3)


def test_below_what_was_seen_trust_ends_at_nothing() -> None:
    found = fit_map(Tally.of(np.full(1000, 204, np.uint8), np.ones(1000)))
    assert found(np.array([0.0, 0.4, 0.8, 1.0])) == pytest.approx([0, 0.5, 1, 1])


def test_calibration_error_and_risk_in_closed_form() -> None:
    score = np.repeat(np.array([51, 204], np.uint8), 100)  # 0.2 and 0.8
    right = np.concatenate([np.arange(100) < 40, np.arange(100) < 80]).astype(np.float32)
    tally = Tally.of(score, right)
    assert tally.calibration_error == pytest.approx(0.1)
    assert [tally.risk(share) for share in (0.5, 1.0)] == pytest.approx([0.2, 0.4])
    assert cross_validated([tally] * 4).calibration_error < 0.01


def counted(
    data: str, level: int, labels: int, right: float, version: int = ContourEdges.version, clips: int = 1
) -> FootageCount:
    """All labels of one score × 255, of which a share is right."""
    tally = Tally.of(
        np.full(labels, level, np.uint8), (np.arange(labels) < right * labels).astype(np.float32)
    )
    return FootageCount("edges", "edges", data, clips, tally, {"edges": version}, {})


def share(tally: Tally) -> float:
    """The share of right labels."""
    return float(tally.right.sum() / tally.count.sum())


def test_clips_of_footage_weigh_alike_and_six_of_them_what_renders_do() -> None:
    renders = Tally.of(np.full(1000, 200, np.uint8), np.ones(1000))
    footage = [
        counted("swan", 200, 10_000, 0.0),
        counted("goat", 200, 10, 1.0),
        counted("goat, 256 px", 200, 10, 0.0),
        counted("pictures", 200, 50, 0.0, clips=4),
    ]
    assert clips_in(footage) == EVEN
    assert share(together(renders, footage)) == pytest.approx((1 + 0.5 / EVEN) / 2)
    assert together(renders, []) is renders
    assert share(together(Tally.sum([]), footage)) == pytest.approx(0.5 / EVEN)


def test_footage_is_tried_on_maps_that_have_not_seen_the_clip() -> None:
    """One clip is always right and one never; each gets what the other one and the renders say."""
    renders = Tally.of(np.full(100, 200, np.uint8), (np.arange(100) < 50).astype(np.float32))
    footage = [counted("good", 200, 50, 1.0, clips=6), counted("bad", 200, 50, 0.0, clips=6)]
    tally = Tally.sum(held_out(renders, footage))
    assert not footage_helps(renders, footage)  # the other one misleads
    assert footage_helps(renders, [replace(each, tally=footage[0].tally) for each in footage])
    said = np.flatnonzero(tally.count)
    assert said == pytest.approx(np.array([0.25, 0.75]) * 255, abs=1)
    assert tally.right[said].tolist() == [50, 0]


def test_counts_are_kept_in_a_file_and_left_out_where_the_detector_has_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, old = counted("swan", 200, 10, 0.5, clips=6), counted("goat", 9, 10, 0.5, ContourEdges.version - 1)
    (tmp_path / "counts.json").write_text(counts_as_json([kept, old]))
    read = read_counts(tmp_path / "counts.json")
    assert [(each.data, each.versions) for each in read] == [
        (each.data, each.versions) for each in (kept, old)
    ]
    np.testing.assert_array_equal(read[0].tally.right, kept.tally.right)
    used = usable(read, Reporter())
    assert [each.data for each in used["edges"]] == ["swan"]
    assert "other versions of edges" in "".join(capsys.readouterr())
    assert read_counts("none") == []
    assert usable([replace(kept, clips=5)], Reporter()) == {}
    assert "edges: renders alone" in "".join(capsys.readouterr())


def test_maps_that_have_changed_since_footage_was_counted_are_named() -> None:
    count = replace(counted("swan", 200, 10, 0.5), read={"edges": None})
    assert _with_other_maps([count], {}) == ""
    assert _with_other_maps([count], {"edges": ConfidenceMap((0.0, 1.0), (0.0, 0.5))}) == "edges"


@pytest.mark.parametrize("text", [None, "no JSON", "[]", '{"counts": [{"map": "edges"}]}'])
def test_what_holds_no_counts_is_refused_in_a_sentence(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "counts.json").write_text(text)
    with pytest.raises(UserError, match=r"--footage .*counts\.json holds no counts"):
        read_counts(tmp_path / "counts.json")


@pytest.mark.parametrize(
    "wrong",
    [{"right": [11]}, {"right": [-1]}, {"score": [-1]}, {"score": [256]}, {"clips": 0}, {"clips": "six"}],
)
def test_counts_that_nobody_can_have_counted_are_refused(wrong: dict[str, object], tmp_path: Path) -> None:
    [row] = json.loads(counts_as_json([counted("swan", 200, 10, 0.5)]))["counts"]
    (tmp_path / "counts.json").write_text(json.dumps({"counts": [row | wrong]}))
    with pytest.raises(UserError, match=r"--footage .*counts\.json holds no counts"):
        read_counts(tmp_path / "counts.json")


def test_scores_are_raw_without_maps_and_mapped_with_them() -> None:
    twice = ConfidenceMap((0.0, 0.5), (0.0, 1.0))
    with using({}):
        levels = np.arange(256)
        np.testing.assert_array_equal(calibrated("edges", levels / 255), levels)
    with using({"edges": twice}):
        expected = np.minimum(2 * SCORES, 1) * 255
        np.testing.assert_allclose(calibrated("edges", SCORES), expected, atol=0.51)
    with using({map_name("edges", yes=True): twice}):
        yes = SCORES > 0.3
        expected = np.where(yes, np.minimum(2 * SCORES, 1), SCORES) * 255
        np.testing.assert_allclose(calibrated("edges", SCORES, yes), expected, atol=0.51)


def test_provenance_tells_one_map_from_another() -> None:
    maps: list[dict[str, ConfidenceMap]] = [
        {},
        {"edges": ConfidenceMap((0.0, 1.0), (0.0, 0.5))},
        {"edges": ConfidenceMap((0.0, 1.0), (0.0, 0.6))},
        {map_name("edges", yes=True): ConfidenceMap((0.0, 1.0), (0.0, 0.6))},
    ]
    digests = []
    for chosen in maps:
        with using(chosen):
            digests.append(provenance(ContourEdges())["calibration"])
    assert digests[0] is None and len(set(digests)) == len(maps)


def test_a_refit_leaves_stored_columns_until_an_update(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2)

    def made(update: tuple[str, ...] | None = None) -> int:
        summary = label(
            [str(tmp_path / "photos")], tmp_path / "out", labels=["regions"], size=(64, 64), cluster=IN_PROCESS,
            reporter=QUIET, update=update,
        )  # fmt: skip
        return summary.made

    assert (made(), made()) == (1, 0)
    with using({Superpixels.name: ConfidenceMap((0.0, 1.0), (0.0, 0.5))}):
        assert (made(), made(()), made(())) == (0, 1, 0)


def test_the_stored_maps_are_for_these_detectors_and_rise() -> None:
    stored = json.loads(files("freelabels.generators.contract").joinpath(STORED).read_text())
    for name, entry in stored["maps"].items():
        detector = detectors()[name.partition(":")[0]]
        version = entry.get("kept_for", entry["version"])  # measured: the map is as right for that one
        assert version == detector.version, f"{name} was fitted for another version: calibrate again"
        known = stored_maps()[name]
        assert np.all(np.diff(known.score) > 0) and np.all(np.diff(known.confidence) >= 0)
        assert known.score[0] == known.confidence[0] == 0 and known.confidence[-1] <= 1


def test_the_stored_maps_are_fitted_to_the_counts_that_are_shipped() -> None:
    stored = json.loads(files("freelabels.generators.contract").joinpath(STORED).read_text())
    versions = {name.partition(":")[0]: entry["version"] for name, entry in stored["maps"].items()}
    counts = usable(read_counts(SHIPPED), QUIET, versions)
    assert stored["fitted"]["footage"] == {"counts": counts_digest(counts), "even": EVEN}
    for name, entry in stored["maps"].items():
        assert entry["footage"] in ({}, {each.clip: each.clips for each in counts.get(name, [])})


def render_once_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on have a clip rendered once, and not for each group of detectors that is fitted after others."""
    kept: dict[int, dict[str, View]] = {}

    def views(options: RenderOptions, number: int, wanted: Container[str]) -> dict[str, View]:
        if number not in kept:
            kept[number] = rendered_views(options, number)
        asked = (name for name in kept[number] if name in ("photo", "video") or name in wanted)
        return {name: kept[number][name] for name in asked}

    monkeypatch.setattr(stage, "rendered_views", views)


@pytest.mark.slow
@pytest.mark.renders
def test_the_same_seed_gives_the_same_maps_and_a_picture_per_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    for out in (tmp_path / "a", tmp_path / "b"):
        render_once_a_run(monkeypatch)
        summary = calibrate(out, 2, 3, frames=2, size=(64, 64), cluster=IN_PROCESS, reporter=QUIET)
        assert summary.complete and summary.maps == str(out / STORED)
        texts.append((out / STORED).read_text())
        # The second run draws no diagrams: nobody would look at them.
        monkeypatch.setattr(stage, "draw_reliability", lambda *_: None)
    assert texts[0] == texts[1]
    maps = maps_from_json(texts[0])
    assert {"edges", "edges: yes", "superpixels", "dense_inverse_search", "independent_motion"} <= set(maps)
    assert all(np.all(np.diff(m.confidence) >= 0) for m in maps.values())
    assert (tmp_path / "a" / "reliability-edges.png").is_file()


@pytest.mark.slow
@pytest.mark.renders
def test_confidence_holds_on_fresh_clips() -> None:
    every = calibration_options(seed=77, frames=5, size=(128, 128))
    judged = frozenset({"edges", "superpixels", "stereo", "dense_inverse_search"})
    parts = [tallies_of(rendered_views(options, 0), judged) for options in every]
    for key in parts[0]:
        if "yes" not in key[0]:
            tally = Tally.sum([part[key] for part in parts if key in part])
            assert tally.calibration_error < 0.2, key
            assert tally.risk(0.25) <= tally.risk(1.0) + 0.02, key


def test_every_judged_label_is_one_that_a_view_gives() -> None:
    makers = {name for cls in detectors().values() for name in cls.makes}
    assert all(label in makers for view in VIEWS.values() for label in view.labels)


def test_definitions_of_right() -> None:
    true = np.zeros((1, 9, 20), bool)
    true[0, :, 5] = true[0, :, 15] = True
    edges = np.zeros((1, 9, 20), np.uint8)
    edges[0, :, 7] = edges[0, :, 1] = 255  # two pixels beside the first boundary, and far from any
    right = edges_right(edges, true)[0, 4]
    assert right[7] == 1 and right[1] == 0 and right[5] == 1
    assert right[13:18].tolist() == [0] * 5 and right[18] == 1  # the second is missed
    ids = np.array([[[1, 1, 1, 2, 2, 2]]])
    assert regions_right(ids, np.array([[[7, 7, 8, 8, 8, 8]]]))[0, 0].tolist() == [1, 1, 0, 1, 1, 1]
    ramp = np.linspace(1, 2, 50).reshape(1, 5, 10)
    assert np.nanmin(order_right(ramp, ramp**2)) == 1 and np.nanmax(order_right(-ramp, ramp)) == 0
    tilted = np.array([[0, np.sin(a), -np.cos(a)] for a in np.radians([0, 22, 23])])
    assert normals_right(tilted, np.array([0, 0, -1.0])).tolist() == [1, 1, 0]


def test_sensed_depth_is_near_the_truth_but_at_rims() -> None:
    depth = np.full((1, 32, 32), 2.0, np.float32)
    depth[:, :, 16:] = 4.0
    sensed = sensed_depth(depth, np.random.default_rng(0))
    assert np.nanmax(np.abs(sensed[0, :, :12] - 2)) < 0.05
    assert 0.1 < np.isnan(sensed[0, :, 14:18]).mean() < 0.9 and np.isfinite(sensed[0, :, 20:]).all()
    assert np.isfinite(sensed[0, :, :12]).all()  # the left border is no neighbour of the right one


@pytest.mark.slow
def test_a_diagram_is_a_small_picture(tmp_path: Path) -> None:
    draw_reliability("edges", {"one": Tally.of(*drawn(4))}, tmp_path / "d.png")
    with Image.open(tmp_path / "d.png") as picture:
        assert picture.size[0] > 300
    assert (tmp_path / "d.png").stat().st_size < 50_000
