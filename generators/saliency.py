"""Saliency: what closed contours wall off from the border of an image, trusted where other cues agree.

Three cues that need no learning say what stands out: closed contours, minimum barrier distance and boundary
connectivity. The first finds things best; the other two tell how far it is to be believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from freelabels.generators.contract.calibration import calibrated
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_bytes
from freelabels.generators.contract.ranges import Range
from freelabels.generators.tools.contours import Arcs, find_arcs
from freelabels.generators.tools.segmentation import reduced
from freelabels.generators.tools.superpixels import waterpixels

Values = NDArray[np.float64]

QUIET = 0.5  # px, σ of the blur that takes compression noise off colours
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
        flat = labels.ravel().astype(np.int64)
        size = np.bincount(flat).astype(np.float64)
        y, x = np.divmod(np.arange(flat.size), width)
        side = np.sqrt(height * width)
        middle = (y + (0.5 - height / 2)) / side, (x + (0.5 - width / 2)) / side
        place, colour = (
            np.stack([np.bincount(flat, each) / size for each in values], axis=1)
            for values in (middle, lab.reshape(-1, 3).T)
        )
        rim = np.zeros(len(size), bool)
        rim[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
        return cls(find_arcs(labels), colour, size, place, rim)

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
    the other two cues are computed on, at half that resolution: they only rank places.
    """

    name: ClassVar[str] = "boundary_saliency"
    version: ClassVar[int] = 5
    makes: ClassVar[tuple[str, ...]] = ("saliency", "saliency_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({"edges"})

    longest: Annotated[int, Range(64, 1024)] = 200
    step: Annotated[int, Range(4, 64)] = 8
    coarse: Annotated[int, Range(4, 64)] = 16

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
        small = reduced(image, self.longest)
        lab = lab_of(small)
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
        coarse = Regions.of(*halved(small, lab), -(-self.coarse // 2))
        inside = inside[::2, ::2]
        ranks = [ahead(inside, cue(coarse), coarse.labels) for cue in (minimum_barrier, border_contrast)]
        agreement = float(np.clip(sum(ranks), 0, 1))
        return np.asarray(cv2.resize(out, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)), agreement


def lab_of(small: NDArray[np.uint8]) -> NDArray[np.float32]:
    """CIE Lab (h, w, 3) of an sRGB frame (h, w, 3) that has been shrunk, without its noise."""
    plain = cv2.GaussianBlur(small, (0, 0), QUIET).astype(np.float32)
    plain /= 255
    return np.asarray(cv2.cvtColor(plain, cv2.COLOR_RGB2LAB), np.float32)


def halved(
    small: NDArray[np.uint8], lab: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A frame (h, w, 3), in sRGB and in Lab, with half the rows and columns, rounded up."""
    height, width = small.shape[:2]
    size = -(-width // 2), -(-height // 2)
    rgb, other = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (small, lab))
    return np.asarray(rgb, np.uint8), np.asarray(other, np.float32)


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
    width = int((other - one).max(initial=0)) + 1  # small: ids go row by row, and those that touch are near
    band = np.zeros((width, n))
    band[0] = 1 + np.bincount(one, pull, n) + np.bincount(other, pull, n)
    band[other - one, one] = -pull
    return np.asarray(solveh_banded(band, value, lower=True, check_finite=False))


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
    """(n,) sum over channels of the least span of colour on a way from the border (Zhang et al. 2015).

    All regions look at once at the ways that their neighbours know, until none finds a shorter one.
    """
    n, both = len(regions.size), np.concatenate([regions.pairs, regions.pairs[:, ::-1]])
    begin, end = both[np.argsort(both[:, 1], kind="stable")].T
    if not len(end):
        return np.zeros(n)
    first = np.flatnonzero(np.diff(end, prepend=-1))
    reached, each = end[first], np.diff(first, append=len(end))
    barrier = np.zeros(n)
    for colour in regions.colour.T:
        low, high = np.where(regions.rim, colour, -np.inf), np.where(regions.rim, colour, np.inf)
        here = colour[end]
        while True:
            lower, upper = np.minimum(low[begin], here), np.maximum(high[begin], here)
            span = upper - lower
            least = np.minimum.reduceat(span, first)
            better = least < (high - low)[reached]
            if not better.any():
                break
            way = np.flatnonzero((span == np.repeat(least, each)) & np.repeat(better, each))[::-1]
            low[end[way]], high[end[way]] = lower[way], upper[way]  # of equals the first
        barrier += high - low
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


def all_ways(pairs: NDArray[np.int64], cost: Values, count: int) -> NDArray[np.float32]:
    """(count, count) least cost of the ways between all nodes over undirected links `pairs` (m, 2) of `cost` (m,).

    Floyd and Warshall's sweep: there are few nodes, and those at the frame's border are all linked.
    """
    way = np.full((count, count), np.inf, np.float32)
    np.fill_diagonal(way, 0)
    way[pairs[:, 0], pairs[:, 1]] = way[pairs[:, 1], pairs[:, 0]] = cost
    through = np.empty_like(way)
    for node in range(count):
        np.add(way[:, node, None], way[node], out=through)
        np.minimum(way, through, out=way)
    return way
