"""Rendered labels against closed forms: sphere, box and plane, moving and still, with known intrinsics."""

from __future__ import annotations

import dataclasses
from itertools import product
from typing import Any, Literal

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from freelabels.generators.contract.fields import EDGE_TYPES, VISIBILITY, field
from freelabels.generators.contract.geometry import (
    intrinsics,
    invert_pose,
    pixel_centres,
    project,
    rays,
    transform,
)
from freelabels.renderers import instants
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.mesh import Mesh
from freelabels.renderers.engines.raycast import Parts, pose_surfaces
from freelabels.renderers.labels.exact_speed import exact_speed
from freelabels.renderers.labels.half import half
from freelabels.renderers.labels.label_frame import Drawn, Known, label_frame
from freelabels.renderers.labels.looks import Instant, look
from freelabels.renderers.labels.reprojection import reproject_residual
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.assets import library
from freelabels.renderers.simulate.world import build_world
from freelabels.renderers.surfaces.appearance import Appearance, Background, Light, Material
from freelabels.renderers.surfaces.meshes import as_mesh

Floats = NDArray[np.float64]
SIZE = (96, 128)
K = intrinsics(110.0, SIZE[1], SIZE[0])
EDGE = {name: number for number, name in enumerate(EDGE_TYPES)}
SEEN = {name: number for number, name in enumerate(VISIBILITY)}
BOX = np.array([0.6, 0.4, 0.5])
FLOOR = as_mesh(trimesh.Trimesh([(-9, -9, 0), (9, -9, 0), (9, 9, 0), (-9, 9, 0)], [(0, 1, 2), (0, 2, 3)]))
ALL = Drawn()
SKY = Background("sky", *((0.5, 0.5, 0.5),) * 3)
WORLD_AXES = np.array([(1.0, 0, 0), (0, 0, 1), (0, -1, 0)]).T  # a level camera that looks along world y


def pose(position: tuple[float, float, float], turn: tuple[float, float, float] = (0, 0, 0)) -> Floats:
    """A rigid transform from a position and a rotation vector in degrees."""
    out = np.eye(4)
    out[:3, :3] = Rotation.from_rotvec(np.radians(turn)).as_matrix()
    out[:3, 3] = position
    return out


def camera(
    position: tuple[float, float, float] = (0, -3, 1.2), turn: tuple[float, float, float] = (-18, 0, 0)
) -> Floats:
    """Camera → world: at `position`, looking along y, turned by a rotation vector in degrees."""
    return pose(position, turn) @ np.block(
        [[WORLD_AXES.T, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]]
    )


def box() -> Mesh:
    return as_mesh(trimesh.creation.box(BOX))


def sphere(radius: float, subdivisions: int = 7) -> Mesh:
    return as_mesh(trimesh.creation.icosphere(subdivisions, radius))


def labels(
    meshes: list[Mesh],
    poses: list[list[Floats]],
    cameras: list[Floats],
    static: int = 1,
    lights: tuple[Light, ...] = (),
    background: Background = SKY,
    drawn: Drawn = ALL,
    parts: list[tuple[int, int]] | None = None,
    lens: Lens | None = None,
) -> dict[str, NDArray]:
    """Labels of the middle of three instants; the first `static` meshes are the static scene."""
    of = parts or [(max(i - static + 1, 0), int(i >= static)) for i in range(len(meshes))]
    objects, part = np.array(of, np.int32).T
    tables = Parts(objects, part, objects + 1, np.arange(len(meshes), dtype=np.int32))
    instants = [
        Instant(pose_surfaces(meshes, np.array(p), tables, c[:3, 3]), c)
        for p, c in zip(poses, cameras, strict=True)
    ]
    canonical = np.tile(np.eye(4), (len(meshes), 1, 1))
    canonical[:, :3, :3] /= BOX[:, None]
    canonical[:, :3, 3] = 0.5
    materials = (Material("plain", ((0.5, 0.5, 0.5),) * 3, 1.0),) * len(meshes)
    appearance = Appearance(materials, lights, background)
    known = Known(int(objects.max()) + 1, canonical, appearance, drawn)
    made = label_frame(*instants, look(instants[1], lens or Lens(K), SIZE), lens or Lens(K), SIZE, known)
    for name, values in made.items():
        field(name).check(values[None])
    return made


def still(meshes: list[Mesh], poses: list[Floats], at: Floats, **options: object) -> dict[str, NDArray]:
    return labels(meshes, [poses] * 3, [at] * 3, **options)  # type: ignore[arg-type]


def box_entry(
    at: Floats, box_pose: Floats, directions: Floats | None = None
) -> tuple[Floats, Floats, Floats]:
    """Where camera rays enter and leave a box, in lengths of the ray (inf, −inf: not at all), and by which side.

    The slab method in float64, told from nothing but the box's sides and pose.
    """
    to_box = invert_pose(box_pose) @ at
    direction = (rays(K, *SIZE) if directions is None else directions) @ to_box[:3, :3].T
    with np.errstate(divide="ignore"):
        crossings = (np.array([-BOX / 2, BOX / 2])[:, None, None] - to_box[:3, 3]) / direction
    near, far = crossings.min(axis=0), crossings.max(axis=0)
    enters, leaves = near.max(axis=-1), far.min(axis=-1)
    met = (enters <= leaves) & (leaves > 0)
    return np.where(met, enters, np.inf), np.where(met, leaves, -np.inf), near.argmax(axis=-1)


def floor_depth(at: Floats) -> Floats:
    """z-depth of the plane z = 0 along camera rays, inf where they don't meet it within its 9 metres."""
    direction = rays(K, *SIZE) @ at[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(direction[..., 2] < 0, -at[2, 3] / direction[..., 2], np.inf)
        place = at[:3, 3] + t[..., None] * direction
    return np.where(np.abs(place[..., :2]).max(axis=-1) < 9, t, np.inf)


def edge_of(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask with a neighbour (up, down, left, right) outside it."""
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inside)


def test_plane_depth_is_z_not_distance_and_its_normal_is_exact() -> None:
    at = camera((0.3, -3, 1.2), (-20, 4, 7))
    made = still([FLOOR], [np.eye(4)], at)
    truth = floor_depth(at)
    on_floor = np.isfinite(truth)
    assert (np.isfinite(made["depth"]) == on_floor).all()
    assert 0.2 < on_floor.mean() < 0.999
    np.testing.assert_allclose(made["depth"][on_floor], truth[on_floor], rtol=1e-6)
    np.testing.assert_allclose(
        made["normals"][on_floor], np.tile(at[:3, :3].T @ (0, 0, 1), (on_floor.sum(), 1)), atol=5e-4
    )
    assert not made["normals"][~on_floor].any()
    np.testing.assert_allclose(
        made["disparity"][on_floor], 1 / truth[on_floor], rtol=1e-3
    )  # float16 holds 11 bits
    assert not made["disparity"][~on_floor].any()


@pytest.mark.slow
def test_sphere_depth_and_normals() -> None:
    at, centre, radius = camera(), np.array([0.1, 0.2, 0.5]), 0.5
    made = still([FLOOR, sphere(radius)], [np.eye(4), pose(tuple(centre))], at)
    middle = transform(invert_pose(at), centre)
    direction = rays(K, *SIZE)
    square = (direction**2).sum(axis=-1)
    along = direction @ middle
    inside = along**2 - square * (middle @ middle - radius**2)
    clear = np.abs(inside) > 1e-3 * radius**2  # not within a facet of the outline
    hit = inside > 0
    assert ((made["instance"] == 1) == hit)[clear].all()
    where = hit & clear
    depth = (along - np.sqrt(np.maximum(inside, 0))) / square
    np.testing.assert_allclose(made["depth"][where], depth[where], rtol=1e-4)
    normal = (direction * depth[..., None] - middle) / radius
    cosine = (normal * made["normals"].astype(float)).sum(axis=-1)[where]
    cosine /= np.linalg.norm(made["normals"].astype(float), axis=-1)[where]
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.5


def sphere_normals(at: Floats, centre: Floats, radius: float) -> tuple[Floats, NDArray[np.bool_]]:
    """A sphere's normals, camera axes, and the pixels well within its outline, in closed form."""
    middle, direction = transform(invert_pose(at), centre), rays(K, *SIZE)
    square, along = (direction**2).sum(axis=-1), direction @ middle
    inside = along**2 - square * (middle @ middle - radius**2)
    depth = (along - np.sqrt(np.maximum(inside, 0))) / square
    return (direction * depth[..., None] - middle) / radius, inside > 0.5 * radius**2


def degrees_between(one: Floats, other: Floats) -> Floats:
    return np.degrees(np.arccos(np.clip((one.astype(float) * other.astype(float)).sum(axis=-1), -1, 1)))


def test_normals_are_the_curved_surfaces_and_not_its_triangles() -> None:
    """As the picture shades it: a ball of 320 triangles, whose own normals are up to 9 degrees off."""
    at, centre = camera(), np.array([0.1, 0.2, 0.6])
    made = still([FLOOR, sphere(0.5, 2)], [np.eye(4), pose(tuple(centre))], at)
    truth, inside = sphere_normals(at, centre, 0.5)
    assert inside.sum() > 300
    assert degrees_between(made["normals"], truth)[inside].max() < 2
    assert (made["normals_confidence"][inside] == 255).all()


def test_normals_of_a_mesh_too_coarse_to_tell_are_not_trusted() -> None:
    """Eleven sides bend by 33 degrees: near their edges the smooth normal and the side's own are 16 apart."""
    tube = as_mesh(trimesh.creation.cylinder(0.4, 1.0, sections=11))
    made = still([FLOOR, tube], [np.eye(4), pose((0, 0, 0.6))], camera())
    on_tube = made["instance"] == 1
    doubted = on_tube & (made["normals_confidence"] == 0)
    assert 0.01 < doubted.sum() / on_tube.sum() < 0.3
    assert (np.abs(np.linalg.norm(made["normals"].astype(float), axis=-1) - 1)[on_tube] < 2e-3).all()
    facing = (made["normals"].astype(float) * rays(K, *SIZE)).sum(axis=-1)
    assert (facing[on_tube] < 0).all()


@pytest.mark.parametrize("turn", [(0, 0, 0), (10, 40, -25)])
def test_box_ids_depth_and_coordinates(turn: tuple[float, float, float]) -> None:
    at, box_pose = camera(), pose((0.05, 0.1, 0.6), turn)
    made = still([FLOOR, box()], [np.eye(4), box_pose], at)
    depth, leaves, _ = box_entry(at, box_pose)
    hit = np.isfinite(depth)
    # Rays that graze the box, their way through it shorter than a millionth, may go either way.
    clear = ~hit | (leaves - depth > 1e-6)
    for name in ("instance", "part"):
        assert ((made[name] == 1) == hit)[clear].all()
    assert (made["semantic"] == np.where(hit, 2, np.where(np.isfinite(made["depth"]), 1, 0)))[clear].all()
    np.testing.assert_allclose(made["depth"][hit & clear], depth[hit & clear], rtol=1e-6)
    local = transform(invert_pose(box_pose) @ at, rays(K, *SIZE) * np.where(hit, depth, 1)[..., None])
    np.testing.assert_allclose(
        made["object_coordinates"][hit & clear], (local / BOX + 0.5)[hit & clear], atol=6e-4
    )
    assert not made["object_coordinates"][~hit].any()
    assert ((made["object_coordinates_confidence"] > 0) == hit)[clear].all()
    assert (made["foreground"] == np.where(hit, 255, 0))[clear].all()


@pytest.mark.parametrize(("name", "other"), [("flow", 2), ("flow_backward", 0)])
@pytest.mark.parametrize("gain", [0.02, 1.0])
def test_flow_of_a_moving_box_seen_by_a_moving_camera(name: str, other: int, gain: float) -> None:
    boxes = [pose((0.05 + gain * d, 0.1, 0.6 - gain * d), (0, 40 * gain * d, 30)) for d in (-0.1, 0, 0.1)]
    cameras = [camera((0.2 * gain * d, -3, 1.2), (-18, gain * d, 2 * gain * d)) for d in (-1, 0, 1)]
    made = labels([FLOOR, box()], [[np.eye(4), b] for b in boxes], cameras)
    on_box, leaves, _ = box_entry(cameras[1], boxes[1])
    on_floor = floor_depth(cameras[1])
    depth = np.minimum(on_box, on_floor)
    point = transform(cameras[1], rays(K, *SIZE) * np.where(np.isfinite(depth), depth, 1)[..., None])
    moved = np.where(
        np.isfinite(on_box)[..., None], transform(boxes[other] @ invert_pose(boxes[1]), point), point
    )
    truth = project(transform(invert_pose(cameras[other]), moved), K) - pixel_centres(*SIZE)
    clear = np.isfinite(depth) & ~(np.isfinite(on_box) & (leaves - on_box < 1e-6))
    error = np.abs(made[name].astype(float) - truth)[clear]
    # Within a thousandth of a pixel, beside the rounding of float16.
    assert (error - np.abs(truth[clear]) * 2**-11).max() < 1e-3
    if gain < 0.1:
        assert error.max() < 1e-3


def test_flow_at_infinity_is_the_turn_of_the_camera() -> None:
    cameras = [camera((d, -3, 1.2), (60, 2 * d, d)) for d in (-1, 0, 1)]
    made = labels([FLOOR], [[np.eye(4)]] * 3, cameras)
    assert np.isinf(made["depth"]).all()
    turned = rays(K, *SIZE) @ (invert_pose(cameras[2]) @ cameras[1])[:3, :3].T
    truth = project(turned, K) - pixel_centres(*SIZE)
    error = np.abs(made["flow"].astype(float) - truth)
    assert (error - np.abs(truth) * 2**-11).max() < 1e-3
    landed = pixel_centres(*SIZE) + truth
    inside = (landed >= 0).all(axis=-1) & (landed < (SIZE[1], SIZE[0])).all(axis=-1)
    assert (made["flow_visibility"] == np.where(inside, SEEN["visible"], SEEN["out of view"])).all()


def test_visibility_of_the_floor_behind_a_moving_box() -> None:
    boxes = [pose((0.3 * d, 0.1, 0.6)) for d in (-1, 0, 1)]
    cameras = [camera((-0.4 * d, -3, 1.2)) for d in (-1, 0, 1)]
    made = labels([FLOOR, box()], [[np.eye(4), b] for b in boxes], cameras)
    for name, other in (("flow_visibility", 2), ("flow_backward_visibility", 0)):
        on_floor = (made["instance"] == 0) & np.isfinite(made["depth"])
        point = transform(
            cameras[1], rays(K, *SIZE) * np.where(on_floor, floor_depth(cameras[1]), 1)[..., None]
        )
        there = transform(invert_pose(cameras[other]), point)
        enters, leaves, _ = box_entry(cameras[other], boxes[other], there)
        hidden = (enters < 1) & (leaves > 0)
        seen = project(there, K)
        inside = (seen >= 0).all(axis=-1) & (seen < (SIZE[1], SIZE[0])).all(axis=-1)
        truth = np.where(inside, np.where(hidden, SEEN["occluded"], SEEN["visible"]), SEEN["out of view"])
        clear = on_floor & (np.abs(leaves - enters) > 1e-6)
        assert (made[name] == truth)[clear].all()
        for outcome in ("occluded", "visible", "out of view"):
            assert (truth[clear] == SEEN[outcome]).sum() > 10


def test_a_still_view_sees_itself() -> None:
    made = still([FLOOR, sphere(0.5, 4)], [np.eye(4), pose((0, 0, 0.5))], camera())
    for name in ("flow", "flow_backward"):
        assert not made[name].any()
        assert (made[name + "_visibility"] == SEEN["visible"]).all()
    assert not made["motion"].any()


def test_motion_is_the_objects_not_the_cameras() -> None:
    cameras = [camera((0.5 * d, -3, 1.2), (-18, 3 * d, 0)) for d in (-1, 0, 1)]
    boxes = [pose((-0.5 + 0.05 * d, 0, 0.5)) for d in (-1, 0, 1)]
    rests = pose((0.5, 0, 0.5))
    made = labels([FLOOR, box(), box()], [[np.eye(4), b, rests] for b in boxes], cameras)
    assert ((made["motion"] == 255) == (made["instance"] == 1)).all()
    assert (made["motion_confidence"] == 255).all()
    # Speed without the camera is that of the boxes before a camera that stays; with it, of all that is seen.
    stays = labels([FLOOR, box(), box()], [[np.eye(4), b, rests] for b in boxes], cameras[1:2] * 3)
    told = exact_speed(made, Lens(K), *cameras[1:])
    alone = np.median(np.linalg.norm(stays["flow"][stays["instance"] == 1].astype(np.float64), axis=-1))
    assert told[0] == pytest.approx(np.nanmedian(np.linalg.norm(made["flow"].astype(np.float64), axis=-1)))
    assert told[1] == pytest.approx(alone, abs=0.01) and alone > 1
    np.testing.assert_allclose(exact_speed(stays, Lens(K), cameras[1], cameras[1]), (0, alone), atol=0.01)
    nothing = labels([FLOOR, box(), box()], [[np.eye(4), boxes[1], rests]] * 3, cameras)
    assert exact_speed(nothing, Lens(K), *cameras[1:])[1] == 0
    bent = Lens(K, (-0.2, 0.05, 0.001, -0.001, 0.0))
    nothing = labels([FLOOR, box()], [[np.eye(4), boxes[1]]] * 3, cameras, lens=bent)
    nothing["motion"][:] = 255  # so that the camera's part is taken from all there is
    assert exact_speed(nothing, bent, *cameras[1:])[1] < 0.05 < exact_speed(nothing, Lens(K), *cameras[1:])[1]


def test_motion_is_told_in_pixels_and_not_told_where_it_is_too_small_to_see() -> None:
    for pixels, moves, sure in ((0.05, 0, True), (0.3, 0, False), (0.7, 255, True)):
        boxes = [pose((0.0, 0.0, 0.9)) for _ in range(3)]
        front = 3 - BOX[1] / 2  # metres from the camera, which looks along y
        boxes[2] = pose((pixels * front / K[0, 0], 0.0, 0.9))
        made = labels([FLOOR, box()], [[np.eye(4), b] for b in boxes], [camera((0, -3, 0.9), (0, 0, 0))] * 3)
        on_front = (made["instance"] == 1) & (made["depth"] < front + 1e-3)
        assert on_front.sum() > 100
        assert (made["motion"][on_front] == moves).all(), pixels
        assert ((made["motion_confidence"][on_front] > 0) == sure).all(), pixels


def test_what_comes_straight_at_the_camera_is_not_called_still() -> None:
    boxes = [pose((0.0, -0.4 * d, 0.9)) for d in (-1, 0, 1)]
    made = labels([FLOOR, box()], [[np.eye(4), b] for b in boxes], [camera((0, -3, 0.9), (0, 0, 0))] * 3)
    row, column = SIZE[0] // 2, SIZE[1] // 2  # it does not move across the image here
    assert made["instance"][row, column] == 1 and made["motion_confidence"][row, column] == 0
    on_box = made["instance"] == 1
    assert (made["motion"][on_box & (made["motion_confidence"] > 0)] == 255).all()
    assert (made["motion"][on_box] == 255).mean() > 0.5


@pytest.mark.parametrize(
    ("kind", "things", "edges"),
    [("sky", True, True), ("room", True, False), ("photo", False, False), ("map", False, False)],
)
def test_what_a_background_shows_is_not_denied(
    kind: Literal["sky", "room", "photo", "map"], things: bool, edges: bool
) -> None:
    """Nothing is hit, but a photo shows things and edges, a room its walls and window, a sky nothing up high."""
    behind = dataclasses.replace(SKY, kind=kind)
    up = camera((0, -3, 1.2), (40, 0, 0))
    made = still([FLOOR, box()], [np.eye(4), pose((0, 0, 2.4))], up, background=behind)
    nothing, hit = np.isinf(made["depth"]), made["instance"] == 1
    assert nothing.sum() > 1000 and hit.sum() > 100
    for name in ("foreground", "instance", "part", "semantic"):
        assert ((made[name + "_confidence"][nothing] > 0) == things).all(), name
        assert (made[name + "_confidence"][hit] == 255).all()
    for name in ("edges", "edge_type"):
        assert ((made[name + "_confidence"][nothing] > 0) == edges).all(), name
        assert (made[name + "_confidence"][hit] == 255).all()
    level = still([FLOOR], [np.eye(4)], camera((0, -3, 1.2), (0, 0, 0)), background=behind)
    low = np.isinf(level["depth"]) & (rays(K, *SIZE)[..., 1] > -0.05)  # hills and the horizon
    assert low.any() and not level["edges_confidence"][low].any()


def test_edges_are_only_those_that_the_picture_has() -> None:
    sun = Light("sun", (0.0, 0.0, 1.0), 0.005, (3.0, 3.0, 3.0))
    view: dict[str, Any] = {"lights": (sun,), "background": dataclasses.replace(SKY, kind="photo")}
    arguments = [FLOOR, box()], [np.eye(4), pose((0.1, 0.2, 0.95), (0, 0, 40))], camera()
    plain = still(*arguments, **view, drawn=Drawn(textures=False, shadows=False, background=False))
    assert set(np.unique(plain["edge_type"])) == {0, EDGE["occluding"], EDGE["crease"]}
    assert plain["edges_confidence"].all() and plain["foreground_confidence"].all()
    assert (still(*arguments, **view)["edge_type"] == EDGE["shadow"]).any()


def test_points_behind_the_next_camera_are_out_of_view_without_flow() -> None:
    turned = camera((0, -3, 1.2), (-18, 0, 180))
    made = labels([FLOOR], [[np.eye(4)]] * 3, [camera(), camera(), turned])
    assert (made["flow_visibility"] == SEEN["out of view"]).any()
    lost = np.isnan(made["flow"]).all(axis=-1)
    assert lost.any()
    assert ((made["flow_confidence"] == 0) == lost).all()
    assert (made["flow_visibility"][lost] == SEEN["out of view"]).all()


def test_amodal_masks_shares_and_boxes() -> None:
    at, front, behind = camera(), pose((0, 0, 0.5)), pose((0.3, 1.0, 0.5))
    made = still([FLOOR, box(), box()], [np.eye(4), front, behind], at)
    masks = np.unpackbits(made["amodal"], axis=-1)[..., : SIZE[1]].astype(bool)
    for number, box_pose in ((1, front), (2, behind)):
        enters, leaves, _ = box_entry(at, box_pose)
        clear = ~np.isfinite(enters) | (leaves - enters > 1e-6)
        assert (masks[number] == np.isfinite(enters))[clear].all()
        visible = made["instance"] == number
        assert made["object_visible"][number] == pytest.approx(visible.sum() / masks[number].sum())
        rows, columns = np.nonzero(visible)
        edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert made["object_box"][number].tolist() == list(edges)
    assert made["object_visible"][1] == 1
    assert 0.1 < made["object_visible"][2] < 0.9
    assert (masks[0] == np.isfinite(floor_depth(at))).all()


def test_what_is_not_in_the_image_has_no_box_and_no_share() -> None:
    made = still([FLOOR, box()], [np.eye(4), pose((0, -9, 0.5))], camera())
    assert np.isnan(made["object_box"][1]).all()
    assert made["object_visible"][1] == 0


def test_parts_of_one_object_share_its_id() -> None:
    left, right = pose((-0.3, 0, 0.5)), pose((0.4, 0, 0.5))
    made = still([FLOOR, box(), box()], [np.eye(4), left, right], camera(), parts=[(0, 0), (1, 1), (1, 2)])
    assert set(np.unique(made["instance"])) == {0, 1}
    for number, box_pose in ((1, left), (2, right)):
        assert ((made["part"] == number) == np.isfinite(box_entry(camera(), box_pose)[0])).mean() > 0.999


def test_occluding_edges_outline_a_floating_box_and_creases_lie_within() -> None:
    at, box_pose = camera(), pose((0.05, 0.1, 0.9), (0, 0, 40))
    made = still([FLOOR, box()], [np.eye(4), box_pose], at)
    mask = made["instance"] == 1
    assert ((made["edge_type"] == EDGE["occluding"]) & mask == edge_of(mask)).all()
    _, _, side = box_entry(at, box_pose)
    crease = made["edge_type"] == EDGE["crease"]
    inner = ~edge_of(mask) & mask
    bends = np.zeros(SIZE, bool)  # marked on the right or lower of two pixels on different sides
    bends[:, 1:] |= (side[:, 1:] != side[:, :-1]) & mask[:, 1:] & mask[:, :-1]
    bends[1:] |= (side[1:] != side[:-1]) & mask[1:] & mask[:-1]
    assert (crease[inner] == bends[inner]).all()
    assert crease.sum() > 15
    assert ((made["edges"] == 255) == (made["edge_type"] > 0)).all()


def test_a_smooth_sphere_has_no_edge_within() -> None:
    made = still([FLOOR, sphere(0.5, 5)], [np.eye(4), pose((0, 0, 0.9))], camera())
    inner = made["instance"] == 1
    inner &= ~edge_of(inner)
    assert inner.sum() > 500
    assert not made["edge_type"][inner].any()


def test_a_box_on_the_floor_touches_it_along_its_lower_edges() -> None:
    at, box_pose = camera(), pose((0, 0.1, BOX[2] / 2))
    made = still([FLOOR, box()], [np.eye(4), box_pose], at)
    contact = made["edge_type"] == EDGE["contact"]
    corners = np.array([(-BOX[0] / 2, 0.1 - BOX[1] / 2, 0), (BOX[0] / 2, 0.1 - BOX[1] / 2, 0)])
    left, right = project(transform(invert_pose(at), corners), K)
    rows, columns = np.nonzero(contact)
    assert abs(columns.min() - left[0]) < 1.5 and abs(columns.max() + 1 - right[0]) < 1.5
    assert np.abs(rows + 0.5 - left[1]).max() < 1.5
    assert (made["instance"][contact] == 1).all()


def test_the_border_of_a_cast_shadow() -> None:
    """A sun straight above: the shadow of a level floating box is its own outline on the floor."""
    sun = Light("sun", (0.0, 0.0, 1.0), 0.005, (3.0, 3.0, 3.0))
    at, box_pose = camera(), pose((0.1, 0.2, 0.95))
    made = still([FLOOR, box()], [np.eye(4), box_pose], at, lights=(sun,))
    on_floor = (made["instance"] == 0) & np.isfinite(made["depth"])
    point = transform(at, rays(K, *SIZE) * np.where(on_floor, floor_depth(at), 1)[..., None])
    dark = (np.abs(point[..., :2] - (0.1, 0.2)) < BOX[:2] / 2).all(axis=-1)
    border = np.zeros(SIZE, bool)
    border[:, 1:] |= (dark[:, 1:] != dark[:, :-1]) & on_floor[:, 1:] & on_floor[:, :-1]
    border[1:] |= (dark[1:] != dark[:-1]) & on_floor[1:] & on_floor[:-1]
    assert border.sum() > 30
    shadow = made["edge_type"] == EDGE["shadow"]
    occluded_by = made["edge_type"] == EDGE["occluding"]
    assert (shadow == border)[~occluded_by & on_floor].all()
    assert not made["edges"][shadow].any()


def test_large_and_faint_lights_have_no_shadow_border() -> None:
    lights = (
        Light("sun", (0.0, 0.0, 1.0), 0.3, (3.0, 3.0, 3.0)),
        Light("area", (1.0, 0.0, 2.0), 0.05, (0.01, 0.01, 0.01)),
    )
    made = still([FLOOR, box()], [np.eye(4), pose((0.1, 0.2, 0.95))], camera(), lights=lights)
    assert not (made["edge_type"] == EDGE["shadow"]).any()


def test_a_wall_behind_a_near_object_is_no_contact() -> None:
    made = still([FLOOR, box()], [np.eye(4), pose((0, 0, 0.55))], camera())
    assert not (made["edge_type"] == EDGE["contact"]).any()


def clip_columns(frames: int) -> dict[str, NDArray]:
    """A little clip with a spinning box, as it is stored."""
    steps = np.arange(-1, frames + 1)
    boxes = [pose((0.05 * d, 0.1, 0.8), (5 * d, 3 * d, 20)) for d in steps]
    cameras = [camera((0.1 * d, -3, 1.2), (-18, d, 0)) for d in steps]
    rows = [
        labels([FLOOR, box()], [[np.eye(4), b] for b in boxes[i : i + 3]], cameras[i : i + 3])
        for i in range(frames)
    ]
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    part_pose = np.full((frames, 2, 2, 4, 4), np.nan)
    part_pose[:, 0, 0], part_pose[:, 1, 1] = np.eye(4), boxes[1:-1]
    return columns | {
        "camera_K": np.tile(K, (frames, 1, 1)),
        "camera_pose": np.array(cameras[1:-1]),
        "part_pose": part_pose,
    }


def test_reprojection_agrees_with_stored_flow() -> None:
    residual = reproject_residual(clip_columns(3))
    assert residual.pixels > 3.5 * SIZE[0] * SIZE[1]
    assert residual.p99 < 0.05
    assert residual.agrees


@pytest.mark.parametrize(
    ("name", "scale"), [("depth", 1.05), ("flow", 1.1), ("flow_backward", -1), ("camera_pose", 1.02)]
)
def test_reprojection_finds_labels_that_disagree(name: str, scale: float) -> None:
    columns = clip_columns(2)
    columns[name] = (columns[name] * scale).astype(columns[name].dtype)
    assert not reproject_residual(columns).agrees


def test_what_half_floats_round_off_is_no_disagreement() -> None:
    """A wall .3 m off, passed by a metre a frame: 333.22 px are stored as 333.25."""
    f, z, step = 100.0, 0.3001, np.float16(100 / 0.3001)
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, 0, 3] = 1
    ids, flow = np.zeros((2, 8, 8), np.uint16), np.full((2, 2, 8, 8, 2), np.inf, np.float16)
    flow[0, 0], flow[1, 1] = (-step, 0), (step, 0)
    columns = {
        "depth": np.full((2, 8, 8), z, np.float32),
        "instance": ids,
        "part": ids,
        "camera_K": np.tile(np.array([[f, 0, 4], [0, f, 4], [0, 0, 1]]), (2, 1, 1)),
        "camera_pose": poses,
        "part_pose": np.tile(np.eye(4), (2, 1, 1, 1, 1)),
        "flow": flow[0],
        "flow_backward": flow[1],
    }
    assert abs(float(step) - f / z) > 0.02 and reproject_residual(columns).pixels == 128
    assert reproject_residual(columns).p99 < 1e-4
    columns["flow"][0, ..., 0] -= 0.5
    assert not reproject_residual(columns).agrees


def test_one_frame_has_nothing_to_disagree_with() -> None:
    residual = reproject_residual(clip_columns(1))
    assert residual.pixels == 0 and residual.agrees


@pytest.mark.parametrize("size", list(product((1, 7), (1, 7))))
def test_tiny_images(size: tuple[int, int]) -> None:
    at = camera()
    tables = Parts(*(np.array(column, np.int32) for column in ([0, 1], [0, 1], [1, 2], [0, 1])))
    surfaces = pose_surfaces([FLOOR, box()], np.array([np.eye(4), pose((0, 0, 0.5))]), tables, at[:3, 3])
    now = Instant(surfaces, at)
    known = Known(2, np.tile(np.eye(4), (2, 1, 1)))
    K = intrinsics(10.0, size[1], size[0])
    made = label_frame(now, now, now, look(now, K, size), K, size, known)
    assert made["depth"].shape == size
    assert made["amodal"].shape == (2, size[0], (size[1] + 7) // 8)


def test_numbers_too_small_for_float16_are_nothing() -> None:
    """A camera that stands leaves flow of a trillionth of a pixel: slow to store as float16."""
    values = np.array([0.0, 1e-13, -6e-5, 2.0**-14, -1.5, 6e4, np.nan])
    stored = half(values)
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored[:3], 0)
    np.testing.assert_array_equal(stored[3:], values[3:].astype(np.float16))


@pytest.mark.slow
def test_what_never_moves_may_be_posed_apart_from_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is when there is much of it; the labels are the same."""
    assets = library()
    scene, motion = find_scene(5, 0, SceneRanges(families={"street": 1}, attempts=1), assets, 2, 64)
    made = {}
    for faces in (0, 10**9):
        monkeypatch.setattr(instants, "STILL_FACES", faces)
        assert (instants.still_part(build_world(scene, assets), (0, 0, 0)) is None) == (faces > 0)
        made[faces] = render_clip(scene, assets, 2, 64, image=None, simulation=motion).columns
    for name, apart in made[0].items():
        together = made[10**9][name]
        same = (apart == together) | (
            np.isnan(apart) & np.isnan(together) if apart.dtype.kind == "f" else False
        )
        # Rays are told from another base, whose rounding decides where two triangles meet in one pixel.
        assert same.mean() > 0.999, name
