"""Motion against movers of known outline, static scenes that only the camera moves through, and bad input."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from freelabels.generators.contract.calibration import using
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import detectors
from freelabels.generators.contract.fields import field
from freelabels.generators.flow import DenseInverseSearch
from freelabels.generators.motion import (
    Flow,
    IndependentMotion,
    _reduced,
    _shrunk,
    agreed,
    deviation,
    first_step,
    inverse,
    spans,
)
from freelabels.generators.tools.border_distance import border_distance
from freelabels.generators.tools.camera_motion import camera_homography, off_parallax
from freelabels.generators.tools.guided_filter import guided_upsampling
from freelabels.generators.tools.superpixels import Mesh, waterpixels

SIDE = 160


def texture(height: int, width: int, seed: int, contrast: float = 70) -> NDArray[np.uint8]:
    """Colour noise with detail at several scales."""
    rng = np.random.default_rng(seed)
    noise = sum(
        scale * cv2.GaussianBlur(rng.standard_normal((height, width, 3)), (0, 0), scale)
        for scale in (1, 2, 4, 8, 16)
    )
    return np.clip(127 + contrast * noise, 0, 255).astype(np.uint8)


def labelled(frames: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    clip = Clip(frames, np.arange(len(frames)) / 25.0, np.eye(3))
    return IndependentMotion()(clip.with_labels(DenseInverseSearch()(clip)))


def disc_over_panning_background(count: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A textured disc crosses a background that pans 3 px a frame the other way; frames and true masks."""
    background, front = texture(SIDE, SIDE + 3 * count, 1), texture(SIDE, SIDE, 2)
    front = np.clip(front + np.array([60, -40, -60]), 0, 255).astype(np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE]
    frames, masks = [], []
    for t in range(count):
        frame = background[:, 3 * t : 3 * t + SIDE].copy()
        mask = (x - 50 - 5 * t) ** 2 + (y - 80) ** 2 < 26**2
        frame[mask] = np.roll(front, 5 * t, axis=1)[mask]
        frames.append(frame)
        masks.append(mask)
    return np.stack(frames), np.stack(masks)


def overlap(label: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((label & truth).sum() / (label | truth).sum())


@pytest.mark.slow
@pytest.mark.parametrize("count, least", [(2, 0.75), (8, 0.85)])
def test_a_disc_over_a_panning_background_is_found(count: int, least: float) -> None:
    frames, masks = disc_over_panning_background(count)
    labels = labelled(frames)
    assert overlap(labels["motion"] > 127, masks) > least
    right = (labels["motion"] > 127) == masks
    trusted = labels["motion_confidence"] > 200
    assert trusted.mean() > 0.5
    assert right[trusted].mean() > 0.97


def test_what_the_other_frame_does_not_show_says_nothing() -> None:
    scene = texture(SIDE, SIDE + 12, 5)
    scene[:, :12] = (255, 0, 0)  # seen by the first frame alone, after which the camera pans 12 px
    here, there = (
        np.asarray(cv2.cvtColor(part, cv2.COLOR_RGB2LAB), np.float32)
        for part in (scene[:, :SIDE], scene[:, 12:])
    )
    flow = np.full((SIDE, SIDE, 2), (-12, 0), np.float32)
    flow[:, :12] = (-12, 30)  # where nothing can be matched anything may be found
    every, mesh = np.ones((SIDE, SIDE), np.float32), Mesh.of(waterpixels(scene[:, :SIDE], 8))
    found = deviation(flow, every, -flow, here, there, mesh, camera_homography(flow, every > 0))
    assert found is not None
    assert np.isnan(found.evidence[:, :11]).all() and not np.isnan(found.evidence[:, 13:]).any()
    assert found.following > 0.9
    trust = np.ones((SIDE, SIDE), np.float32)
    assert not agreed([found], [trust])[:, :11].any()
    mover = replace(found, evidence=np.full_like(found.evidence, 8), seen=np.ones_like(found.seen))
    assert (agreed([found, mover], [trust, trust])[:, :11] == 8).all()  # what the other direction sees counts


@pytest.mark.slow
def test_what_moves_slowly_is_found_over_the_longer_steps() -> None:
    """A quarter of a pixel a frame: within flow's own error from one frame to the next."""
    background, front = texture(SIDE, 2 * SIDE, 1), texture(SIDE, SIDE, 2)
    front = np.clip(front + np.array([60, -40, -60]), 0, 255).astype(np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    frames, masks = [], []
    for t in range(12):
        frame = background[:, 2 * t : 2 * t + SIDE].copy()
        mask = (x - 70 - 0.25 * t) ** 2 + (y - 80) ** 2 < 26**2
        frame[mask] = cv2.remap(front, x - 0.25 * t, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)[mask]
        frames.append(frame)
        masks.append(mask)
    labels = labelled(np.stack(frames))
    assert overlap((labels["motion"] > 127)[3:9], np.stack(masks)[3:9]) > 0.7


def test_flow_over_several_steps_goes_on_from_where_it_led() -> None:
    one = Flow(np.full((9, 20, 30, 2), (2, 1), np.float32), np.full((9, 20, 30), 0.8, np.float32))
    back = Flow(-one.shift, one.trust)
    made = {size: (fore, aft) for size, fore, aft in spans(one, back, 1)}
    assert list(made) == [1, 2, 4]
    fore, aft = made[4]
    assert (fore.shift[:5] == (8, 4)).all() and (aft.shift[4:] == (-8, -4)).all()
    assert np.allclose(fore.trust[:5, :12, :20], 0.8) and not fore.trust[5:].any() and not aft.trust[:4].any()
    assert not fore.trust[0, :, 25:].any()  # led out of the frame on the way
    assert [size for size, *_ in spans(one, back, 2)] == [2, 4, 8]
    assert [size for size, *_ in spans(Flow(one.shift[:2], one.trust[:2]), back, 2)] == [1]


def test_the_camera_back_is_the_inverse_of_the_camera_there() -> None:
    there = np.array([[1.02, 0.01, -7.0], [0.0, 0.99, 3.0], [1e-5, 0.0, 1.0]])
    back = inverse(there)
    assert back is not None and np.allclose(back @ there, np.eye(3))
    assert inverse(None) is None
    assert inverse(np.diag([1.0, 0.0, 1.0])) is None  # all of the frame on a line


def test_every_second_pixel_lies_where_the_shrunken_frame_does() -> None:
    """An odd number of pixels must not stretch the frame against its flow."""
    ramp = np.repeat(np.arange(161, dtype=np.float32)[None, :, None], 35, axis=0)
    small, flow = (
        _shrunk(ramp, 2),
        Flow(np.full((1, 35, 161, 2), 6, np.float32), np.ones((1, 35, 161), np.float32)),
    )
    half = flow.every(2)
    assert small.shape[:2] == half.trust.shape[1:] == (18, 81)
    assert (half.shift == 3).all()
    assert np.allclose(small[:, :80], np.arange(80) * 2 + 0.5) and (small[:, 80] == 160).all()


@pytest.mark.parametrize("factor", [3, 4])
def test_large_frames_are_shrunk_about_their_centre(factor: int) -> None:
    """Flow and its trust of a shrunk frame's pixel are those of the middle of what it covers."""
    small, large = (16, 12), (12 * factor, 16 * factor)
    x = np.broadcast_to(np.arange(large[1]) + 0.5, (1, *large))
    flow, trust = np.stack([x, -x], axis=-1).astype(np.float16), x.astype(np.uint8)
    clip = Clip(np.zeros((1, *large, 3), np.uint8), np.zeros(1), np.eye(3))
    clip = clip.with_labels({"flow": flow, "flow_confidence": trust})
    found = _reduced(clip, "flow", small, 1 / factor)
    middles = np.arange(small[0]) + 0.5
    off = 0 if factor % 2 else 0.5 / factor  # the middle of an even number of pixels is none of them
    for values in (found.shift[0, :, :, 0], -found.shift[0, :, :, 1]):
        np.testing.assert_allclose(values - middles, np.full(small[::-1], off), atol=1e-3)
    np.testing.assert_allclose(255 * found.trust[0] / factor - middles, 0, atol=0.5 / factor + 1e-3)


@pytest.mark.parametrize("rate, step", [(24, 2), (30, 2), (10, 1), (60, 4), (5, 1)])
def test_steps_are_as_long_at_every_rate(rate: float, step: int) -> None:
    assert first_step(np.arange(9) / rate) == step
    assert first_step(np.zeros(1)) == 1


@pytest.mark.parametrize("way", [(1.0, 0.2, 0.0), (0.1, -0.05, 1.0)], ids=["sideways", "forwards"])
def test_parallax_is_what_meets_in_one_point_all_over_the_frame(way: tuple[float, float, float]) -> None:
    """Shifts of a scene of many depths vanish; one across them, or far beyond them, stays."""
    height, width = 120, 160
    u, v = (np.arange(width) - 79.5) / 160, (np.arange(height)[:, None] - 59.5) / 160
    depth = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 60, (height, width)), (0, 0), 8).astype(
        np.float32
    )
    along = np.stack(np.broadcast_arrays(way[2] * u - way[0], way[2] * v - way[1]), axis=-1)
    residual = (depth[..., None] * along).astype(np.float32)
    across = np.s_[40:60, 100:120]
    residual[across] += (
        3
        * np.stack([-along[across][..., 1], along[across][..., 0]], axis=-1)
        / np.linalg.norm(along[across], axis=-1, keepdims=True)
    )
    noise, trusted = np.full((height, width), 0.15, np.float32), np.ones((height, width), bool)
    left = off_parallax(residual, noise, trusted)
    assert np.median(left[across]) == pytest.approx(3, abs=0.3)
    rest = np.ones((height, width), bool)
    rest[across] = False
    assert (
        np.quantile(left[rest], 0.9) < 0.3 < np.quantile(np.hypot(*np.moveaxis(residual, -1, 0))[rest], 0.9)
    )


def test_a_mover_before_a_camera_that_only_turns_is_no_parallax() -> None:
    residual = np.zeros((120, 160, 2), np.float32)
    residual[30:90, 50:110] = (4, 0)
    noise, trusted = np.full((120, 160), 0.15, np.float32), np.ones((120, 160), bool)
    assert (off_parallax(residual, noise, trusted)[30:90, 50:110] == 4).all()


def camera_views(kind: str, count: int = 6) -> NDArray[np.uint8]:
    """Views of a flat, static picture by a camera that pans, turns or zooms."""
    picture = texture(3 * SIDE, 3 * SIDE, 4)
    centre = 1.5 * SIDE
    views = []
    for t in range(count):
        turn, zoom, pan = {"pan": (0, 1, 4 * t), "turn": (2 * t, 1, 0), "zoom": (0, 1.03**t, 0)}[kind]
        matrix = cv2.getRotationMatrix2D((centre, centre), turn, zoom)
        matrix[:, 2] += SIDE / 2 - centre, SIDE / 2 - centre
        matrix[0, 2] -= pan
        views.append(cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR))
    return np.stack(views)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pan", "turn", "zoom"])
def test_a_moving_camera_alone_moves_nothing(kind: str) -> None:
    labels = labelled(camera_views(kind))
    assert (labels["motion"] > 127).mean() < 0.003
    assert labels["motion_confidence"].mean() / 255 > 0.6


def test_parallax_of_a_static_scene_is_not_motion() -> None:
    """A camera slides past a slanted floor, a wall behind it and bumps on both: inverse depth varies smoothly."""
    picture = texture(SIDE, 2 * SIDE, 5)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    frames = []
    for t in range(6):
        nearness = 1 + np.maximum(0, y - 70) / 45 + 0.8 * np.exp(-((x - 90) ** 2 + (y - 100) ** 2) / 800)
        frames.append(cv2.remap(picture, x + SIDE / 2 + 1.5 * t * nearness, y, cv2.INTER_CUBIC))
    labels = labelled(np.stack(frames))
    claimed = (labels["motion"] > 127) & (labels["motion_confidence"] > 0)
    assert claimed.mean() < 0.01


def test_a_crowd_that_fills_the_frame_is_left_unlabelled() -> None:
    """Everything goes its own way: no camera can be told from it, so nothing is trusted."""
    rng = np.random.default_rng(6)
    tiles = [texture(64, 64, seed) for seed in range(25)]
    ways = rng.integers(-7, 8, (25, 2))
    frames = []
    for t in range(4):
        shown = [np.roll(tile, t * way, axis=(0, 1))[:32, :32] for tile, way in zip(tiles, ways, strict=True)]
        frames.append(np.vstack([np.hstack(shown[5 * row : 5 * row + 5]) for row in range(5)]))
    assert labelled(np.stack(frames))["motion_confidence"].mean() / 255 < 0.1


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((3, 64, 64, 3), np.uint8),
        noise(3, 96, 96, 3),
        np.stack([texture(SIDE, SIDE, 7)] * 2),
        np.stack([texture(SIDE, SIDE, 7), texture(SIDE, SIDE, 8)]),
        texture(64, 64, 7)[None],
    ],
    ids=["black", "noise", "one frame twice", "cut", "single frame"],
)
def test_abstains_where_nothing_can_be_known(frames: NDArray[np.uint8]) -> None:
    labels = labelled(frames)
    assert labels["motion_confidence"].mean() / 255 < 0.05
    assert not (labels["motion"] > 127).any()


@pytest.mark.slow
def test_a_frame_shown_twice_does_not_stop_a_mover() -> None:
    frames, masks = disc_over_panning_background(6)
    again = [0, 1, 2, 2, 3, 4, 5]
    motion = labelled(frames[again])["motion"] > 127
    assert overlap(motion[2:4], masks[again][2:4]) > 0.75


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 5, 200), (2, 64, 64), (3, 40, 17), (2, 500, 40)])
def test_any_shape_of_clip_gives_labels_of_the_contract(shape: tuple[int, int, int]) -> None:
    labels = labelled(noise(*shape, 3))
    assert set(labels) == set(IndependentMotion.makes)
    for name, values in labels.items():
        assert values.shape == shape
        field(name).check(values)


def test_runs_are_identical_and_registered() -> None:
    frames, _ = disc_over_panning_background(3)
    one, other = labelled(frames), labelled(frames)
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    assert detectors()["independent_motion"] is IndependentMotion


def test_superpixels_cover_the_frame_and_keep_to_edges() -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, 29:] = 200
    ids = waterpixels(image, 8)
    assert sorted(set(ids.ravel())) == list(range(6 * 8))
    assert not set(ids[:, :28].ravel()) & set(ids[:, 31:].ravel())


def test_guided_upsampling_keeps_constants_and_sharpens_to_the_image() -> None:
    image = np.zeros((80, 80, 3), np.uint8)
    image[:, 40:] = 220
    small = cv2.resize(image, (40, 40), interpolation=cv2.INTER_AREA)
    constant = guided_upsampling(np.full((40, 40), 0.3, np.float32), small, image)
    assert np.abs(constant - 0.3).max() < 1e-4
    blurred = cv2.GaussianBlur((small[..., 0] > 100).astype(np.float32), (0, 0), 3)
    sharp = guided_upsampling(blurred, small, image)
    assert ((sharp > 0.5) == (image[..., 0] > 0)).mean() > 0.99
    assert abs(sharp[:, 44].mean() - sharp[:, 35].mean()) > abs(blurred[:, 22].mean() - blurred[:, 17].mean())


def test_a_near_layer_reaches_the_border_and_a_mover_does_not() -> None:
    """Shifts of a rock along the lower border that rise smoothly, and of a mover between it and the background."""
    residual = np.zeros((96, 128, 2), np.float32)
    residual[60:, :, 0] = np.linspace(5, 8, 128)
    residual[30:55, 40:70, 0] = 5
    distance = border_distance(residual, 0.2, Mesh.of(waterpixels(np.zeros((96, 128, 3), np.uint8), 6)))
    assert distance[66:].max() < 1 and distance[:24].max() < 1
    assert np.median(distance[34:50, 44:66]) > 15
    alone = residual * 0
    alone[40:60, :12, 1] = 6  # it comes in from the side
    distance = border_distance(alone, 0.2, Mesh.of(waterpixels(np.zeros((96, 128, 3), np.uint8), 6)))
    assert np.median(distance[44:56, :8]) > 6


@pytest.mark.slow
def test_an_object_seen_for_a_moment_is_believed_less_than_one_that_stays() -> None:
    """The surest of what is said to move, where the disc is seen for eight frames, and for two."""
    frames, _ = disc_over_panning_background(8)
    stays = labelled(frames)
    two = disc_over_panning_background(2)[0]
    moment = labelled(two)
    with using({}):
        sure, unsure = (labelled(shown)["motion_confidence"] for shown in (frames, two))
    assert np.quantile(unsure[moment["motion"] > 127], 0.9) < 0.8 * np.quantile(
        sure[stays["motion"] > 127], 0.9
    )
