"""Lenses against OpenCV's model and closed forms: where points are seen, and labels through the same rays."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import trimesh

from freelabels.generators.contract.lens import distort, lens_project, lens_rays, slopes, undistort
from freelabels.renderers.draw.lenses import with_lens
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.raycast import Parts, pose_surfaces
from freelabels.renderers.labels.label_frame import Known, label_frame
from freelabels.renderers.labels.looks import Instant, look
from freelabels.renderers.labels.reprojection import reproject_residual
from freelabels.renderers.pixels.ray_image import render_radiance
from freelabels.renderers.scene.scene import Camera, lens_of
from freelabels.renderers.surfaces.appearance import Appearance, Background, Light, Material
from freelabels.renderers.surfaces.meshes import as_mesh

SIZE = (48, 64)
K = np.array([[60.0, 0, 33.5], [0, 60.0, 22.0], [0, 0, 1]])
COEFFICIENTS = (-0.25, 0.04, 0.003, -0.002, 0.01)
LENS = Lens(K, COEFFICIENTS)
DARK = Background("sky", *((0.0, 0.0, 0.0),) * 3)


def world(shapes: list[trimesh.Trimesh], poses: list[np.ndarray], camera: np.ndarray) -> Instant:
    ids = np.arange(len(shapes), dtype=np.int32)
    table = Parts(ids, np.minimum(ids, 1), ids, ids)
    meshes = [as_mesh(shape) for shape in shapes]
    return Instant(pose_surfaces(meshes, np.array(poses), table, camera[:3, 3]), camera)


def at(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


def test_points_land_where_opencv_says() -> None:
    points = np.random.default_rng(0).uniform((-1, -0.8, 1), (1, 0.8, 3), (200, 3))
    (expected, _) = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, np.array(COEFFICIENTS))
    np.testing.assert_allclose(lens_project(points, K, COEFFICIENTS), expected[:, 0], atol=1e-9)
    np.testing.assert_allclose(np.stack(LENS.project(points), axis=1), expected[:, 0], atol=1e-9)
    assert np.isnan(lens_project(-points, K, COEFFICIENTS)).all()


def test_rays_through_pixels_come_back_to_their_centres() -> None:
    rays = lens_rays(K, COEFFICIENTS, *SIZE)
    x, y = np.meshgrid(np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5)
    np.testing.assert_allclose(lens_project(rays, K, COEFFICIENTS), np.stack([x, y], axis=-1), atol=1e-9)
    np.testing.assert_array_equal(LENS.rays(SIZE), rays.reshape(-1, 3))
    right, down = LENS.steps(SIZE)[:, :, 100]  # of row 1, column 36
    moved = Lens(K + np.array([[0, 0, -1e-4], [0, 0, 0], [0, 0, 0]]), COEFFICIENTS)
    np.testing.assert_allclose((moved.rays(SIZE) - LENS.rays(SIZE))[100, :2], right * 1e-4, rtol=1e-3)
    moved = Lens(K + np.array([[0, 0, 0], [0, 0, -1e-4], [0, 0, 0]]), COEFFICIENTS)
    np.testing.assert_allclose((moved.rays(SIZE) - LENS.rays(SIZE))[100, :2], down * 1e-4, rtol=1e-3)


def test_slopes_are_those_of_the_distortion() -> None:
    x, y, small = np.array([0.3, -0.5]), np.array([0.2, 0.4]), 1e-6
    for axis, (by_x, by_y) in enumerate(((0, 1), (2, 3))):
        here = distort(x, y, COEFFICIENTS)[axis]
        found = slopes(x, y, COEFFICIENTS)
        np.testing.assert_allclose(
            (distort(x + small, y, COEFFICIENTS)[axis] - here) / small, found[by_x], atol=1e-5
        )
        np.testing.assert_allclose(
            (distort(x, y + small, COEFFICIENTS)[axis] - here) / small, found[by_y], atol=1e-5
        )


def test_where_a_lens_shows_nothing_there_is_no_ray() -> None:
    x, _ = undistort(np.array([0.1, 5.0]), np.zeros(2), (-0.3, 0.0, 0.0, 0.0, 0.0))
    assert np.isfinite(x[0]) and np.isnan(x[1])


def test_no_ray_leads_past_a_lens_s_last_circle() -> None:
    """There the polynomial turns back: it has the same values once more, also on the other side of the middle."""
    coefficients = (-0.15, 0.0, 0.0, 0.0, 0.0)  # r − .15 r³ is at most .994, at 1.49; and 1 at −2.98
    x = np.linspace(0.5, 3.0, 300)
    found, _ = undistort(x, 0 * x, coefficients)
    assert np.isfinite(found[x < 0.98]).all() and np.isnan(found[x > 1]).all()
    far, _ = distort(np.linspace(0.0, 9.0, 300), np.zeros(300), coefficients)
    assert (np.diff(far) > 0).all()  # nothing from beyond is seen in the picture
    assert not Lens(np.array([[60.0, 0, 60], [0, 60, 24], [0, 0, 1]]), coefficients).covers((48, 120))


def test_a_lens_that_would_not_reach_the_corners_bends_less() -> None:
    ranges = SceneRanges(distorted=1.0, distortion=(-0.15, -0.15), off_centre=(-0.1, 0.1))
    for seed in range(20):
        lens = lens_of(
            with_lens(Camera(60.0, (0.0, 0.0, 0.0), 1.0, 0.0, 0.3, 0.0), np.random.default_rng(seed), ranges),
            (16, 16),
        )
        assert lens.bends and lens.covers((16, 16)) and np.isfinite(lens.rays((16, 16))).all()


@pytest.mark.parametrize("fov", [38.0, 75.0, 150.0])
def test_lenses_that_are_drawn_show_something_everywhere(fov: float) -> None:
    ranges = SceneRanges(distorted=1.0)
    camera = Camera(fov, (0.0, 0.0, 0.0), 1.0, 0.0, 0.3, 0.0)
    for seed in range(20):
        drawn = with_lens(camera, np.random.default_rng(seed), ranges)
        lens = lens_of(drawn, (40, 40))
        assert lens.bends and np.isfinite(lens.rays((40, 40))).all()
        corner = np.tan(np.radians(fov) / 2)
        x, _ = distort(np.array(corner), np.array(corner), drawn.distortion)
        assert abs(x / corner - 1) < 0.1 + 8 * abs(corner) * 0.002
    plain = with_lens(camera, np.random.default_rng(0), dataclasses.replace(ranges, distorted=0.0))
    assert plain == camera


def test_labels_are_cast_through_the_same_lens() -> None:
    """A wall before a camera that moves: depth is the wall's, and flow leads where OpenCV sees the points next."""
    wall, box = trimesh.creation.box((20.0, 20.0, 0.1)), trimesh.creation.box((0.5, 0.3, 0.2))
    poses = [at(z=2.05), at(0.2, 0.1, 1.5)]
    cameras = [at(0.04 * k, -0.02 * k, 0.05 * k) for k in (-1, 0, 1)]
    cameras[2][:3, :3] = cv2.Rodrigues(np.array([0.01, 0.03, 0.02]))[0]
    instants = [world([wall, box], poses, camera) for camera in cameras]
    seen = look(instants[1], LENS, SIZE)
    labels = label_frame(*instants, seen, LENS, SIZE, Known(2, np.tile(np.eye(4), (2, 1, 1))))
    behind = labels["instance"] == 0
    np.testing.assert_allclose(labels["depth"][behind], 2.0, rtol=1e-6)
    points = lens_rays(K, COEFFICIENTS, *SIZE) * labels["depth"][..., None]
    inverse = np.linalg.inv(cameras[2])
    turn, _ = cv2.Rodrigues(inverse[:3, :3])
    there, _ = cv2.projectPoints(points.reshape(-1, 3), turn, inverse[:3, 3], K, np.array(COEFFICIENTS))
    x, y = np.meshgrid(np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5)
    flow = there.reshape(*SIZE, 2) - np.stack([x, y], axis=-1)
    np.testing.assert_allclose(labels["flow"], flow, atol=4e-3)
    # Flat surfaces have no edges inside, however the lens bends them; the box has its outline, all around.
    assert set(np.unique(labels["edge_type"][behind])) <= {0}
    masks = np.unpackbits(labels["amodal"], axis=-1, count=SIZE[1])
    np.testing.assert_array_equal(masks[1] > 0, ~behind)
    columns = {name: np.stack([labels[name]] * 2) for name in ("depth", "instance", "part", "flow")}
    columns |= {
        "flow_backward": np.full((2, *SIZE, 2), np.nan, np.float16),
        "camera_K": np.stack([K] * 2),
        "camera_distortion": np.array([COEFFICIENTS] * 2),
        "camera_pose": np.array(cameras[1:]),
        "part_pose": np.tile(np.eye(4), (2, 2, 2, 1, 1)),
    }
    residual = reproject_residual(columns)
    assert residual.pixels == SIZE[0] * SIZE[1] and residual.p99 < 0.005
    assert not reproject_residual({k: v for k, v in columns.items() if k != "camera_distortion"}).agrees


def test_pictures_are_taken_through_the_same_lens() -> None:
    """A white ball's middle is where OpenCV sees it."""
    ball = trimesh.creation.icosphere(3, 0.12)
    place = np.array([-0.6, 0.45, 2.0])
    camera = np.eye(4)
    look_of = Appearance(
        (Material("plain", ((0.9, 0.9, 0.9),) * 3, 1.0, roughness=1.0, specular=0.0),),
        (Light("sun", (0.0, 0.0, -1.0), 1e-3, (3.0, 3.0, 3.0)),),
        DARK,
    )
    now = world([ball], [at(*place)], camera)
    picture = render_radiance(now.surfaces, look_of, LENS, camera, SIZE, np.random.default_rng(0))[..., 0]
    y, x = np.nonzero(picture > 0.02)
    (expected, _) = cv2.projectPoints(place[None], np.zeros(3), np.zeros(3), K, np.array(COEFFICIENTS))
    middle = (x.min() + x.max() + 1) / 2, (y.min() + y.max() + 1) / 2
    np.testing.assert_allclose(middle, expected[0, 0], atol=0.3)
    pinhole = K[:2, :2] @ place[:2] / place[2] + K[:2, 2]
    assert np.hypot(*(pinhole - expected[0, 0])) > 0.6
