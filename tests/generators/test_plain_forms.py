"""What detectors compute in a fast form, against the plain form of the same, bit for bit."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from freelabels.generators.tools.contours import distinct
from freelabels.generators.tools.segmentation import basins, components

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
