"""Labels of a rectified pair: how far points lie apart in its views, and which of them both show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array, confidence_name
from freelabels.generators.contract.geometry import pixel_centres
from freelabels.generators.contract.products import times
from freelabels.renderers.engines.drift import INFINITY
from freelabels.renderers.engines.raycast import Floats, occluded
from freelabels.renderers.labels.displacements import SAME_POINT
from freelabels.renderers.labels.half import half
from freelabels.renderers.labels.looks import Instant, PixelHits
from freelabels.renderers.scene.rigs import beside


def disparities(
    now: Instant, seen: PixelHits, K: Floats, size: tuple[int, int], baseline: float
) -> dict[str, Array]:
    """Disparity (H, W) in pixels of the left view, and its confidence: 0 where the right view shows other things.

    baseline: metres between the views; what lies at infinity has disparity 0.
    """
    disparity = K[0, 0] * baseline / seen.depth
    inside = pixel_centres(*size).reshape(-1, 2)[:, 0] - disparity >= 0
    both = inside & seen_from(now, seen, baseline)
    return {
        "disparity": half(disparity).reshape(size),
        confidence_name("disparity"): (both * np.uint8(255)).reshape(size),
    }


def seen_from(now: Instant, seen: PixelHits, metres: float) -> NDArray[np.bool_]:
    """Whether nothing hides each point (N,) from a place so far along the camera's x axis, whatever its view."""
    point = np.where(seen.hit, seen.depth, INFINITY)[:, None] * seen.ray
    point[:, 0] -= np.where(seen.hit, metres, 0.0)
    towards = times(point.astype(np.float32), now.camera_pose[:3, :3].astype(np.float32).T)
    eye = beside(now.camera_pose, metres)[:3, 3]
    return np.asarray(~occluded(now.surfaces, eye, towards, 0.0, 1 - SAME_POINT))
