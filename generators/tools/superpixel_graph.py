"""Superpixels of a clip as a graph along space, time and appearance, and labels that diffuse over it.

Soft labels diffuse as in random walker segmentation (Grady, PAMI 2006) over neighbours in the frame, along the
flow, and between superpixels that look alike and lie near each other in any frame (the non-local links of Faktor
& Irani, Video Segmentation by Non-Local Consensus Voting, BMVC 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.spatial import cKDTree

from freelabels.generators.contract.fields import Array
from freelabels.generators.tools.superpixels import grid, waterpixels

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

    nodes: (T, H, W) node of every pixel. size: (N,) pixels of each node. links: (N, N) symmetric sparse.
    """

    nodes: NDArray[np.int32]
    size: NDArray[np.float64]
    links: Any

    def mean(self, values: Array) -> NDArray[np.float64]:
        """(N,) mean over each node of `values` (T, H, W)."""
        return _mean(self.nodes, self.size, values)

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
    images: Sequence[NDArray[np.uint8]], flow: Array, trust: Array, drift: Array, step: int
) -> Graph:
    """The graph of a clip: sRGB `images` T × (H, W, 3), `flow` (T, H, W, 2) to the next, its trust in [0, 1].

    drift: (T, H, W, 2) pixels of movement; neighbours that don't move alike are linked less.
    """
    height, width = images[0].shape[:2]
    per_frame = len(grid(height, step)) * len(grid(width, step))
    nodes = np.stack([waterpixels(image, step) + t * per_frame for t, image in enumerate(images)])
    count = per_frame * len(images)
    size = np.bincount(nodes.ravel(), minlength=count).astype(np.float64)
    lab = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2LAB) for image in images])
    colour = np.stack([_mean(nodes, size, lab[..., channel]) for channel in range(3)], axis=-1)

    beside = _symmetric(
        np.concatenate([nodes[:, :, :-1].ravel(), nodes[:, :-1].ravel()]),
        np.concatenate([nodes[:, :, 1:].ravel(), nodes[:, 1:].ravel()]),
        None,
        count,
    )
    contrast = 1 + (float(np.median(_difference(beside, colour))) if beside.nnz else 0.0)
    links = _alike(beside, colour, contrast) / step
    moves = np.stack([_mean(nodes, size, drift[..., axis]) for axis in range(2)], axis=-1)
    apart = ((moves[beside.row] - moves[beside.col]) ** 2).sum(axis=1)
    links = links.multiply(
        coo_matrix((1 / (1 + apart), (beside.row, beside.col)), shape=beside.shape)
    ).tocsr()
    if len(images) > 1:
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        to_x = np.rint(x + flow[:-1, ..., 0]).astype(np.intp)
        to_y = np.rint(y + flow[:-1, ..., 1]).astype(np.intp)
        seen = (to_x >= 0) & (to_x < width) & (to_y >= 0) & (to_y < height) & (trust[:-1] > 0.05)
        into = to_y * width + to_x + height * width * np.arange(len(seen))[:, None, None]
        along = _symmetric(
            nodes[:-1][seen], nodes[1:].ravel()[into[seen]], trust[:-1][seen].astype(np.float64), count
        )
        links = links + _alike(along, colour, contrast) * (TEMPORAL_WEIGHT / step**2)
    place = [
        _mean(nodes, size, np.broadcast_to(axis, nodes.shape))
        for axis in np.meshgrid(np.arange(width), np.arange(height))
    ]
    when = np.repeat(np.arange(len(images)), per_frame)
    features = np.column_stack([colour, *place, when]) * ALIKE_SCALE
    return Graph(nodes, size, (links + ALIKE_WEIGHT * _nearest(features)).tocsr())


def _mean(nodes: NDArray[np.int32], size: NDArray[np.float64], values: Array) -> NDArray[np.float64]:
    total = np.bincount(nodes.ravel(), values.ravel(), minlength=len(size))
    return np.asarray(total / np.maximum(size, 1))


def _symmetric(one: Array, other: Array, weight: Array | None, count: int) -> Any:
    """Sum of the weights (default 1) of pairs of different nodes, both ways round, as a sparse matrix."""
    apart = one != other
    values = np.ones(int(apart.sum())) if weight is None else weight[apart]
    links = coo_matrix((values, (one[apart], other[apart])), shape=(count, count)).tocsr()
    return (links + links.T).tocoo()


def _difference(links: Any, colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared LAB difference across each link."""
    return np.asarray(((colour[links.row] - colour[links.col]) ** 2).sum(axis=1))


def _alike(links: Any, colour: NDArray[np.float64], contrast: float) -> Any:
    """The links, weakened where the colour changes across them."""
    values = links.data * np.exp(-_difference(links, colour) / contrast)
    return coo_matrix((values, (links.row, links.col)), shape=links.shape).tocsr()


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
