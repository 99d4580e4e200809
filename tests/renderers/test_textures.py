"""Solid textures: what they are, that they stay on their object, and that filtering keeps their mean."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from freelabels.renderers.surfaces.appearance import PHOTO, TEXTURES, Material
from freelabels.renderers.surfaces.noise import layered_noise, noise, stones
from freelabels.renderers.surfaces.pictures import photo_colours
from freelabels.renderers.surfaces.textures import albedo, mean_albedo

COLOURS = ((0.6, 0.3, 0.1), (0.1, 0.2, 0.4), (0.3, 0.3, 0.3))


@pytest.fixture
def photo(tmp_path: Path) -> str:
    y, x = np.mgrid[:90, :120] / 90
    colours = np.stack([x / 1.4, y, 0.5 + 0.4 * np.sin(12 * x)], -1)
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), (colours * 255).astype(np.uint8))
    return str(path)


def material(texture: str, photo: str, **options) -> Material:
    named = {"photo": photo} if texture == PHOTO else {}
    return Material(texture, COLOURS, scale=0.25, scale_in="metre", seed=5, **named, **options)


def floor_points(count: int, reach: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    points = np.zeros((count, 3), np.float32)
    points[:, :2] = np.random.default_rng(seed).uniform(-reach, reach, (count, 2))
    return points, np.tile(np.float32([0, 0, 1]), (count, 1))


def colours_at(of: Material, points: np.ndarray, normals: np.ndarray, footprint: float = 0.0) -> np.ndarray:
    return albedo(of, points, normals, np.full_like(points, footprint), extent=1.0)


@pytest.mark.parametrize("texture", TEXTURES)
def test_every_texture_gives_albedos_that_depend_on_the_point_alone(texture: str, photo: str) -> None:
    points, normals = floor_points(500)
    of = material(texture, photo)
    colours = colours_at(of, points, normals)
    assert colours.shape == (500, 3)
    assert np.isfinite(colours).all() and colours.min() >= 0 and colours.max() <= 1
    order = np.random.default_rng(1).permutation(500)
    assert np.abs(colours_at(of, points[order], normals) - colours[order]).max() < 1e-6
    assert colours_at(of, points[:0], normals[:0]).shape == (0, 3)
    if texture != "plain":
        assert colours.std(axis=0).max() > 0.005
        assert np.abs(colours_at(replace(of, seed=6), points, normals) - colours).max() > 0.01


@pytest.mark.parametrize("texture", TEXTURES)
def test_a_pixel_that_spans_the_whole_pattern_shows_its_mean(texture: str, photo: str) -> None:
    points, normals = floor_points(20000, reach=6)
    of = material(texture, photo)
    mean = colours_at(of, points, normals).mean(axis=0)
    spread = colours_at(of, points[:100], normals[:100], footprint=3.0)
    assert np.abs(spread.mean(axis=0) - mean).max() < 0.035
    assert spread.std(axis=0).max() < 0.03


@pytest.mark.parametrize("texture", ["checker", "stripes", "brick", "tiles"])
def test_edges_are_box_filtered(texture: str, photo: str) -> None:
    of = material(texture, photo)
    width = 0.02
    points, normals = floor_points(300, reach=1)
    normals[:] = (0, 0, 1)
    offsets = (np.arange(64, dtype=np.float32) + 0.5) / 64 - 0.5
    averaged = np.mean(
        [
            colours_at(of, points + np.float32([x * width, y * width, 0]), normals)
            for x in offsets[::4]
            for y in offsets[::4]
        ],
        0,
    )
    footprint = np.tile(np.float32([width, width, 0]), (len(points), 1))
    filtered = albedo(of, points, normals, footprint, 1.0)
    assert np.abs(filtered - averaged).mean() < 0.012


def test_a_checker_has_its_two_colours_in_cells_of_its_size(photo: str) -> None:
    of = material("checker", photo)
    points, normals = floor_points(4000)
    colours = colours_at(of, points, normals)
    to_each = np.stack([np.abs(colours - np.float32(c)).max(1) for c in COLOURS[:2]])
    assert to_each.min(0).max() < 1e-5
    assert (to_each[0] < 1e-5).mean() == pytest.approx(0.5, abs=0.03)
    stepped = colours_at(of, points + np.float32([0.25, 0, 0]), normals)
    assert (np.abs(stepped - colours).max(1) > 0.1).mean() > 0.999


def test_patterns_on_objects_grow_with_them() -> None:
    of = Material("marble", COLOURS, scale=0.3, seed=2)
    points, normals = floor_points(200, reach=0.5)
    none = np.zeros_like(points)
    small, large = albedo(of, points, normals, none, 1.0), albedo(of, 7 * points, normals, none, 7.0)
    assert np.abs(small - large).max() < 1e-3


def test_a_photo_is_projected_without_distortion_and_mirrored_at_its_borders(photo: str) -> None:
    place = np.float32([[0.3, 0.4], [-0.3, 0.4], [0.3, 2 - 0.4]])
    first, mirrored, below = photo_colours(photo, place, np.zeros(3, np.float32))
    assert np.abs(first - mirrored).max() < 1e-4 and np.abs(first - below).max() < 1e-4
    # The test photo's middle channel grows linearly downwards in sRGB; its shorter side is 1 long.
    assert first[1] == pytest.approx(((0.4 + 0.055) / 1.055) ** 2.4, abs=0.02)


def test_the_mean_albedo_is_about_the_mean_of_the_texture(photo: str) -> None:
    points, normals = floor_points(5000)
    for texture in ("plain", "worn", "noise", "checker", PHOTO):
        of = material(texture, photo)
        assert np.abs(colours_at(of, points, normals).mean(0) - mean_albedo(of)).max() < 0.05


def test_a_photo_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no photo")
    points, normals = floor_points(4)
    with pytest.raises(ValueError, match=r"broken\.jpg: can't be read as a photo"):
        colours_at(material(PHOTO, str(path)), points, normals)


def test_noise_is_smooth_periodic_and_of_unit_variance() -> None:
    points = np.random.default_rng(0).uniform(-40, 40, (20000, 3)).astype(np.float32)
    values = noise(points)
    assert values.mean() == pytest.approx(0, abs=0.05) and values.std() == pytest.approx(1, abs=0.1)
    assert np.abs(noise(points + np.float32(1e-3)) - values).max() < 0.02
    assert np.abs(noise(points + np.float32(16)) - values).max() < 0.01


def test_noise_loses_the_octaves_a_pixel_cannot_show() -> None:
    points = np.random.default_rng(0).uniform(0, 30, (5000, 3)).astype(np.float32)
    spread = [layered_noise(points, np.full(5000, f, np.float32), 6).std() for f in (0.0, 0.1, 0.3, 0.6, 1.0)]
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] == 0


def test_stones_are_cells_with_a_distance_to_their_border() -> None:
    line = np.zeros((4000, 3), np.float32)
    line[:, 0] = np.linspace(0, 8, 4000)
    inside, number = stones(line)
    changes = np.flatnonzero(np.diff(number))
    assert 4 <= len(changes) <= 24
    assert inside[changes].max() < 0.15 and inside.max() > 0.2
