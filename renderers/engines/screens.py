"""What of the posed world may hide a point from a camera, told from boxes before any ray asks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.products import product, times
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.raycast import Floats, Posed, Surfaces
from freelabels.renderers.engines.rectangles import rectangles
from freelabels.renderers.engines.windows import Window

LARGE = 0.04  # share of the picture from which on a box is told by its sides rather than by its rectangle
FEW = 4096  # points no more than which cost less to ask by rays than boxes cost to draw
SLANT = 0.005  # of a box's farthest corner's distance: a camera nearer to the plane of a side looks along it
ON_SIDE = 2e-5  # share of the camera's distance from a side's plane by which points on it may lie within

Mask = NDArray[np.bool_]
Side = tuple[int, bool, float]
"""A plane across an axis, whether the camera lies towards the axis's end, and metres along it from the camera."""


@dataclass(frozen=True)
class Screens:
    """Boxes around what is posed together, as one camera sees them.

    nearest: (H, W) float32 metres before the camera from where on something small may hide what a pixel shows,
    +inf where nothing may. over: (n, H, W) uint8, the pixels that may see each of the large boxes, a bit each.
    large: by frame, its axes (3, 3) in columns, world, and of each box, by the number of its bit, the sides that
    the camera sees: what lies on the near side of one of them is not hidden by that box.
    """

    nearest: NDArray[np.float32]
    over: NDArray[np.uint8]
    large: tuple[tuple[Floats, dict[int, tuple[Side, ...]]], ...]

    def may_hide(
        self, spot: NDArray[np.integer], depth: NDArray[np.float32], towards: NDArray[np.float32]
    ) -> Mask:
        """(M,) whether points may be hidden; False is sure.

        spot: (M,) the pixels that would show them. depth: (M,) metres before the camera. towards: (M, 3) float32
        metres from the camera, world axes.
        """
        asked: Mask = depth > self.nearest.ravel()[spot]
        over = [image.ravel()[spot] for image in self.over]
        for axes, boxes in self.large:
            along = times(towards, axes)
            beyond: dict[Side, Mask] = {}
            for bit, sides in boxes.items():
                held = (over[bit // 8] & np.uint8(1 << bit % 8)) != 0
                for side in sides:
                    if side not in beyond:
                        axis, above, level = side
                        beyond[side] = along[:, axis] < level if above else along[:, axis] > level
                    held &= beyond[side]
                asked |= held
        return asked


def screens(surfaces: Surfaces, posed: Posed, pose: Floats, lens: Lens, window: Window) -> Screens:
    """Those of what is posed, for a camera at a pose (4, 4) that stands where the surfaces are seen from.

    lens: of the window. They are those of the whole picture, made once for each camera.
    """
    key = "screens", posed.first, pose.tobytes(), lens.K.tobytes(), lens.distortion, lens.top, window.size
    if key not in surfaces.reached:
        surfaces.reached[key] = _screens(posed, pose, lens.whole(window), window.size)
    found: Screens = surfaces.reached[key]
    return found


def hideable(
    surfaces: Surfaces,
    pose: Floats,
    lens: Lens,
    window: Window,
    spot: NDArray[np.integer],
    depth: NDArray[np.float32],
    towards: NDArray[np.float32],
) -> list[NDArray[np.integer]]:
    """Of each part of what is posed, the index (K,) of those of the points that it may hide.

    pose, lens, window: as of `screens`. spot, depth, towards: as of `Screens.may_hide`.
    """
    return [
        np.flatnonzero(screens(surfaces, posed, pose, lens, window).may_hide(spot, depth, towards))
        if posed.first or len(spot) > FEW
        else np.arange(len(spot))
        for posed in surfaces.posed
    ]


def reaching(surfaces: Surfaces, pose: Floats, lens: Lens, window: Window) -> Mask | None:
    """(H, W) the pixels of the picture that may see what is posed apart from the first geometries.

    As of `screens`. None: nothing is posed apart.
    """
    if len(surfaces.posed) < 2:
        return None
    return screens(surfaces, surfaces.posed[1], pose, lens, window).nearest < np.inf


def _screens(posed: Posed, pose: Floats, lens: Lens, size: tuple[int, int]) -> Screens:
    corners, geometry = posed.pieces
    away = corners - pose[:3, 3]
    places = product(away, pose[:3, :3])
    found = rectangles(places, lens, size)
    area = (found[:, 1] - found[:, 0]) * (found[:, 3] - found[:, 2])
    big = np.flatnonzero((area >= LARGE * size[0] * size[1]) & (posed.first == 0))
    # One pixel to spare on all sides.
    rows = np.column_stack([np.maximum(found[:, ::2] - 1, 0), found[:, 1::2] + 1])[:, [0, 2, 1, 3]].tolist()
    over, apart = np.zeros((-(-len(big) // 8), *size), np.uint8), set[int]()
    large: dict[bytes, tuple[Floats, dict[int, tuple[Side, ...]]]] = {}
    # A thing in the scene is told by the axes of the scene's first surface: each frame of its own costs more.
    axes = posed.poses[np.where(posed.owner[geometry[big]] == 0, geometry[big], 0), :3, :3]
    for box, turn, sides in zip(big.tolist(), axes, _sides(product(away[big], axes)), strict=True):
        if sides:
            top, bottom, left, right = rows[box]
            over[len(apart) // 8][top:bottom, left:right] |= np.uint8(1 << len(apart) % 8)
            large.setdefault(turn.tobytes(), (turn, {}))[1][len(apart)] = sides
            apart.add(box)
    nearest, depth = np.full(size, np.inf, np.float32), np.ascontiguousarray(places[..., 2].T).min(axis=0)
    seen = np.flatnonzero(area > 0)
    for box in seen[np.argsort(-depth[seen])].tolist():  # the nearest last: it stays
        if box not in apart:
            top, bottom, left, right = rows[box]
            nearest[top:bottom, left:right] = depth[box]
    return Screens(nearest, over, tuple(large.values()))


def _sides(corners: Floats) -> list[tuple[Side, ...]]:
    """The sides that a camera at the origin sees of boxes with corners (n, 8, 3) along the axes."""
    low, high = corners.min(axis=1), corners.max(axis=1)
    clear = SLANT * np.sqrt((corners * corners).sum(axis=2).max(axis=1))[:, None]
    seen: list[list[Side]] = [[] for _ in corners]
    for above, level, chosen in ((True, high, high < -clear), (False, low, low > clear)):
        for box, axis in np.argwhere(chosen).tolist():
            seen[box].append((axis, above, float(level[box, axis]) * (1 + ON_SIDE)))
    return [tuple(sides) for sides in seen]
