"""Inverse depth from video: right up to scale where the camera moves, silent where it doesn't."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import field
from freelabels.generators.contract.geometry import intrinsics, invert_pose, rays
from freelabels.generators.depth import camera_track
from freelabels.generators.depth.bundle_adjustment import path_doubt, reproject
from freelabels.generators.depth.camera_track import camera_tracks
from freelabels.generators.depth.depth_reversal import misfit, reversed_depth
from freelabels.generators.depth.point_tracks import Tracks, follow, parallax, stands_still
from freelabels.generators.depth.video_disparity import VideoDisparity, fused, seen_from
from tests.analytic_scene import ROOM, path, render

SIZE = (120, 160)
K = intrinsics(150.0, 160, 120)
SIDEWAYS, TURNING = (0.03, 0.004, 0.01), (0.0, 0.004, 0.001)


def clip_of(images):
    return Clip(np.stack(images), np.arange(len(images)) / 30, K, "given")


@pytest.fixture(scope="module")
def moving():
    """Images, depths and camera → world poses of a camera moving through the room."""
    poses = path(16, SIDEWAYS, TURNING)
    seen = [render(ROOM, pose, K, SIZE) for pose in poses]
    return [image for image, _, _ in seen], np.stack([depth for _, depth, _ in seen]), poses


@pytest.fixture(scope="module")
def labels(moving):
    return VideoDisparity()(clip_of(moving[0]))


def abstains(images):
    made = VideoDisparity()(clip_of(images))
    return np.isnan(made["disparity"]).all() and not made["disparity_confidence"].any()


@pytest.mark.slow
def test_inverse_depth_is_right_up_to_one_scale_for_the_clip(moving, labels):
    trusted = labels["disparity_confidence"] > np.median(labels["disparity_confidence"])
    product = labels["disparity"].astype(float)[trusted] * moving[1][trusted]
    assert np.median(np.abs(product / np.median(product) - 1)) < 0.03
    assert np.isfinite(labels["disparity"]).mean() > 0.8


@pytest.mark.slow
def test_nearer_is_larger_against_a_random_other_pixel(moving, labels):
    disparity, depth = labels["disparity"].astype(float), moving[1]
    known = np.flatnonzero(labels["disparity_confidence"].ravel() > 100)
    a, b = np.random.default_rng(0).choice(known, (2, 20000))
    apart = np.abs(np.log(depth.ravel()[a] / depth.ravel()[b])) > np.log(1.05)
    right = (disparity.ravel()[a] > disparity.ravel()[b]) == (depth.ravel()[a] < depth.ravel()[b])
    assert right[apart].mean() > 0.97


def test_trusted_pixels_err_less(moving, labels):
    product = labels["disparity"].astype(float) * moving[1]
    error = np.abs(product / np.nanmedian(product) - 1)
    low, high = np.nanpercentile(labels["disparity_confidence"], [30, 70])
    assert np.nanmean(error[labels["disparity_confidence"] >= high]) < 0.5 * np.nanmean(
        error[labels["disparity_confidence"] <= low]
    )


def test_labels_keep_the_contract(labels):
    for name, values in labels.items():
        field(name).check(values)
    assert np.array_equal(np.isnan(labels["disparity"]), labels["disparity_confidence"] == 0)


@pytest.mark.slow
def test_two_runs_give_the_same_bytes(moving, labels):
    again = VideoDisparity()(clip_of(moving[0]))
    assert all(again[name].tobytes() == labels[name].tobytes() for name in labels)


@pytest.mark.slow
def test_the_camera_path_is_found_up_to_a_similarity(moving):
    images, _, poses = moving
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    (camera,) = camera_tracks(follow(grey), len(grey), K)
    found = invert_pose(camera.pose)
    relative = invert_pose(found[0]) @ found
    turned = relative[:, :3, :3] @ np.swapaxes(invert_pose(poses[0]) @ poses, 1, 2)[:, :3, :3]
    assert np.degrees(np.arccos((np.trace(turned[-1]) - 1) / 2)) < 0.5
    moved, truth = relative[-1, :3, 3], poses[-1, :3, 3]
    assert moved @ truth / np.linalg.norm(moved) / np.linalg.norm(truth) > 0.998


def seen_from_afar(distance=20.0):
    """Points of little relief on exact tracks of a camera that circles them, far off with a long lens."""
    rng = np.random.default_rng(0)
    K_long = intrinsics(75.0 * distance, 160, 120)
    world = rng.uniform(-1, 1, (200, 3)) * (1, 0.7, 1) + (0, 0, distance)
    pose = np.tile(np.eye(4), (9, 1, 1))
    for t, angle in enumerate(np.radians(np.arange(-4, 5))):
        pose[t, :3, :3] = cv2.Rodrigues(np.array([0, angle, 0]))[0]
        pose[t, :3, 3] = (0, 0, distance) - pose[t, :3, :3] @ (0, 0, distance)
    return pose, world, reproject(world[:, None], pose[None], K_long)[0], K_long


def test_near_and_far_exchanged_project_alike_under_a_distant_camera():
    pose, world, table, K_long = seen_from_afar(200.0)
    turned, other = reversed_depth(pose, world)
    assert np.corrcoef(world[:, 2], other[:, 2])[0, 1] == pytest.approx(-1)
    off = np.linalg.norm(reproject(other[:, None], turned[None], K_long)[0] - table, axis=-1)
    still = np.linalg.norm(table[:, :1] - table, axis=-1)
    assert np.median(off[:, 4:]) < 0.1 * np.median(still[:, 4:])
    back, again = reversed_depth(turned, other)
    np.testing.assert_allclose(reproject(again[:, None], back[None], K_long)[0], table, atol=1e-6)


def test_misfit_gives_tracks_without_points_the_best_there_is():
    pose, world, table, K_long = seen_from_afar()
    everything, nowhere = np.ones(table.shape[:2], bool), np.full_like(world, np.nan)
    assert misfit(pose, world, table, everything, K_long) < 1e-9
    assert misfit(pose, nowhere, table, everything, K_long) < 1e-9
    turned, other = reversed_depth(pose, world)
    assert misfit(turned, other, table, everything, K_long) > 0.01


def test_a_path_found_inside_out_is_turned_right(monkeypatch):
    pose, world, table, K_long = seen_from_afar()
    track, frame = (axis.ravel() for axis in np.indices(table.shape[:2]))
    start = reversed_depth(pose, world)[0]
    motion = start[8] @ np.linalg.inv(start[0])
    monkeypatch.setattr(camera_track, "_first_pair", lambda *_: (0, 8, motion))
    (found,) = camera_tracks(Tracks(track, frame, table.reshape(-1, 2)), 9, K_long)
    known = np.isfinite(found.points[:, 0])
    depth = found.points[known] @ found.pose[4, 2, :3]
    assert np.corrcoef(depth, world[known, 2])[0, 1] > 0.9


def noisy(poses, turn, shift):
    rng = np.random.default_rng(0)
    out = poses.copy()
    for pose in out:
        pose[:3, :3] = pose[:3, :3] @ cv2.Rodrigues(rng.normal(0, np.radians(turn), 3))[0]
        pose[:3, 3] += rng.normal(0, shift, 3)
    return out


@pytest.fixture(scope="module")
def followed(moving):
    """Tracks of the moving camera, and the path that they alone tell."""
    tracks = follow([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in moving[0]])
    return tracks, camera_tracks(tracks, 16, K)


def as_camera_paths(poses):
    """Centres (T, 3) from the first camera on, in units of the farthest from it."""
    centres = (poses[:, :3, 3] - poses[0, :3, 3]) @ poses[0, :3, :3]
    return centres / np.linalg.norm(centres, axis=1).max()


def test_a_path_that_is_told_right_is_taken_as_it_is_in_whatever_unit(moving, followed, monkeypatch):
    tracks, alone = followed
    monkeypatch.setattr(camera_track, "_found", lambda *_: alone)
    told = moving[2].copy()
    told[:, :3, 3] *= 1000
    told[5] = np.nan
    (found,) = camera_tracks(tracks, 16, K, told)
    known = np.isfinite(found.pose[:, 0, 0])
    assert found.trust > 0.9 and np.flatnonzero(~known).tolist() == [5]
    path_of = as_camera_paths(invert_pose(found.pose[known]))
    np.testing.assert_allclose(path_of, as_camera_paths(moving[2][known]), atol=1e-6)


@pytest.mark.parametrize("case", ["backwards", "still", "unknown", "noisy", "one"])
def test_a_path_that_is_told_wrong_changes_nothing(case, moving, followed, monkeypatch):
    tracks, alone = followed
    monkeypatch.setattr(camera_track, "_found", lambda *_: alone)
    poses = moving[2]
    told = {
        "backwards": poses[::-1],
        "still": np.tile(np.eye(4), (16, 1, 1)),
        "unknown": np.full((16, 4, 4), np.nan),
        "noisy": noisy(poses, 0.5, 0.02),
        "one": np.where(np.arange(16)[:, None, None] == 3, poses, np.nan),
    }[case]
    assert camera_tracks(tracks, 16, K, told) == alone


def test_a_told_path_is_refined_where_none_is_found(moving, followed, monkeypatch):
    monkeypatch.setattr(camera_track, "_found", lambda *_: [])
    (found,) = camera_tracks(followed[0], 16, K, noisy(moving[2], 0.02, 0.002))
    moved, truth = (invert_pose(found.pose[-1]))[:3, 3], moving[2][-1, :3, 3] - moving[2][0, :3, 3]
    assert found.trust > 0.5 and moved @ truth / np.linalg.norm(moved) / np.linalg.norm(truth) > 0.99


@pytest.mark.parametrize(("intrinsics", "follows"), [("given", True), ("assumed", False)])
def test_labels_follow_the_path_that_is_told_with_its_camera(
    intrinsics, follows, moving, labels, monkeypatch
):
    monkeypatch.setattr(camera_track, "_found", lambda *_: [])
    clip = replace(clip_of(moving[0]), camera_pose=moving[2], intrinsics=intrinsics)
    made = VideoDisparity()(clip)
    assert (np.isfinite(made["disparity"]).mean() > 0.8) == follows
    if follows:
        product = made["disparity"].astype(float) * moving[1]
        trusted = made["disparity_confidence"] > np.median(made["disparity_confidence"])
        assert np.median(np.abs(product[trusted] / np.median(product[trusted]) - 1)) < 0.02


@pytest.mark.slow
def test_a_mover_is_left_out(moving):
    images = [image.copy() for image in moving[0]]
    patch = np.random.default_rng(1).integers(0, 255, (10, 10, 3), np.uint8)
    patch = cv2.resize(patch, (30, 30), interpolation=cv2.INTER_CUBIC)
    for t, image in enumerate(images):
        image[20 + 3 * t : 50 + 3 * t, 110:140] = patch  # straight down, across the epipolar lines
    made = VideoDisparity()(clip_of(images))
    on, off = made["disparity_confidence"][8, 46:72, 112:138], made["disparity_confidence"][8, 40:, :90]
    assert np.median(on) < 0.3 * np.median(off)


@pytest.mark.slow
def test_both_sides_of_a_cut_are_labelled_apart(moving):
    other = [np.ascontiguousarray(image[:, ::-1]) for image in moving[0]]
    made = VideoDisparity()(clip_of(moving[0] + other))
    assert (np.isfinite(made["disparity"]).mean(axis=(1, 2)) > 0.5).all()


def test_parallax_is_what_rotation_and_zoom_leave():
    world = np.random.default_rng(0).uniform((-2, -1, 3), (2, 1, 6), (300, 3))

    def see(pose, focal):
        camera = world @ pose[:3, :3].T + pose[:3, 3]
        return camera[:, :2] / camera[:, 2:] * focal + K[:2, 2]

    turned, moved = path(2, turn=(0.01, 0.02, 0.01))[1], path(2, shift=(0.5, 0, 0))[1]
    assert parallax(see(np.eye(4), 150), see(turned, 155), K) < 0.1
    assert parallax(see(np.eye(4), 150), see(moved, 150), K) > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["single", "still", "black", "noise", "noisy and still", "rotation", "zoom", "tiny"]
)
def test_without_a_baseline_nothing_is_claimed(case, moving):
    image = moving[0][0]
    noise = np.random.default_rng(0)
    if case == "rotation":
        images = [render(ROOM, pose, K, SIZE)[0] for pose in path(12, turn=(0.002, 0.01, 0.003))]
    elif case == "zoom":
        lenses = [intrinsics(150 * (1 + 0.02 * t), 160, 120) for t in range(12)]
        images = [render(ROOM, np.eye(4), lens, SIZE)[0] for lens in lenses]
    else:
        images = {
            "single": [image],
            "still": [image, image],
            "black": [np.zeros_like(image)] * 6,
            "noise": list(noise.integers(0, 255, (8, *SIZE, 3), np.uint8)),
            "noisy and still": [
                np.clip(image + noise.normal(0, 5, image.shape), 0, 255).astype(np.uint8) for _ in range(8)
            ],
            "tiny": [image[:1, :1], image[1:2, 1:2]],
        }[case]
    assert abstains(images)


@pytest.mark.slow
def test_a_crowd_that_fills_the_frame_is_not_trusted():
    """Thirty patches, each moving its own way."""
    noise = np.random.default_rng(3)
    images = [np.zeros((*SIZE, 3), np.uint8) for _ in range(10)]
    for y in range(0, 120, 24):
        for x in range(0, 160, 27):
            patch = cv2.resize(noise.integers(0, 255, (12, 12, 3), np.uint8), (60, 60))
            dx, dy = noise.integers(-3, 4, 2)
            for t, image in enumerate(images):
                part = image[y : y + 24, x : x + 27]
                part[:] = np.roll(patch, (t * dy, t * dx), (0, 1))[18:42, 16:43][
                    : part.shape[0], : part.shape[1]
                ]
    made = VideoDisparity()(clip_of(images))
    assert (made["disparity_confidence"] > 128).mean() < 0.05


def crowded(images, patches=6):
    """The images with textured patches before them, over half of the frame, that drift the same way, unevenly."""
    noise = np.random.default_rng(2)
    out = [image.copy() for image in images]
    for k in range(patches):
        patch = cv2.resize(
            noise.integers(0, 255, (14, 14, 3), np.uint8), (60, 60), interpolation=cv2.INTER_CUBIC
        )
        top, left = 62 * (k // 3), 54 * (k % 3)
        speed = 0.8 + 0.25 * k
        for t, image in enumerate(out):
            moved = cv2.warpAffine(
                patch, np.float64([[1, 0, -speed * t], [0, 1, 0]]), (40, 44), borderMode=cv2.BORDER_WRAP
            )
            part = image[top : top + 44, left : left + 40]
            part[:] = moved[: part.shape[0], : part.shape[1]]
    return out


def test_a_camera_that_stands_still_gives_no_depth_whatever_moves_before_it(moving):
    """Patches at speeds of their own look like parallax; the floor and walls between them are at rest."""
    still = crowded([moving[0][0]] * 16)
    assert abstains(still)


def test_a_camera_stands_still_where_points_all_over_the_frame_rest():
    rng = np.random.default_rng(0)
    a = rng.uniform((0, 0), (160, 120), (400, 2))
    jitter = rng.normal(0, 0.1, a.shape)
    moves = rng.random(400) < 0.6
    assert stands_still(a, a + jitter + moves[:, None] * (5, 0))
    assert not stands_still(a, a + jitter + (5, 0))  # it pans
    forward = (a - (80, 60)) * 0.08
    assert not stands_still(a, a + forward)  # what it moves towards rests, and that alone
    far = a[:, 1] < 36
    assert not stands_still(a, a + jitter + ~far[:, None] * (6, 0))  # a distant skyline rests


def test_the_doubt_of_a_path_is_what_noise_makes_of_its_depths():
    """The spread of depths over paths fitted anew to tracks with other noise is about what is said beforehand."""
    rng = np.random.default_rng(0)
    world = rng.uniform((-2, -1.5, 3), (2, 1.5, 7), (80, 3))
    doubts = []
    for step in (0.3, 0.05):
        pose = invert_pose(path(6, (step, 0, 0.1 * step), (0, 0.01, 0)))
        table = reproject(world[:, None], pose[None], K)[0]
        seen = np.ones(table.shape[:2], bool)
        doubts.append(path_doubt(pose, world, table, seen, K, 0.5))
    assert doubts[1] > 3 * doubts[0] > 0
    assert path_doubt(pose, np.full_like(world, np.nan), table, seen, K, 0.5) == np.inf


def test_frames_agree_on_a_surface_and_what_another_hides_counts_little():
    """A wall at depth 2 seen from 0.3 nearer: its inverse depth 1 / 1.7 there is 1 / 2 here."""
    directions = np.ascontiguousarray(np.moveaxis(rays(K, *SIZE), -1, 0), np.float32)
    motion = np.eye(4)
    motion[2, 3] = -0.3
    here, there = np.full(SIZE, 1 / 2.1, np.float32), np.full(SIZE, 1 / 1.7, np.float32)
    inner = (slice(30, 90), slice(40, 120))
    one = np.ones(SIZE, np.float32)
    said, trust = seen_from(here, there, one, motion, K, directions)
    # A guess that is off is led nearer, not all the way: the change of perspective is taken as it is at the guess.
    assert np.abs(said[inner] - 0.5).max() < 0.002 and (trust[inner] > 0).all()
    both, weight = fused(here, one, [(said, 1e4 * one)])
    assert np.abs(both[inner] - 0.5).max() < 0.02 and (weight[inner] > 1).all()
    surface = np.full(SIZE, 0.5, np.float32)
    hidden, _ = fused(surface, 1e6 * one, [(2 * surface, 1e6 * one)])
    assert np.abs(hidden - 0.5).max() < 1e-3


def test_what_lies_beside_or_behind_another_camera_says_nothing():
    directions = np.ascontiguousarray(np.moveaxis(rays(K, *SIZE), -1, 0), np.float32)
    one = np.ones(SIZE, np.float32)
    turned = np.diag([-1.0, 1, -1, 1])  # looking the other way
    assert not seen_from(one, one, one, turned, K, directions)[1].any()
    aside = np.eye(4)
    aside[0, 3] = 5.0
    assert not seen_from(one, one, one, aside, K, directions)[1].any()
