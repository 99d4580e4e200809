"""Normals of planes, a box and a sphere from exact, coarse and noisy inverse depth; sensor depth itself."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from freelabels.generators.contract.calibration import using
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import field
from freelabels.generators.contract.geometry import intrinsics
from freelabels.generators.depth.sensor_depth import SensorDepth
from freelabels.generators.normals import Normals, focal_trust
from freelabels.generators.tools.planes import fit_planes, geodesic_sums, link_weights, neighbour_steps
from tests.analytic_scene import ROOM, Rectangle, Sphere, path, render

SIZE = (120, 160)
K = intrinsics(150.0, 160, 120)


def labelled(depth):
    """Depth, disparity, normals and confidences of one frame of sensor depth (NaN unknown)."""
    depth = np.where(np.isfinite(depth), depth, np.nan).astype(np.float32)
    clip = Clip(np.zeros((1, *depth.shape, 3), np.uint8), np.zeros(1), K, sensor_depth=depth[None])
    made = SensorDepth()(clip)
    return made | Normals()(clip.with_labels(made))


def degrees(found, truth):
    found = found.astype(float)
    length = np.maximum(np.linalg.norm(found, axis=-1), 1e-9)  # float16 isn't quite of unit length
    return np.degrees(np.arccos(np.clip((found * truth).sum(-1) / length, -1, 1)))


@pytest.mark.parametrize("down", [(0, 4, 0), (0, 4, 3), (0, 3, -4)])
def test_a_plane_has_one_normal(down):
    plane = Rectangle((-9, -4 * down[1], 7 - 4 * down[2]), (18, 0, 2), tuple(8 * d for d in down))
    _, depth, normals = render([plane], np.eye(4), K, SIZE)
    seen = np.isfinite(depth)
    assert seen.mean() > 0.5
    made = labelled(depth)
    error = degrees(made["normals"][0], normals)[seen]
    assert np.median(error) < 0.2
    assert error.max() < 0.5  # what is left is the rounding of float16


def test_scale_of_the_disparity_does_not_matter():
    _, depth, _ = render(ROOM, np.eye(4), K, SIZE)
    clip = Clip(np.zeros((1, *SIZE, 3), np.uint8), np.zeros(1), K)
    trust = np.full((1, *SIZE), 255, np.uint8)
    near, far = (
        Normals()(
            clip.with_labels(
                {"disparity": (s / depth)[None].astype(np.float16), "disparity_confidence": trust}
            )
        )["normals"][0]
        for s in (1, 64)
    )
    assert np.median(degrees(near, far.astype(float))) < 0.5


def test_faces_of_a_box_keep_their_normals_up_to_the_crease():
    _, depth, normals = render(ROOM, np.eye(4), K, SIZE)
    made = labelled(depth)
    error = degrees(made["normals"][0], normals)
    assert np.median(error) < 1
    assert (error < 11.25).mean() > 0.93


def test_a_sphere_bends_smoothly():
    _, depth, normals = render([Sphere((0.1, 0, 3), 1.0)], np.eye(4), K, SIZE)
    made = labelled(depth)
    front = np.isfinite(depth) & (normals[..., 2] < -0.5)
    assert np.median(degrees(made["normals"][0], normals)[front]) < 4
    assert not made["normals"][0][~np.isfinite(depth)].any()


def test_noise_of_a_sensor_is_averaged_away_and_confidence_knows_the_rest():
    _, depth, normals = render(ROOM, np.eye(4), K, SIZE)
    noisy = depth + 0.0015 * depth**2 * np.random.default_rng(0).normal(size=SIZE)
    made = labelled(noisy)
    error, confidence = degrees(made["normals"][0], normals), made["normals_confidence"][0]
    order = np.argsort(-confidence.ravel().astype(int), kind="stable")
    best = error.ravel()[order[: error.size // 2]]
    assert np.median(error) < 7
    assert np.mean(best) < np.mean(error)


def test_normals_face_the_camera_and_keep_the_contract():
    _, depth, _ = render(ROOM, np.eye(4), K, SIZE)
    depth[30:60, 40:90] = np.nan
    made = labelled(depth + 0.05 * np.random.default_rng(0).normal(size=SIZE))
    for name, values in made.items():
        field(name).check(values)
    normals = made["normals"][0].astype(float)
    from freelabels.generators.contract.geometry import rays

    assert ((normals * rays(K, *SIZE)).sum(-1)[normals.any(-1)] < 0).all()
    assert not normals[30:60, 40:90].any()
    assert not made["normals_confidence"][0, 30:60, 40:90].any()


def test_wide_frames_are_fitted_small_and_stay_unit():
    wide = intrinsics(800.0, 900, 60)
    _, depth, normals = render([Rectangle((-9, -2, 5), (18, 0, 3), (0, 4, 1))], np.eye(4), wide, (60, 900))
    clip = Clip(np.zeros((1, 60, 900, 3), np.uint8), np.zeros(1), wide)
    labels = {
        "disparity": (1 / depth)[None].astype(np.float16),
        "disparity_confidence": np.full((1, 60, 900), 255, np.uint8),
    }
    made = Normals()(clip.with_labels(labels))
    field("normals").check(made["normals"])
    assert np.median(degrees(made["normals"][0], normals)) < 3


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (3, 2)])
def test_degenerate_frames_do_not_crash(size):
    made = labelled(np.full(size, 2.0))
    for name, values in made.items():
        field(name).check(values)
    assert not labelled(np.full(size, np.nan))["normals"].any()


def test_sensor_depth_is_kept_as_measured_and_rims_are_trusted_less():
    _, depth, _ = render(ROOM, np.eye(4), K, SIZE)
    depth[:10] = 0
    with using({}):  # raw scores
        made = labelled(depth)
    assert np.isnan(made["depth"][0, :10]).all()
    assert np.array_equal(made["depth"][0, 10:], depth[10:].astype(np.float32))
    np.testing.assert_allclose(made["disparity"][0, 10:], 1 / depth[10:], rtol=1e-3)
    rim = np.zeros(SIZE, bool)
    rim[:, 1:] = np.abs(np.diff(np.log(depth.clip(0.1)))) > 0.2
    rim[:12] = False
    confidence = made["depth_confidence"][0].astype(float)
    assert confidence[rim].mean() < 0.4 * confidence[60:, :30].mean()


def test_geodesic_sums_are_products_of_links():
    left, up = (np.random.default_rng(s).uniform(0.2, 0.9, (4, 5)).astype(np.float32) for s in (0, 1))
    spike = np.zeros((4, 5), np.float32)
    spike[1, 2] = 1
    (spread,) = geodesic_sums([spike], left, up)
    assert spread[1, 2] == 1
    np.testing.assert_allclose(spread[1, 4], left[1, 3] * left[1, 4], rtol=1e-6)
    np.testing.assert_allclose(spread[3, 0], left[1, 1] * left[1, 2] * up[2, 0] * up[3, 0], rtol=1e-6)


def test_plane_fits_stop_at_edges():
    x = np.broadcast_to(np.arange(40, dtype=np.float32), (30, 40))
    values = np.where(x < 20, 5 + 0.1 * x, 1 - 0.02 * x).astype(np.float32)
    planes = fit_planes(
        values,
        np.ones_like(values),
        *link_weights(neighbour_steps(np.where(x < 20, 0, 50).astype(np.float32)), 5),
    )
    np.testing.assert_allclose(planes.value, values, atol=2e-3)
    np.testing.assert_allclose(planes.slope_x[:, 5:15], 0.1, atol=2e-3)
    np.testing.assert_allclose(planes.slope_x[:, 25:35], -0.02, atol=2e-3)


@pytest.mark.slow
def test_normals_of_an_assumed_camera_are_trusted_as_far_as_any_camera_bears_them_out():
    """Over cameras of all lenses that the assumed one may stand for, confidence is the share of right normals."""
    _, depth, _ = render(ROOM, path(2, turn=(0.1, 0.6, 0))[1], K, SIZE)
    disparity = (1 / depth)[None].astype(np.float16)
    labels = {"disparity": disparity, "disparity_confidence": np.full(disparity.shape, 255, np.uint8)}
    clip = Clip(np.zeros((1, *SIZE, 3), np.uint8), np.zeros(1), K, "given", labels=labels)
    known = Normals()(clip)
    assumed = Normals()(replace(clip, intrinsics="assumed"))
    assert np.array_equal(known["normals"], assumed["normals"])
    surest = np.percentile(known["normals_confidence"], 70)
    sure = known["normals_confidence"] >= surest
    assert assumed["normals_confidence"][sure].mean() < 0.97 * known["normals_confidence"][sure].mean()
    front = np.tile(np.float32([0, 0, -1]), (2, 2, 1))  # facing the camera, which it does whatever the lens
    assert (focal_trust(front, 0.4) == 1).all()
    held = focal_trust(known["normals"].astype(np.float32), 0.4)
    right = np.zeros(held.shape)
    logs = 0.4 * norm.ppf((np.arange(50) + 0.5) / 50)  # one for each fiftieth of them all
    for log in logs:
        lens = K * np.array([[np.exp(log)] * 2 + [1]] * 2 + [[1] * 3])
        other = Normals()(replace(clip, camera_K=lens))["normals"]
        right += degrees(other, known["normals"].astype(float)) <= 22.5
    there = known["normals"].any(-1)
    held, right = held[there], right[there]
    bins = np.digitize(held, [0.7, 0.8, 0.9, 0.97])
    for k in np.unique(bins):
        if (bins == k).sum() > 200:
            assert abs(held[bins == k].mean() - right[bins == k].mean() / len(logs)) < 0.08


@pytest.mark.parametrize("factor", [3, 6])
def test_large_frames_are_shrunk_about_their_centre(factor):
    """A step of depth near the middle of a frame of several times the width worked at stays where it is."""
    height, width = 40 * factor, Normals().width * factor
    at = width // 2 + 1  # not where the corners of pixels of both sizes meet
    inverse = np.full((1, height, width), 1.0, np.float32)
    inverse[:, :, at:] = 0.5 + np.linspace(0, 0.2, width - at, dtype=np.float32)  # slanted: another normal
    labels = {
        "disparity": inverse.astype(np.float16),
        "disparity_confidence": np.full(inverse.shape, 255, np.uint8),
    }
    clip = Clip(
        np.zeros((1, height, width, 3), np.uint8), np.zeros(1), intrinsics(width, width, height), "given"
    )
    x = Normals()(clip.with_labels(labels))["normals"][0, height // 2, :, 0].astype(float)
    step = np.abs(x) > np.abs(x[-width // 4]) / 2
    assert abs(int(step.argmax()) - at) <= factor / 2
