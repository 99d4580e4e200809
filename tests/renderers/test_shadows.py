"""The mask of cast shadows against closed forms, and what of it a picture doesn't show."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from freelabels.generators.contract.geometry import rays
from freelabels.renderers.labels import label_frame
from freelabels.renderers.labels.label_frame import Drawn
from freelabels.renderers.pixels.exposure import Blur
from freelabels.renderers.surfaces.appearance import Background, Light, Material
from tests.renderers.test_render_labels import BOX, FLOOR, SIZE, K, box, camera, pose, still

LOW = Background("sky", *((0.1, 0.1, 0.1),) * 3)
TOWARDS = np.array([0.6, 0.3, 0.74])
SUN = Light("sun", tuple((TOWARDS / np.linalg.norm(TOWARDS)).tolist()), 0.005, (2.0, 2.0, 2.0))
RAISED = 0.6  # metres from the floor to the middle of the box


def on_the_floor(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where (H, W, 2) the rays of all pixels meet the floor, and whether they do."""
    towards = rays(K, *SIZE) @ at[:3, :3].T
    with np.errstate(divide="ignore"):
        far = -at[2, 3] / towards[..., 2]
    meets = (far > 0) & (far < 8)
    return at[:2, 3] + np.where(meets, far, 0)[..., None] * towards[..., :2], meets


def shaded_by_the_box(place: np.ndarray, grow: float) -> np.ndarray:
    """Whether the line from places on the floor towards the sun enters the box, grown by so many metres."""
    low, high = np.array([0, 0, RAISED]) - BOX / 2 - grow, np.array([0, 0, RAISED]) + BOX / 2 + grow
    start = np.concatenate([place, np.zeros((*place.shape[:2], 1))], -1)
    one, other = (low - start) / TOWARDS, (high - start) / TOWARDS
    return np.minimum(one, other).max(-1) < np.maximum(one, other).min(-1)


def test_a_box_above_the_floor_keeps_the_sun_from_where_the_closed_form_says() -> None:
    at = camera((0, -3, 2.4), (-36, 0, 0))
    made = still([FLOOR, box()], [np.eye(4), pose((0, 0, RAISED))], at, lights=(SUN,), background=LOW)
    place, meets = on_the_floor(at)
    floor = meets & (made["instance"] == 0)
    assert (made["shadow_confidence"][floor] == 255).all()
    surely, maybe = shaded_by_the_box(place, -0.002), shaded_by_the_box(place, 0.002)
    assert (floor & surely).sum() > 100
    assert (made["shadow"][floor & surely] == 255).all() and (made["shadow"][floor & ~maybe] == 0).all()
    # Sides turned away from the sun are dark without anything before them.
    away = (made["instance"] == 1) & (made["shadow_confidence"] == 0)
    towards = at[:3, :3].T @ TOWARDS
    turned = (made["normals"].astype(float) @ towards < 0) & (made["instance"] == 1)
    np.testing.assert_array_equal(away, turned)


@pytest.mark.parametrize(
    "change",
    [
        {"lights": ()},
        {"lights": (dataclasses.replace(SUN, size=0.2),)},  # behind cloud: no shadow to speak of
        {"lights": (SUN, Light("sun", (0.0, 0.0, 1.0), 0.3, (3.0, 3.0, 3.0)))},  # outshone
        {"background": Background("sky", *((9.0, 9.0, 9.0),) * 3)},
        {"drawn": Drawn(shadows=False)},
        {"colour": 0.001},
        {"metal": True},
    ],
)
def test_what_a_picture_does_not_show_is_not_told(change: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    import tests.renderers.test_render_labels as helper

    known = {"lights": (SUN,), "background": LOW, **change}
    colour, metal = known.pop("colour", 0.5), known.pop("metal", False)
    black = Material("plain", ((colour,) * 3,) * 3, 1.0, metal=metal)
    monkeypatch.setattr(helper, "Material", lambda *_: black)
    made = still(
        [FLOOR, box()], [np.eye(4), pose((0, 0, RAISED))], camera((0, -3, 2.4), (-36, 0, 0)), **known
    )
    assert not made["shadow_confidence"].any()


def test_shadows_that_blur_hides_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    smear = np.zeros((*SIZE, 2))
    smear[:, : SIZE[1] // 2] = 6.0
    blur = Blur(smear.reshape(-1, 2), np.zeros(SIZE[0] * SIZE[1]))
    monkeypatch.setattr(label_frame, "blur_of", lambda *_: blur)
    made = still(
        [FLOOR, box()],
        [np.eye(4), pose((0, 0, RAISED))],
        camera((0, -3, 2.4), (-36, 0, 0)),
        lights=(SUN,),
        background=LOW,
    )
    told = made["shadow_confidence"] > 0
    assert not told[:, : SIZE[1] // 2].any() and told[:, -SIZE[1] // 4 :].any()


def test_a_frame_all_in_the_shade_is_not_told_from_one_in_other_light() -> None:
    at = camera((0, -3, 1.2), (-50, 0, 0))
    parts, poses = [FLOOR, FLOOR], [np.eye(4), pose((0, 0, 2.5))]  # under a roof
    made = still(parts, poses, at, lights=(SUN,), background=LOW, static=2)
    assert made["shadow"].any() and not made["shadow_confidence"].any()
