"""Flow over several frames: where what a frame shows is in frames further off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from freelabels.generators.contract.fields import STEPS, Array, confidence_name
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.windows import Window
from freelabels.renderers.labels.displacements import flow_to
from freelabels.renderers.labels.looks import Instant, PixelHits

NAMES = {steps: f"flow_{steps}" for steps in STEPS} | {-steps: f"flow_backward_{steps}" for steps in STEPS}


def long_flow(
    around: Mapping[int, Instant], steps: Sequence[int], seen: PixelHits, lens: Lens, window: Window
) -> dict[str, Array]:
    """Fields (H, W, …) of a window with their confidences: flow over so many frames, both ways, and visibility.

    around: instants by how many frames they come after this one, 0: this one. Where the clip has begun or ended
    by then nothing is known.
    """
    made: dict[str, Array] = {}
    for apart in (sign * count for count in steps for sign in (1, -1)):
        count, other = len(seen.hit), around.get(apart)
        flow, visibility = np.full((count, 2), np.nan, np.float16), np.zeros(count, np.uint8)
        known = np.zeros(count, bool)
        if other is not None:
            flow, visibility, known = flow_to(seen, seen.point, around[0], other, lens, window)
        name, sight = NAMES[apart], f"{NAMES[apart]}_visibility"
        made |= {name: flow, confidence_name(name): known * np.uint8(255)}
        told = np.full(count, 255 * (other is not None), np.uint8)
        made |= {sight: visibility, confidence_name(sight): told}
    return {name: values.reshape(*window.shape, *values.shape[1:]) for name, values in made.items()}
