"""Disparity of rectified pairs: focal length × baseline / depth, on exact views."""

import cv2
import numpy as np
import pytest

from freelabels.generators.contract.calibration import using
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import field
from freelabels.generators.contract.geometry import intrinsics
from freelabels.generators.depth.semi_global import aggregated, cheapest, match
from freelabels.generators.depth.stereo import (
    MEDIAN_WIDTH,
    Stereo,
    drawn_to_planes,
    fill_from_background,
    likes,
)
from tests.analytic_scene import ROOM, path, render, texture

SIZE = (120, 160)
K = intrinsics(150.0, 160, 120)
BASELINE = 0.2


def clip_of(left, right):
    return Clip(left[None], np.zeros(1), K, right=right[None], baseline=BASELINE)


@pytest.fixture(scope="module")
def room():
    """Left and right image, the left view's exact disparity, and where both cameras see it."""
    left, right = path(2, shift=(BASELINE, 0, 0))
    (image, depth, _), (other, other_depth, _) = (render(ROOM, pose, K, SIZE) for pose in (left, right))
    disparity = (K[0, 0] * BASELINE / depth).astype(np.float32)
    x, y = np.meshgrid(np.arange(160, dtype=np.float32), np.arange(120, dtype=np.float32))
    there = cv2.remap(
        other_depth.astype(np.float32), x - disparity, y, cv2.INTER_NEAREST, borderValue=float("inf")
    )
    return image, other, disparity, np.abs(there / depth - 1) < 0.03


@pytest.fixture(scope="module")
def labels(room):
    with using({}):  # raw scores: how far a map trusts what is filled in is for renders to say
        return Stereo()(clip_of(room[0], room[1]))


def test_disparity_is_focal_length_times_baseline_over_depth(room, labels):
    error = np.abs(labels["disparity"][0] - room[2])[room[3]]
    assert np.median(error) < 0.15
    assert (error > 1).mean() < 0.03


def test_what_one_camera_sees_is_filled_from_behind_and_trusted_less(room, labels):
    confidence, hidden = labels["disparity_confidence"][0].astype(float), ~room[3]
    assert np.isfinite(labels["disparity"]).all()
    assert confidence[hidden].mean() < 0.5 * confidence[~hidden].mean()
    assert (labels["disparity"][0][hidden] <= room[2][hidden] + 1).mean() > 0.8


def test_errors_fall_with_confidence(room, labels):
    error = np.abs(labels["disparity"][0] - room[2])
    order = np.argsort(-labels["disparity_confidence"][0].ravel(), kind="stable")
    bad = (error.ravel()[order] > 1).cumsum() / np.arange(1, error.size + 1)
    assert bad[error.size // 2 - 1] < 0.01
    assert bad[error.size // 2 - 1] <= bad[-1]


def test_labels_keep_the_contract_and_repeat(room, labels):
    with using({}):
        again = Stereo()(clip_of(room[0], room[1]))
    for name, values in labels.items():
        field(name).check(values)
        assert again[name].tobytes() == values.tobytes()


def test_between_whole_disparities_the_v_through_three_costs_is_least():
    costs = np.array([4, 1, 2], np.int16).reshape(1, 3, 1)
    assert cheapest(costs)[0, 0] == pytest.approx(1 + (4 - 2) / (2 * (4 - 1)))
    assert cheapest(costs[:, ::-1])[0, 0] == pytest.approx(1 - (4 - 2) / (2 * (4 - 1)))


def test_paths_that_have_no_choice_cost_what_their_ends_cost():
    costs = np.random.default_rng(0).integers(0, 99, (7, 1, 9)).astype(np.int16)
    assert np.array_equal(aggregated(costs, np.zeros((7, 9, 3), np.uint8)), 8 * costs)


def test_a_blank_between_two_surfaces_is_parted_where_the_colour_changes():
    noise = np.random.default_rng(0).integers(0, 255, (60, 190, 3)).astype(np.uint8)
    behind, before = noise.copy(), noise[:, ::-1].copy()
    behind[:, 60:], before[:, :120] = (60, 60, 200), (200, 60, 60)
    left, right = behind[:, :180].copy(), behind[:, 4:184].copy()  # 4 pixels of disparity
    left[:, 90:], right[:, 80:] = before[:, 90:180], before[:, 90:190]  # 10 pixels
    disparity, _ = match(left, right, 32)
    assert (np.abs(disparity[5:-5, 10:79] - 4) < 1).mean() > 0.95
    assert (np.abs(disparity[5:-5, 91:175] - 10) < 1).mean() > 0.98


def test_matches_near_a_plane_are_drawn_to_it_as_far_as_the_images_let_them():
    plane = np.tile(np.linspace(10, 14, 40, dtype=np.float32), (30, 1))
    off = np.where(np.arange(40) % 2, 0.3, -0.3).astype(np.float32)
    matches, blank, sharp = plane + off, np.zeros_like(plane), np.full_like(plane, 1e5)
    np.testing.assert_allclose(drawn_to_planes(matches, plane, blank), plane, atol=1e-3)
    np.testing.assert_allclose(drawn_to_planes(matches, plane, sharp), matches, atol=1e-3)
    elsewhere = matches + 2
    np.testing.assert_allclose(drawn_to_planes(elsewhere, plane, sharp / 100), elsewhere, atol=1e-3)
    np.testing.assert_array_equal(drawn_to_planes(matches, np.full_like(plane, np.nan), blank), matches)


def test_holes_take_the_smaller_end():
    nan = np.nan
    row = np.array([[nan, 5, nan, nan, 2, nan], [nan] * 6], np.float32)
    assert np.array_equal(fill_from_background(row), np.array([[5, 5, 2, 2, 2, 2]] * 2, np.float32))


@pytest.mark.parametrize("case", ["black", "equal", "noise", "unrelated", "tiny"])
def test_views_that_say_nothing_are_not_labelled(case, room):
    noise = np.random.default_rng(0).integers(0, 255, (2, *SIZE, 3), np.uint8)
    left, right = {
        "black": (np.zeros_like(room[0]), np.zeros_like(room[0])),
        "equal": (room[0], room[0]),
        "noise": tuple(noise),
        "unrelated": (room[0], np.repeat(texture(9)[200:320, 300:460, None], 3, axis=2)),
        "tiny": (room[0][:1, :1], room[1][:1, :1]),
    }[case]
    made = Stereo()(clip_of(left, right))
    assert np.isnan(made["disparity"]).all()
    assert not made["disparity_confidence"].any()


def test_wide_frames_are_shrunk_about_their_centre():
    """Where what hangs together by colour is looked at on a third of the width, steps stay where they are."""
    width, off = 3 * MEDIAN_WIDTH, []
    for step in width // 2 + np.arange(3):
        right = np.broadcast_to(np.arange(width) >= step, (9, width))
        disparity, weight = np.where(right, 5, 1).astype(np.float32), right.astype(np.float32)
        median, _, _ = likes(disparity, np.ones_like(weight), np.zeros((9, width, 3), np.uint8))
        _, near, _ = likes(disparity, weight, np.zeros((9, width, 3), np.uint8))
        off += [(median[4] > 3).argmax() - step, (near[4] > 0.5).argmax() - step]
    assert np.mean(off) == pytest.approx(0, abs=0.1)


@pytest.mark.slow
def test_large_disparities_of_wide_images_are_found_and_scaled():
    rows = cv2.resize(texture(1), (1500, 200), interpolation=cv2.INTER_LINEAR)
    left, right = (np.repeat(rows[:, x : x + 1200, None], 3, axis=2) for x in (0, 150))
    disparity = Stereo()(clip_of(np.ascontiguousarray(left), np.ascontiguousarray(right)))["disparity"][0]
    assert np.median(np.abs(disparity[:, 200:].astype(float) - 150)) < 1.5


def test_a_missing_right_view_is_named():
    with pytest.raises(ValueError, match="right view"):
        Stereo()(Clip(np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1), K))
