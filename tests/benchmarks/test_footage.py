"""Real footage is read as its publishers lay it out; what isn't there yields nothing and is named."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

from benchmarks.labels import __main__ as labels
from benchmarks.labels.footage import drawn_images, flow_pairs, moving_clips, static_clips, stereo_pairs
from benchmarks.labels.reliability import believed, edges_and_regions, grouped, half_rows
from benchmarks.labels.rgbd import films, read_rgbd
from freelabels.generators.contract.calibration import ConfidenceMap, using
from freelabels.pipeline.quality.reliability import FootageCount

SIZE = (12, 16)


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def test_drawings_are_boundaries_and_segments_of_each_person(tmp_path: Path) -> None:
    people = np.empty((1, 2), object)
    for k in range(2):
        segments = np.ones(SIZE, np.uint16)
        segments[:, 5 + k :] = 2
        person = np.zeros((1, 1), [("Segmentation", object), ("Boundaries", object)])
        person[0, 0] = (segments, np.diff(segments, axis=1, prepend=1).astype(np.uint8))
        people[0, k] = person
    for name in "abc":
        write(tmp_path / "edges" / "images" / f"{name}.jpg", np.full((*SIZE, 3), 90, np.uint8))
        (tmp_path / "edges" / "boundaries").mkdir(exist_ok=True)
        scipy.io.savemat(tmp_path / "edges" / "boundaries" / f"{name}.mat", {"groundTruth": people})
    [(image, boundaries, segments), _] = drawn_images(tmp_path, every=2)
    assert image.shape == (*SIZE, 3)
    for k in range(2):
        np.testing.assert_array_equal(np.flatnonzero(boundaries[k].any(axis=0)), [5 + k])
        assert (segments[k][:, 5 + k :] == 2).all()


def test_scores_are_counted_raw_whatever_maps_are_in_use(tmp_path: Path) -> None:
    """And rows are of the confidence that these maps give, drawings in one however they are grouped."""
    person = np.zeros((1, 1), [("Segmentation", object), ("Boundaries", object)])
    segments = np.ones((32, 32), np.uint16)
    segments[:, 16:] = 2
    person[0, 0] = (segments, np.diff(segments, axis=1, prepend=1).astype(np.uint8))
    people = np.empty((1, 1), object)
    people[0, 0] = person
    (tmp_path / "edges" / "boundaries").mkdir(parents=True)
    for name in "abc":
        write(tmp_path / "edges" / "images" / f"{name}.jpg", np.repeat(segments[..., None] * 80, 3, axis=2))
        scipy.io.savemat(tmp_path / "edges" / "boundaries" / f"{name}.mat", {"groundTruth": people})
    unsure = ConfidenceMap((0.0, 0.01, 1.0), (0.0, 0.5, 0.5))
    with using(dict.fromkeys(("edges", "edges: yes", "superpixels"), unsure)):
        counts = [
            FootageCount(each.map, each.label, each.data, 1, each.tally, {}, {})
            for each in edges_and_regions(tmp_path, "chosen")
        ]
        rows = list(half_rows(whole := grouped(counts), [believed(each) for each in whole], "chosen"))
    assert {each.data for each in counts} == {"BSDS chosen 1", "BSDS chosen 2"}
    others = (replace(counts[0], data=each.data) for each in edges_and_regions(tmp_path, "other"))
    assert {each.clip for each in others}.isdisjoint({each.clip for each in counts})
    assert len(whole) == 3 and {(each.data, each.clips) for each in whole} == {("BSDS, chosen half", 2)}
    with using({}):
        again = [each.tally.count.tolist() for each in edges_and_regions(tmp_path, "chosen")]
    assert again == [each.tally.count.tolist() for each in counts]
    by_metric = {(row["label"], row["metric"]): row["value"] for row in rows}
    right = sum(each.tally.right.sum() for each in counts if each.label == "regions")
    labels = sum(each.tally.count.sum() for each in counts if each.label == "regions")
    assert by_metric["regions", "ECE"] == pytest.approx(abs(right / labels - 128 / 255), abs=1e-6)
    assert "ECE of yes" in {metric for label, metric in by_metric if label == "edges"}


def test_flow_is_unknown_where_the_file_says_so_and_disparity_is_flow_to_the_left(tmp_path: Path) -> None:
    flow = np.zeros((*SIZE, 2), np.float32)
    flow[..., 0], flow[0, 0] = 3, 2e9
    for path in ("flow/Whale1.png", "flow/Whale2.png", "stereo/venus/im2.png", "stereo/venus/im6.png"):
        write(tmp_path / path, np.zeros((*SIZE, 3), np.uint8))
    assert cv2.writeOpticalFlow(str(tmp_path / "flow" / "Whale.flo"), flow)
    disparity = np.full(SIZE, 16, np.uint8)
    disparity[0, 0] = 0
    write(tmp_path / "stereo" / "venus" / "disp2.png", disparity)
    (whale, *_, true), (venus, *_, left) = flow_pairs(tmp_path)
    assert (whale, venus) == ("Whale", "venus")
    assert np.isnan(true[0, 0]).all() and (true[1:, :, 0] == 3).all()
    assert np.isnan(left[0, 0]).all() and (left[1:] == (-2, 0)).all()


def test_clips_have_masks_where_something_moves(tmp_path: Path) -> None:
    for k in range(3):
        write(tmp_path / "motion" / "dog" / "images" / f"{k}.png", np.zeros((*SIZE, 3), np.uint8))
        write(tmp_path / "motion" / "dog" / "masks" / f"{k}.png", np.full(SIZE, 255 * (k == 1), np.uint8))
        write(tmp_path / "rgbd" / "room" / f"{k}.color.jpg", np.zeros((*SIZE, 3), np.uint8))
    [(name, frames, masks)] = moving_clips(tmp_path)
    assert (name, frames.shape, masks.any(axis=(1, 2)).tolist()) == (
        "dog",
        (3, *SIZE, 3),
        [False, True, False],
    )
    [(name, frames)] = static_clips(tmp_path)
    assert (name, len(frames)) == ("room", 3)


@pytest.mark.parametrize("empty", [False, True])
def test_without_footage_only_the_pair_inside_scikit_image_is_there(empty: bool, tmp_path: Path) -> None:
    data = tmp_path if empty else None
    assert not [*drawn_images(data), *flow_pairs(data), *moving_clips(data), *static_clips(data)]
    assert [name for name, *_ in stereo_pairs(data)] == ["motorcycle"]


def test_parts_without_footage_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels.main(only="flow,edges")
    assert capsys.readouterr().out.startswith("left out: edges, flow (without --data")
    labels.main(only="motion,flow", data=tmp_path)
    assert capsys.readouterr().out.startswith(f"left out: motion, flow ({tmp_path} has no footage")


def test_depth_clips_are_seen_at_half_size_and_as_they_are_stored(tmp_path: Path) -> None:
    """Whatever the setting, a map of the whole frame has at the clip's pixels the values that these show."""
    across = np.tile(np.arange(32, dtype=np.uint8) * 8, (24, 1))
    np.savetxt(tmp_path / "camera-intrinsics.txt", np.array([[58.5, 0, 16], [0, 58.5, 12], [0, 0, 1]]))
    for t in range(45):
        stem = tmp_path / f"frame-{t:06d}"
        write(tmp_path / "picture.png", np.repeat(across[..., None], 3, axis=2))
        (tmp_path / "picture.png").rename(f"{stem}.color.jpg")  # read by what is in it
        write(Path(f"{stem}.depth.png"), np.full((24, 32), 2000, np.uint16))
        np.savetxt(f"{stem}.pose.txt", np.eye(4))
    full = read_rgbd(tmp_path, 1.0)
    half, stored = films(tmp_path, full)
    assert (half.clip.size, len(half.clip), half.setting) == ((12, 16), 45, "")
    assert (stored.clip.size, len(stored.clip)) == ((256, 256), 15)
    assert stored.judged == [(2, 6), (7, 21), (12, 36)]
    assert stored.clip.time[1] == pytest.approx(0.1)
    assert stored.clip.camera_K[0, 0] == pytest.approx(52.5 * 256 / 24)
    assert stored.clip.camera_K[:2, 2] == pytest.approx([128, 128])
    for film in (half, stored):
        shown = film.clip.image[0, ..., 0].astype(float)
        assert np.abs(film.seen(across.astype(np.float64)) - shown).max() <= 8  # a pixel of the whole frame
