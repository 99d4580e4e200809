"""What a rig beside the camera adds to a frame: the right view, disparity of the pair, dots on what is seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array, confidence_name
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.raycast import Floats
from freelabels.renderers.engines.windows import Window, windows
from freelabels.renderers.labels.edge_types import SURFACE_EDGES
from freelabels.renderers.labels.looks import Instant, PixelHits
from freelabels.renderers.labels.pairs import disparities, seen_from
from freelabels.renderers.pixels.projector import Projector
from freelabels.renderers.pixels.ray_image import radiance_window
from freelabels.renderers.pixels.sensor import develop
from freelabels.renderers.scene.rigs import Rig, beside
from freelabels.renderers.surfaces.appearance import Appearance


def rig_labels(
    rig: Rig, now: Instant, seen: PixelHits, lens: Lens, window: Window, made: Mapping[str, Array]
) -> dict[str, Array]:
    """Labels (H, W) of a window that are others with this rig than those `made` without it.

    lens: of the window, a pinhole. Dots show edges of their own: the type of an edge is told where a surface ends.
    """
    labels: dict[str, Array] = {}
    if rig.baseline:
        labels |= disparities(now, seen, lens.K, window.shape, rig.baseline)
    if rig.dots is not None:
        name = confidence_name("edge_type")
        dotted = seen.hit.reshape(window.shape) & ~np.isin(made["edge_type"], SURFACE_EDGES)
        labels[name] = np.where(dotted, 0, made[name]).astype(np.uint8)
    if rig.sensor is not None:  # until the frame is whole: where the projector's light comes
        lit = seen_from(now, seen, rig.sensor.baseline).reshape(window.shape)
        labels["sensor_depth"] = np.where(lit, made["depth"], np.float32(np.nan))
    return labels


def projector_of(rig: Rig, camera_pose: Floats) -> Projector | None:
    """The rig's projector of dots, midway between its cameras, at the pose (4, 4) of the left one."""
    if rig.dots is None:
        return None
    return Projector(rig.dots, beside(camera_pose, rig.baseline / 2))


def right_view(
    rig: Rig, now: Instant, look: Appearance, lens: Lens, size: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The picture (H, W, 3) of the second camera: the same lens, a pinhole, the same sensor, noise of its own."""
    pose, projector, dither = (
        beside(now.camera_pose, rig.baseline),
        projector_of(rig, now.camera_pose),
        float(rng.random()),
    )
    light = np.empty((*size, 3), np.float32)
    for window in windows(size):
        inner = lens.seen_in(window)
        made = radiance_window(now.surfaces, look, inner, pose, window, dither, projector=projector)
        light[window.first : window.last] = made[window.kept]
    return develop(light, look.sensor, rng)
