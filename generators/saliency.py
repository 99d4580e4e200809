"""Saliency: what closed contours wall off from the border of an image, trusted where other cues agree.

Three cues that need no learning say what stands out: closed contours, minimum barrier distance and boundary
connectivity. The first finds things best; the other two tell how far it is to be believed.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra, floyd_warshall
from scipy.sparse.linalg import splu

from freelabels.generators.contract.calibration import calibrated
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_bytes
from freelabels.generators.contract.ranges import Range
from freelabels.generators.tools.contours import Arcs, find_arcs
from freelabels.generators.tools.segmentation import reduced, region_means, working_lab
from freelabels.generators.tools.superpixels import waterpixels

Values = NDArray[np.float64]

COLOUR = 0.03  # wall per Lab unit of a step of colour, beside the edge's probability
FREE = 1e-3  # of a wall: a longer way is farther
PRIOR = 0.24  # σ of the prior for the middle, as a share of the geometric mean of the sides
SMOOTH = 3.0  # pull of a neighbour without wall or step of colour between, against a region's own value
WALL, STEP = 0.15, 12.0  # edge probability, and Lab step, that weaken the pull
USUAL = 0.27  # share of the greatest value from which most pictures' things begin
BORDER_SIGMA = 1.0  # σ of the boundary connectivity; all three as in Zhu et al.
GEODESIC_SIGMA = 10.0  # σ of colour distances in Lab
SPATIAL_SIGMA = 0.25  # of the image's longer side
VISIBLE = 0.3  # wall, all the way from the border, that is clearly there; a flat frame has none


@dataclass(frozen=True)
class Regions:
    """Superpixels of a frame, and the arcs between them.

    colour: (n, 3) mean Lab. size: (n,) pixels. place: (n, 2) means of y and x from the middle, of the geometric
    mean of the sides. rim: (n,) whether one reaches the frame's border.
    """

    arcs: Arcs
    colour: Values
    size: Values
    place: Values
    rim: NDArray[np.bool_]

    @property
    def labels(self) -> NDArray[np.int32]:
        """(h, w) ids 0 … n − 1."""
        return self.arcs.labels

    @property
    def pairs(self) -> NDArray[np.int64]:
        """(m, 2) ids that touch, the lower first."""
        return np.stack([self.arcs.first, self.arcs.second], axis=1)

    @classmethod
    def of(cls, small: NDArray[np.uint8], lab: NDArray[np.float32], step: int) -> Regions:
        """Superpixels about `step` pixels apart of a frame (h, w, 3), in sRGB and in Lab."""
        height, width = small.shape[:2]
        ids = waterpixels(small, step)
        number = np.cumsum(np.bincount(ids.ravel()) > 0) - 1
        labels = number.astype(np.int32)[ids]
        y, x = np.mgrid[:height, :width] + 0.5
        middle = np.stack([y - height / 2, x - width / 2], axis=-1) / np.sqrt(height * width)
        place = region_means(middle.astype(np.float32), labels)
        size = np.bincount(labels.ravel()).astype(np.float64)
        rim = np.zeros(len(size), bool)
        rim[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
        return cls(find_arcs(labels), region_means(lab, labels), size, place, rim)

    def steps(self) -> Values:
        """(m,) Lab differences between those that touch."""
        return np.asarray(
            np.linalg.norm(self.colour[self.arcs.first] - self.colour[self.arcs.second], axis=1)
        )

    def noise(self) -> float:
        """Mean of each region's smallest step: what is no boundary."""
        nearest = np.full(len(self.size), np.inf)
        np.minimum.at(nearest, self.pairs.ravel(), np.repeat(self.steps(), 2))
        known = nearest[np.isfinite(nearest)]
        return float(known.mean()) if known.size else 0.0


@register
@dataclass(frozen=True)
class BoundarySaliency:
    """Saliency of single frames: how much wall lies between a place and the border, beside a prior for the middle.

    Superpixels are joined by what separates them, the probability of an edge and the step of colour; the cheapest
    way from the border says how well a place is walled off (Wei et al., Geodesic saliency, 2012, over the closed
    contours of `edges`). It is weighed by a prior for the middle and smoothed where there is no wall; what exceeds
    the mean of a usual share of the greatest value and Otsu's threshold stands out. The score grows with the
    distance from that threshold and with how far minimum barrier distance (Zhang et al. 2015) and contrast
    to what is connected to the border (Zhu et al. 2014) rank the same places first: where they don't, the detector
    abstains.

    longest: longer side of the frames worked on; step: pixels between its superpixels; coarse: between those that
    the other two cues are computed on.
    """

    name: ClassVar[str] = "boundary_saliency"
    version: ClassVar[int] = 4
    makes: ClassVar[tuple[str, ...]] = ("saliency", "saliency_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({"edges"})

    longest: Annotated[int, Range(64, 1024)] = 200
    step: Annotated[int, Range(4, 64)] = 8
    coarse: Annotated[int, Range(4, 64)] = 14

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        frames = [self.frame(*pair) for pair in zip(clip.image, clip.labels["edges"], strict=True)]
        saliency, agreement = np.stack([value for value, _ in frames]), np.array([each for _, each in frames])
        score = np.abs(2 * saliency - 1) * agreement[:, None, None]
        label = as_bytes(saliency)
        return {"saliency": label, "saliency_confidence": calibrated(self.name, score, label > 127)}

    def frame(self, image: NDArray[np.uint8], edges: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """Probability (H, W) that a place stands out of one frame (H, W, 3), and how far all cues agree, of 1.

        edges: (H, W) probability × 255.
        """
        small, lab = reduced(image, self.longest), working_lab(image, self.longest)
        regions = Regions.of(small, lab, self.step)
        walls = wall_strengths(regions, edges)
        way = walled_off(regions, walls)
        value = way / max(way.max(), 1e-9) * np.exp(-((regions.place / PRIOR) ** 2).sum(axis=1) / 2)
        value = smoothed(value, regions, walls)
        value /= max(value.max(), 1e-9)
        begin = (USUAL + otsu(value, regions.size)) / 2
        found = value**2 / (value**2 + begin**2)
        visible = 1 - np.exp(-((way.max() / VISIBLE) ** 2))
        out = (visible * found)[regions.labels].astype(np.float32)
        inside = (value > begin)[regions.labels]
        coarse = Regions.of(small, lab, self.coarse)
        ranks = [ahead(inside, cue(coarse), coarse.labels) for cue in (minimum_barrier, border_contrast)]
        agreement = float(np.clip(sum(ranks), 0, 1))
        return np.asarray(cv2.resize(out, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)), agreement


def wall_strengths(regions: Regions, edges: NDArray[np.uint8]) -> Values:
    """(m,) mean probability of an edge along the border of each pair that touches; edges (H, W) × 255."""
    height, width = regions.labels.shape
    thick = cv2.dilate(edges, np.ones((3, 3), np.uint8))
    edge = cv2.resize(thick, (width, height), interpolation=cv2.INTER_AREA) / np.float32(255)
    edge, arcs = edge.ravel(), regions.arcs
    return arcs.mean(np.maximum(edge[arcs.before], edge[arcs.after]).astype(np.float64))


def walled_off(regions: Regions, walls: Values) -> Values:
    """(n,) least sum of walls and steps of colour on a way from the frame's border to each region."""
    cost = walls + COLOUR * np.maximum(regions.steps() - regions.noise(), 0) + FREE
    n = len(regions.size)
    graph = coo_array((cost, tuple(regions.pairs.T)), shape=(n, n)).tocsr()
    way = dijkstra(graph, directed=False, indices=np.flatnonzero(regions.rim), min_only=True)
    return np.asarray(np.where(np.isfinite(way), way, 0))


def smoothed(value: Values, regions: Regions, walls: Values) -> Values:
    """(n,) minimiser of Σ (x − value)² + Σ pull (x_i − x_j)², with less pull across walls and steps of colour."""
    n = len(value)
    pull = SMOOTH * np.exp(-walls / WALL - (regions.steps() / STEP) ** 2 / 2)
    one, other = regions.pairs.T
    each = np.arange(n)
    own = 1 + np.bincount(one, pull, n) + np.bincount(other, pull, n)
    place = np.concatenate([one, other, each]), np.concatenate([other, one, each])
    matrix = coo_array((np.concatenate([-pull, -pull, own]), place), shape=(n, n)).tocsc()
    return np.asarray(splu(matrix, permc_spec="MMD_AT_PLUS_A").solve(value))


def otsu(value: Values, size: Values) -> float:
    """The threshold that parts values (n,), each counted `size` (n,) times, into two sets farthest apart."""
    order = np.argsort(value, kind="stable")
    value, size = value[order], size[order]
    below, sums = np.cumsum(size)[:-1], np.cumsum(size * value)[:-1]
    if not len(below):
        return 0.5
    above, rest = size.sum() - below, (size * value).sum() - sums
    k = int(((sums / below - rest / above) ** 2 * below * above).argmax())
    return float(value[k] + value[k + 1]) / 2


def ahead(inside: NDArray[np.bool_], cue: Values, labels: NDArray[np.int32]) -> float:
    """By how much pixels' mean rank by a cue is higher inside (h, w) than outside: 0 by chance, 0.5 at best.

    cue: (n,) of regions of labels (h, w).
    """
    if inside.all() or not inside.any():
        return 0.0
    which = np.unique(cue, return_inverse=True)[1]
    count = np.bincount(which, np.bincount(labels.ravel(), minlength=len(cue)))
    rank = ((np.cumsum(count) - count / 2) / labels.size)[which][labels]
    return float(rank[inside].mean() - rank[~inside].mean())


def minimum_barrier(regions: Regions) -> Values:
    """(n,) sum over channels of the least span of colour on a way from the border (Zhang et al. 2015)."""
    n = len(regions.size)
    beside: list[list[int]] = [[] for _ in range(n)]
    for one, other in regions.pairs.tolist():
        beside[one].append(other)
        beside[other].append(one)
    barrier = np.zeros(n)
    rim = np.flatnonzero(regions.rim).tolist()
    for channel in regions.colour.T.tolist():
        least, done = [np.inf] * n, [False] * n
        heap = [(0.0, node, channel[node], channel[node]) for node in rim]
        for node in rim:
            least[node] = 0.0
        while heap:
            _, node, low, high = heapq.heappop(heap)
            if done[node]:
                continue
            done[node] = True
            for other in beside[node]:
                value = channel[other]
                lower, upper = min(low, value), max(high, value)
                if not done[other] and upper - lower < least[other]:
                    least[other] = upper - lower
                    heapq.heappush(heap, (upper - lower, other, lower, upper))
        barrier += least
    return np.where(np.isfinite(barrier), barrier, 0)


def border_contrast(regions: Regions) -> Values:
    """(n,) contrast to the regions around whose like-coloured surroundings run along the frame's border.

    Source: W. Zhu et al., Saliency optimization from robust background detection, 2014, sections 3 and 4.
    """
    n, colour, rim = len(regions.size), regions.colour, regions.rim
    edge = np.flatnonzero(rim)
    ring = edge[np.stack(np.triu_indices(len(edge), 1), axis=1)]
    linked = np.concatenate([regions.pairs, ring])
    linked = np.stack(np.divmod(np.unique(linked[:, 0] * n + linked[:, 1]), n), axis=1)
    step = np.linalg.norm(colour[linked[:, 0]] - colour[linked[:, 1]], axis=1)
    step = np.maximum(step - regions.noise(), 0) + 1e-6
    geodesic = all_ways(linked, step, n)
    like = np.exp(-((geodesic / GEODESIC_SIGMA) ** 2) / 2)
    connectivity = like[:, rim].sum(axis=1) / np.sqrt(like.sum(axis=1))
    background = 1 - np.exp(-(connectivity**2) / (2 * BORDER_SIGMA**2))
    apart = np.sqrt(squares_apart(colour))
    near = np.exp(-squares_apart(regions.place) / (2 * SPATIAL_SIGMA**2))
    return np.asarray((apart * near) @ background)


def squares_apart(points: Values) -> Values:
    """(n, n) squared distances between points (n, d)."""
    return np.asarray(sum((axis[:, None] - axis[None]) ** 2 for axis in points.T))


def all_ways(pairs: NDArray[np.int64], cost: Values, count: int) -> Values:
    """(count, count) least cost of the ways between all nodes over undirected links `pairs` (m, 2) of `cost` (m,).

    Floyd and Warshall's sweep: there are few nodes, and those at the frame's border are all linked.
    """
    way = np.full((count, count), np.inf)
    np.fill_diagonal(way, 0)
    way[pairs[:, 0], pairs[:, 1]] = way[pairs[:, 1], pairs[:, 0]] = cost
    return np.asarray(floyd_warshall(way))
