"""Planes over colour segments: a slanted plane goes on exactly where it isn't matched."""

import cv2
import numpy as np

from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.geometry import intrinsics
from freelabels.generators.depth.stereo import Stereo
from freelabels.generators.tools.segment_planes import LEAST_WEIGHT, continued_by_segments

HEIGHT, WIDTH = 90, 120
RED, BLUE = (200, 40, 40), (40, 40, 200)
Y, X = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)


def two_colours():
    """Red above the diagonal-free border at row 45, blue below it."""
    colour = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    colour[:45], colour[45:] = RED, BLUE
    return colour


def matched_from(column):
    return (column <= X).astype(np.float32)


def test_a_slanted_plane_goes_on_beyond_the_left_margin():
    plane = 20 - 0.1 * X + 0.05 * Y
    weight = matched_from(30)
    found = continued_by_segments(
        np.where(weight > 0, plane, np.nan), weight, np.full((HEIGHT, WIDTH, 3), 99, np.uint8)
    )
    beyond = plane <= plane[weight > 0].max()  # no nearer than the nearest match
    np.testing.assert_allclose(found[beyond], plane[beyond], atol=0.1)  # `LEVEL` flattens it a little
    assert (found <= plane[weight > 0].max()).all()


def test_each_colour_goes_on_in_its_own_plane():
    plane = np.where(Y < 45, 6 + 0.05 * X, 30 - 0.1 * X).astype(np.float32)
    weight = matched_from(30)
    found = continued_by_segments(plane, weight, two_colours())
    inside = (np.abs(Y - 45) > 3) & (plane <= plane[weight > 0].max())
    np.testing.assert_allclose(found[inside], plane[inside], atol=0.1)


def test_wrong_matches_do_not_tilt_the_plane():
    plane = 20 - 0.1 * X
    wrong = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.2
    found = continued_by_segments(
        np.where(wrong, 40, plane).astype(np.float32),
        matched_from(30),
        np.full((HEIGHT, WIDTH, 3), 99, np.uint8),
    )
    np.testing.assert_allclose(found[:, :30], plane[:, :30], atol=0.3)


def test_a_segment_with_hardly_a_match_has_no_plane():
    weight = np.where(Y < 45, 1, 0).astype(np.float32)
    weight[60, : int(LEAST_WEIGHT)] = 1
    found = continued_by_segments(np.full((HEIGHT, WIDTH), 5, np.float32), weight, two_colours())
    np.testing.assert_allclose(found[:42], 5, atol=1e-3)
    assert np.isnan(found[49:]).all()
    assert np.isnan(continued_by_segments(weight, np.zeros_like(weight), two_colours())).all()


def test_stereo_continues_a_slanted_wall_past_what_the_right_camera_sees():
    noise = np.random.default_rng(1).integers(96, 132, (120, 260), np.uint8)
    right = cv2.GaussianBlur(noise, (0, 0), 0.8)
    y, x = np.mgrid[:120, :200].astype(np.float32)
    disparity = 24 - 0.08 * x  # nearest at the left, where it is out of the right view
    left = cv2.remap(right, x + 40 - disparity, y, cv2.INTER_CUBIC)
    views = [np.repeat(view[..., None], 3, axis=2)[None] for view in (left, right[:, 40:240])]
    made = Stereo()(Clip(views[0], np.zeros(1), intrinsics(150.0, 200, 120), right=views[1]))
    error = np.abs(made["disparity"][0].astype(np.float32) - disparity)[10:-10]
    assert np.median(error[:, :20]) < 0.7
    assert np.median(error[:, 40:]) < 0.2
