"""Pixels against closed forms: Lambert's law, shadows where geometry says, energy, coverage, determinism."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import open3d as o3d
import pytest

from freelabels.generators.contract.geometry import intrinsics_from_fov, pixel_centres, rays
from freelabels.renderers.draw.appearances import draw_appearance
from freelabels.renderers.engines.mesh import Mesh
from freelabels.renderers.engines.raycast import Parts, Surfaces, cast, pose_surfaces
from freelabels.renderers.pixels import environment
from freelabels.renderers.pixels.lights import light_rays
from freelabels.renderers.pixels.ray_image import render_image, render_radiance
from freelabels.renderers.pixels.shading import albedo
from freelabels.renderers.surfaces.appearance import PHOTO, Appearance, Background, Light, Material, Sensor

BLACK = (0.0, 0.0, 0.0)
NIGHT = Background("sky", BLACK, BLACK, BLACK)
SIZE = (64, 64)
DOWNWARDS = np.array([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])  # looks along −z


def matt(albedo: float | tuple[float, float, float] = 0.5) -> Material:
    colour = (albedo,) * 3 if isinstance(albedo, float) else albedo
    return Material("plain", (colour,) * 3, 1.0, roughness=1.0, specular=0.0)


def sun(*towards: float, irradiance: float = np.pi, size: float = 1e-4) -> Light:
    x, y, z = np.array(towards) / np.linalg.norm(towards)
    return Light("sun", (x, y, z), size, (irradiance,) * 3)


def mesh(shape: o3d.geometry.TriangleMesh, flat: bool) -> Mesh:
    triangles = np.asarray(shape.triangles).astype(np.uint32)
    patch = np.arange(len(triangles), dtype=np.int32) if flat else np.zeros(len(triangles), np.int32)
    return Mesh(np.asarray(shape.vertices), triangles, patch)


def ball(radius: float = 1.0, resolution: int = 60) -> Mesh:
    return mesh(o3d.geometry.TriangleMesh.create_sphere(radius, resolution), flat=False)


def block(*sides: float) -> Mesh:
    made = o3d.geometry.TriangleMesh.create_box(*sides)
    return mesh(made.translate([-sides[0] / 2, -sides[1] / 2, -sides[2] / 2]), flat=True)


def at(x: float, y: float, z: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


def looking(eye: tuple[float, float, float], target: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1)
    pose[:3, 3] = eye
    return pose


def posed(parts: list[tuple[Mesh, np.ndarray]], camera: np.ndarray) -> Surfaces:
    ids = np.arange(len(parts), dtype=np.int32)
    table = Parts(ids, np.ones_like(ids), np.zeros_like(ids), ids)
    return pose_surfaces([m for m, _ in parts], np.array([p for _, p in parts]), table, camera[:3, 3])


def radiance(
    parts: list[tuple[Mesh, np.ndarray]],
    materials: list[Material],
    lights: list[Light],
    camera: np.ndarray,
    background: Background = NIGHT,
    fov: float = 40.0,
    size: tuple[int, int] = SIZE,
) -> np.ndarray:
    look = Appearance(tuple(materials), tuple(lights), background)
    K = intrinsics_from_fov(fov, size[1], size[0])
    return render_radiance(posed(parts, camera), look, K, camera, size, np.random.default_rng(0))


def above(height: float, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    camera = DOWNWARDS.copy()
    camera[:3, 3] = x, y, height
    return camera


def test_a_matt_ball_under_one_sun_follows_lamberts_law() -> None:
    camera, light, colour = looking((0, -4, 0)), sun(1, -1, 1), (0.6, 0.4, 0.2)
    seen = radiance([(ball(), np.eye(4))], [matt(colour)], [light], camera)
    towards = rays(intrinsics_from_fov(40, *SIZE), *SIZE) @ camera[:3, :3].T
    towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
    # Where the ray eye + t·d meets the unit ball.
    along = towards @ camera[:3, 3]
    inside = along**2 - 15
    hit = inside > 0.1  # the outermost pixels are covered in part
    normal = camera[:3, 3] + (-along - np.sqrt(np.maximum(inside, 0)))[..., None] * towards
    expected = np.maximum(normal @ light.place, 0)[..., None] * np.array(colour)
    assert hit.sum() > 800
    assert np.abs(seen - expected)[hit].max() < 0.004
    assert np.abs(seen[inside < -0.4]).max() == 0


def test_the_shadow_of_a_box_ends_where_the_sun_says() -> None:
    # A box 1 high under a sun at 45° in the x-z plane: its shadow reaches 1 further than its side at x = 0.5.
    parts = [(block(20, 20, 2), at(0, 0, -1)), (block(1, 1, 1), at(0, 0, 0.5))]
    camera = above(8)
    K = intrinsics_from_fov(40, *SIZE)
    seen = radiance(parts, [matt(), matt()], [sun(-1, 0, 1)], camera)[..., 0]
    x, y = np.moveaxis((pixel_centres(*SIZE) - K[:2, 2]) / K[0, 0] * 8, -1, 0)
    pixel = 8 / K[0, 0]
    beside = np.abs(y) < 0.5 - pixel
    shaded = beside & (x > 0.5 + 2 * pixel) & (x < 1.5 - pixel)
    lit = (np.abs(y) > 0.5 + 2 * pixel) | (x > 1.5 + pixel) | (x < -0.6)
    assert shaded.sum() > 50
    # Light that comes back from the box's shaded side and the floor's shaded part is all there is: none.
    assert seen[shaded].max() < 0.01
    direct = 0.5 * np.cos(np.pi / 4)
    assert np.abs(seen[lit & (np.abs(x) > 2)] - direct).max() < 0.01
    # Its edge is anti-aliased: the light in a row accounts for the shadow's length to a tenth of a pixel.
    row = seen[32][(x[32] > 0.5 + 2 * pixel) & (x[32] < 2)]
    start = x[32][(x[32] > 0.5 + 2 * pixel)][0] - pixel / 2
    assert start + (1 - row / direct).sum() * pixel == pytest.approx(1.5, abs=0.15 * pixel)


def test_a_larger_lamp_throws_a_softer_shadow() -> None:
    floor, plate = (block(20, 20, 2), at(0, 0, -1)), (block(1, 1, 0.1), at(0, 0, 1.0))
    camera, widths = above(8, 0, -2), []
    for size in (0.01, 0.3, 0.6):
        lamp = Light("area", (0.0, 0.0, 3.0), size, (np.pi,) * 3)
        lit = radiance([floor], [matt(0.9)], [lamp], camera, size=(96, 96))[..., 0]
        # Irradiance falls with the square of the distance and with the cosine.
        assert lit[48, 48] == pytest.approx(0.9 * 9 / (9 + 4) * 3 / np.sqrt(9 + 4), rel=0.02)
        seen = radiance([floor, plate], [matt(0.9), matt(0.0)], [lamp], camera, size=(96, 96))[..., 0]
        share = (seen / lit)[:48]
        widths.append(((share > 0.05) & (share < 0.95)).sum())
    assert 3 * widths[0] < widths[1] < 0.85 * widths[2]


def white_world(tmp_path: Path, level: float = 1.0) -> Background:
    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), np.full((16, 16, 3), 180, np.uint8))
    return Background(PHOTO, (level,) * 3, (level,) * 3, (level,) * 3, photo=str(path))


def test_white_furnace(tmp_path: Path) -> None:
    """A white convex body in a white world can't be seen, whatever it is made of; none gives more than it gets."""
    world = white_world(tmp_path)
    for roughness, specular, metal in (
        (1.0, 0.0, False),
        (0.6, 0.04, False),
        (0.2, 0.05, False),
        (0.3, 0.0, True),
    ):
        white = replace(matt(1.0), roughness=roughness, specular=specular, metal=metal)
        seen = radiance([(ball(), np.eye(4))], [white], [], looking((0, -4, 1)), world)
        assert np.abs(seen - 1).max() < 0.02
        grey = replace(white, colours=((0.5,) * 3,) * 3)
        assert radiance([(ball(), np.eye(4))], [grey], [], looking((0, -4, 1)), world).max() < 1.01


def test_corners_are_darker_than_open_floor_and_take_the_walls_colour(tmp_path: Path) -> None:
    parts = [(block(20, 20, 2), at(0, 0, -1)), (block(1, 20, 1.5), at(1.5, 0, 0.75))]
    red = matt((0.8, 0.1, 0.1))
    seen = radiance(parts, [matt(0.5), red], [], above(6, -1), white_world(tmp_path), fov=60)
    row = seen[28:36].mean(axis=0)  # the wall begins where x = 1
    column = int(32 + 32 / np.tan(np.radians(30)) * 2 / 6) - 4
    assert row[column, 0] < 0.93 * row[4, 0]
    assert row[column, 1] < 0.85 * row[4, 1]
    assert row[column, 0] > 1.1 * row[column, 1]
    assert row[4, 1] == pytest.approx(0.5, abs=0.03)


def test_light_from_a_bright_spot_leaves_no_blocks_on_the_floor() -> None:
    """A low sun lights one side of a block and no floor: few rays of the floor's pixels meet that side."""
    parts = [(block(20, 20, 2), at(0, 0, -1)), (block(0.5, 3, 0.8), at(-2, 0, 0.4))]
    seen = radiance(parts, [matt(0.8), matt(0.9)], [sun(1, 0, 0)], above(4), size=(64, 64))[..., 0]
    floor = seen[:, 30:]
    assert floor.max() > 0.01
    for axis in (0, 1):
        assert np.abs(np.diff(floor, axis=axis)).max() < 0.25 * floor.max()  # .95 where blocks end


def test_the_edge_of_a_plate_covers_pixels_by_area(tmp_path: Path) -> None:
    turned = at(0, 0, 0)
    angle = np.radians(17)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    camera = above(4)
    seen = radiance([(block(1.7, 1.3, 0.001), turned)], [matt(0.0)], [], camera, white_world(tmp_path))[
        ..., 0
    ]
    K = intrinsics_from_fov(40, *SIZE)
    fine = (np.arange(64 * 16) + 0.5) / 16
    x, y = np.meshgrid((fine - 32) / K[0, 0] * 4, (32 - fine) / K[1, 1] * 4)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    covered = ((np.abs(u) < 0.85) & (np.abs(v) < 0.65)).reshape(64, 16, 64, 16).mean(axis=(1, 3))
    assert np.abs((1 - seen) - covered).max() <= 0.3  # four samples tell quarters
    assert (1 - seen).sum() == pytest.approx(covered.sum(), rel=0.01)
    assert {round(float(value), 2) for value in seen.reshape(-1)} >= {0.0, 0.25, 0.5, 0.75, 1.0}


def test_a_thin_rod_does_not_break_up() -> None:
    parts = [(block(0.04, 6, 0.04), np.eye(4))]
    seen = radiance(parts, [matt(1.0)], [sun(0, 0, 1)], above(4, 0.013))[..., 0]  # 0.9 pixels wide
    assert (seen.max(axis=1) > 0.3).all()


def test_metal_mirrors_the_scene(tmp_path: Path) -> None:
    mirror = Material("plain", ((1.0, 1.0, 1.0),) * 3, 1.0, roughness=0.05, metal=True)
    parts = [(block(8, 8, 2), at(0, 0, -1)), (block(1, 0.2, 2), at(0, 2, 1))]
    seen = radiance(
        parts, [mirror, matt((0.9, 0.0, 0.0))], [], looking((0, -4, 1.5), (0, 1, 0)), white_world(tmp_path)
    )
    middle = seen[:, 32]
    reddish = middle[:, 0] > 3 * middle[:, 1]
    assert reddish.sum() > 1.3 * (reddish[:32]).sum()  # the red plate goes on upside down in the floor


def test_albedo_at_labelled_points_is_not_filtered() -> None:
    checker = Material("checker", ((0.9, 0.9, 0.9), (0.1, 0.1, 0.1), (0, 0, 0)), 0.3, "metre", seed=4)
    camera = above(8)
    surfaces = posed([(block(20, 20, 2), at(0, 0, -1))], camera)
    towards = rays(intrinsics_from_fov(60, *SIZE), *SIZE).reshape(-1, 3) @ camera[:3, :3].T
    hits = cast(surfaces, camera[:3, 3], towards)
    points = camera[:3, 3] + towards * hits.t[:, None]
    colours = albedo(
        surfaces, Appearance((checker,), (), NIGHT), hits.geometry, hits.primitive, points, hits.normal
    )
    values = np.unique(colours.round(5))
    assert values == pytest.approx([0.1, 0.9])


def test_light_rays_end_on_the_light() -> None:
    lamp = Light("area", (1.0, 2.0, 3.0), 0.5, (1.0, 1.0, 1.0))
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    towards, far = light_rays(lamp, points)
    assert far == 1 and np.abs(points + towards - lamp.place).max() < 1e-5
    disc = np.tile(np.float32([0.6, 0.8]), (50, 1))
    towards, _ = light_rays(lamp, points, disc)
    assert np.linalg.norm(points + towards - lamp.place, axis=1) == pytest.approx(0.5, abs=1e-5)


def scene(seed: int, size: tuple[int, int]) -> np.ndarray:
    parts = [
        (block(20, 20, 2), at(0, 0, -1)),
        (ball(0.5, 10), at(0, 0, 0.5)),
        (block(1, 1, 1), at(1, 0.5, 0.5)),
    ]
    look = draw_appearance(np.random.default_rng(seed), ["floor", "object", "object"])
    camera = looking((0.5, -4, 2))
    K = intrinsics_from_fov(45, size[1], size[0])
    return render_image(posed(parts, camera), look, K, camera, size, np.random.default_rng(seed))


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads() -> None:
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        alone = scene(0, (48, 64))
        cv2.setNumThreads(4)
        assert (scene(0, (48, 64)) == alone).all()
    finally:
        cv2.setNumThreads(threads)
    assert (scene(1, (48, 64)) != alone).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5), (33, 17)])
def test_any_size_works(size: tuple[int, int]) -> None:
    picture = scene(2, size)
    assert picture.shape == (*size, 3) and picture.dtype == np.uint8


def test_nothing_but_sky_works() -> None:
    seen = radiance(
        [(ball(), at(0, 50, 0))],
        [matt()],
        [],
        looking((0, 0, 2), (0, -1, 2.4)),
        white := Background("sky", (0.3, 0.5, 0.9), (0.8, 0.8, 0.8), (0.2, 0.2, 0.1), clouds=0.5),
    )
    assert white.kind == "sky" and np.isfinite(seen).all() and 0.05 < seen.mean() < 1


def test_a_photo_around_the_scene_has_no_seam(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    y, x = np.mgrid[:60, :100] / 60
    cv2.imwrite(str(path), (127 + 120 * np.sin(np.stack([7 * x, 5 * x + 3 * y, 4 * y], -1))).astype(np.uint8))
    world = Background(PHOTO, (0.5,) * 3, (0.5,) * 3, (0.5,) * 3, turn=0.7, photo=str(path))
    azimuth = np.linspace(-np.pi, np.pi, 4001)
    towards = np.stack([np.cos(azimuth), np.sin(azimuth), 0.2 * np.ones(4001)], 1).astype(np.float32)
    seen = environment.radiance(world, (), towards / np.linalg.norm(towards[0]), 0.01)
    assert np.abs(np.diff(seen, axis=0)).max() < 0.02
    assert np.abs(seen[0] - seen[-1]).max() < 0.01


@pytest.mark.slow
def test_exposures_are_those_of_photographs() -> None:
    """Over many draws few pictures are dark, few burnt out, and none has a featureless white void."""
    means, white = [], []
    for seed in range(12):
        picture = scene(seed, (48, 48))
        means.append(picture.mean())
        white.append((picture.min(axis=-1) > 250).mean())
    assert 60 < np.median(means) < 170
    assert min(means) > 20 and max(means) < 215
    assert np.median(white) < 0.02 and max(white) < 0.4


def test_a_sensor_without_noise_needs_no_luck() -> None:
    parts = [(block(20, 20, 2), at(0, 0, -1))]
    look = Appearance((matt(0.18),), (sun(0, 0, 1),), NIGHT, Sensor())
    camera, K = above(4), intrinsics_from_fov(40, *SIZE)
    picture = render_image(posed(parts, camera), look, K, camera, SIZE, np.random.default_rng(0))
    assert np.abs(picture.astype(int) - 118).max() <= 1  # a grey card in full light: sRGB 0.461
