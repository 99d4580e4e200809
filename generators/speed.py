"""How fast what is seen moves: of all of it, and of what moves of its own when the camera's part is taken away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_stored
from freelabels.generators.contract.ranges import Range
from freelabels.generators.contract.vectors import converted, lengths
from freelabels.generators.flow import inconsistency
from freelabels.generators.tools.camera_motion import camera_homography, carried, off_parallax

Floats = NDArray[np.float32]

LEAST_MOVING = 0.005  # share of what is known that must move of its own for that to have a speed
TRUSTED = 128  # flow confidence from which a pixel is taken to be known
KNOWN = 0.02  # share of a frame that must be known for it to have a speed
FLOW_NOISE = 6e-4  # of the longer side: flow is never more exact
LEAST_SIDE = 128  # px; of frames no smaller every second pixel says as much


def speed_of(length: Floats, own: Floats) -> NDArray[np.float32]:
    """The row (2,) of the column `speed`: medians of pixels that things move to the next frame.

    length: (N,) of known pixels. own: (N,) what the camera doesn't explain of it, 0 where that is too little to
    tell; where it is nearly everywhere, so is the second median.
    """
    moves = own > 0
    by_itself = float(np.median(own[moves])) if moves.mean() >= LEAST_MOVING else 0.0
    return np.array([np.median(length), by_itself], np.float32)


@register
@dataclass(frozen=True)
class SceneSpeed:
    """Median displacement to the next frame: of all that is seen, and of what moves of its own.

    What moves of its own is flow that neither the camera's plane nor parallax explains, by more than `least`
    pixels and three times what flow errs there. NaN where flow is trusted nearly nowhere, as in the last frame.
    """

    name: ClassVar[str] = "scene_speed"
    version: ClassVar[int] = 2
    makes: ClassVar[tuple[str, ...]] = ("speed",)
    needs: ClassVar[frozenset[str]] = frozenset({"flow", "flow_confidence", "flow_backward"})

    least: Annotated[float, Range(0.0, 100.0)] = 0.5

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        made = np.full((len(clip), 2), np.nan)
        apart = 2 if min(clip.size) >= LEAST_SIDE else 1
        for t in range(len(clip) - 1):
            flow, back = (
                np.asarray(converted(each[::apart, ::apart], np.float32) / np.float32(apart), np.float32)
                for each in (clip.labels["flow"][t], clip.labels["flow_backward"][t + 1])
            )
            length = lengths(flow)
            sure = clip.labels["flow_confidence"][t][::apart, ::apart] >= TRUSTED
            known = sure & np.isfinite(length)
            if known.mean() >= KNOWN:
                own = self.own(flow, back, known, self.least / apart)
                made[t] = apart * speed_of(length[known], own[known])
        return {"speed": as_stored("speed", made)}

    def own(self, flow: Floats, back: Floats, known: NDArray[np.bool_], least: float) -> Floats:
        """(H, W) pixels of flow (H, W, 2) that the camera doesn't explain; 0 where that is next to nothing.

        least: pixels that it must be more.
        """
        homography = camera_homography(flow, known)
        if homography is None:
            return np.zeros(known.shape, np.float32)
        height, width = known.shape
        to_x, to_y = carried(homography, height, width)
        x, y = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32)[:, None] + 0.5
        residual = np.stack([x - to_x + flow[..., 0], y - to_y + flow[..., 1]], axis=-1)
        if not np.isfinite(residual).all():
            return np.zeros(known.shape, np.float32)
        noise = np.float32(FLOW_NOISE * max(height, width)) + np.minimum(inconsistency(flow, back), 4)
        left = off_parallax(residual, noise, known)
        return np.where(left > np.float32(least) + 3 * noise, left, np.float32(0))
