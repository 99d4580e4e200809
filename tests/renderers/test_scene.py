"""A scene is pure data: drawn from a seed, component by component, and stored as JSON without loss."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from freelabels.renderers.draw.ranges import SceneRanges, ranges_from_toml
from freelabels.renderers.draw.scenes import draw_scene
from freelabels.renderers.scene.assets import Library, library
from freelabels.renderers.scene.loading import Entry
from freelabels.renderers.scene.scene import Camera, Scene, camera_poses, scene_from_json, scene_to_json

pytestmark = pytest.mark.renders

RANGES = SceneRanges(families={"table": 1})


@pytest.fixture(scope="module")
def assets() -> Library:
    return library()


@pytest.fixture(scope="module")
def scene(assets: Library) -> Scene:
    return draw_scene(3, 1, RANGES, assets)


def test_a_scene_survives_json_exactly(scene: Scene) -> None:
    text = json.dumps(scene_to_json(scene))
    assert scene_from_json(json.loads(text)) == scene
    assert scene_to_json(scene) == json.loads(json.dumps(dataclasses.asdict(scene)))
    assert json.dumps(scene_to_json(scene_from_json(json.loads(text)))) == text
    far = dataclasses.replace(scene, camera=dataclasses.replace(scene.camera, distance=np.float64(2.5)))
    assert json.loads(json.dumps(scene_to_json(far)))["camera"]["distance"] == 2.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_the_same_seed_draws_the_same_scene(seed: int, assets: Library) -> None:
    assert draw_scene(seed, 7, RANGES, assets) == draw_scene(seed, 7, RANGES, assets)
    assert draw_scene(seed, 7, RANGES, assets) != draw_scene(seed, 8, RANGES, assets)


def test_seeds_differ(assets: Library) -> None:
    assert draw_scene(0, 0, RANGES, assets).camera != draw_scene(1, 0, RANGES, assets).camera


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "touched"),
    [
        ({"fov": (40.0, 41.0)}, {"camera"}),
        ({"friction": (0.1, 0.2)}, {"physics", "bodies"}),
        ({"drop_height": (0.1, 0.2)}, {"bodies"}),
        ({"wall_height": (3.0, 3.1)}, {"structure"}),
        ({"warm_up": (0.1, 0.2)}, {"physics"}),
    ],
)
def test_changing_one_component_leaves_the_others(
    change: dict[str, object], touched: set[str], assets: Library
) -> None:
    for clip in range(4):
        one = draw_scene(0, clip, RANGES, assets)
        other = draw_scene(0, clip, dataclasses.replace(RANGES, **change), assets)  # type: ignore[arg-type]
        for name in ("physics", "structure", "clutter", "bodies", "camera", "appearance", "fps"):
            if name not in touched:
                assert getattr(one, name) == getattr(other, name), name


def test_redrawing_the_view_moves_nothing_but_the_camera(scene: Scene, assets: Library) -> None:
    other = draw_scene(3, 1, RANGES, assets, {"view": 1})
    assert other.camera != scene.camera
    assert dataclasses.replace(other, camera=scene.camera, redraws=scene.redraws) == scene
    placed = draw_scene(3, 1, RANGES, assets, {"physics": 1})
    assert placed.camera == scene.camera
    assert [b.asset for b in placed.bodies] == [b.asset for b in scene.bodies]
    assert [b.position for b in placed.bodies] != [b.position for b in scene.bodies]


@pytest.mark.slow
def test_things_start_apart_and_above_the_floor(assets: Library) -> None:
    for clip in range(12):
        scene = draw_scene(5, clip, RANGES, assets)
        assert RANGES.objects[0] <= len(scene.bodies) <= RANGES.objects[1]
        for body in scene.bodies:
            assert body.position[2] > -body.size
            assert np.linalg.norm(body.orientation) == pytest.approx(1)


def test_there_is_a_material_for_every_part(scene: Scene, assets: Library) -> None:
    parts = sum(len(assets.load(body.asset).links) for body in (*scene.clutter, *scene.bodies))
    assert len(scene.appearance.materials) == len(scene.structure) + parts


def test_an_asset_that_cannot_be_used_is_replaced_and_named(assets: Library) -> None:
    broken = next(entry for entry in assets.entries if entry.name == "random/168")
    whole = next(entry for entry in assets.entries if entry.name == "random/000")
    cubes = [entry for entry in assets.entries if entry.group == "primitive"]
    few = Library((broken, whole, *cubes), assets.classes)
    ranges = dataclasses.replace(RANGES, groups={"random": 1.0}, objects=(6, 6))
    scene = draw_scene(0, 0, ranges, few)
    assert {body.asset for body in scene.bodies} == {"random/000"}
    assert "not numbers" in scene.left_out["random/168"]
    with pytest.raises(ValueError, match="none of 1 assets can be used"):
        draw_scene(0, 0, ranges, Library((broken, *cubes), assets.classes))


def test_groups_without_assets_are_refused(assets: Library) -> None:
    ranges = dataclasses.replace(RANGES, groups={"own": 1.0})
    with pytest.raises(ValueError, match="none of the groups"):
        draw_scene(0, 0, ranges, assets)


def test_scenes_without_objects_are_scenes(assets: Library) -> None:
    scene = draw_scene(0, 0, dataclasses.replace(RANGES, objects=(0, 0)), assets)
    assert scene.bodies == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 25}, "does not divide 240"),
        ({"version": 99}, "has version 99"),
        ({"gravity": 1}, "scene.gravity: is not known"),
        ({"camera": {"fov": 60}}, "scene.camera.azimuth: is missing"),
        ({"seed": "one"}, "scene.seed: 'one' should be a valid integer"),
        (
            {"structure": [{"kind": "wall", "sides": [1, 1, 1], "position": [0, 0, 0], "yaw": float("nan")}]},
            r"scene.structure\[0\].yaw: nan should be a finite number",
        ),
        ({"bodies": 3}, "scene.bodies: 3 should be a valid array"),
    ],
)
def test_broken_scene_files_get_a_sentence(change: dict[str, object], message: str, scene: Scene) -> None:
    with pytest.raises(ValueError, match=message):
        scene_from_json({**scene_to_json(scene), **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fov": 0.0}, "camera.fov: 0.0 should lie between 1 and 150"),
        ({"readout": -0.1}, "camera.readout: -0.1 should lie"),
        ({"exposure": 9.0}, "camera.exposure: 9.0 should lie"),
        ({"aperture": 0.01, "focus": 0.0}, "focus above 0"),
        ({"off_centre": (3.0, 0.0)}, "camera.off_centre: .* outside the picture"),
    ],
)
def test_stored_lenses_and_shutters_that_nothing_can_be_made_through_get_a_sentence(
    change: dict[str, object], message: str, scene: Scene
) -> None:
    stored = scene_to_json(scene)
    with pytest.raises(ValueError, match=message):
        scene_from_json({**stored, "camera": {**stored["camera"], **change}})


def test_fast_cameras_are_read_out_within_a_frame_s_time(assets: Library) -> None:
    fast = dataclasses.replace(RANGES, fps=(120,), rolling=1.0)
    assert draw_scene(0, 0, fast, assets).camera.readout <= 1 / 120


def test_the_camera_looks_at_its_target_and_stays_level() -> None:
    camera = Camera(fov=60, target=(0.2, -0.1, 0.3), distance=2, azimuth=0.7, elevation=0.5, roll=0)
    (pose,) = camera_poses(camera, [0.0])
    assert np.linalg.norm(pose[:3, 3] - camera.target) == pytest.approx(2)
    np.testing.assert_allclose(pose[:3, 3] + 2 * pose[:3, 2], camera.target, atol=1e-12)
    assert pose[2, 0] == pytest.approx(0)  # its x axis is horizontal
    assert pose[2, 1] < 0  # its y axis points down
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


def test_camera_paths() -> None:
    still = Camera(fov=60, target=(0, 0, 0), distance=2, azimuth=0, elevation=0.3, roll=0.1)
    times = np.linspace(-0.1, 1, 5)
    assert np.ptp(camera_poses(still, times), axis=0).max() == 0
    orbit = camera_poses(dataclasses.replace(still, path="orbit", speed=0.5), times)
    np.testing.assert_allclose(np.linalg.norm(orbit[:, :3, 3], axis=-1), 2)
    angle = np.arctan2(orbit[:, 1, 3], orbit[:, 0, 3])
    np.testing.assert_allclose(angle, 0.5 * times, atol=1e-12)
    dolly = camera_poses(dataclasses.replace(still, path="dolly", speed=0.3, direction=(0, 1, 0)), times)
    np.testing.assert_allclose(np.diff(dolly[:, 1, 3]), 0.3 * np.diff(times))
    assert np.ptp(dolly[:, :3, :3], axis=0).max() == 0
    hand = camera_poses(dataclasses.replace(still, path="handheld", wobble=((0.01, 1.0, 0.3),) * 6), times)
    assert 0 < np.linalg.norm(hand[:, :3, 3] - camera_poses(still, times)[:, :3, 3], axis=-1).max() < 0.03


def test_ranges_from_toml(tmp_path: Path) -> None:
    file = tmp_path / "ranges.toml"
    file.write_text(
        "objects = [1, 2]\nfov = [50, 60]\n[groups]\nprimitive = 1\n[appearance]\nlamps = [1, 1]\n"
    )
    ranges = ranges_from_toml(file)
    assert ranges.objects == (1, 2) and ranges.fov == (50, 60) and ranges.groups == {"primitive": 1}
    assert ranges.appearance.lamps == (1, 1)
    assert ranges.size == RANGES.size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objcts = [1, 2]", "there is no range called objcts; did you mean 'objects'"),
        ("objects = [3, 2]", "is no interval"),
        ("objects = [1.5, 2]", "should be a list like"),
        ("objects = 3", "should be a list like"),
        ("size = [0.0, 0.3]", "should lie above 0"),
        ("fov = [10, 170]", "between 1 and 150"),
        ("walls = [0, 5]", "more than the 4 sides"),
        ("fps = [25]", "does not divide"),
        ("fps = []", "at least one rate"),
        ("[groups]\nprimitve = 1", "did you mean 'primitive'"),
        ("[paths]\nstatic = -1", "at least one weight above 0"),
        ("attempts = 0", "leaves no view"),
        ("baseline = [0.0, 0.1]", "baseline: .* should lie above 0"),
        ("sensor_near = [0.2, 5.0]", "sensor_far: .* should lie beyond sensor_near"),
        ("readout = [-0.1, 0.01]", "readout: .* reaches below 0"),
        ("nearest = 'far'", "should be a number"),
        ("[appearance]\nlamp = [1, 1]", "no range called appearance.lamp"),
        ("objects = [1, ", "is not TOML"),
    ],
)
def test_impossible_ranges_get_a_sentence(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "ranges.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        ranges_from_toml(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_of_ranges(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such file of ranges"):
        ranges_from_toml(tmp_path / "none.toml")


def test_entries_are_plain_data(assets: Library) -> None:
    assert Entry("primitive/cube", "box", "primitive", "") in assets.entries
