"""Pairs of views and depth sensors: closed forms, dots, holes, and detectors that find depth and normals again."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import field
from freelabels.generators.contract.geometry import intrinsics, pixel_centres
from freelabels.generators.depth.sensor_depth import SensorDepth
from freelabels.generators.depth.stereo import Stereo
from freelabels.generators.depth.stereo_depth import StereoDepth
from freelabels.generators.normals import Normals
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.draw.scenes import draw_rig
from freelabels.renderers.engines.raycast import Surfaces
from freelabels.renderers.engines.windows import whole
from freelabels.renderers.labels.looks import Instant, look
from freelabels.renderers.labels.pairs import disparities, seen_from
from freelabels.renderers.pixels.depth_sensor import measured
from freelabels.renderers.pixels.ray_image import radiance_window
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.rigged import projector_of
from freelabels.renderers.scene.assets import library
from freelabels.renderers.scene.rigs import DepthSensor, Dots, Rig, beside
from freelabels.renderers.scene.scene import pinhole, scene_from_json, scene_to_json
from freelabels.renderers.surfaces.appearance import Appearance
from tests.renderers.test_image import NIGHT, at, block, matt, posed

SIZE = (48, 64)
K = intrinsics(60.0, SIZE[1], SIZE[0])
BASELINE = 0.4
WALL, PLATE = 4.0, 2.0  # metres away
HALF = 0.26  # metres: of the plate's sides
AHEAD = np.eye(4)  # a camera that looks along world z


def wall_and_plate() -> Surfaces:
    """A wall at 4 m, and before it a plate."""
    wall, plate = block(40, 40, 0.2), block(2 * HALF, 2 * HALF, 0.01)
    return posed([(wall, at(0, 0, WALL + 0.1)), (plate, at(0, 0, PLATE + 0.005))], AHEAD)


def test_disparity_is_focal_length_times_baseline_over_depth_where_both_views_see_the_point() -> None:
    now = Instant(wall_and_plate(), AHEAD)
    made = disparities(now, look(now, K, SIZE), K, SIZE, BASELINE)
    x, y = np.moveaxis((pixel_centres(*SIZE) - K[:2, 2]) / K[0, 0], -1, 0)
    on_plate = (np.abs(x) < HALF / PLATE) & (np.abs(y) < HALF / PLATE)
    depth = np.where(on_plate, PLATE, WALL)
    np.testing.assert_allclose(made["disparity"], K[0, 0] * BASELINE / depth, rtol=1e-3)
    # The line from the right camera to a point of the wall passes the plate's plane half way.
    passes = (BASELINE + x * WALL) / 2
    hidden = ~on_plate & (np.abs(passes) < HALF) & (np.abs(y * PLATE) < HALF)
    outside = pixel_centres(*SIZE)[..., 0] < K[0, 0] * BASELINE / depth
    seen = made["disparity_confidence"] > 0
    assert hidden.any() and outside.any()
    np.testing.assert_array_equal(seen, ~hidden & ~outside)


def test_dots_lie_on_surfaces_and_fade_with_the_square_of_the_distance() -> None:
    rig = Rig(BASELINE, Dots(pitch=5 / K[0, 0], power=np.pi, seed=1))
    surfaces = wall_and_plate()
    plain = Appearance((matt(1.0), matt(1.0)), (), NIGHT)
    projector = projector_of(rig, AHEAD)

    def seen(pose: np.ndarray, **dots: object) -> np.ndarray:
        return radiance_window(surfaces, plain, K, pose, whole(SIZE), 0.0, **dots)[..., 1]  # type: ignore[arg-type]

    left, right = (seen(pose, projector=projector) for pose in (AHEAD, beside(AHEAD, BASELINE)))
    assert not seen(AHEAD).any()  # it is night
    shift = round(K[0, 0] * BASELINE / WALL)
    assert shift == K[0, 0] * BASELINE / WALL  # the views of the wall differ by whole pixels
    rows = slice(0, 8)  # above the plate and its shadows
    np.testing.assert_allclose(left[rows, shift:], right[rows, :-shift], atol=2e-3)
    # Their middles: a white surface has the irradiance over π, which falls with the square of the distance.
    slant = 1 / (1 + 0.4**2) ** 2
    assert slant * 0.8 / WALL**2 < left[rows].max() < 1.001 / WALL**2
    near = left[20:28, 27:37]  # on the plate
    assert 0.8 / PLATE**2 < near.max() < 1.001 / PLATE**2


@pytest.mark.slow
@pytest.mark.renders
def test_the_stereo_detector_finds_the_depth_of_a_rendered_pair() -> None:
    assets, ranges, size = (
        library(),
        SceneRanges(families={"table": 1}, attempts=1, distorted=1.0, dot_pitch=(0.04, 0.04)),
        112,
    )
    scene, motion = find_scene(3, 3, ranges, assets, 1, size)
    scene = dataclasses.replace(scene, rig=draw_rig(scene, ranges, "active"))
    assert scene_from_json(scene_to_json(scene)) == scene
    made = render_clip(scene, assets, 1, size, simulation=motion).columns
    for name in ("right", "disparity", "baseline"):
        field(name).check(made[name])
    assert any(scene.camera.distortion) and not made["camera_distortion"].any()  # pairs are rectified
    plain = dataclasses.replace(scene, rig=Rig(), camera=pinhole(scene.camera))
    bare = render_clip(plain, assets, 1, size, simulation=motion).columns
    assert made.keys() - bare.keys() == {"right", "baseline"}
    alike = made.keys() & bare.keys() - {"image", "disparity", "disparity_confidence", "edge_type_confidence"}
    assert all((made[name] == bare[name])[~np.isnan(bare[name].astype(float))].all() for name in alike)

    clip = Clip(
        made["image"],
        made["time"],
        made["camera_K"][0],
        "given",
        right=made["right"],
        baseline=float(made["baseline"][0]),
    )
    told = Stereo()(clip)
    told |= StereoDepth()(clip.with_labels(told))
    sure = (told["disparity_confidence"] > 128) & (made["disparity_confidence"] > 0)
    apart = np.abs(told["disparity"].astype(float) - made["disparity"])[sure]
    assert sure.mean() > 0.7 and np.median(apart) < 0.25 and (apart > 1).mean() < 0.1
    sure = (told["depth_confidence"] > 64) & np.isfinite(made["depth"])
    off = np.abs(told["depth"] / made["depth"] - 1)[sure]
    assert sure.mean() > 0.3 and np.median(off) < 0.03 and (off > 0.05).mean() < 0.25


def test_a_depth_sensor_reads_within_its_reach_what_its_projector_lights() -> None:
    now, rng = Instant(wall_and_plate(), AHEAD), np.random.default_rng(0)
    seen = look(now, K, SIZE)
    lit = seen_from(now, seen, 2 * BASELINE).reshape(SIZE)
    exact = seen.depth.reshape(SIZE)
    sensor = DepthSensor(2 * BASELINE, quantum=0.004, reach=(0.5, 6.0))
    read = measured(sensor, np.where(lit, exact, np.nan), rng)
    field("sensor_depth").check(read[None])
    steps = 1 / read[np.isfinite(read)].astype(float) / sensor.quantum
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)  # coarse steps of inverse depth
    inside = cv2.erode(lit.astype(np.uint8), np.ones((9, 9))) > 0  # farther from rims than spots stray
    inside &= cv2.morphologyEx(exact, cv2.MORPH_GRADIENT, np.ones((9, 9))) == 0
    off = 1 / read[inside] - 1 / exact[inside]
    assert inside.any() and np.abs(off).max() < 2.5 * sensor.quantum and abs(off.mean()) < sensor.quantum / 2
    dark = cv2.erode((~lit).astype(np.uint8), np.ones((9, 9))) > 0
    assert dark.any() and np.isnan(read[dark]).all()
    for reach in ((0.5, 3.0), (3.0, 6.0)):
        some = measured(dataclasses.replace(sensor, reach=reach), exact, rng)
        some = some[np.isfinite(some)]
        assert len(some) and reach[0] <= some.min() and some.max() <= reach[1]


@pytest.mark.renders
def test_normals_of_a_rendered_sensors_depth_agree_with_the_exact_ones() -> None:
    """Within 3° at the median of all that is read, and 2° at that of the surest three tenths."""
    assets, ranges, size = library(), SceneRanges(families={"table": 1}, attempts=1), 96
    scene, motion = find_scene(5, 4, ranges, assets, 1, size)
    scene = dataclasses.replace(scene, rig=draw_rig(scene, ranges, "none", sensor=True))
    made = render_clip(scene, assets, 1, size, simulation=motion).columns
    depth = made["sensor_depth"]
    assert "right" not in made and 0.3 < np.isfinite(depth).mean() < 1
    clip = Clip(made["image"], made["time"], made["camera_K"][0], "given", sensor_depth=depth)
    told = SensorDepth()(clip)
    told |= Normals()(clip.with_labels(told))
    sure = (told["normals_confidence"] > 0) & (made["normals_confidence"] > 0)
    cosine = (told["normals"].astype(float) * made["normals"]).sum(-1)[sure]
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    surest = np.argsort(-told["normals_confidence"][sure].astype(int), kind="stable")[: int(0.3 * len(angle))]
    assert sure.mean() > 0.3 and np.median(angle) < 3 and np.median(angle[surest]) < 2
