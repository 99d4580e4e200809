"""The clips of `benchmarks.pretexts controls` hold the cue that they are made for."""

import numpy as np
import pytest

from benchmarks.pretexts.controls import CLIPS, FRAMES, SEED
from freelabels.renderers.render import find_scene
from freelabels.renderers.scene.assets import library
from freelabels.renderers.simulate.simulate import Simulation, simulate
from freelabels.renderers.simulate.world import build_world

pytestmark = pytest.mark.renders


def motions(sort: str) -> list[Simulation]:
    """Of the first two clips."""
    ranges, change = CLIPS[sort]
    assets = library(None, None, "all", None)
    scenes = [change(find_scene(SEED, clip, ranges, assets, FRAMES, 32)[0]) for clip in range(2)]
    return [simulate(scene, build_world(scene, assets), FRAMES) for scene in scenes]


def test_a_thing_falls_and_is_heard_while_it_is_seen() -> None:
    for motion in motions("falls"):
        assert not motion.problems
        height = motion.body_pose[:, 0, 2, 3]
        assert height[1] > 0.3 and np.diff(height[:5]).max() < 0  # row 1 is the first frame
        assert any(0.15 < blow.time < 0.6 and blow.speed > 0.5 for blow in motion.impacts)


def test_a_column_stands_until_it_is_struck_and_comes_apart() -> None:
    for motion in motions("breaks"):
        assert not motion.problems
        *bricks, ball = range(1, motion.contact.shape[1])
        above = [motion.contact[:, one, one + 1] for one in bricks[:-1]]
        hit = motion.contact[:, ball, bricks].any(1).argmax()
        assert hit > 1 and all(touches[1:hit].all() for touches in above)
        place = motion.body_pose[:, [b - 1 for b in bricks], :3, 3]
        assert np.abs(place[1] - place[-1]).max() > 0.05
