"""Sorts of places: each is a scene like any other, with things in sizes and places they have in the world."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from freelabels.cli.main import main
from freelabels.generators.contract.fields import field
from freelabels.renderers.draw import pile
from freelabels.renderers.draw.layouts import Room
from freelabels.renderers.draw.ranges import KINDS, AppearanceRanges, SceneRanges, identity
from freelabels.renderers.draw.scenes import FAMILIES, draw_scene
from freelabels.renderers.labels.reprojection import reproject_residual
from freelabels.renderers.objects.catalogue import MAKERS, VARIANTS, make, variants
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.assets import PLACE_CLASSES, Library, library
from freelabels.renderers.scene.scene import Body, Scene, camera_poses, scene_from_json, scene_to_json
from freelabels.renderers.simulate.simulate import simulate
from freelabels.renderers.simulate.world import build_world

pytestmark = pytest.mark.renders
NEW = ("room", "shelf", "street")  # whose places are seen; a pile has a test of its own
ASKED = {"pile"}  # drawn only if asked for


@pytest.fixture(scope="module")
def assets() -> Library:
    return library()


def of(family: str, **more: object) -> SceneRanges:
    return SceneRanges(families={family: 1.0}, **more)  # type: ignore[arg-type]


def drawn(family: str, assets: Library, clips: int = 6) -> list[Scene]:
    return [draw_scene(3, clip, of(family), assets) for clip in range(clips)]


def box_of(body: Body, assets: Library) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner of the upright box around a body as it stands at the start."""
    asset = assets.load(body.asset)
    yaw = 2 * np.arctan2(body.orientation[2], body.orientation[3])
    x, y, z = (asset.upper - asset.lower) / 2 * body.size / asset.extent
    c, s = abs(np.cos(yaw)), abs(np.sin(yaw))
    half = np.array([c * x + s * y, s * x + c * y, z])
    return body.position - half, body.position + half


def test_ranges_name_every_family() -> None:
    assert (
        KINDS["families"] == tuple(sorted(FAMILIES))
        and SceneRanges().families.keys() == FAMILIES.keys() - ASKED
    )


@pytest.mark.slow
def test_by_default_scenes_are_of_every_family(assets: Library) -> None:
    found = [draw_scene(33, clip, SceneRanges(), assets).family for clip in range(4)]
    assert set(found) == FAMILIES.keys() - ASKED


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_place_survives_json_and_is_the_seeds(family: str, assets: Library) -> None:
    for scene in drawn(family, assets, 3):
        assert scene.family == family
        assert scene_from_json(json.loads(json.dumps(scene_to_json(scene)))) == scene
        assert draw_scene(3, scene.clip, of(family), assets) == scene


@pytest.mark.slow
@pytest.mark.parametrize("family", NEW)
def test_labels_of_a_place_agree_with_one_another(family: str, assets: Library) -> None:
    scene, motion = find_scene(5, 1, of(family, attempts=5), assets, 3, 96)
    made = render_clip(scene, assets, 3, 96, simulation=motion)
    for name, values in made.columns.items():
        field(name).check(values)
    assert reproject_residual(made.columns).agrees
    seen = {made.record["classes"][k] for k in np.unique(made.columns["semantic"])}
    assert seen & set(PLACE_CLASSES)
    assert len(np.unique(made.columns["instance"])) > 2
    # Not black, not white: the camera has set its exposure.
    assert 40 < np.median(made.columns["image"]) < 215


@pytest.mark.slow
def test_rooms_are_closed_but_for_their_windows(assets: Library) -> None:
    for scene in drawn("room", assets):
        floor = next(block for block in scene.structure if block.kind == "floor")
        ceiling = next(block for block in scene.structure if block.kind == "ceiling")
        assert 2.4 <= ceiling.position[2] - ceiling.sides[2] / 2 <= 3.0
        for thing in scene.clutter:
            low, high = box_of(thing, assets)
            assert (high[:2] <= np.array(floor.sides[:2]) / 2 - 0.19).all(), thing
            assert (low[:2] >= -np.array(floor.sides[:2]) / 2 + 0.19).all(), thing
            assert low[2] > -1e-6 and high[2] < ceiling.position[2]


@pytest.mark.slow
@pytest.mark.parametrize("family", NEW)
def test_things_are_as_large_as_life(family: str, assets: Library) -> None:
    for scene in drawn(family, assets):
        for thing in scene.clutter:
            ratio = thing.size / assets.load(thing.asset).extent
            assert 0.9 <= ratio <= 1.1 or "curtain" in thing.asset, thing


@pytest.mark.slow
@pytest.mark.parametrize("family", NEW)
def test_nothing_starts_inside_something_else(family: str, assets: Library) -> None:
    """The engine's own word: no body overlaps anything by more than it tolerates."""
    for scene in drawn(family, assets, 4):
        assert simulate(scene, build_world(scene, assets), 1).problems == {}


@pytest.mark.slow
@pytest.mark.parametrize(("family", "clips", "least"), [("room", 8, 10), ("shelf", 2, 20)])
def test_what_stands_on_furniture_rests_on_it(family: str, clips: int, least: int, assets: Library) -> None:
    found = 0
    for scene in drawn(family, assets, clips):
        for thing in scene.clutter:
            low, _ = box_of(thing, assets)
            carriers = [box_of(other, assets) for other in scene.clutter if other is not thing]
            inside = [
                one
                for one, other in carriers
                if low[2] > 0.1
                and (other[:2] > thing.position[:2]).all()
                and (one[:2] < thing.position[:2]).all()
            ]
            found += bool(inside)
    assert found >= least


@pytest.mark.slow
def test_cars_drive_on_unbraked(assets: Library) -> None:
    scenes = [draw_scene(2, clip, of("street", driving=(2, 2)), assets) for clip in range(3)]
    moved = []
    for scene in scenes:
        motion = simulate(scene, build_world(scene, assets), 4)
        for index, body in enumerate(scene.bodies):
            if body.behaviour == "drive":
                way = np.linalg.norm(motion.body_pose[-1, index, :3, 3] - motion.body_pose[0, index, :3, 3])
                moved.append(way / (5 / scene.fps * np.linalg.norm(body.velocity)))
                assert abs(motion.body_pose[-1, index, 2, 3] - body.position[2]) < 0.05
    assert len(moved) >= 3 and all(0.9 < share < 1.05 for share in moved)


@pytest.mark.slow
def test_cameras_stand_in_the_open(assets: Library) -> None:
    for scene in drawn("room", assets, 10):
        (pose,) = camera_poses(scene.camera, [0.0])
        floor = next(block for block in scene.structure if block.kind == "floor")
        assert (np.abs(pose[:2, 3]) < np.array(floor.sides[:2]) / 2 - 0.2).all()
        assert 0.2 < pose[2, 3] < 3.0


def test_boxes_that_are_taken() -> None:
    room = Room()
    room.take(np.zeros(3), np.ones(3))
    assert not room.free(np.full(3, 0.5), np.full(3, 2.0))
    assert room.free(np.full(3, 1.1), np.full(3, 2.0))
    assert not room.free(np.full(3, 1.1), np.full(3, 2.0), gap=0.2)


@pytest.mark.parametrize("cls", sorted(MAKERS))
def test_every_made_class_can_be_used(cls: str, assets: Library) -> None:
    names = list(variants(cls))
    assert len(names) == VARIANTS == len(assets.names("made", cls))
    asset = assets.load(names[7])
    assert asset.cls == cls and cls in assets.classes
    assert len({link.name for link in asset.links}) == len(asset.links)
    assert 0.01 < asset.extent < 9
    low = min(float(link.mesh.vertices[:, 2].min()) for link in asset.links)
    assert low == pytest.approx(asset.lower[2], abs=1e-6)
    for link in asset.links:
        assert link.substance != "object" and len(link.mesh.triangles)
    for support in asset.supports:
        assert support.at[2] <= asset.upper[2] + 1e-6 and min(support.sides) > 0


def test_a_made_thing_is_the_same_every_time_and_unlike_its_siblings() -> None:
    names = ("made/car/01", "made/car/01", "made/car/02")
    one, same, other = (make(name).parts[0].solids[0].mesh.vertices for name in names)
    np.testing.assert_array_equal(one, same)
    assert one.shape != other.shape or np.abs(one - other).max() > 0.01


def test_a_made_thing_has_parts_with_materials_of_their_own(assets: Library) -> None:
    car = assets.load("made/car/00")
    assert {link.name: link.substance for link in car.links}.items() >= {
        ("body", "paint"), ("tyres", "rubber"), ("windows", "pane"),
    }  # fmt: skip


def test_the_split_parts_made_things_by_name() -> None:
    train, test = (set(library(split=split).names("made")) for split in ("train", "test"))
    assert not train & test and len(train | test) == VARIANTS * len(MAKERS)


def test_class_ids_of_before_are_kept(assets: Library) -> None:
    """Version 2 had these 24 classes; what came later stands behind them."""
    before = sorted({entry.cls for entry in assets.entries if entry.group not in ("made", "own")})
    assert assets.classes[:3] == ("background", "floor", "wall")
    assert list(assets.classes[3 : 3 + len(before)]) == before


def test_defaults_are_no_part_of_a_clips_identity() -> None:
    """What version 2 hashed, it hashes still: a dataset of that time is made anew, not made twice."""
    now = identity(SceneRanges())
    assert "families" not in now and "made" not in now["groups"] and "sunny" not in now["appearance"]
    assert now["groups"] == {"primitive": 2, "random": 3, "household": 2.5, "articulated": 0.5, "own": 4}
    asked = identity(SceneRanges(families={"room": 1.0}, appearance=AppearanceRanges(sunny=0.1)))
    assert asked["families"] == {"room": 1.0} and asked["appearance"]["sunny"] == 0.1


@pytest.mark.slow
def test_families_are_asked_for_by_name_and_weight(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    order = ("--out", out, "--clips", "2", "--frames", "1", "--size", "32", "--workers", "0")
    with pytest.raises(SystemExit) as end:
        main(["render", *order, "--families", "room=2", "street"])
    assert end.value.code == 0
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["render", *order, "--families", "roomm"])
    assert end.value.code != 0
    said = capsys.readouterr()
    assert "did you mean 'room'" in said.out + said.err


def test_a_weight_that_is_no_number_gets_a_sentence() -> None:
    with pytest.raises(ValueError, match="at least one weight above 0"):
        dataclasses.replace(SceneRanges(), families={"room": 0.0})


@pytest.mark.slow
@pytest.mark.parametrize("boxed", [True, False])
def test_a_pile_settles_on_itself_in_bounded_time(
    boxed: bool, assets: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a bin, and on a floor, where what falls from high up would scatter."""
    monkeypatch.setattr(pile, "BINS", float(boxed))
    monkeypatch.setattr(pile, "SETTLED", 1.0)
    ranges = dataclasses.replace(of("pile"), groups={"primitive": 1.0}, piled=(12, 12))
    scene = draw_scene(5, 2, ranges, assets)
    assert 1.8 <= scene.physics.warm_up <= 2.6 and len(scene.bodies) >= 10
    motion = simulate(scene, build_world(scene, assets), 1)
    assert motion.problems == {}
    assert np.median(np.abs(motion.velocity[1, :, :3]).max(axis=1)) < 0.02
    away = motion.body_pose[1, :, :2, 3]
    assert np.median((away * away).sum(axis=1)) < 0.4**2
    assert motion.contact[1, 1:, 1:].sum() // 2 >= len(scene.bodies) // 3
