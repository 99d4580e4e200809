"""Edges: where a boundary is known exactly, and what must not become one."""

import cv2
import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial.distance import cdist

from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import field
from freelabels.generators.contract.geometry import intrinsics
from freelabels.generators.edges import ContourEdges, lattice_trust
from freelabels.generators.tools.contours import absorbed, find_arcs
from freelabels.generators.tools.segmentation import basins
from freelabels.train.probing.transfer.boundaries import Counts, match, score

SIZE = 128
Y, X = np.mgrid[:SIZE, :SIZE] + 0.5


def label(*frames):
    images = np.stack(frames).astype(np.uint8)
    height, width = images.shape[1:3]
    clip = Clip(images, np.arange(len(images), dtype=float), intrinsics(width, width, height))
    made = ContourEdges()(clip)
    for name, values in made.items():
        field(name).check(values)
        assert values.shape == images.shape[:3]
    return made


def paint(mask, inside, outside):
    return np.where(mask[..., None], inside, outside) * np.ones(3)


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3))


DISC = np.hypot(X - 64, Y - 64) < 40
DISTANCE = np.abs(np.hypot(X - 64, Y - 64) - 40)


def test_a_disc_has_one_closed_contour_and_nothing_else():
    edges = label(paint(DISC, (200, 60, 60), (40, 80, 160)))["edges"][0]
    assert (edges[DISTANCE > 2] < 64).all()
    angle = np.round(np.degrees(np.arctan2(Y - 64, X - 64))).astype(int)
    seen = set(angle[(edges >= 128) & (DISTANCE <= 2)].tolist())
    assert len(seen) >= 0.95 * 2 * np.pi * 40


def test_a_step_is_found_where_it_is():
    edges = label(paint(X < 50, (90, 90, 90), (170, 170, 170)))["edges"][0]
    columns = np.flatnonzero((edges >= 128).mean(axis=0) > 0.5)
    assert len(columns) and (np.abs(columns + 0.5 - 50) <= 1).all()


def test_a_boundary_outweighs_the_texture_inside_the_object():
    stripes = ((X // 3 + Y // 3) % 2)[..., None] * 50 + np.array([120, 60, 60])
    edges = label(np.where(DISC[..., None], stripes, (60, 110, 190)))["edges"][0].astype(float)
    on = np.sort(edges[DISTANCE <= 2].ravel())[-200:].mean()
    inside = edges[DISC & (DISTANCE > 4)]
    assert on > 1.3 * inside.max() and on > 5 * inside.mean() and (inside >= 128).mean() < 0.02


def test_stronger_contrast_is_never_less_likely_an_edge():
    strengths = [label(paint(DISC, 120 + d, 120))["edges"][0].max() for d in (10, 40, 120)]
    assert strengths == sorted(strengths) and strengths[0] < 64 and strengths[-1] > 190


def test_a_scans_black_border_is_no_boundary():
    scan = np.kron(paint(DISC, (200, 60, 60), (40, 80, 160)), np.ones((2, 2, 1)))
    scan[:2], scan[:, -2:] = 0, 0
    edges = label(scan)["edges"][0]
    distance = np.kron(DISTANCE, np.ones((2, 2)))
    assert not (edges[distance > 2] >= 128).any() and (edges[distance <= 1] >= 128).any()


def test_a_basin_ends_at_the_ridge():
    height = np.minimum(np.abs(X - 10.5), np.abs(X - 40.5)).astype(np.float32) + np.abs(Y - 64.5).astype(
        np.float32
    )
    low = basins(height)
    assert low.max() == 1 and (low[:, :25] == low[0, 0]).all() and (low[:, 26:] == low[0, -1]).all()


def test_level_ground_is_one_basin_whatever_its_shape():
    height = np.ones((9, 9), np.float32)
    height[1:8, 1], height[7, 1:8], height[1:8, 7] = 0, 0, 0  # a horseshoe
    height[3, 4] = 0.5
    low = basins(height)
    horseshoe = height == 0
    assert len(set(low[horseshoe].tolist())) == 1 and low[3, 4] != low[1, 1]
    assert basins(np.zeros((5, 7), np.float32)).max() == 0


def test_a_small_region_goes_to_the_neighbour_it_is_least_apart_from():
    labels = np.zeros((20, 20), np.int32)
    labels[:, 9], labels[:, 10:] = 1, 2  # a sliver of 20 pixels between two halves
    arcs = find_arcs(labels)
    assert list(zip(arcs.first, arcs.second, strict=True)) == [(0, 1), (1, 2)]
    assert absorbed(arcs, np.array([0.4, 0.6]), 21).tolist() == [0, 0, 1]
    assert absorbed(arcs, np.array([0.6, 0.4]), 21).tolist() == [0, 1, 1]
    assert absorbed(arcs, np.array([0.4, 0.6]), 20).tolist() == [0, 1, 2]


def test_pure_noise_gives_few_edges_and_little_confidence():
    made = label(noise((SIZE, SIZE)))
    plain = label(paint(DISC, 200, 40))
    assert (made["edges"] >= 128).mean() < 0.02
    assert made["edges_confidence"].mean() < 0.5 * 255 < plain["edges_confidence"].mean()


def test_a_black_frame_has_no_edges():
    assert not label(np.zeros((SIZE, SIZE, 3)))["edges"].any()


def test_confidence_is_high_away_from_everything_and_lower_beside_an_edge():
    confidence = label(paint(DISC, (200, 60, 60), (40, 80, 160)))["edges_confidence"][0]
    assert confidence[DISTANCE > 10].min() > 200
    assert confidence[(DISTANCE > 1.5) & (DISTANCE < 2)].mean() < confidence[DISTANCE > 10].mean()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(64, 64), (1, 1), (2, 7), (180, 101), (600, 400)])
def test_any_size_works_and_runs_repeat_exactly(shape):
    frame = noise(shape)
    first, second = label(frame, frame), label(frame, frame)
    for name in first:
        assert np.array_equal(first[name], second[name])
        assert np.array_equal(first[name][0], first[name][1])


def test_matching_is_maximum_and_one_to_one():
    rng = np.random.default_rng(1)
    for density in (0.05, 0.2, 0.5):
        one, other = rng.random((2, 30, 40)) < density
        hit_one, hit_other = match(one, other, 2.3)
        near = csr_array(cdist(np.argwhere(one), np.argwhere(other)) <= 2.3)
        largest = (maximum_bipartite_matching(near, perm_type="column") >= 0).sum()
        assert hit_one.sum() == hit_other.sum() == largest
        assert (hit_one <= one).all() and (hit_other <= other).all()


def test_matching_pairs_only_within_the_tolerance():
    one, other = np.zeros((2, 9, 9), bool)
    one[4, 2], other[4, 5] = True, True
    assert match(one, other, 3.0)[0].any() and not match(one, other, 2.9)[0].any()


def test_scores_of_a_hand_counted_case():
    # two images, two thresholds: precision and recall 1/2 and 1 against 1 and 1/2, then both perfect
    first = Counts(*np.array([[2, 1], [2, 2], [2, 1], [4, 1]]))
    second = Counts(*np.array([[2, 2], [2, 2], [2, 2], [2, 2]]))
    result = score([first, second])
    assert result.ods == pytest.approx(2 * 0.75 * 1 / 1.75)
    assert result.ois == pytest.approx(2 * (4 / 6) / (1 + 4 / 6))


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1, 4, 9])
def test_lines_of_a_lattice_are_trusted_as_far_as_they_lie_within_two_pixels(factor):
    """On frames `factor` times the side worked at; a slanted ellipse meets the lattice in every way."""
    side = ContourEdges().longest * factor
    y, x = np.mgrid[:side, :side].astype(np.float32) / side - 0.5
    across, along = 0.8 * x + 0.6 * y, 0.8 * y - 0.6 * x
    inside = (across / 0.3) ** 2 + (along / 0.17) ** 2 < 1
    made = label(np.where(inside[..., None], (200, 60, 60), (40, 80, 160)))
    # Each is 0 on the other's side.
    off = sum(cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) for part in (inside, ~inside))
    claimed = made["edges"][0] > 127
    assert claimed.sum() > side
    right = (off[claimed] - 0.5 <= 2).mean()
    held = (
        lattice_trust(made["edges"][0].astype(np.float32) / 255, factor)[claimed].mean()
        if factor > 1
        else 1.0
    )
    assert held == pytest.approx(right, abs=0.15)
    plain = label(np.where(inside[::factor, ::factor, None], (200, 60, 60), (40, 80, 160)))
    sure = plain["edges_confidence"][0][plain["edges"][0] > 127].mean()
    assert made["edges_confidence"][0][claimed].mean() == pytest.approx(held * sure, rel=0.15)
