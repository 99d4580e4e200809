"""Which pixels of a picture may see what lies in boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.products import product
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.raycast import Floats, Surfaces
from freelabels.renderers.engines.windows import Window, whole

BORDER = 17  # places on each side of a rectangle of rays that tell where a lens shows it
NEAR = 1e-6  # metres before the camera, from where on corners are projected


def rectangles(corners: Floats, lens: Lens, size: tuple[int, int]) -> NDArray[np.int64]:
    """(G, 4) top, bottom, left and right of the pixels of a picture that may see boxes, the ends exclusive.

    corners: (G, k, 3) of the boxes, camera axes. Of what reaches behind the camera, what lies before it counts.
    """
    found = np.zeros((len(corners), 4), np.int64)
    z = corners[..., 2]
    ahead, behind = z.min(axis=1) > NEAR, z.max(axis=1) <= NEAR
    groups = [(np.flatnonzero(ahead), corners[ahead])]
    if len(crossing := np.flatnonzero(~(ahead | behind))):
        parts = [_before(corners[box]) for box in crossing]
        numbers = np.arange(max(map(len, parts)))
        groups.append((crossing, np.stack([part[np.minimum(numbers, len(part) - 1)] for part in parts])))
    for boxes, points in groups:
        if not len(boxes):
            continue
        x, y, depth = np.moveaxis(points, -1, 0)
        x, y = _reach(x / depth, y / depth, lens, size)
        (left, right), (top, bottom) = (
            (np.floor(low), np.ceil(high)) for low, high in ((x[0], x[1]), (y[0], y[1]))
        )
        ends = np.stack([top, bottom, left, right], axis=1)
        found[boxes] = np.clip(ends, 0, (size[0], size[0], size[1], size[1]))
    return found


def _before(corners: Floats) -> Floats:
    """Points (n, 3) whose hull is the part before the camera of that of corners (k, 3) on both sides of it."""
    near, far = corners[corners[:, 2] <= NEAR], corners[corners[:, 2] > NEAR]
    way = far - near[:, None]
    crossed = near[:, None] + way * ((NEAR - near[:, None, 2:]) / way[..., 2:])
    crossed[..., 2] = NEAR
    return np.concatenate([far, crossed.reshape(-1, 3)])


def _reach(x: Floats, y: Floats, lens: Lens, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """The least and largest x and y, (2, n) each, of what is seen along and between rays (x, y, 1), (n, k)."""
    if not lens.bends:
        x, y = lens.land(x, y)
        return np.array([x.min(axis=1), x.max(axis=1)]), np.array([y.min(axis=1), y.max(axis=1)])
    # Lines come out bent: what counts is the whole border of the rectangle of rays, as far as the image reaches.
    low, high = lens.bounds(size)
    left, right = np.clip([x.min(axis=1), x.max(axis=1)], low[0], high[0])[..., None]
    top, bottom = np.clip([y.min(axis=1), y.max(axis=1)], low[1], high[1])[..., None]
    share = np.linspace(0.0, 1.0, BORDER)
    across, down, one = left + share * (right - left), top + share * (bottom - top), np.ones(BORDER)
    x, y = lens.land(
        np.concatenate([across, across, one * left, one * right], axis=1),
        np.concatenate([one * top, one * bottom, down, down], axis=1),
    )
    slack = max(size) / BORDER**2
    return (
        np.array([x.min(axis=1) - slack, x.max(axis=1) + slack]),
        np.array([y.min(axis=1) - slack, y.max(axis=1) + slack]),
    )


def reaching(
    surfaces: Surfaces, pose: Floats, lens: Lens, window: Window | tuple[int, int]
) -> NDArray[np.bool_] | None:
    """(H, W) the pixels of the picture that may see what is posed apart from the first geometries.

    As of `before`. None: nothing is posed apart.
    """
    if len(surfaces.posed) < 2:
        return None
    size = window if isinstance(window, tuple) else window.size
    key = pose.tobytes(), lens.K.tobytes(), lens.distortion, lens.top, size
    if key not in surfaces.reached:
        apart = np.arange(surfaces.posed[1].first, len(surfaces.geometry_box))
        surfaces.reached[key] = before(surfaces, apart, pose, lens, window)
    return surfaces.reached[key]


def before(
    surfaces: Surfaces, some: NDArray[np.integer], pose: Floats, lens: Lens, window: Window | tuple[int, int]
) -> NDArray[np.bool_]:
    """(H, W) the pixels of the picture that may see some geometries (n,), with one to spare on all sides.

    pose: (4, 4) of the camera, which stands where the surfaces are seen from. lens: of a window, if one is given.
    """
    if isinstance(window, tuple):
        window = whole(window)
    lens, size = lens.whole(window), window.size
    mask = np.zeros(size, bool)
    corners = product(surfaces.geometry_box[some] - pose[:3, 3], pose[:3, :3])
    for top, bottom, left, right in rectangles(corners, lens, size):
        if bottom > top and right > left:
            mask[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1] = True
    return mask
