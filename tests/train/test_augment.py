"""A view moves every field so that all of them still describe the same scene."""

import numpy as np
import pytest

from benchmarks.tools.shapes import scene
from freelabels.generators.contract.geometry import intrinsics, project, rays
from freelabels.generators.contract.lens import lens_project
from freelabels.train.config import AugmentConfig
from freelabels.train.data.augment import Resampler, View, centre_view, change_light, random_view

SIZE = 96
K = intrinsics(0.9 * SIZE, SIZE, SIZE)[None]
CLIP = scene(3, SIZE, 2, 1)


def mirrored() -> View:
    return View(SIZE, 1.0, (SIZE / 2, SIZE / 2), np.diag([-1.0, 1.0]))


def turned(degrees: float, mirror: bool = False) -> View:
    a = np.radians(degrees)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return View(64, 0.9, (50.0, 45.0), np.diag([-1.0, 1.0]) @ turn if mirror else turn)


def test_the_identity_changes_nothing() -> None:
    same = Resampler(centre_view(SIZE, SIZE, SIZE), (SIZE, SIZE))
    for name in ("edges", "depth", "flow", "instance"):
        np.testing.assert_array_equal(same.map(name, CLIP[name]), CLIP[name])
    np.testing.assert_allclose(same.map("normals", CLIP["normals"]), CLIP["normals"], atol=1e-3)
    np.testing.assert_array_equal(same.image(CLIP["image"]), CLIP["image"])
    np.testing.assert_allclose(same.camera_K(K), K)
    assert same.inside.all()


def test_a_mirror_negates_x_of_normals_and_flow_alone() -> None:
    flip = Resampler(mirrored(), (SIZE, SIZE))
    sign = np.array([-1, 1, 1])
    np.testing.assert_allclose(
        flip.map("normals", CLIP["normals"]), CLIP["normals"][:, :, ::-1] * sign, atol=1e-3
    )
    np.testing.assert_array_equal(flip.map("flow", CLIP["flow"]), CLIP["flow"][:, :, ::-1] * sign[:2])
    np.testing.assert_array_equal(flip.map("instance", CLIP["instance"]), CLIP["instance"][:, :, ::-1])
    np.testing.assert_array_equal(flip.image(CLIP["image"]), CLIP["image"][:, :, ::-1])


@pytest.mark.parametrize(
    "view", [centre_view(SIZE, SIZE, 64), turned(0), turned(17), turned(-30, mirror=True)]
)
def test_depth_normals_and_K_stay_one_geometry(view: View) -> None:
    # The floor is a plane, so n · X is the same at all its pixels, in any view.
    resampler = Resampler(view, (SIZE, SIZE))
    depth = resampler.map("depth", CLIP["depth"])[0]
    normals = resampler.map("normals", CLIP["normals"])[0]
    points = rays(resampler.camera_K(K)[0], view.size, view.size) * depth[..., None]  # infinite in the sky
    floor = (resampler.map("instance", CLIP["instance"])[0] == 0) & np.isfinite(depth) & resampler.inside
    floor &= depth < 8
    offset = (points[floor] * normals[floor]).sum(-1)
    assert floor.sum() > 300
    assert np.abs(offset / np.median(offset) - 1).max() < 0.06  # half a pixel of the nearest neighbour
    np.testing.assert_allclose(np.linalg.norm(normals[floor], axis=-1), 1, atol=1e-5)


def test_flow_leads_to_where_the_point_is_seen_next() -> None:
    view = turned(20, mirror=True)
    frame = np.array([[40.3, 52.1]])
    step = np.array([3.0, -2.0])
    H = view.to_view
    here, there = (np.append(p, 1) @ H.T for p in (frame[0], frame[0] + step))
    values = np.broadcast_to(step.astype(np.float16), (1, SIZE, SIZE, 2))
    flow = Resampler(view, (SIZE, SIZE)).map("flow", values)
    np.testing.assert_allclose(flow[0, 10, 10], (there - here)[:2], rtol=1e-5)


def test_a_mirrored_camera_motion_is_rigid_and_projects_alike() -> None:
    view = turned(25, mirror=True)
    resampler = Resampler(view, (SIZE, SIZE))
    rng = np.random.default_rng(0)
    angle = 0.2
    pose = np.stack([np.eye(4), np.eye(4)])
    pose[1, :2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    pose[1, :3, 3] = rng.normal(size=3)
    new = resampler.camera_pose(pose)
    assert np.allclose(np.linalg.det(new[:, :3, :3]), 1)
    # A point in the first camera, seen by the second: its place in the view is the moved place in the frame.
    point = np.array([0.3, -0.4, 5.0])
    relative = np.linalg.solve(pose[1], pose[0])
    seen = project((relative @ np.append(point, 1))[:3], K[0])
    turned_point = np.append(view.camera_turn @ point, 1)
    new_seen = project((np.linalg.solve(new[1], new[0]) @ turned_point)[:3], resampler.camera_K(K)[0])
    np.testing.assert_allclose(new_seen, (view.to_view @ np.append(seen, 1))[:2], atol=1e-9)


def test_a_turned_view_keeps_its_lens() -> None:
    view = turned(25, mirror=True)
    resampler, bent = Resampler(view, (SIZE, SIZE)), np.array([[-0.2, 0.03, 0.01, -0.02, 0.004]])
    point = np.array([0.3, -0.4, 1.0])
    there = lens_project(
        view.camera_turn @ point, resampler.camera_K(K)[0], resampler.camera_distortion(bent)[0]
    )
    frame = np.append(lens_project(point, K[0], bent[0]), 1)
    np.testing.assert_allclose(there, (view.to_view @ frame)[:2], atol=1e-9)


def test_thin_lines_survive_shrinking_with_their_confidence() -> None:
    edges = np.zeros((1, 96, 96), np.uint8)
    edges[0, :, 41] = 200
    confidence = np.where(edges > 0, 250, 7).astype(np.uint8)
    small = Resampler(centre_view(96, 96, 32), (96, 96))
    small.follow_lines(edges)
    lines, trust = small.map("edges", edges), small.map("edges_confidence", confidence)
    assert (lines[0, :, 13] == 200).all() and (lines > 0).sum() == 32
    np.testing.assert_array_equal(trust, np.where(lines > 0, 250, 7))


def test_pixels_from_outside_the_frame_are_known() -> None:
    corner = View(32, 1.0, (0.0, 0.0), np.eye(2))
    inside = Resampler(corner, (SIZE, SIZE)).inside
    assert inside[16:, 16:].all() and inside.sum() == 16 * 16


def test_shrinking_an_image_averages_it() -> None:
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 200
    small = Resampler(centre_view(64, 64, 16), (64, 64)).image(stripes)
    assert np.abs(small[:, 2:-2, 2:-2].astype(int) - 100).max() <= 2


def test_random_views_stay_in_the_frame_and_repeat() -> None:
    config = AugmentConfig(crop=(0.3, 1.0))
    for seed in range(50):
        view = random_view(config, 60, 90, 32, np.random.default_rng(seed))
        assert Resampler(view, (60, 90)).inside.all()
        again = random_view(config, 60, 90, 32, np.random.default_rng(seed))
        np.testing.assert_array_equal(view.to_view, again.to_view)


def test_light_changes_the_image_within_its_range_and_can_be_off() -> None:
    off = AugmentConfig(light=0, colour=0, grey=0, blur=0)
    image = CLIP["image"]
    same = change_light(off, image, np.random.default_rng(0))
    assert np.abs(same.astype(int) - image).max() <= 1
    grey = change_light(AugmentConfig(light=0, colour=0, grey=1, blur=0), image, np.random.default_rng(0))
    assert np.ptp(grey.astype(int), axis=-1).max() <= 1
