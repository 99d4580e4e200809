"""A contact sheet of a few draws: images with all their labels beside them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import confidence_name
from freelabels.generators.contract.pictures import picture
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.assets import Library

COLUMNS = (
    "image", "depth", "normals", "flow", "flow_visibility", "motion", "edge_type", "shadow", "instance", "part",
    "semantic", "amodal", "object_coordinates",
)  # fmt: skip
TITLE = 18  # pixels


def preview(
    seed: int, ranges: SceneRanges, assets: Library, clips: int = 12, size: int = 192
) -> NDArray[np.uint8]:
    """A picture (rows, columns, 3) uint8 sRGB: one row for each of the first `clips` draws, one label a column.

    size: pixels of each image's side.
    """
    rows = [_titles(size)]
    for clip in range(clips):
        scene, motion = find_scene(seed, clip, ranges, assets, frames=1, size=size)
        made = render_clip(scene, assets, frames=1, size=size, simulation=motion).columns
        trusted = {name: made[confidence_name(name)][0] for name in COLUMNS if confidence_name(name) in made}
        cells = [picture(name, made[name][0], trusted.get(name))[:, :size] for name in COLUMNS]
        rows.append(np.concatenate(cells, axis=1))
    return np.concatenate(rows)


def _titles(size: int) -> NDArray[np.uint8]:
    line = np.full((TITLE, size * len(COLUMNS), 3), 255, np.uint8)
    for index, name in enumerate(COLUMNS):
        scale = min(0.42, size / 400)
        cv2.putText(line, name, (index * size + 4, TITLE - 5), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0))
    return line
