"""How fast what is seen moves: by flow made up pixel by pixel, by frames that pan, and not at all."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from freelabels.generators.contract.clip import Clip
from freelabels.generators.speed import LEAST_SIDE, SceneSpeed

HEIGHT, WIDTH = 48, 64
MOVER = (slice(8, 24), slice(16, 32))


def told(flow: NDArray[np.float64], trust: int = 255) -> NDArray[np.float32]:
    """The column of two frames of which the first moves by `flow` (H, W, 2)."""
    there = np.stack([flow, np.full_like(flow, np.nan)]).astype(np.float16)
    back = np.stack([np.full_like(flow, np.nan), _undone(flow)]).astype(np.float16)
    labels = {
        "flow": there,
        "flow_backward": back,
        "flow_confidence": np.full(there.shape[:3], trust, np.uint8),
    }
    image = np.zeros((2, *flow.shape[:2], 3), np.uint8)
    return SceneSpeed()(Clip(image, np.arange(2.0), np.eye(3), labels=labels))["speed"]


def _undone(flow: NDArray[np.float64]) -> NDArray[np.float64]:
    """The flow back, as far as where the next frame's pixels come from is told by the nearest of these."""
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    return np.asarray(
        -cv2.remap(flow.astype(np.float32), x - flow[..., 0].astype(np.float32), y, cv2.INTER_NEAREST)
    )


@pytest.mark.parametrize("pan", [0.0, 3.0])
@pytest.mark.parametrize("mover", [0.0, 4.0])
def test_speed_is_all_that_moves_and_what_the_camera_does_not_move(pan: float, mover: float) -> None:
    flow = np.zeros((HEIGHT, WIDTH, 2))
    flow[..., 0] = pan
    flow[MOVER][..., 0] += mover
    first, last = told(flow)
    np.testing.assert_allclose(first, (pan, mover), atol=0.1)
    assert np.isnan(last).all()  # there is no next frame


def test_speed_of_large_frames_is_told_in_their_own_pixels() -> None:
    """Every second pixel is looked at, and pixels are still those of the frame."""
    flow = np.zeros((HEIGHT, WIDTH, 2))
    flow[..., 0] = 3
    flow[MOVER][..., 0] += 4
    large = np.kron(flow, np.ones((4, 4, 1)))
    assert min(large.shape[:2]) >= LEAST_SIDE
    np.testing.assert_allclose(told(large)[0], (3, 4), atol=0.5)


def test_a_camera_that_turns_in_place_moves_all_and_nothing_moves_of_its_own() -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH] - np.array([HEIGHT / 2, WIDTH / 2])[:, None, None] + 0.5
    flow = 0.05 * np.stack([-y, x], axis=-1)  # pixels turned by a twentieth of a radian
    assert (
        told(flow)[0, 0] == pytest.approx(np.median(0.05 * np.hypot(x, y)), abs=0.01)
        and told(flow)[0, 1] == 0
    )


def test_speed_is_unknown_where_flow_is_not_trusted() -> None:
    assert np.isnan(told(np.ones((HEIGHT, WIDTH, 2)), trust=90)).all()
