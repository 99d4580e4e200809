"""Blows → what is heard of them at the camera: each object rings in modes of its own, by its size and substance.

Source: van den Doel and Pai, The sounds of physical shapes, 1998 (modal synthesis); modes are drawn, not computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array
from freelabels.generators.contract.sounds import RATE, as_samples, rows_of, sample_bounds
from freelabels.generators.sound import SoundTrack
from freelabels.renderers.scene.scene import Scene, camera_poses
from freelabels.renderers.simulate.simulate import Simulation
from freelabels.renderers.simulate.world import World
from freelabels.renderers.surfaces.appearance import Substance

MODES = 12
SOUND_STREAM = 2000  # component number of the objects' modes in the seeds
LOUDNESS = 0.25  # of full scale, of a blow of 1 m/s on an object of 1 kg, 1 m away
NEAREST = 0.3  # metres
FAINT = 1e-4  # of a mode's start, where it ends


@dataclass(frozen=True)
class Timbre:
    """How a substance rings.

    speed: of its waves, m/s. decay: seconds that its lowest mode takes to fall by 60 dB. slope: power of frequency
    by which higher ones do so faster.
    """

    speed: float
    decay: float
    slope: float


PLASTIC = Timbre(700, 0.12, 0.6)
TIMBRES: Mapping[Substance, Timbre] = {
    "metal": Timbre(1900, 0.9, 0.3),
    "pane": Timbre(1700, 0.5, 0.4),
    "glass": Timbre(1700, 0.6, 0.4),
    "ceramic": Timbre(1500, 0.35, 0.4),
    "screen": Timbre(1200, 0.2, 0.5),
    "wood": Timbre(1000, 0.16, 0.6),
    "trim": Timbre(1000, 0.16, 0.6),
    "door": Timbre(900, 0.2, 0.6),
    "bark": Timbre(700, 0.1, 0.7),
    "paper": Timbre(350, 0.06, 0.7),
    "print": Timbre(350, 0.06, 0.7),
    "leaf": Timbre(350, 0.05, 0.7),
    "rubber": Timbre(250, 0.07, 0.9),
    "cloth": Timbre(150, 0.05, 1.0),
    "flesh": Timbre(150, 0.05, 1.0),
    "fruit": Timbre(250, 0.06, 0.9),
    "soil": Timbre(150, 0.04, 1.0),
    "floor": Timbre(400, 0.08, 0.8),
    "ground": Timbre(200, 0.05, 0.9),
    "road": Timbre(500, 0.05, 0.9),
    "pavement": Timbre(500, 0.05, 0.9),
}


def sounded(scene: Scene, world: World, motion: Simulation, frames: int) -> dict[str, Array]:
    """The columns `sound` and `sound_confidence` of a clip: the same scene and frames give the same bytes.

    A blow is heard at the moment it falls, fainter with the distance from the camera. Silence weighs nothing.
    """
    time = np.arange(frames) / scene.fps
    bounds = sample_bounds(time)
    signal = np.zeros(bounds[-1])
    ears = camera_poses(scene.camera, [blow.time for blow in motion.impacts] or [0.0])[:, :3, 3]
    ringings: dict[int, NDArray[np.float64]] = {}
    starts = [round(blow.time * RATE) for blow in motion.impacts]
    longest = len(signal) - min(starts, default=0)  # some begin before the clip
    for blow, ear, start in zip(motion.impacts, ears, starts, strict=False):
        far = max(NEAREST, float(np.sqrt(((np.asarray(blow.place) - ear) ** 2).sum())))
        for thing in (blow.one, blow.other):
            if start >= len(signal):
                continue
            if thing not in ringings:
                ringings[thing] = _ringing(_voice(scene, world, thing), longest)
            share = 0.5 if thing == 0 else 1.0  # a floor gives less than what falls on it
            ringing = ringings[thing][max(0, -start) :][: len(signal) - max(0, start)]
            signal[max(0, start) :][: len(ringing)] += share * LOUDNESS * blow.speed**0.8 / far * ringing
    heard = np.tanh(signal).astype(np.float32)
    trust = SoundTrack().heard(heard, bounds)
    return {"sound": rows_of(as_samples(heard), time), "sound_confidence": np.asarray(255 * trust, np.uint8)}


def _voice(scene: Scene, world: World, thing: int) -> tuple[NDArray[np.float64], ...]:
    """Frequencies (Hz), amplitudes and rates of decay (1/s) of an object's modes."""
    rng = np.random.default_rng(
        np.random.SeedSequence(scene.seed, spawn_key=(scene.clip, SOUND_STREAM, thing))
    )
    size, substance = 2.0, scene.structure[0].substance
    if thing:
        size = ([*scene.bodies, *scene.clutter][thing - 1]).size
        substance = world.things[thing - 1].links[0].substance
    timbre = TIMBRES.get(substance, PLASTIC)
    lowest = np.clip(timbre.speed / (2 * max(size, 0.02)) * rng.uniform(0.7, 1.3), 60, 4000)
    ratios = np.cumsum(np.append(1.0, rng.uniform(0.3, 1.1, MODES - 1)))
    hertz = lowest * ratios
    level = rng.uniform(0.4, 1.0, MODES) / ratios
    decay = np.log(1000) / timbre.decay * ratios**timbre.slope
    kept = hertz < 0.45 * RATE
    return hertz[kept], level[kept] / level[kept].sum(), decay[kept]


def _ringing(voice: tuple[NDArray[np.float64], ...], longest: int) -> NDArray[np.float64]:
    """What is heard after a blow, sample by sample, until all modes have died away or for the `longest` time."""
    hertz, level, decay = voice
    lengths = np.minimum((np.log(1 / FAINT) / decay * RATE).astype(int) + 1, longest)
    out = np.zeros(int(lengths.max(initial=0)))
    for mode, length in enumerate(lengths):
        t = np.arange(length) / RATE
        out[:length] += level[mode] * np.exp(-decay[mode] * t) * np.sin(2 * np.pi * hertz[mode] * t)
    return out
