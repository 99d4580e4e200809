"""Environment maps of the user's: read as they are meant, their brightest spot a light, nothing behind denied."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from freelabels.renderers.draw.appearances import Setting, draw_appearance
from freelabels.renderers.draw.ranges import AppearanceRanges
from freelabels.renderers.pixels import environment
from freelabels.renderers.scene.assets import library
from freelabels.renderers.surfaces.environments import brightest, light_from, mean_light, read_light

HEIGHT = 64
SUN, MARK = (12, 40), (40, 40)  # rows and column: the sun stands above a red mark


def sky(sun: float = 0.0) -> np.ndarray:
    """(H, W, 3) RGB: blue above, brown below, a red mark, a sun of so much radiance."""
    light = np.empty((HEIGHT, 2 * HEIGHT, 3), np.float32)
    light[: HEIGHT // 2], light[HEIGHT // 2 :] = (0.3, 0.5, 1.0), (0.3, 0.2, 0.1)
    light[MARK[0] - 3 : MARK[0] + 3, MARK[1] - 3 : MARK[1] + 3] = (1.0, 0.0, 0.0)
    if sun:
        light[SUN[0] - 1 : SUN[0] + 1, SUN[1] - 1 : SUN[1] + 1] = sun
    return light


def write(path: Path, light: np.ndarray) -> str:
    path.parent.mkdir(exist_ok=True, parents=True)
    if path.suffix == ".hdr":
        cv2.imwrite(str(path), light[..., ::-1])
        return str(path)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("exr")
        stream.height, stream.width, stream.pix_fmt = *light.shape[:2], "gbrpf32le"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(light, format="gbrpf32le")))
        container.mux(stream.encode(None))
    return str(path)


@pytest.mark.parametrize("suffix", ["hdr", "exr"])
def test_a_map_is_read_in_linear_light(suffix: str, tmp_path: Path) -> None:
    light = sky(sun=500.0)
    read = read_light(write(tmp_path / f"a.{suffix}", light))
    np.testing.assert_allclose(read, light, rtol=0.01, atol=2e-3)


def direction(row: float, column: float) -> np.ndarray:
    elevation = np.pi * (0.5 - row / HEIGHT)
    azimuth = np.pi * (1 - column / HEIGHT)
    flat = np.cos(elevation)
    return np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])


def test_the_brightest_spot_is_a_light_and_gone_from_the_map(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdr", sky(sun=800.0))
    spot = brightest(path)
    assert spot is not None
    np.testing.assert_allclose(spot.towards, direction(*SUN), atol=0.01)
    solid = 4 * (np.pi / HEIGHT) ** 2 * np.cos(np.pi * (0.5 - SUN[0] / HEIGHT))
    np.testing.assert_allclose(spot.irradiance, 800 * solid, rtol=0.03)
    left = light_from(path, np.asarray([spot.towards], np.float32), 0.01)
    assert left.max() < 2
    np.testing.assert_allclose(mean_light(path), sky().mean(axis=(0, 1)), atol=0.1)


def test_a_map_without_a_sun_has_none(tmp_path: Path) -> None:
    assert brightest(write(tmp_path / "a.hdr", sky())) is None


def test_the_light_comes_from_where_the_map_shows_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdr", sky(sun=800.0))
    ranges = AppearanceRanges(environment=1.0)
    for seed in range(4):
        made = draw_appearance(np.random.default_rng(seed), ["floor"], (), ranges, None, (path,))
        (light,) = made.lights
        assert made.background.kind == "map" and light.kind == "sun"
        # The mark is as far to the side as the sun, below the horizon.
        azimuth, elevation = np.arctan2(light.place[1], light.place[0]), np.pi * (0.5 - MARK[0] / HEIGHT)
        flat = np.cos(elevation)
        towards = np.array([[flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)]], np.float32)
        red, green, blue = environment.radiance(made.background, made.lights, towards, 0.01)[0]
        assert red > 0.2 and green < 0.1 * red and blue < 0.1 * red
        # An upright surface gets irradiance of about π in all, as under every other sky.
        up = environment.irradiance(made.background, made.lights, np.asarray([[0, 0, 1]], np.float32))[0]
        total = float((up + np.asarray(light.irradiance) * light.place[2]) @ (0.2126, 0.7152, 0.0722))
        assert 2 < total < 5
        assert not environment.without_edges(made.background, towards).any()


def test_rooms_keep_their_own_light(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdr", sky(sun=800.0))
    room = Setting("lamps", lamps=((0.0, 0.0, 2.4),))
    ranges = AppearanceRanges(environment=1.0)
    made = draw_appearance(np.random.default_rng(0), ["floor", "wall"], (), ranges, room, (path,))
    assert made.background.kind != "map"


@pytest.mark.renders
def test_folders_of_maps(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder of environment maps"):
        library(environments=tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no environment map"):
        library(environments=tmp_path / "empty")
    path = write(tmp_path / "maps/a.hdr", sky())
    assert library(environments=tmp_path / "maps").environments == (path,)
    Path(write(tmp_path / "maps/b.hdr", sky()[:, :HEIGHT]))
    with pytest.raises(ValueError, match=r"b\.hdr: is 64 × 64 pixels; .* twice as wide as high"):
        library(environments=tmp_path / "maps")
    (tmp_path / "maps/b.hdr").write_bytes(b"#?RADIANCE no more")
    with pytest.raises(ValueError, match=r"b\.hdr: can't be read as an environment map"):
        library(environments=tmp_path / "maps")
