"""What detectors compute in a fast form, against the plain form of the same, where sums allow it bit for bit."""

from itertools import product

import cv2
import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, dijkstra

from freelabels.generators.contract.vectors import converted
from freelabels.generators.flow import warp
from freelabels.generators.saliency import Regions, ahead, all_ways, lab_of, minimum_barrier, smoothed
from freelabels.generators.tools.border_distance import ALIKE, COMMON, SMOOTH, border_distance
from freelabels.generators.tools.contours import distinct, find_arcs, sorted_pairs, ultrametric
from freelabels.generators.tools.guided_filter import guided_upsampling
from freelabels.generators.tools.segmentation import basins, components
from freelabels.generators.tools.superpixel_graph import _followed
from freelabels.generators.tools.superpixels import Mesh, waterpixels

SEEDS = range(4)


@pytest.mark.parametrize("seed", SEEDS)
def test_components_are_numbered_as_scipy_numbers_them(seed):
    rng = np.random.default_rng(seed)
    for count, links in ((1, 0), (5, 3), (200, 90), (200, 190), (200, 600)):
        one, other = rng.integers(0, count, (2, links))
        graph = coo_array((np.ones(links), (one, other)), shape=(count, count))
        assert (
            components(one, other, count).tolist() == connected_components(graph, directed=False)[1].tolist()
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_distinct_pairs_are_those_of_unique(seed):
    first, second = np.random.default_rng(seed).integers(0, 30, (2, 400))
    one, other, of = distinct(first, second, 30)
    pairs, which = np.unique(np.stack([first, second], axis=1), axis=0, return_inverse=True)
    assert np.array_equal(pairs, np.stack([one, other], axis=1)) and np.array_equal(which, of)
    assert [part.tolist() for part in distinct(first[:0], second[:0], 1)] == [[], [], []]


@pytest.mark.parametrize("seed", SEEDS)
def test_basins_are_where_a_drop_ends_up_step_by_step(seed):
    height = np.random.default_rng(seed).integers(0, 9, (14, 11)).astype(np.float32)

    def drop(y, x):
        places = [(y, x), (y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x)]
        places = [(v, u) for v, u in places if 0 <= v < 14 and 0 <= u < 11]
        low = min(places, key=lambda place: height[place])
        return (y, x) if height[low] == height[y, x] else drop(*low)

    found = basins(height)
    ends = {(y, x): drop(y, x) for y in range(14) for x in range(11)}
    assert all(found[place] == found[end] for place, end in ends.items())
    bottoms = sorted(set(ends.values()))
    level = [
        [abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1 and height[a] == height[b] for b in bottoms]
        for a in bottoms
    ]
    assert found.max() + 1 == connected_components(coo_array(np.array(level, float)), directed=False)[0]


def mesh(seed):
    return Mesh.of(waterpixels(np.random.default_rng(seed).integers(0, 256, (40, 56, 3), np.uint8), 6))


@pytest.mark.parametrize("seed", SEEDS)
def test_superpixels_touch_where_their_pixels_do(seed):
    here = mesh(seed)
    steps = np.zeros((len(here.size),) * 2)
    for one, other in ((here.ids[:, :-1], here.ids[:, 1:]), (here.ids[:-1], here.ids[1:])):
        np.add.at(steps, (np.minimum(one, other), np.maximum(one, other)), 1)
    np.fill_diagonal(steps, 0)
    assert np.array_equal(np.argwhere(steps), np.stack([here.first, here.second], axis=1))
    assert np.array_equal(steps[here.first, here.second], here.border)
    rim = np.ones(here.ids.shape, bool)
    rim[1:-1, 1:-1] = False
    assert here.rim.tolist() == sorted(set(here.ids[rim].tolist()))


@pytest.mark.parametrize("seed", SEEDS)
def test_distance_to_the_border_is_that_over_undirected_links(seed):
    here, noise = mesh(seed), 0.3
    residual = np.random.default_rng(seed).normal(0, 1, (*here.ids.shape, 2)).astype(np.float32)
    total = [np.bincount(here.ids.ravel(), residual[..., axis].ravel()) for axis in range(2)]
    motion = np.stack([each / here.size for each in total], axis=1) / noise
    jump = np.linalg.norm(motion[here.first] - motion[here.second], axis=1)
    edge = motion[here.rim]
    length = np.linalg.norm(edge, axis=1)
    apart = np.linalg.norm(edge[:, None] - edge[None], axis=2)
    share = (apart < 2 + ALIKE * length[:, None]).mean(axis=1)
    start = length * np.clip(1 - share / COMMON, 0, 1) + 1e-6
    n = len(here.size)
    ends = np.concatenate([here.first, np.full(len(edge), n)]), np.concatenate([here.second, here.rim])
    cost = np.concatenate([np.maximum(jump - SMOOTH, 0) + 1e-6, start])
    links = coo_array((cost, ends), shape=(n + 1, n + 1))
    plain = dijkstra(links.tocsr(), directed=False, indices=n)[:n][here.ids].astype(np.float32)
    assert np.array_equal(border_distance(residual, noise, here), plain)


@pytest.mark.parametrize("seed", SEEDS)
def test_superpixels_that_flow_joins_are_those_its_pixels_lead_to(seed):
    here, there, rng = mesh(seed), mesh(seed + 9), np.random.default_rng(seed)
    flow = rng.normal(0, 9, (40, 56, 2)).astype(np.float32)
    trust = (rng.integers(0, 256, (40, 56)) / 255).astype(np.float32)
    sums = np.zeros((len(here.size), len(there.size)))
    for y, x in product(range(40), range(56)):
        v, u = round(float(y + flow[y, x, 1])), round(float(x + flow[y, x, 0]))
        if 0 <= v < 40 and 0 <= u < 56 and trust[y, x] > 0.05:
            sums[here.ids[y, x], there.ids[v, u]] += trust[y, x]
    one, other, total = _followed(here, there, flow, trust)
    assert np.array_equal(np.argwhere(sums), np.stack([one, other], axis=1))
    assert np.array_equal(sums[one, other], total)


def test_ways_between_all_nodes_are_found_by_the_plain_sweep():
    rng = np.random.default_rng(0)
    pairs = np.array([(i, j) for i in range(30) for j in range(i + 1, 30) if rng.random() < 0.2])
    cost = rng.random(len(pairs)) + 1e-6
    way = np.full((31, 31), np.inf)
    np.fill_diagonal(way, 0)
    way[pairs[:, 0], pairs[:, 1]] = way[pairs[:, 1], pairs[:, 0]] = cost
    for k in range(31):
        way = np.minimum(way, way[:, k, None] + way[k])
    np.testing.assert_allclose(all_ways(pairs, cost, 31), way, rtol=1e-6)


def regions_of(seed):
    """Superpixels of a blurred random picture, and walls between them."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.integers(0, 256, (60, 80, 3)).astype(np.uint8), (0, 0), 3) * 3
    regions = Regions.of(image, lab_of(image), 6)
    return regions, rng.random(len(regions.pairs))


@pytest.mark.parametrize("seed", SEEDS)
def test_smoothed_values_solve_the_equations_written_out(seed):
    regions, walls = regions_of(seed)
    value = np.random.default_rng(seed).random(len(regions.size))
    pull = np.zeros((len(value), len(value)))
    for (one, other), wall, step in zip(regions.pairs, walls, regions.steps(), strict=True):
        pull[one, other] = pull[other, one] = 3 * np.exp(-wall / 0.15 - (step / 12) ** 2 / 2)
    plain = np.linalg.solve(np.eye(len(value)) + np.diag(pull.sum(axis=1)) - pull, value)
    np.testing.assert_allclose(smoothed(value, regions, walls), plain)


@pytest.mark.parametrize("seed", SEEDS)
def test_barriers_are_hardly_above_the_least_of_all_ways(seed):
    """The least: of all ways that never go below a colour the one with the lowest top, colour by colour."""
    regions, _ = regions_of(seed)
    least = np.zeros(len(regions.size))
    for colour in regions.colour.T:
        span = np.full(len(least), np.inf)
        for bottom in colour:
            allowed = np.where(colour >= bottom, colour, np.inf)
            top, last = np.where(regions.rim, allowed, np.inf), None
            while not np.array_equal(top, last):
                last = top.copy()
                for here, there in (regions.pairs.T, regions.pairs.T[::-1]):
                    np.minimum.at(top, here, np.maximum(top[there], allowed[here]))
            span = np.minimum(span, top - bottom)
        least += span
    made = minimum_barrier(regions)
    assert (made > least - 1e-9).all() and made.mean() < 1.1 * least.mean()


def test_ranks_of_regions_are_those_of_their_pixels():
    rng = np.random.default_rng(0)
    labels, cue = rng.integers(0, 12, (20, 30)).astype(np.int32), rng.integers(0, 5, 12) / 4
    inside = rng.random((20, 30)) < 0.3
    spread = cue[labels]
    _, which, count = np.unique(spread, return_inverse=True, return_counts=True)
    rank = ((np.cumsum(count) - count / 2) / spread.size)[which.reshape(spread.shape)]
    assert ahead(inside, cue, labels) == float(rank[inside].mean() - rank[~inside].mean())


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_warping_by_one_map_is_that_by_its_two(channels):
    rng = np.random.default_rng(0)
    values = rng.normal(0, 50, (33, 47, channels)).astype(np.float32)
    flow = rng.normal(0, 8, (33, 47, 2)).astype(np.float32)
    x, y = np.meshgrid(np.arange(47, dtype=np.float32), np.arange(33, dtype=np.float32))
    ways = x + flow[..., 0], y + flow[..., 1]
    plain = cv2.remap(values, *ways, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    assert np.array_equal(warp(values, flow), plain)


@pytest.mark.parametrize("scale", [1, 2])
def test_guided_filtering_by_planes_is_that_of_interleaved_channels(scale):
    rng = np.random.default_rng(scale)
    image = rng.integers(0, 256, (36 * scale, 28 * scale, 3), np.uint8)
    small = np.asarray(cv2.resize(image, (28, 36), interpolation=cv2.INTER_AREA))
    coarse = rng.random((36, 28)).astype(np.float32)
    guide = small / np.float32(255)

    def mean(values):
        return cv2.blur(np.ascontiguousarray(values), (13, 13))

    average, (r, g, b) = mean(guide), np.moveaxis(mean(guide), -1, 0)
    with_coarse = mean(guide * coarse[..., None]) - average * mean(coarse)[..., None]
    products = {(i, j): mean(guide[..., i] * guide[..., j]) for i, j in product(range(3), repeat=2)}
    rr, gg, bb = (products[i, i] - average[..., i] * average[..., i] + 1e-4 for i in range(3))
    rg, rb, gb = products[0, 1] - r * g, products[0, 2] - r * b, products[1, 2] - g * b
    c00, c01, c02 = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c11, c12, c22 = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    determinant = rr * c00 + rg * c01 + rb * c02
    x, y, z = np.moveaxis(with_coarse, -1, 0)
    slope = np.dstack([c00 * x + c01 * y + c02 * z, c01 * x + c11 * y + c12 * z, c02 * x + c12 * y + c22 * z])
    slope = slope / determinant[..., None]
    offset = mean(coarse) - (slope[..., 0] * r + slope[..., 1] * g + slope[..., 2] * b)
    linear = cv2.resize(mean(np.dstack([slope, offset])), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    parts = linear[..., :3] * (image.astype(np.float32) / 255)
    plain = np.clip(parts[..., 0] + parts[..., 1] + parts[..., 2] + linear[..., 3], 0, 1)
    assert np.array_equal(guided_upsampling(coarse, small, image), plain)


def test_pairs_whose_numbers_are_too_large_to_pack_are_sorted_all_the_same():
    first, second = np.random.default_rng(0).integers(0, 9, (2, 60))
    for few, many in zip(sorted_pairs(first, second, 9), sorted_pairs(first, second, 2**30), strict=True):
        assert np.array_equal(few, many)


@pytest.mark.parametrize("seed", SEEDS)
def test_label_maps_merged_together_merge_as_each_alone(seed):
    rng = np.random.default_rng(seed)
    arcs = [
        find_arcs(basins(cv2.GaussianBlur(rng.random(shape).astype(np.float32), (0, 0), 1.5)))
        for shape in ((60, 70), (48, 56), (30, 35))
    ]
    strength = [rng.random(len(each.first)) for each in arcs]
    together = ultrametric(arcs, strength, 8)
    for each, values, found in zip(arcs, strength, together, strict=True):
        height, group, needed = {}, list(range(each.count)), each.count - 8
        border = {
            pair: (length, length * value)
            for *pair, length, value in zip(each.first, each.second, each.length, values, strict=True)
            for pair in [tuple(map(int, pair))]
        }
        heights = []
        while len(heights) < each.count - 1:  # one merge at a time
            one, other = min(border, key=lambda pair: border[pair][1] / border[pair][0])
            length, total = border.pop((one, other))
            heights.append(max(total / length, height.get(one, 0), height.get(other, 0)))
            height[one] = heights[-1]
            group = [one if region == other else region for region in group]
            for pair in [pair for pair in border if other in pair]:
                length, total = border.pop(pair)
                new = tuple(sorted((one, sum(pair) - other)))
                before = border.get(new, (0, 0))
                border[new] = before[0] + length, before[1] + total
            if len(heights) == needed:
                assert found.cut(8).tolist() == np.unique(group, return_inverse=True)[1].tolist()
        assert np.allclose(np.sort(found.height)[:needed], np.sort(heights)[:needed], atol=1e-5)


def test_float16_becomes_float32_and_back_as_numpy_makes_it():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    numbers = every[np.isfinite(every) | np.isinf(every)]
    wide = converted(numbers, np.float32)
    assert np.array_equal(wide.view(np.uint32), numbers.astype(np.float32).view(np.uint32))
    between = np.concatenate([wide, (wide[1:] + wide[:-1]) / 2, np.float32([np.nan, 1e9, 1e-9])])
    with np.errstate(over="ignore"):
        plain = between.astype(np.float16)
    assert np.array_equal(converted(between, np.float16).view(np.uint16), plain.view(np.uint16))
    assert converted(between[:0].reshape(0, 2), np.float16).shape == (0, 2)
    assert converted(every.reshape(256, 256).T, np.float32).flags.c_contiguous
