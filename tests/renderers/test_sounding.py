"""What is heard of a simulation: a blow when something lands, lower of larger things, silence where all rest."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from freelabels.generators.contract.sounds import RATE, signal_of
from freelabels.renderers.render import render_clip
from freelabels.renderers.scene.assets import Library, library
from freelabels.renderers.scene.scene import Scene
from freelabels.renderers.simulate.simulate import simulate
from freelabels.renderers.simulate.sounding import sounded
from freelabels.renderers.simulate.world import build_world
from tests.renderers.test_simulate import GRAVITY, body, scene_of

pytestmark = pytest.mark.renders

FRAMES = 12
FALL = 0.5  # metres


@pytest.fixture(scope="module")
def assets() -> Library:
    return library()


def heard(scene: Scene, assets: Library) -> np.ndarray:
    world = build_world(scene, assets)
    made = sounded(scene, world, simulate(scene, world, FRAMES), FRAMES)
    assert made["sound"].dtype == np.int16 and made["sound_confidence"].shape == (FRAMES,)
    assert bool(made["sound_confidence"].any()) == bool(np.abs(made["sound"]).max() > 33)  # -60 dB
    return signal_of(made["sound"], np.arange(FRAMES) / scene.fps)


def dropped(assets: Library, size: float) -> Scene:
    one = dataclasses.replace(body("primitive/cube", size / 2 + FALL), size=size)
    return scene_of(assets, one)


def pitch(signal: np.ndarray) -> float:
    """Hz around which its power lies."""
    power = np.abs(np.fft.rfft(signal.astype(float))) ** 2
    return float((np.fft.rfftfreq(len(signal), 1 / RATE) * power).sum() / power.sum())


def test_a_blow_is_heard_when_a_thing_lands(assets: Library) -> None:
    scene = dropped(assets, 0.4)
    signal = heard(scene, assets)
    lands = np.sqrt(2 * FALL / GRAVITY) - 1 / scene.fps  # it is let go a frame before the first
    loud = np.flatnonzero(np.abs(signal) > 0.2 * np.abs(signal).max())
    assert loud[0] / RATE == pytest.approx(lands, abs=0.01)
    assert not signal[: round((lands - 0.02) * RATE)].any()


def test_large_things_sound_low_and_what_rests_is_silent(assets: Library) -> None:
    low, high = (pitch(heard(dropped(assets, size), assets)) for size in (0.6, 0.08))
    assert high > 2 * low
    resting = scene_of(assets, body("primitive/cube", 0.2), warm_up=1.5)
    assert np.abs(heard(resting, assets)).max() < 33


def test_a_rendered_clip_has_its_sound_and_a_single_frame_none(assets: Library) -> None:
    scene = dropped(assets, 0.4)
    many, one = (render_clip(scene, assets, frames, 16, image=None).columns for frames in (2, 1))
    assert many["sound"].shape == (2, round(RATE / scene.fps)) and "sound" not in one
    again = render_clip(scene, assets, 2, 16, image=None).columns
    assert many["sound"].tobytes() == again["sound"].tobytes()
