"""How far the motion of each superpixel is from what moves along the border of the frame, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

Floats = NDArray[np.float32]

SMOOTH = 1.0  # times the noise by which motion may change from one superpixel to the next at no cost
COMMON = 0.15  # share of the border from which on what moves there is background
ALIKE = 0.3  # of its length, by which motion along the border may differ to be the same


@dataclass(frozen=True)
class Mesh:
    """The superpixels of one frame: ids (H, W) from 0, touching pairs (m, 2), and which lie at the border (n,)."""

    ids: NDArray[np.int32]
    pairs: NDArray[np.int64]
    rim: NDArray[np.int64]
    size: NDArray[np.float64]

    @classmethod
    def of(cls, ids: NDArray[np.int32]) -> Mesh:
        """From ids (H, W); ids that no pixel has are of size 0."""
        count = int(ids.max()) + 1
        one = np.concatenate([ids[:, :-1].ravel(), ids[:-1].ravel()]).astype(np.int64)
        other = np.concatenate([ids[:, 1:].ravel(), ids[1:].ravel()]).astype(np.int64)
        code = np.unique(np.minimum(one, other) * count + np.maximum(one, other))
        first, second = np.divmod(code, count)
        rim = np.unique(np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]]))
        size = np.maximum(np.bincount(ids.ravel(), minlength=count), 1).astype(np.float64)
        return cls(ids, np.stack([first, second], axis=1)[first != second], rim, size)

    def mean(self, values: Floats) -> NDArray[np.float64]:
        """(n,) mean of `values` (H, W) over each superpixel."""
        return np.asarray(np.bincount(self.ids.ravel(), values.ravel(), len(self.size)) / self.size)


def border_distance(residual: Floats, noise: float, mesh: Mesh) -> Floats:
    """(H, W) least change of motion, in units of its noise, on any way to what is background at the border.

    residual: (H, W, 2) motion that the camera's plane doesn't explain; noise: pixels that it errs. Near layers of
    a scene, a floor or a rock, reach the border and are joined to it by small changes; a mover is cut off from it
    all around. What moves like much of the border is background there; the rest starts at its own motion.
    After Wei et al., Geodesic saliency using background priors, 2012, in motion instead of colour.
    """
    motion = np.stack([mesh.mean(residual[..., axis]) for axis in range(2)], axis=1) / noise
    one, other = mesh.pairs.T
    step = np.maximum(np.linalg.norm(motion[one] - motion[other], axis=1) - SMOOTH, 0) + 1e-6
    edge = motion[mesh.rim]
    length = np.linalg.norm(edge, axis=1)
    apart = np.linalg.norm(edge[:, None] - edge[None], axis=2)
    share = (apart < 2 + ALIKE * length[:, None]).mean(axis=1)
    start = length * np.clip(1 - share / COMMON, 0, 1) + 1e-6
    n = len(mesh.size)
    row = np.concatenate([one, np.full(len(edge), n)])
    column = np.concatenate([other, mesh.rim])
    links = coo_array((np.concatenate([step, start]), (row, column)), shape=(n + 1, n + 1)).tocsr()
    distance = dijkstra(links, directed=False, indices=n)[:n]
    return np.asarray(np.where(np.isfinite(distance), distance, 0)[mesh.ids], np.float32)
