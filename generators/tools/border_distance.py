"""How far the motion of each superpixel is from what moves along the border of the frame, step by step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from freelabels.generators.tools.superpixels import Mesh

Floats = NDArray[np.float32]
Values = NDArray[np.float64]

SMOOTH = 1.0  # times the noise by which motion may change from one superpixel to the next at no cost
COMMON = 0.15  # share of the border from which on what moves there is background
ALIKE = 0.3  # of its length, by which motion along the border may differ to be the same


def border_distance(residual: Floats, noise: float, mesh: Mesh) -> Floats:
    """(H, W) least change of motion, in units of its noise, on any way to what is background at the border.

    residual: (H, W, 2) motion that the camera's plane doesn't explain; noise: pixels that it errs. Near layers of
    a scene, a floor or a rock, reach the border and are joined to it by small changes; a mover is cut off from it
    all around. What moves like much of the border is background there; the rest starts at its own motion.
    After Wei et al., Geodesic saliency using background priors, 2012, in motion instead of colour.
    """
    x, y = (mesh.mean(residual[..., axis]) / noise for axis in range(2))
    step = np.maximum(_apart(x[mesh.first], y[mesh.first], x[mesh.second], y[mesh.second]) - SMOOTH, 0) + 1e-6
    x, y = x[mesh.rim], y[mesh.rim]
    length = _apart(x, y, 0, 0)
    alike = _apart(x[:, None], y[:, None], x, y) < 2 + ALIKE * length[:, None]
    start = length * np.clip(1 - alike.mean(axis=1) / COMMON, 0, 1) + 1e-6
    n, (which, column, row) = len(mesh.size), mesh.links
    links = csr_array((np.concatenate([step, start])[which], column, row), shape=(n + 1, n + 1))
    distance = dijkstra(links, indices=n)[:n]
    return np.take(np.where(np.isfinite(distance), distance, 0).astype(np.float32), mesh.ids)


def _apart(x: Values, y: Values, other_x: Values | int, other_y: Values | int) -> Values:
    """Distances between points, of any shapes that go together."""
    across, down = x - other_x, y - other_y
    return np.asarray(np.sqrt(across * across + down * down))
