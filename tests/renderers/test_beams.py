"""No ray that meets a box on its way to a light is left out, and most of the others are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from freelabels.renderers.engines.beams import to_lamp, to_sun

COUNT = 4000


def boxes_and_points(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Corners (G, 8, 3) of boxes, and points around them far from the world's origin."""
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid([-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]), axis=-1).reshape(8, 3)
    place = np.array([70.0, -40.0, 1.0])
    boxes = place + rng.uniform(-2, 2, (6, 1, 3)) + corners * rng.uniform(0.02, 0.3, (6, 1, 3))
    return boxes, (place + rng.uniform(-4, 4, (COUNT, 3))).astype(np.float32)


def meets(
    boxes: NDArray[np.float64], origins: NDArray[np.float64], way: NDArray[np.float64], far: float
) -> NDArray[np.bool_]:
    """(N,) whether rays meet a box before `far`, in lengths of their directions."""
    found = np.zeros(len(origins), bool)
    for box in boxes:
        with np.errstate(divide="ignore"):
            ends = np.stack([(box.min(axis=0) - origins) / way, (box.max(axis=0) - origins) / way])
        enter, leave = ends.min(axis=0).max(axis=1), ends.max(axis=0).min(axis=1)
        found |= (enter <= leave) & (leave >= 0) & (enter <= far)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_rays_to_a_sun(seed: int) -> None:
    boxes, points = boxes_and_points(seed)
    sun = np.random.default_rng(seed).normal(size=3)
    sun /= np.linalg.norm(sun)
    wanted = meets(boxes, points.astype(np.float64), np.broadcast_to(sun, points.shape), np.inf)
    index = to_sun(boxes, points, sun)
    assert wanted.sum() > 20 and set(np.flatnonzero(wanted)) <= set(index)
    assert len(index) < COUNT / 4


@pytest.mark.parametrize("above", [2.6, 9.0])
@pytest.mark.parametrize("seed", range(3))
def test_rays_to_a_lamp(seed: int, above: float) -> None:
    boxes, points = boxes_and_points(seed)
    lamp = boxes.mean(axis=(0, 1)) + np.array([0.1, 0.2, above])
    towards = (lamp - points).astype(np.float32)
    wanted = meets(boxes, points.astype(np.float64), towards.astype(np.float64), 1.0)
    index = to_lamp(boxes, towards, lamp)
    assert wanted.sum() > 10 and set(np.flatnonzero(wanted)) <= set(index)
    assert len(index) < COUNT / 2


def test_every_ray_to_a_lamp_amid_boxes_is_asked() -> None:
    boxes, points = boxes_and_points(0)
    lamp = boxes[0].mean(axis=0)
    assert len(to_lamp(boxes, (lamp - points).astype(np.float32), lamp)) == COUNT
