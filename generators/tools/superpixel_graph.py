"""Superpixels of a clip as a graph along space, time and appearance, and labels that diffuse over it.

Soft labels diffuse as in random walker segmentation (Grady, PAMI 2006) over neighbours in the frame, along the
flow, and between superpixels that look alike and lie near each other in any frame (the non-local links of Faktor
& Irani, Video Segmentation by Non-Local Consensus Voting, BMVC 2014).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.spatial import cKDTree

from freelabels.generators.contract.fields import Array
from freelabels.generators.tools.contours import sorted_pairs
from freelabels.generators.tools.superpixels import Index, Mesh, Values, grid, waterpixels

TEMPORAL_WEIGHT = 4.0  # a link along the flow against one across a shared border
ALIKE_WEIGHT = 0.4  # a link to a superpixel that looks alike
ALIKE_SCALE = (
    0.5,
    1.5,
    1.5,
    0.5,
    0.5,
    0.5,
)  # what one unit of L, A, B, x, y, t counts when looking for these
ALIKE_NEIGHBOURS = 8
ROUNDS = 100  # of conjugate gradients, own ones: scipy's sum in BLAS, whose bits depend on its threads
CONVERGED = 1e-6


@dataclass(frozen=True)
class Graph:
    """Superpixels of all frames of a clip as nodes, numbered through, and the weights that link them.

    meshes: the nodes of each frame, as many in each. nodes: (T, H, W) node of every pixel. size: (N,) pixels of
    each node. links: (N, N) symmetric sparse.
    """

    meshes: tuple[Mesh, ...]
    nodes: NDArray[np.int32]
    size: NDArray[np.float64]
    links: Any

    def mean(self, values: Array) -> NDArray[np.float64]:
        """(N,) mean over each node of `values` (T, H, W)."""
        return _means(self.meshes, values)

    def diffuse(self, label: NDArray[np.float64], trust: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) minimiser of Σ trust (x − label)² + Σ links (x_i − x_j)²: labels (N,) spread along the links."""
        degree = np.asarray(self.links.sum(axis=1)).ravel() + trust
        x = label.copy()
        residual = trust * label - (degree * x - self.links @ x)
        way = residual / degree
        power = first = (residual * way).sum()
        for _ in range(ROUNDS):
            if power <= CONVERGED * first:
                break
            push = degree * way - self.links @ way
            step = power / (way * push).sum()
            x += step * way
            residual -= step * push
            power, before = (residual * residual / degree).sum(), power
            way = residual / degree + power / before * way
        return np.clip(x, 0, 1)


def clip_graph(
    images: Sequence[NDArray[np.uint8]],
    lab: Sequence[Array],
    flow: Array,
    trust: Array,
    drift: Array,
    step: int,
) -> Graph:
    """The graph of a clip: sRGB `images` T × (H, W, 3), also in LAB, `flow` (T, H, W, 2) to the next, its trust.

    trust: (T, H, W) in [0, 1]. drift: (T, H, W, 2) pixels of movement; neighbours that don't move alike are linked
    less.
    """
    frames, (height, width) = len(images), images[0].shape[:2]
    per_frame = len(grid(height, step)) * len(grid(width, step))
    meshes = tuple(Mesh.of(waterpixels(image, step), per_frame) for image in images)
    colour = np.stack([_means(meshes, [one[..., k] for one in lab]) for k in range(3)], axis=-1)

    first = np.concatenate([mesh.first + t * per_frame for t, mesh in enumerate(meshes)])
    second = np.concatenate([mesh.second + t * per_frame for t, mesh in enumerate(meshes)])
    difference = _squares_apart(colour, first, second)
    contrast = 1 + (float(np.median(difference)) if len(difference) else 0.0)
    moves = np.stack([_means(meshes, drift[..., axis]) for axis in range(2)], axis=-1)
    weight = np.concatenate([mesh.border for mesh in meshes]) * np.exp(-difference / contrast)
    weight = weight * (1 / step) * (1 / (1 + _squares_apart(moves, first, second)))
    ends = [(first, second, weight)]
    for t in range(frames - 1):
        one, other, sums = _followed(meshes[t], meshes[t + 1], flow[t], trust[t])
        one, other = one + t * per_frame, other + (t + 1) * per_frame
        weight = sums * np.exp(-_squares_apart(colour, one, other) / contrast)
        ends.append((one, other, weight * (TEMPORAL_WEIGHT / step**2)))
    one, other, weight = (np.concatenate(parts) for parts in zip(*ends, strict=True))
    count = per_frame * frames
    both = np.concatenate([one, other]), np.concatenate([other, one])
    links = coo_matrix((np.concatenate([weight, weight]), both), shape=(count, count)).tocsr()
    links.sort_indices()

    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    place = [np.concatenate([mesh.mean(axis) for mesh in meshes]) for axis in (columns, rows)]
    when = np.repeat(np.arange(frames), per_frame)
    features = np.column_stack([colour, *place, when]) * ALIKE_SCALE
    nodes = np.stack([mesh.ids + t * per_frame for t, mesh in enumerate(meshes)])
    size = np.concatenate([mesh.size for mesh in meshes])
    return Graph(meshes, nodes, size, (links + ALIKE_WEIGHT * _nearest(features)).tocsr())


def _means(meshes: Sequence[Mesh], values: Iterable[Array]) -> Values:
    """(N,) means over the nodes of all frames of values T × (H, W)."""
    return np.concatenate([mesh.mean(one) for mesh, one in zip(meshes, values, strict=True)])


def _squares_apart(points: Values, one: Index, other: Index) -> Values:
    """(m,) squared distances between points (N, d) with indices one and other (m,)."""
    return np.asarray(((points[one] - points[other]) ** 2).sum(axis=1))


def _followed(here: Mesh, there: Mesh, flow: Array, trust: Array) -> tuple[Index, Index, Values]:
    """Nodes of one frame and of the next that flow (H, W, 2) joins (m,), and the sum of its trust (H, W) (m,)."""
    height, width = trust.shape
    to_x = np.rint(np.arange(width) + flow[..., 0])
    to_y = np.rint(np.arange(height)[:, None] + flow[..., 1])
    seen = (to_x >= 0) & (to_x < width) & (to_y >= 0) & (to_y < height) & (trust > 0.05)
    into = (to_y[seen] * width + to_x[seen]).astype(np.intp)
    limit = max(len(here.size), len(there.size))
    one, other, order, which = sorted_pairs(here.flat[seen.ravel()], there.flat[into], limit)
    return one, other, np.asarray(np.bincount(which, trust[seen][order]), np.float64)


def _nearest(features: NDArray[np.float64]) -> Any:
    """Links of each node to those nearest in feature space, by a Gaussian of their distance."""
    neighbours = min(ALIKE_NEIGHBOURS, len(features) - 1)
    if neighbours < 1:
        return coo_matrix((len(features), len(features))).tocsr()
    distance, other = cKDTree(features).query(features, k=neighbours + 1)
    distance, other = distance[:, 1:].ravel(), other[:, 1:].ravel()
    values = np.exp(-0.5 * (distance / (np.median(distance) + 1e-6)) ** 2)
    one = np.repeat(np.arange(len(features)), neighbours)
    links = coo_matrix((values, (one, other)), shape=(len(features),) * 2).tocsr()
    return links.maximum(links.T)
