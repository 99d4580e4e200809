"""Which pixels of a picture may see what lies in boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.products import product
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.raycast import Floats, Surfaces
from freelabels.renderers.engines.windows import Window

BORDER = 17  # places on each side of a rectangle of rays that tell where a lens shows it
NEAR = 1e-6  # metres before the camera, from where on corners are projected


def rectangles(corners: Floats, lens: Lens, size: tuple[int, int]) -> NDArray[np.int64]:
    """(G, 4) top, bottom, left and right of the pixels of a picture that may see boxes, the ends exclusive.

    corners: (G, k, 3) of the boxes, camera axes. Of what reaches behind the camera, what lies before it counts.
    """
    found = np.zeros((len(corners), 4), np.int64)
    z = np.ascontiguousarray(corners[..., 2].T)  # the corners first: NumPy is slow along short axes
    ahead, behind = z.min(axis=0) > NEAR, z.max(axis=0) <= NEAR
    crossing = ~(ahead | behind)
    groups = [(np.flatnonzero(ahead), corners[ahead])]
    if crossing.any():
        groups.append((np.flatnonzero(crossing), _before(corners[crossing])))
    for boxes, points in groups:
        if not len(boxes):
            continue
        x, y, depth = np.ascontiguousarray(points.T)
        x, y = _reach(x / depth, y / depth, lens, size)
        (left, right), (top, bottom) = (
            (np.floor(low), np.ceil(high)) for low, high in ((x[0], x[1]), (y[0], y[1]))
        )
        ends = np.stack([top, bottom, left, right], axis=1)
        found[boxes] = np.clip(ends, 0, (size[0], size[0], size[1], size[1]))
    return found


def _before(corners: Floats) -> Floats:
    """Points (n, m, 3) whose hulls are the parts before the camera of hulls (n, k, 3) on both its sides."""
    ahead = corners[..., 2] > NEAR
    one, other = corners[:, :, None], corners[:, None]
    crosses = ahead[:, None] & ~ahead[:, :, None]
    way = other - one
    share = np.divide(NEAR - one[..., 2], way[..., 2], out=np.zeros(crosses.shape), where=crosses)
    crossed = one + way * share[..., None]
    crossed[..., 2] = NEAR
    first = np.take_along_axis(
        corners, ahead.argmax(axis=1)[:, None, None], axis=1
    )  # stands in for what isn't
    return np.concatenate(
        [
            np.where(ahead[..., None], corners, first),
            np.where(crosses[..., None], crossed, first[:, None]).reshape(len(corners), -1, 3),
        ],
        axis=1,
    )


def _reach(x: Floats, y: Floats, lens: Lens, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """The least and largest x and y, (2, n) each, of what is seen along and between rays (x, y, 1), (k, n)."""
    if not lens.bends:
        x, y = lens.land(x, y)
        return np.array([x.min(axis=0), x.max(axis=0)]), np.array([y.min(axis=0), y.max(axis=0)])
    # Lines come out bent: what counts is the whole border of the rectangle of rays, as far as the image reaches.
    low, high = lens.bounds(size)
    ends = np.array(
        [
            *np.clip([x.min(axis=0), x.max(axis=0)], low[0], high[0]),
            *np.clip([y.min(axis=0), y.max(axis=0)], low[1], high[1]),
        ]
    )
    # The ends of a short side lie as near to each other as places on a side of the whole image do.
    short = ((ends[1::2] - ends[::2]) * (BORDER - 1) <= (high - low)[:, None]).all(axis=0)
    found, slack = np.empty((2, 2, len(short))), max(size) / BORDER**2
    for chosen, places in ((short, 2), (~short, BORDER)):
        left, right, top, bottom = ends[:, chosen]
        share, one = np.linspace(0.0, 1.0, places)[:, None], np.ones((places, 1))
        across, down = left + share * (right - left), top + share * (bottom - top)
        at = lens.land(
            np.concatenate([across, across, one * left, one * right]),
            np.concatenate([one * top, one * bottom, down, down]),
        )
        for axis, values in enumerate(at):
            found[axis][:, chosen] = values.min(axis=0) - slack, values.max(axis=0) + slack
    return found[0], found[1]


def before(
    surfaces: Surfaces, some: NDArray[np.integer], pose: Floats, lens: Lens, window: Window
) -> NDArray[np.bool_]:
    """(H, W) the pixels of the picture that may see some geometries (n,), with one to spare on all sides.

    pose: (4, 4) of the camera, which stands where the surfaces are seen from. lens: of the window.
    """
    lens, size = lens.whole(window), window.size
    mask = np.zeros(size, bool)
    corners = product(surfaces.geometry_box[some] - pose[:3, 3], pose[:3, :3])
    for top, bottom, left, right in rectangles(corners, lens, size):
        if bottom > top and right > left:
            mask[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1] = True
    return mask
