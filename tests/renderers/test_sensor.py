"""The camera: linear radiance to bytes, each step against its closed form."""

import numpy as np
import pytest

from freelabels.renderers.pixels.sensor import SHOULDER, develop, tone_curve, vignette
from freelabels.renderers.surfaces.appearance import Sensor
from freelabels.renderers.surfaces.palette import linear_to_srgb, srgb_to_linear

PERFECT = Sensor()


def flat(value: float, height: int = 64, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), value, np.float32)


def shot(radiance: np.ndarray, seed: int = 0, **options) -> np.ndarray:
    return develop(radiance, Sensor(**options), np.random.default_rng(seed))


@pytest.mark.parametrize("value", [0.0, 0.001, 0.02, 0.18, 0.3, SHOULDER])
def test_a_perfect_camera_encodes_srgb(value: float) -> None:
    expected = float(linear_to_srgb(value)) * 255
    assert np.abs(develop(flat(value), PERFECT, np.random.default_rng(0)).astype(float) - expected).max() <= 1


def test_highlights_roll_off_into_white_without_going_back() -> None:
    light = np.linspace(0, 8, 4000, dtype=np.float32)
    for contrast in (1.0, 1.3):
        curve = tone_curve(light, contrast)
        assert (np.diff(curve) >= 0).all()
        assert curve[-1] == pytest.approx(1, abs=1e-3) and curve.max() <= 1
        assert tone_curve(np.float32(0.18), contrast) == pytest.approx(0.18)
    assert develop(flat(100), PERFECT, np.random.default_rng(0)).min() == 255


def test_a_stop_doubles_the_light() -> None:
    assert (shot(flat(0.1), exposure=1.0) == shot(flat(0.2))).all()


def test_white_balance_is_a_gain_per_channel() -> None:
    picture = shot(flat(0.1), white_balance=(2.0, 1.0, 0.5))
    assert (picture == shot(flat(0.1) * np.float32([2, 1, 0.5]))).all()


def test_vignetting_takes_its_share_in_the_corners_and_nothing_in_the_middle() -> None:
    transmission = vignette(101, 51, 0.3)
    assert transmission[50, 25] == pytest.approx(1)
    assert transmission[0, 0] == pytest.approx(0.7, abs=0.01)
    assert transmission[::-1, ::-1] == pytest.approx(transmission, abs=1e-6)


def test_blur_spreads_a_point_as_a_gaussian_and_keeps_its_light() -> None:
    radiance = flat(0.0)
    radiance[32, 32] = 0.39
    decoded = srgb_to_linear(shot(radiance, blur=1.0) / 255.0)[..., 0]
    assert decoded.sum() == pytest.approx(0.39, rel=0.03)
    assert decoded[32, 33] / decoded[32, 32] == pytest.approx(np.exp(-0.5), abs=0.03)


def test_shot_noise_has_the_variance_of_photon_counts_and_read_noise_adds_its_own() -> None:
    photons, read, level = 1000.0, 0.01, 0.3
    decoded = srgb_to_linear(shot(flat(level, 256, 256), full_well=photons, read_noise=read) / 255.0)
    assert decoded.mean() == pytest.approx(level, rel=0.005)
    assert decoded.std() == pytest.approx(np.sqrt(level / photons + read**2), rel=0.03)


def test_noise_comes_from_the_generator_alone() -> None:
    noisy = {"full_well": 500.0, "read_noise": 0.01, "blur": 0.5, "jpeg": 80}
    assert (shot(flat(0.2), 1, **noisy) == shot(flat(0.2), 1, **noisy)).all()
    assert (shot(flat(0.2), 1, **noisy) != shot(flat(0.2), 2, **noisy)).any()


def test_jpeg_loses_detail_the_more_the_lower_its_quality() -> None:
    texture = np.random.default_rng(0).uniform(0, 0.4, (64, 64, 3)).astype(np.float32)
    clean = shot(texture).astype(int)
    lost = [np.abs(shot(texture, jpeg=quality).astype(int) - clean).mean() for quality in (98, 80, 40)]
    assert 0 < lost[0] < lost[1] < lost[2]


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (1, 30)])
def test_odd_sizes_work(size: tuple[int, int]) -> None:
    picture = shot(flat(0.2, *size), blur=0.7, vignetting=0.3, full_well=900.0, jpeg=90)
    assert picture.shape == (*size, 3) and picture.dtype == np.uint8
