"""How fast what a frame shows moves, from its exact labels: the column `speed`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array
from freelabels.generators.contract.geometry import invert_pose, pixel_centres
from freelabels.generators.contract.products import product, times
from freelabels.generators.contract.vectors import lengths
from freelabels.generators.speed import speed_of
from freelabels.renderers.engines.raycast import Floats

MOST = 256  # pixels along a side that are looked at, however large the picture


def exact_speed(labels: Mapping[str, Array], K: Floats, now: Floats, then: Floats) -> NDArray[np.float32]:
    """The row (2,) of a frame: median displacement of all that is seen, and of what moves of its own.

    labels: the frame's `flow`, `depth` and `motion`. now, then: camera poses (4, 4) of the frame and the next. NaN
    where nothing is known. What moves of its own does so without the camera: 0 where nothing does.
    """
    height, width = labels["depth"].shape
    step = max(1, -(-max(height, width) // MOST))
    some = (slice(None, None, step), slice(None, None, step))
    flow, depth = labels["flow"][some].reshape(-1, 2).astype(np.float32), labels["depth"][some].ravel()
    length = lengths(flow)
    known = np.isfinite(length)
    if not known.any():
        return np.full(2, np.nan, np.float32)
    moves = np.flatnonzero((labels["motion"][some].ravel() > 127) & known & np.isfinite(depth))
    centres = pixel_centres(height, width)[some].reshape(-1, 2)[moves]
    own = np.zeros(len(length), np.float32)
    if len(moves):
        point = np.empty((len(moves), 3))
        point[:, :2] = (centres - K[:2, 2]) / K[[0, 1], [0, 1]]
        point[:, 2] = 1
        point *= depth[moves, None]
        to_next = product(invert_pose(then), now)
        there = times(point, to_next[:3, :3].T) + to_next[:3, 3]
        z = np.maximum(there[:, 2:], 1e-6)
        camera = there[:, :2] / z * K[[0, 1], [0, 1]] + K[:2, 2] - centres
        own[moves] = lengths(flow[moves] - camera)
    return speed_of(length[known], own[known])
