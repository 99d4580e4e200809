"""Flow against warps of known displacement, and what the detector says about frames it can't know."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import detectors
from freelabels.generators.contract.fields import field
from freelabels.generators.flow import DenseInverseSearch

SIDE = 128
CENTRE = SIDE / 2
Map = Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]


def texture(height: int = SIDE, width: int = SIDE, seed: int = 0) -> NDArray[np.uint8]:
    """Colour noise with detail at several scales."""
    rng = np.random.default_rng(seed)
    noise = sum(
        scale * cv2.GaussianBlur(rng.standard_normal((height, width, 3)), (0, 0), scale)
        for scale in (1, 2, 4, 8, 16)
    )
    return np.clip(127 + 70 * noise, 0, 255).astype(np.uint8)


def clip_of(*frames: NDArray[np.uint8]) -> Clip:
    return Clip(np.stack(frames), np.arange(len(frames)) / 25.0, np.eye(3))


def moved(image: NDArray[np.uint8], back: Map) -> NDArray[np.uint8]:
    """The frame in which a pixel (x, y) shows what `image` shows at back(x, y); pixel centres at + 0.5."""
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    from_x, from_y = back(x, y)
    return cv2.remap(
        image,
        (from_x - 0.5).astype(np.float32),
        (from_y - 0.5).astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )


def turned(degrees: float, zoom: float) -> tuple[Map, Map]:
    """Rotation and zoom about the centre, forth and back."""
    angle = np.radians(degrees)

    def forth(x, y):  # type: ignore[no-untyped-def]
        u, v = x - CENTRE, y - CENTRE
        return (
            CENTRE + zoom * (np.cos(angle) * u - np.sin(angle) * v),
            CENTRE + zoom * (np.sin(angle) * u + np.cos(angle) * v),
        )

    def back(x, y):  # type: ignore[no-untyped-def]
        u, v = (x - CENTRE) / zoom, (y - CENTRE) / zoom
        return (
            CENTRE + np.cos(angle) * u + np.sin(angle) * v,
            CENTRE - np.sin(angle) * u + np.cos(angle) * v,
        )

    return forth, back


def shifted(dx: float, dy: float) -> tuple[Map, Map]:
    return lambda x, y: (x + dx, y + dy), lambda x, y: (x - dx, y - dy)


@pytest.mark.parametrize(
    "forth, back",
    [shifted(3, 0), shifted(-2.5, 4.25), shifted(0.3, -0.6), turned(3, 1), turned(0, 1.05), turned(-2, 0.96)],
    ids=["right", "diagonal", "subpixel", "rotation", "zoom in", "rotation and zoom out"],
)
def test_flow_is_the_known_displacement_both_ways(forth: Map, back: Map) -> None:
    first = texture()
    labels = DenseInverseSearch()(clip_of(first, moved(first, back)))
    x, y = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    inner = (slice(12, -12), slice(12, -12))
    for name, frame, truth in (("flow", 0, forth), ("flow_backward", 1, back)):
        u, v = truth(x, y)
        error = np.hypot(labels[name][frame, ..., 0] - (u - x), labels[name][frame, ..., 1] - (v - y))[inner]
        confidence = labels[name + "_confidence"][frame][inner] / 255
        assert error.mean() < 0.1
        assert confidence.mean() > 0.9


def test_the_ends_of_a_clip_have_no_flow_outwards() -> None:
    labels = DenseInverseSearch()(clip_of(*(np.roll(texture(), t, axis=1) for t in range(3))))
    for name, end in (("flow", -1), ("flow_backward", 0)):
        assert np.isnan(labels[name][end]).all()
        assert not labels[name + "_confidence"][end].any()
        assert np.isfinite(np.delete(labels[name], end, axis=0)).all()
        field(name).check(labels[name])


def test_what_leaves_the_frame_is_not_trusted() -> None:
    wide = texture(SIDE, SIDE + 20)
    confidence = DenseInverseSearch()(clip_of(wide[:, :SIDE], wide[:, 20:]))["flow_confidence"][0] / 255
    assert confidence[:, :18].mean() < 0.2
    assert confidence[16:-16, 32:-8].mean() > 0.8


def test_what_leaves_the_frame_moves_on_as_its_surroundings_do() -> None:
    wide = texture(SIDE, SIDE + 20)
    flow = DenseInverseSearch()(clip_of(wide[:, :SIDE], wide[:, 20:]))["flow"][0]
    assert np.abs(flow[16:-16, :16].astype(np.float32) - (-20, 0)).mean() < 1


def test_a_camera_that_comes_much_nearer_is_followed() -> None:
    """A third nearer: up to 22 pixels of 128; small patches alone follow a third of it."""
    forth, back = turned(0, 1.35)
    first = texture()
    flow = DenseInverseSearch().between(first, moved(first, back))
    x, y = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    u, v = forth(x, y)
    seen = (np.abs(u - CENTRE) < CENTRE - 4) & (np.abs(v - CENTRE) < CENTRE - 4)
    error = np.hypot(flow[..., 0] - (u - x), flow[..., 1] - (v - y))
    assert (error < 1)[seen].mean() > 0.7


def test_what_gets_covered_is_not_trusted() -> None:
    background, front = texture(seed=1), texture(seed=2)
    frames = [background.copy(), background.copy()]
    frames[0][40:90, 30:70] = front[40:90, 30:70]
    frames[1][40:90, 38:78] = front[40:90, 30:70]
    confidence = DenseInverseSearch()(clip_of(*frames))["flow_confidence"][0] / 255
    assert confidence[45:85, 71:77].mean() < 0.4 < 0.8 < confidence[45:85, 38:62].mean()


def test_a_change_of_light_changes_neither_flow_nor_trust_much() -> None:
    first = texture()
    brighter = np.clip(np.roll(first, 2, axis=1).astype(float) * 1.1 + 6, 0, 255).astype(np.uint8)
    labels = DenseInverseSearch()(clip_of(first, brighter))
    inner = (0, slice(12, -12), slice(12, -12))
    assert np.abs(labels["flow"][inner] - np.float16([2, 0])).mean() < 0.1
    assert labels["flow_confidence"][inner].mean() / 255 > 0.8


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(
    "frames",
    [np.zeros((3, 64, 64, 3), np.uint8), noise(3, 96, 96, 3), np.stack([texture(), texture(seed=9)])],
    ids=["black", "noise", "cut"],
)
def test_abstains_where_nothing_can_be_known(frames: NDArray[np.uint8]) -> None:
    labels = DenseInverseSearch()(clip_of(*frames))
    assert labels["flow_confidence"].mean() / 255 < 0.1
    assert labels["flow_backward_confidence"].mean() / 255 < 0.1


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 1, 1), (2, 5, 200), (2, 64, 64), (3, 40, 17)])
def test_any_shape_of_clip_gives_labels_of_the_contract(shape: tuple[int, int, int]) -> None:
    frames = noise(*shape, 3)
    labels = DenseInverseSearch()(clip_of(*frames))
    assert set(labels) == set(DenseInverseSearch.makes)
    for name, values in labels.items():
        assert values.shape[:3] == shape
        field(name).check(values)


def test_runs_are_identical_and_registered() -> None:
    clip = clip_of(texture(), np.roll(texture(), 3, axis=0))
    one, other = DenseInverseSearch()(clip), DenseInverseSearch()(clip)
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    assert detectors()["dense_inverse_search"] is DenseInverseSearch
