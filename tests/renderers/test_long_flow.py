"""Flow over several frames against closed forms: frame by frame along a pan and a turning box."""

from __future__ import annotations

import numpy as np
import pytest

from freelabels.generators.contract.fields import field
from freelabels.generators.contract.geometry import invert_pose, pixel_centres, project, rays, transform
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.mesh import Mesh
from freelabels.renderers.engines.raycast import Parts, pose_surfaces
from freelabels.renderers.engines.windows import whole
from freelabels.renderers.instants import instants_around
from freelabels.renderers.labels.long_flow import NAMES, long_flow
from freelabels.renderers.labels.looks import Instant, look
from freelabels.renderers.labels.reprojection import reproject_residual
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.assets import library
from tests.renderers.test_render_labels import FLOOR, SEEN, SIZE, Floats, K, box, box_entry, camera, pose

ROUNDING = 2**-11  # of a half float
ONE_PART = Parts(*(np.array([value], np.int32) for value in (1, 1, 2, 0)))


def told(
    mesh: Mesh, places: dict[int, Floats], cameras: dict[int, Floats], steps: tuple[int, ...]
) -> dict[str, np.ndarray]:
    around = {
        k: Instant(pose_surfaces([mesh], places[k][None], ONE_PART, cameras[k][:3, 3]), cameras[k])
        for k in cameras
    }
    made = long_flow(around, steps, look(around[0], Lens(K), SIZE), Lens(K), whole(SIZE))
    for name, values in made.items():
        field(name).check(values[None])
    return made


def test_over_a_pan_it_is_the_frames_own_turns_one_after_the_other() -> None:
    cameras = {k: camera((0, -3, 1.2), (-18, 0, 1.5 * k)) for k in range(-4, 5)}
    made = told(FLOOR, dict.fromkeys(cameras, np.eye(4)), cameras, (2, 4))
    for apart in (2, 4, -2, -4):
        sign, towards = int(np.sign(apart)), rays(K, *SIZE)
        for k in range(0, apart, sign):
            towards = towards @ (invert_pose(cameras[k + sign]) @ cameras[k])[:3, :3].T
        truth = project(towards, K) - pixel_centres(*SIZE)
        error = np.abs(made[NAMES[apart]].astype(float) - truth) - np.abs(truth) * ROUNDING
        assert error.max() < 1e-3
        landed = pixel_centres(*SIZE) + truth
        inside = (landed >= 0).all(axis=-1) & (landed < (SIZE[1], SIZE[0])).all(axis=-1)
        seen = np.where(inside, SEEN["visible"], SEEN["out of view"])
        assert (made[f"{NAMES[apart]}_visibility"] == seen).all()


def test_on_a_turning_box_it_is_the_frames_own_turns_and_the_far_side_hides() -> None:
    step = pose((0, 0, 0), (0, 0, 11))
    places = {0: pose((0.0, 0.1, 0.6), (0, 0, 20))}
    for k in range(8):
        places[k + 1] = places[k] @ step
    at = camera()
    made = told(box(), places, dict.fromkeys(places, at), (8,))
    enters, leaves, _ = box_entry(at, places[0])
    clear = np.isfinite(enters) & (leaves - enters > 1e-6)
    point = transform(at, rays(K, *SIZE) * np.where(clear, enters, 1)[..., None])
    for k in range(8):  # one step after the other
        point = transform(places[k + 1] @ invert_pose(places[k]), point)
    there = transform(invert_pose(at), point)
    truth = project(there, K) - pixel_centres(*SIZE)
    error = np.abs(made["flow_8"].astype(float) - truth)[clear]
    assert (error - np.abs(truth[clear]) * ROUNDING).max() < 1e-3
    first, _, _ = box_entry(at, places[8], there)
    hidden = first < 1 - 1e-3
    sure = clear & (hidden | (first > 1 - 1e-5))
    seen = np.where(hidden, SEEN["occluded"], SEEN["visible"])
    assert (made["flow_8_visibility"] == seen)[sure].all()
    assert (hidden & sure).sum() > 100 and (~hidden & sure).sum() > 100
    # The clip begins with this frame.
    assert np.isnan(made["flow_backward_8"]).all() and not made["flow_backward_8_confidence"].any()
    assert not made["flow_backward_8_visibility"].any()


def test_every_instant_is_made_once_and_kept_no_longer_than_needed() -> None:
    asked: list[int] = []

    def make(row: int) -> Instant:
        asked.append(row)
        return row  # type: ignore[return-value]

    around = list(instants_around(7, 2, make))
    assert asked == list(range(7))
    assert around[0] == {-1: 0, 0: 1, 1: 2, 2: 3} and around[2] == {k: 3 + k for k in range(-2, 3)}


@pytest.mark.renders
@pytest.mark.slow
def test_a_clip_has_it_beside_the_labels_it_has_anyway() -> None:
    assets = library()
    ranges = SceneRanges(families={"table": 1.0}, objects=(3, 3), attempts=1, rolling=0.5)
    scene, motion = find_scene(3, 0, ranges, assets, 3, 32)
    plain = render_clip(scene, assets, 3, 32, None, motion).columns
    made = render_clip(scene, assets, 3, 32, None, motion, (2,)).columns
    for name, values in plain.items():
        assert made[name].tobytes() == values.tobytes(), name
    assert set(made) - set(plain) == {
        f"{name}{more}{end}"
        for name in ("flow_2", "flow_backward_2")
        for more in ("", "_visibility")
        for end in ("", "_confidence")
    }
    # The physics knows the frames before the first and after the last.
    known = made["flow_2_confidence"].any(axis=(1, 2))
    assert known.tolist() == [True, True, False]
    assert made["flow_backward_2_confidence"].any(axis=(1, 2)).tolist() == [False, True, True]
    assert reproject_residual(made).agrees
    assert not reproject_residual({**made, "flow_2": made["flow_2"] + np.float16(0.5)}).agrees
