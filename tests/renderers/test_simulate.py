"""Recorded motion against mechanics, and PyBullet's own picture of it as an independent witness."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import trimesh

from freelabels.generators.contract.fields import EDGE_TYPES, field
from freelabels.generators.contract.geometry import intrinsics_from_fov
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.engines.bullet import pybullet
from freelabels.renderers.engines.raycast import pose_surfaces
from freelabels.renderers.labels.looks import Instant, look
from freelabels.renderers.labels.reprojection import reproject_residual
from freelabels.renderers.pixels.pybullet_image import PyBulletCamera, projection_matrix, view_matrix
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.assets import Library, library
from freelabels.renderers.scene.scene import (
    Block,
    Body,
    Camera,
    Physics,
    Scene,
    camera_poses,
    scene_from_json,
    scene_to_json,
)
from freelabels.renderers.simulate.simulate import Simulation, simulate
from freelabels.renderers.simulate.world import build_world, substances
from freelabels.renderers.surfaces.appearance import Appearance, Background, Material

pytestmark = pytest.mark.renders

GRAVITY = 9.81
FLOOR = Block("floor", (60.0, 60.0, 0.0), (0.0, 0.0, 0.0))
WITHHELD = ("edges", "edge_type", "foreground", "instance", "part", "semantic", "motion", "normals", "shadow")
# As PyBullet's engines see it: through a pinhole, at an instant.
PLAIN = SceneRanges(families={"table": 1}, distorted=0, rolling=0, blurred=0, defocused=0)
GREY = Material("plain", ((0.5, 0.5, 0.5),) * 3, 1.0)
SKY = Background("sky", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def assets() -> Library:
    return library()


def scene_of(assets: Library, *bodies: Body, warm_up: float = 0.0) -> Scene:
    roles = substances((FLOOR,), (), bodies, assets)
    return Scene(
        seed=0,
        clip=0,
        fps=24,
        physics=Physics(GRAVITY, 0.5, 0.0, warm_up),
        structure=(FLOOR,),
        clutter=(),
        bodies=bodies,
        camera=Camera(fov=60, target=(0, 0, 0.3), distance=2, azimuth=0.3, elevation=0.4, roll=0),
        appearance=Appearance((GREY,) * len(roles), (), SKY),
    )


def body(asset: str, height: float, **changes: object) -> Body:
    return Body(asset, 0.4, (0.0, 0.0, height), (0.0, 0.0, 0.0, 1.0), **changes)  # type: ignore[arg-type]


def run(assets: Library, *bodies: Body, frames: int = 6, warm_up: float = 0.0) -> Simulation:
    scene = scene_of(assets, *bodies, warm_up=warm_up)
    return simulate(scene, build_world(scene, assets), frames)


def test_free_fall_and_one_frame_beyond_both_ends(assets: Library) -> None:
    motion = run(assets, body("primitive/cube", 3.0), frames=4)
    assert len(motion.body_pose) == len(motion.contact) == len(motion.velocity) == 6
    steps = np.arange(6) * 10  # 240 steps a second, 24 frames
    # Semi-implicit Euler: the velocity is stepped before the position.
    fallen = GRAVITY * steps * (steps + 1) / 2 / 240**2
    np.testing.assert_allclose(motion.body_pose[:, 0, 2, 3], 3.0 - fallen, atol=1e-3)
    np.testing.assert_allclose(motion.velocity[:, 0, 2], -GRAVITY * steps / 240, atol=1e-2)


def test_a_spinning_duck_turns_about_its_centre_of_mass(assets: Library) -> None:
    """The duck's file puts its centre of mass off its frame: the frame's origin must circle around it."""
    duck = assets.load("household/duck")
    scale = 0.4 / duck.extent
    centre = np.array([0.0, 0.02, 0.0, 1.0]) * (scale, scale, scale, 1)
    motion = run(assets, body("household/duck", 4.0, spin=(0.0, 0.0, 6.0)), frames=4)
    middle = motion.body_pose[:, 0] @ centre
    assert np.ptp(middle[:, :2], axis=0).max() < 1e-4
    assert np.ptp(motion.body_pose[:, 0, :2, 3], axis=0).max() > 0.02
    assert motion.body_pose[0, 0, 2, 3] == pytest.approx(4.0)  # the pose asked for is the frame's


def test_a_box_comes_to_rest_and_touches_the_floor(assets: Library) -> None:
    motion = run(assets, body("primitive/cube", 0.25), frames=2, warm_up=2.0)
    assert motion.body_pose[-1, 0, 2, 3] == pytest.approx(0.2, abs=2e-3)
    assert motion.contact[-1].tolist() == [[False, True], [True, False]]
    assert np.abs(motion.velocity[-1]).max() < 1e-2


def test_contacts_between_objects(assets: Library) -> None:
    motion = run(assets, body("primitive/cube", 0.2), body("primitive/cube", 0.61), warm_up=1.0)
    assert motion.contact[-1, 1, 2] and motion.contact[-1, 0, 1] and not motion.contact[-1, 0, 2]


CUBE = Body("primitive/cube", 0.4, (0.0, 0.0, 0.2), (0.0, 0.0, 0.0, 1.0), fixed=True, behaviour="stand")


def with_clutter(assets: Library, clutter: Sequence[Body], *bodies: Body) -> Scene:
    scene = scene_of(assets, *bodies)
    materials = (GREY,) * len(substances((FLOOR,), clutter, bodies, assets))
    look = dataclasses.replace(scene.appearance, materials=materials)
    return dataclasses.replace(scene, clutter=tuple(clutter), appearance=look)


def test_what_never_moves_is_a_thing_like_any_other(assets: Library) -> None:
    """One frame can't tell a cube that stands from one that never moves: both have an id, a class, coordinates."""
    scene = with_clutter(
        assets, [dataclasses.replace(CUBE, position=(0.0, 0.6, 0.2))], body("primitive/cube", 0.2)
    )
    made = render_clip(scene, assets, 2, 64, image=None)
    columns = made.columns
    assert [(row["id"], row["class"], row["moving"]) for row in made.record["objects"]] == [
        (1, "box", False),
        (2, "box", False),
    ]
    clutter = columns["instance"] == 2
    assert clutter.sum() > 100 and (columns["instance"] == 1).sum() > 100
    assert (columns["foreground"][clutter] == 255).all()
    assert (columns["semantic"][clutter] == made.record["classes"].index("box")).all()
    assert columns["object_coordinates"][clutter].any(axis=-1).all()
    assert not columns["motion"][clutter].any()
    np.testing.assert_array_equal(columns["object_pose"][0, 2, :3, 3], (0.0, 0.6, 0.2))
    np.testing.assert_array_equal(columns["part_pose"][0, 2, 1], columns["object_pose"][0, 2])
    assert (columns["object_visible"][:, 2] > 0).all()
    assert reproject_residual(columns).agrees


def test_contacts_with_and_among_what_never_moves(assets: Library) -> None:
    stack = [
        CUBE,
        dataclasses.replace(CUBE, position=(0.0, 0.0, 0.6)),
        dataclasses.replace(CUBE, position=(2, 0, 0.9)),
    ]
    scene = with_clutter(assets, stack, body("primitive/cube", 1.0))
    contact = simulate(scene, build_world(scene, assets), 8).contact[-1]
    pairs = {(int(one), int(other)) for one, other in zip(*np.nonzero(contact), strict=True) if one < other}
    assert pairs == {(0, 2), (2, 3), (1, 3)}  # the floor, the body, the three pieces of clutter


@pytest.mark.parametrize("sides", [None, 6])
def test_what_touches_is_not_held_up_by_thin_air(sides: int | None, assets: Library, tmp_path: Path) -> None:
    """A small ball dropped into a ring that lies on the floor comes down to the floor within it.

    With six sides an own ring is told from its hull by fine voxels alone; None: the ring that ships.
    """
    if sides is not None:
        trimesh.creation.annulus(0.2, 0.5, 0.3, sections=sides).export(tmp_path / "ring.stl")
        assets = library(own=tmp_path)
    lies = dataclasses.replace(
        body("own/ring.stl" if sides is not None else "primitive/ring", 0.06), size=0.4
    )
    ball = dataclasses.replace(body("primitive/sphere", 0.3), size=0.08)
    motion = run(assets, lies, ball, frames=2, warm_up=2.0)
    assert motion.body_pose[-1, 1, 2, 3] == pytest.approx(0.04, abs=3e-3)
    assert motion.contact[-1, 0, 1] and motion.contact[-1, 0, 2]


def test_a_body_that_starts_within_clutter_is_to_blame(assets: Library) -> None:
    scene = with_clutter(assets, [CUBE], body("primitive/cube", 0.3))
    problems = simulate(scene, build_world(scene, assets), 1).problems
    assert list(problems) == [0] and "inside primitive/cube" in problems[0]


@pytest.mark.slow
def test_links_of_articulated_bodies_move(assets: Library) -> None:
    scene = find_scene(
        0, 0, dataclasses.replace(SceneRanges(families={"table": 1}), groups={"articulated": 1.0}), assets, 1
    )[0]
    world = build_world(scene, assets)
    motion = simulate(scene, world, 6)
    relative = np.linalg.inv(motion.body_pose[:, world.body[world.body >= 0]])
    relative = relative @ motion.geometry_pose[:, world.body >= 0]
    assert np.ptp(relative[..., :3, 3], axis=0).max() > 1e-3


@pytest.mark.slow
def test_the_same_scene_moves_bit_for_bit_alike(assets: Library) -> None:
    for clip in range(3):
        scene, motion = find_scene(1, clip, SceneRanges(families={"table": 1}), assets, 4)
        run(assets, body("primitive/cube", 1.0))  # something else in between
        again = simulate(scene, build_world(scene, assets), 4)
        assert (motion.geometry_pose == again.geometry_pose).all()
        assert (motion.contact == again.contact).all()


def test_overlapping_starts_are_told(assets: Library) -> None:
    motion = run(assets, body("primitive/cube", 0.3), body("primitive/cube", 0.4))
    assert "inside primitive/cube" in motion.problems[1]


def test_what_flies_off_is_told(assets: Library) -> None:
    motion = run(assets, body("primitive/cube", 1.0, velocity=(300.0, 0.0, 0.0)))
    assert motion.problems == {0: "flew off"}


def test_a_clip_has_a_frame(assets: Library) -> None:
    with pytest.raises(ValueError, match="at least one frame, not 0"):
        run(assets, body("primitive/cube", 1.0), frames=0)


# The whole way from a seed to columns.


@pytest.fixture(scope="module")
def small(assets: Library) -> tuple[Scene, dict[str, np.ndarray], dict]:
    scene, motion = find_scene(0, 0, PLAIN, assets, 2, 48)
    made = render_clip(scene, assets, 2, 48, simulation=motion)
    return scene, made.columns, made.record


def test_columns_obey_the_contract(small: tuple) -> None:
    _, columns, record = small
    for name, values in columns.items():
        field(name).check(values)
        assert len(values) == 2
        assert not name.endswith("_confidence") or name.removesuffix("_confidence") in columns
    for name in list(columns):
        if field(name).is_label:
            trusted = columns[name + "_confidence"] > 0
            valid = field(name).valid(columns[name])
            # A label may be withheld: of what a background shows, of motion too small to see.
            assert (valid[trusted]).all(), name
            assert name in WITHHELD or trusted[valid].all(), name
    assert json.loads(json.dumps(record)) == record
    assert {row["id"] for row in record["objects"]} >= set(np.unique(columns["instance"])) - {0}
    assert columns["semantic"].max() < len(record["classes"])


def test_a_stored_scene_makes_the_same_bytes(small: tuple, assets: Library) -> None:
    _, columns, record = small
    scene = scene_from_json(json.loads(json.dumps(record["scene"])))
    again = render_clip(scene, assets, record["frames"], tuple(record["size"])).columns
    for name, values in columns.items():
        assert values.tobytes() == again[name].tobytes(), name


def test_labels_do_not_depend_on_the_pixels(small: tuple, assets: Library) -> None:
    scene, columns, _ = small
    bare = render_clip(scene, assets, 2, 48, image=None).columns
    assert "image" not in bare
    for name in set(bare) - {"edge_type"}:  # edges of textures belong to the pixels
        assert columns[name].tobytes() == bare[name].tobytes(), name


def test_labels_agree_with_one_another(small: tuple) -> None:
    residual = reproject_residual(small[1])
    assert residual.agrees and residual.pixels > 4000


def test_a_class_of_every_instance(small: tuple) -> None:
    _, columns, record = small
    for row in record["objects"]:
        seen = columns["semantic"][columns["instance"] == row["id"]]
        assert (seen == record["classes"].index(row["class"])).all()


def test_tiny_renderer_makes_pictures_on_the_same_lattice(small: tuple, assets: Library) -> None:
    scene, columns, _ = small
    tiny = render_clip(scene, assets, 2, 48, image="tiny").columns
    assert set(np.unique(tiny["edge_type"])) <= {
        0,
        *map(EDGE_TYPES.index, ("occluding", "crease", "contact")),
    }
    assert tiny["edges_confidence"].all()
    assert tiny["image"].shape == columns["image"].shape
    assert tiny["depth"].tobytes() == columns["depth"].tobytes()
    assert tiny["image"].std() > 5


@pytest.mark.slow
@pytest.mark.parametrize(("frames", "size"), [(1, 7), (1, (5, 9)), (2, 1)])
def test_small_clips(frames: int, size: int | tuple[int, int], assets: Library) -> None:
    scene, motion = find_scene(0, 2, SceneRanges(families={"table": 1}), assets, frames, size)
    columns = render_clip(scene, assets, frames, size, simulation=motion).columns
    assert columns["image"].shape == (frames, *((size, size) if isinstance(size, int) else size), 3)


def test_no_pixels_no_image(assets: Library, small: tuple) -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        render_clip(small[0], assets, 1, 0)


def test_a_scene_with_an_unknown_asset_gets_a_sentence(assets: Library, small: tuple) -> None:
    stored = scene_to_json(small[0])
    stored["bodies"][0]["asset"] = "own/gone.obj"
    with pytest.raises(ValueError, match=r"no asset called 'own/gone\.obj'"):
        render_clip(scene_from_json(stored), assets, 1, 16)


@pytest.mark.slow
def test_what_misbehaves_in_every_draw_is_left_out(assets: Library) -> None:
    ranges = dataclasses.replace(
        SceneRanges(families={"table": 1}), throw_speed=(300.0, 301.0), behaviours={"throw": 1, "rest": 1}
    )
    scene, motion = find_scene(0, 0, ranges, assets, 4)
    assert not motion.problems
    assert scene.left_out and set(scene.left_out.values()) <= {"flew off", "fell through the floor"}
    assert len(scene.appearance.materials) == len(build_world(scene, assets).meshes)


@pytest.mark.slow
def test_rays_and_tiny_renderer_see_the_same_parts(assets: Library) -> None:
    """On the lattice of its pixel corners TinyRenderer's masks of the same meshes equal the rays' ids."""
    size, wrong, total = (96, 128), 0, 0
    for clip in range(3):
        scene, motion = find_scene(7, clip, SceneRanges(families={"table": 1}), assets, 1, size)
        world = build_world(scene, assets)
        K = intrinsics_from_fov(scene.camera.fov, size[1], size[0])
        (pose,) = camera_poses(scene.camera, [0.0])
        surfaces = pose_surfaces(world.meshes, motion.geometry_pose[1], world.parts, pose[:3, 3])
        ids = look(Instant(surfaces, pose), K, size).geometry.reshape(size)
        with PyBulletCamera(world, scene, "tiny") as tiny:
            seen = tiny.geometry_ids(motion.geometry_pose[1], K, pose, size)
        wrong += int((seen != ids).sum())
        total += ids.size
    assert wrong / total < 1e-3


@pytest.mark.slow
def test_pybullets_own_bodies_stand_where_the_labels_say(assets: Library) -> None:
    """PyBullet loads the files' visual shapes itself: frames, offsets of mass and links are its own business."""
    names = [
        "household/duck",
        "household/teddy",
        "household/mug",
        "household/domino",
        "articulated/arm",
        "articulated/droid",
        "primitive/wedge",
        "random/011",
    ]
    size = (224, 224)
    K = intrinsics_from_fov(60, size[1], size[0])
    for name in names:
        thing = Body(name, 0.7, (0.0, 0.0, 0.5), (0.1, 0.2, 0.3, 0.9), spin=(1.0, 2.0, 3.0))
        scene = scene_of(assets, thing)
        world = build_world(scene, assets)
        (pose,) = camera_poses(scene.camera, [0.0])
        masks = []

        def shoot(engine: int, bodies: Sequence[int], frame: int) -> None:
            _, _, _, _, mask = pybullet.getCameraImage(
                size[1],
                size[0],
                viewMatrix=view_matrix(pose),  # noqa: B023
                projectionMatrix=projection_matrix(K, size, "tiny"),
                renderer=pybullet.ER_TINY_RENDERER,
                physicsClientId=engine,
            )
            masks.append(np.reshape(mask, size) == bodies[0])  # noqa: B023

        motion = simulate(scene, world, 2, watch=shoot)
        for frame, mask in enumerate(masks):
            surfaces = pose_surfaces(world.meshes, motion.geometry_pose[frame], world.parts, pose[:3, 3])
            ids = look(Instant(surfaces, pose), K, size).geometry.reshape(size)
            mine = np.where(ids >= 0, world.parts.object[ids], 0) == 1
            union = (mine | mask).sum()
            assert mask.sum() > 100, name
            # What differs are outlines of meshes that were thinned.
            assert (mine & mask).sum() / union > 0.97, (name, frame)
