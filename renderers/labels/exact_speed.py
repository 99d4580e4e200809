"""How fast what a frame shows moves, from its exact labels: the column `speed`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array
from freelabels.generators.contract.geometry import invert_pose, pixel_centres
from freelabels.generators.contract.products import product, times
from freelabels.generators.contract.vectors import converted, lengths
from freelabels.generators.speed import speed_of
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.raycast import Floats

MOST = 256  # pixels along a side that are looked at, however large the picture


def exact_speed(labels: Mapping[str, Array], lens: Lens, now: Floats, then: Floats) -> NDArray[np.float32]:
    """The row (2,) of a frame: median displacement of all that is seen, and of what moves of its own.

    labels: the frame's `flow`, `depth` and `motion`. now, then: camera poses (4, 4) of the frame and the next. NaN
    where nothing is known. What moves of its own does so without the camera: 0 where nothing does.
    """
    height, width = labels["depth"].shape
    step = max(1, -(-max(height, width) // MOST))
    some = (slice(None, None, step), slice(None, None, step))
    flow = converted(labels["flow"][some], np.float32).reshape(-1, 2)
    depth = labels["depth"][some].ravel()
    length = lengths(flow)
    known = np.isfinite(length)
    if not known.any():
        return np.full(2, np.nan, np.float32)
    moves = np.flatnonzero((labels["motion"][some].ravel() > 127) & known & np.isfinite(depth))
    own = np.zeros(len(length), np.float32)
    if len(moves):
        centres = pixel_centres(height, width)[some].reshape(-1, 2)[moves]
        ray = lens.rays((height, width)).reshape(height, width, 3)[some].reshape(-1, 3)[moves]
        point = ray * depth[moves, None]
        to_next = product(invert_pose(then), now)
        there = times(point, to_next[:3, :3].T) + to_next[:3, 3]
        x, y = lens.land(*(there[:, :2] / np.maximum(there[:, 2:], 1e-6)).T)
        camera = np.stack([x, y], axis=1) - centres
        own[moves] = lengths(flow[moves] - camera)
    return speed_of(length[known], own[known])
