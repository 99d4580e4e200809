"""Appearance as data: drawn from a seed, component by component, kept as JSON."""

import dataclasses
import json

import numpy as np
import pytest

from freelabels.renderers.draw.appearances import draw_appearance
from freelabels.renderers.draw.ranges import AppearanceRanges
from freelabels.renderers.surfaces.appearance import (
    PHOTO,
    TEXTURES,
    Appearance,
    Substance,
    appearance_from_dict,
)
from freelabels.renderers.surfaces.palette import blackbody, linear_to_srgb, luminance, srgb_to_linear

OUTDOORS: list[Substance] = ["floor", *["object"] * 8]
INDOORS: list[Substance] = ["floor", "wall", "wall", *["object"] * 8]


def drawn(
    seed: int, roles: list[Substance] = OUTDOORS, photos: tuple[str, ...] = ("a.jpg",), **ranges
) -> Appearance:
    return draw_appearance(np.random.default_rng(seed), roles, photos, AppearanceRanges(**ranges))


@pytest.mark.parametrize("seed", range(10))
def test_json_brings_back_the_same_appearance(seed: int) -> None:
    appearance = drawn(seed, INDOORS if seed % 2 else OUTDOORS)
    assert appearance_from_dict(json.loads(json.dumps(dataclasses.asdict(appearance)))) == appearance


def test_a_seed_draws_the_same_and_another_one_something_else() -> None:
    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_a_change_in_one_component_leaves_the_others_as_they_were() -> None:
    plain, other_sky, other_noise = drawn(3), drawn(3, clouds=(0.1, 0.2)), drawn(3, read_noise=(0.1, 0.2))
    assert other_sky.materials == plain.materials and other_sky.lights == plain.lights
    assert other_sky.sensor == plain.sensor
    assert other_noise.background == plain.background and other_noise.sensor != plain.sensor


def test_one_more_object_leaves_the_materials_of_the_others_as_they_were() -> None:
    assert drawn(5, [*OUTDOORS, "object"]).materials[: len(OUTDOORS)] == drawn(5).materials


def test_everything_drawn_is_physical() -> None:
    for seed in range(40):
        appearance = drawn(seed, INDOORS if seed % 2 else OUTDOORS)
        albedo = np.array([material.colours for material in appearance.materials])
        assert albedo.min() >= 0 and albedo.max() <= 0.85
        assert all(
            0 < m.roughness <= 1 and m.scale > 0 and m.texture in TEXTURES for m in appearance.materials
        )
        for light in appearance.lights:
            assert min(light.irradiance) > 0 and light.size > 0
            if light.kind == "sun":
                assert np.linalg.norm(light.place) == pytest.approx(1, abs=1e-5) and light.place[2] > 0
        total = sum(luminance(light.irradiance) for light in appearance.lights)
        assert 0.5 < total < 2.5 * np.pi


def test_rooms_are_lit_by_lamps_within_the_stated_distance() -> None:
    ranges = AppearanceRanges()
    for seed in range(20):
        for lamp in drawn(seed, INDOORS).lights:
            assert lamp.kind == "area"
            assert np.hypot(*lamp.place[:2]) <= ranges.lamp_distance[1]
            assert ranges.lamp_height[0] <= lamp.place[2] <= ranges.lamp_height[1]


def test_without_photos_nothing_asks_for_one() -> None:
    for seed in range(30):
        appearance = drawn(seed, INDOORS, photos=())
        assert appearance.background.kind != PHOTO
        assert PHOTO not in {material.texture for material in appearance.materials}
    textures = {m.texture for seed in range(30) for m in drawn(seed, INDOORS, photos=("a.jpg",)).materials}
    assert PHOTO in textures


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"blur": (0.7, 0.2)}, "blur: .* is no interval"),
        ({"metal_share": 1.5}, "metal_share: 1.5 is no share"),
        ({"floor_textures": {"velvet": 1.0}}, "floor_textures: there is no 'velvet'"),
        ({"floor_textures": {"photo": 1.0}}, "at least one kind other than photo"),
        ({"outdoor": {"sun": -1.0}}, "outdoor: give at least one"),
    ],
)
def test_impossible_ranges_are_refused_in_a_sentence(given: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AppearanceRanges(**given)


def test_an_unknown_substance_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="there is no substance 'velvet'"):
        draw_appearance(np.random.default_rng(0), ["velvet"])  # type: ignore[list-item]


def test_srgb_follows_the_standard_and_inverts() -> None:
    # IEC 61966-2-1: the linear foot up to 0.0031308, 12.92 steep, then a power of 2.4.
    known = [(0.0, 0.0), (0.0031308, 0.04045), (0.21404114, 0.5), (0.18, 0.46135613), (1.0, 1.0)]
    for linear, encoded in known:
        assert linear_to_srgb(linear) == pytest.approx(encoded, abs=1e-5)
        assert srgb_to_linear(encoded) == pytest.approx(linear, abs=1e-5)
    assert linear_to_srgb([-1.0, 2.0]) == pytest.approx([0, 1])


def test_a_hotter_body_is_bluer_at_the_same_luminance() -> None:
    ratios = []
    for kelvin in (2500, 4000, 6500, 10000):
        red, _, blue = colour = blackbody(kelvin)
        assert luminance(colour) == pytest.approx(1)
        ratios.append(blue / red)
    assert ratios == sorted(ratios)
    assert ratios[2] == pytest.approx(1, abs=0.05)  # 6500 K is about the white of sRGB
