"""Shutters against closed forms: the skew of what moves under a rolling one, and labels that agree row by row."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import trimesh

from freelabels.generators.contract.geometry import invert_pose
from freelabels.renderers.engines.drift import Drift, moved_poses, rotations, spun
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.moving import motion_of
from freelabels.renderers.engines.raycast import Parts, pose_surfaces
from freelabels.renderers.engines.windows import whole
from freelabels.renderers.labels.label_frame import Known, label_frame
from freelabels.renderers.labels.looks import Instant, look
from freelabels.renderers.labels.reprojection import reproject_residual
from freelabels.renderers.pixels import exposure
from freelabels.renderers.pixels.exposure import Sharp, circles, exposed, smears
from freelabels.renderers.pixels.ray_image import radiance_window
from freelabels.renderers.surfaces.appearance import Appearance, Background, Light, Material
from freelabels.renderers.surfaces.meshes import as_mesh

SIZE = (48, 64)
FOCAL = 60.0
K = np.array([[FOCAL, 0, 32.0], [0, FOCAL, 24.0], [0, 0, 1]])
FRAME = 1 / 25
DARK = Background("sky", *((0.0, 0.0, 0.0),) * 3)
WALL, BAR = as_mesh(trimesh.creation.box((40.0, 40.0, 0.2))), as_mesh(trimesh.creation.box((0.2, 8.0, 0.1)))
NOWHERE = np.zeros(6)


def at(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


def taken(
    bar: np.ndarray,
    velocity: np.ndarray,
    camera: np.ndarray,
    sway: np.ndarray,
    readout: float,
    exposure: float = 0,
) -> Instant:
    """A bar before a wall, 2 and 4 m away, and a camera."""
    poses = np.array([at(z=4.1), bar])
    table = Parts(*(np.array(ids, np.int32) for ids in ([0, 1], [0, 1], [1, 2], [0, 1])))
    surfaces = pose_surfaces([WALL, BAR], poses, table, camera[:3, 3])
    speeds = np.array([NOWHERE, velocity])
    motion = motion_of([WALL, BAR], poses, table.object, None, sway, speeds, readout, exposure)
    return Instant(surfaces, camera, motion)


def row_of(mask: np.ndarray, row: int) -> float:
    """The middle of what a mask shows in a row, pixels."""
    return float(np.flatnonzero(mask[row]).mean() + 0.5)


def test_turns_are_those_of_opencv() -> None:
    spin, seconds = np.array([[0.3, -2.0, 1.1], [0, 0, 0]]), np.array([0.4, 1.0])
    for turn, vector in zip(rotations(spin, seconds), spin * seconds[:, None], strict=True):
        np.testing.assert_allclose(turn, cv2.Rodrigues(vector)[0], atol=1e-12)
    vectors = np.array([[1.0, 2.0, 3.0], [-1.0, 0.5, 2.0]])
    expected = np.einsum("nij,nj->ni", rotations(spin, seconds), vectors)
    np.testing.assert_allclose(spun(spin, seconds, vectors), expected, atol=1e-14)
    there = moved_poses(at(1, 2, 3), np.array([1.0, 0, -2, 0, 0, np.pi]), 0.5)
    np.testing.assert_allclose(there[:3, 3], (1.5, 2, 2), atol=1e-12)
    np.testing.assert_allclose(there[:2, :2], [[0, -1], [1, 0]], atol=1e-12)


@pytest.mark.parametrize("who", ["bar", "camera"])
def test_a_moving_vertical_bar_leans_as_it_moves_from_row_to_row(who: str) -> None:
    """At 2 m and 3 m/s, seen with 60 px: 90 px/s, of which 36 rows of 48 in .05 s make 3.4 px."""
    readout, speed = 0.05, np.array([3.0, 0, 0, 0, 0, 0])
    bar, camera = (speed, NOWHERE) if who == "bar" else (NOWHERE, -speed)
    now = taken(at(z=2.05), bar, at(), camera, readout)
    labels = label_frame(now, now, now, look(now, K, SIZE), K, SIZE, Known(2, np.tile(np.eye(4), (2, 1, 1))))
    mask = labels["instance"] == 1
    lean = row_of(mask, 42) - row_of(mask, 6)
    assert lean == pytest.approx(36 / 48 * readout * 3.0 * FOCAL / 2, abs=1) and lean > 2
    np.testing.assert_allclose(labels["depth"][mask], 2.0, atol=1e-6)
    np.testing.assert_array_equal(np.unpackbits(labels["amodal"], axis=-1, count=64)[1] > 0, mask)
    picture, _ = shot(now, Lens(K))
    weight = picture / picture.sum(axis=1, keepdims=True)
    middle = weight @ (np.arange(64) + 0.5)
    assert middle[42] - middle[6] == pytest.approx(36 / 48 * readout * 3.0 * FOCAL / 2, abs=0.2)


def test_blur_of_a_known_motion_is_as_wide_as_the_motion() -> None:
    """A bar 2 m off at 2 m/s: 60 px/s, open for .1 s: edges become ramps of 6 px, and no light is lost."""
    now = taken(at(z=2.05), np.array([2.0, 0, 0, 0, 0, 0]), at(), NOWHERE, 0.0, 0.1)
    sharp, blurred = shot(now, Lens(K))
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=0.02)
    mean = blurred.mean(axis=0) / sharp.max()
    # The bar is 6 px wide itself: a ramp up over 6 px, a ramp down over 6 px, a triangle.
    x = np.arange(64) + 0.5
    np.testing.assert_allclose(mean, np.clip(1 - np.abs(x - 32) / 6, 0, None), atol=0.06)
    labels = label_frame(now, now, now, look(now, K, SIZE), K, SIZE, Known(2, np.tile(np.eye(4), (2, 1, 1))))
    assert set(np.flatnonzero((labels["instance"] == 1).any(axis=0))) == set(
        range(29, 35)
    )  # as sharp as without
    lost = labels["edges_confidence"] == 0
    assert lost[:, 26:38].all() and not lost[:, :24].any() and not lost[:, 40:].any()


def test_large_pictures_are_blurred_block_by_block_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    now = taken(at(z=2.05), np.array([2.0, 0, 0, 0, 0, 0]), at(), NOWHERE, 0.0, 0.1)
    lens = Lens(K, aperture=0.4, focus=4.0)
    _, at_once = shot(now, lens)
    most = []

    def counted(sharp: Sharp, pixel: np.ndarray, *rest: object) -> np.ndarray:
        most.append(len(pixel))
        return cast(sharp, pixel, *rest)

    cast = exposure._cast
    monkeypatch.setattr(exposure, "PIXELS", 100)
    monkeypatch.setattr(exposure, "_cast", counted)
    _, in_blocks = shot(now, lens)
    np.testing.assert_array_equal(in_blocks, at_once)
    assert len(most) > 1 and max(most) == 100


def test_blur_of_a_camera_that_turns_is_that_of_the_picture() -> None:
    now = taken(at(z=2.05), NOWHERE, at(), np.array([0, 0, 0, 0, 1.0, 0]), 0.0, 0.1)
    sharp, blurred = shot(now, Lens(K))
    mean = blurred.mean(axis=0) / sharp.max()
    x = np.arange(64) + 0.5
    np.testing.assert_allclose(mean, np.clip(1 - np.abs(x - 32) / 6, 0, None), atol=0.08)


def test_circles_of_confusion_are_those_of_a_thin_lens() -> None:
    """An edge out of focus is spread by a disc: of diameter d across the edge, deviation d / 4."""
    aperture, focus, depth = 0.4, 4.0, 2.0
    lens = Lens(K, aperture=aperture, focus=focus)
    diameter = circles(np.array([depth]), lens)[0]
    assert diameter == pytest.approx(-aperture * FOCAL * abs(depth - focus) / (depth * focus))
    now = taken(at(z=2.05), NOWHERE, at(), NOWHERE, 0.0)
    sharp, blurred = shot(now, lens)
    assert blurred[12:36].sum() == pytest.approx(sharp[12:36].sum(), rel=0.05)
    x = np.arange(64) + 0.5

    def deviation(rows: np.ndarray) -> float:
        weight = rows.mean(axis=0) / rows.mean(axis=0).sum()
        return float(np.sqrt(weight @ (x - weight @ x) ** 2))

    spread = np.sqrt(deviation(blurred) ** 2 - deviation(sharp) ** 2)
    assert spread == pytest.approx(abs(diameter) / 4, rel=0.08)
    wall = shot(now, Lens(K, aperture=aperture, focus=depth))[1]
    sharp = shot(now, Lens(K))[0].mean(axis=0)
    np.testing.assert_allclose(wall.mean(axis=0), sharp, atol=0.05)  # the bar in focus stays sharp


def shot(now: Instant, lens: Lens) -> tuple[np.ndarray, np.ndarray]:
    """The light (H, W) of a white bar before a black wall, sharp and as shutter and lens take it."""
    looks = [Material("plain", ((level,) * 3,) * 3, 1.0, roughness=1.0, specular=0.0) for level in (0.0, 0.9)]
    appearance = Appearance(tuple(looks), (Light("sun", (0.0, 0.0, -1.0), 1e-3, (3.0, 3.0, 3.0)),), DARK)
    seen, motion, pose = look(now, lens, SIZE), now.motion, now.camera_pose
    assert motion is not None
    light = radiance_window(now.surfaces, appearance, lens, pose, whole(SIZE), 0.0, seen.hits, motion)
    smear = smears(motion, seen.point, seen.geometry, seen.hit, pose, lens, SIZE).astype(np.float32)
    circle = circles(seen.depth, lens).astype(np.float32)
    sharp = Sharp(light.reshape(-1, 3), seen.geometry, seen.depth.astype(np.float32), smear, circle)
    blurred = exposed(sharp, motion, pose, lens, SIZE, 0.3)
    return light[..., 0], blurred.reshape(*SIZE, 3)[..., 0]


def moving_clip(readout: float) -> dict[str, np.ndarray]:
    """Two frames of a turning bar seen by a turning camera, as a shard holds them."""
    bar_speed = np.array([1.5, 0.5, 0.4, 0.1, 0.3, 2.0])
    sway = np.array([0.6, -0.3, 0.5, 0.15, 0.4, -0.3])
    distortion = (-0.2, 0.03, 0.002, -0.001, 0.0)
    lens = Lens(K, distortion)
    times = np.arange(-1, 3) * FRAME
    bars = [moved_poses(at(-0.05, 0, 2.05), bar_speed, t) for t in times]
    cameras = [moved_poses(at(), sway, t) for t in times]
    instants = [
        taken(bar, bar_speed, camera, sway, readout) for bar, camera in zip(bars, cameras, strict=True)
    ]
    frames = []
    for before, now, after in zip(instants, instants[1:], instants[2:], strict=False):
        seen = look(now, lens, SIZE)
        frames.append(
            label_frame(before, now, after, seen, lens, SIZE, Known(2, np.tile(np.eye(4), (2, 1, 1))))
        )
    part_pose, part_velocity = np.tile(np.eye(4), (2, 2, 2, 1, 1)), np.zeros((2, 2, 2, 6), np.float32)
    part_pose[:, 1, 1] = bars[1:3]
    part_velocity[:, 1, 1] = bar_speed
    tables = {
        "camera_K": np.tile(K, (2, 1, 1)),
        "camera_distortion": np.tile(distortion, (2, 1)),
        "camera_shutter": np.tile((0.0, readout), (2, 1)),
        "camera_velocity": np.tile(sway, (2, 1)),
        "camera_pose": np.array(cameras[1:3]),
        "part_pose": part_pose,
        "part_velocity": part_velocity,
    }
    names = ("depth", "normals", "instance", "part", "flow", "flow_backward", "flow_visibility")
    return {name: np.stack([frame[name] for frame in frames]) for name in names} | tables


def test_labels_of_a_rolling_shutter_agree_row_by_row() -> None:
    columns = moving_clip(0.03)
    residual = reproject_residual(columns)
    assert residual.pixels > 1.9 * SIZE[0] * SIZE[1] and residual.p99 < 0.005
    for name in ("camera_shutter", "camera_velocity", "part_velocity"):
        assert reproject_residual({**columns, name: 0 * columns[name]}).p99 > 0.02
    still = moving_clip(0.0)
    assert reproject_residual(still).p99 < 0.005
    assert np.abs(still["flow"].astype(float) - columns["flow"])[..., 0].max() > 0.5


def test_flow_leads_to_what_the_other_frame_shows_there() -> None:
    """Depth looked up where flow leads is the moved point's depth in its row's camera."""
    columns = moving_clip(0.03)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    flow = columns["flow"][0].astype(np.float32)
    there = cv2.remap(
        columns["depth"][1], x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderValue=np.nan
    )
    seen = columns["flow_visibility"][0] == 1
    wall = seen & (columns["instance"][0] == 0)
    np.testing.assert_allclose(np.nanmedian(there[wall]), 4.0, atol=0.1)
    # The wall stands still: its points, from either frame and row, lie in one plane.
    drift = Drift(0.03, 0.0, columns["camera_velocity"][0], np.zeros((1, 6)), np.zeros((1, 3)))
    rays = Lens(K, tuple(columns["camera_distortion"][0])).rays(SIZE).reshape(*SIZE, 3)
    cameras = drift.cameras(columns["camera_pose"][0], drift.when(np.arange(SIZE[0]) + 0.5, SIZE[0]))
    local = rays * columns["depth"][0][..., None]
    z = np.einsum("hj,hwj->hw", cameras[:, 2, :3], local) + cameras[:, None, 2, 3]
    np.testing.assert_allclose(z[columns["instance"][0] == 0], 4.0, atol=1e-5)
    facing = np.einsum("hij,hwj->hwi", cameras[:, :3, :3], columns["normals"][0].astype(float))
    np.testing.assert_allclose(facing[columns["instance"][0] == 0][:, 2], -1.0, atol=1e-3)
    assert np.isfinite(invert_pose(cameras)).all()
