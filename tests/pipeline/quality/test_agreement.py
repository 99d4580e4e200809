"""The figures of the page against closed forms: agreement, oddness, gaps, samples; detectors against the truth."""

from pathlib import Path

import numpy as np
import pytest

from freelabels.generators.contract.geometry import intrinsics
from freelabels.pipeline.quality.agreement import (
    edges_at_depth_jumps,
    edges_at_disparity_steps,
    flow_explains_change,
    flow_there_and_back,
    normals_of_depth,
    outranks,
)
from freelabels.pipeline.quality.detector_errors import measure_detectors
from freelabels.pipeline.quality.outliers import oddness
from freelabels.pipeline.quality.spot_check import Span, sample_spans
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.statistics import Histogram, gap, merged
from freelabels.pipeline.stages.render import RenderOptions, render
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster

RANDOM = np.random.default_rng(0)


def step_scene(edge_at: int) -> dict[str, np.ndarray]:
    """Depth jumps from 2 m to 1 m at column 32; the edge is drawn at another column, or there."""
    depth = np.full((1, 64, 64), 2.0, np.float32)
    depth[:, :, 32:] = 1.0
    edges = np.zeros((1, 64, 64), np.uint8)
    edges[:, :, edge_at] = 200
    return {"depth": depth, "disparity": (1 / depth).astype(np.float16), "edges": edges}


def test_edges_on_the_jump_agree_and_edges_elsewhere_do_not() -> None:
    for check in (edges_at_depth_jumps, edges_at_disparity_steps):
        assert check(step_scene(32)) > 0.95
        assert check(step_scene(10)) < 0.5
    noise = step_scene(0) | {"edges": RANDOM.integers(0, 256, (1, 64, 64)).astype(np.uint8)}
    assert abs(edges_at_depth_jumps(noise) - 0.5) < 0.15


def test_outranks_is_the_share_of_pairs() -> None:
    upper, lower = np.tile([1.0, 3.0], 20), np.tile([2.0, 3.0], 20)
    assert outranks(upper, lower) == pytest.approx((0 + 0 + 1 + 0.5) / 4)
    assert np.isnan(outranks(upper[:3], lower))


def test_normals_of_a_plane_are_those_of_its_depth() -> None:
    K = intrinsics(60, 64, 64)
    normal = np.array([0.3, -0.5, -1.0])
    normal /= np.linalg.norm(normal)
    y, x = np.mgrid[:64, :64] + 0.5
    rays = np.stack([(x - 32) / 60, (y - 32) / 60, np.ones((64, 64))], -1)
    depth = (-3 / (rays @ normal)).astype(np.float32)
    columns = {
        "depth": depth[None],
        "normals": np.tile(normal, (1, 64, 64, 1)).astype(np.float16),
        "camera_K": K[None],
    }
    assert normals_of_depth(columns) < 0.5
    turned = normal @ np.array([[1, 0, 0], [0, np.cos(0.3), -np.sin(0.3)], [0, np.sin(0.3), np.cos(0.3)]])
    columns["normals"] = np.tile(turned, (1, 64, 64, 1)).astype(np.float16)
    angle = np.degrees(np.arccos(normal @ turned))
    assert normals_of_depth(columns) == pytest.approx(angle, abs=0.5)
    # Rows that are taken one after the other, from different places, are not held to it.
    assert np.isnan(normals_of_depth(columns | {"camera_shutter": np.array([[0.0, 0.01]])}))


def test_flow_of_a_shift_explains_it_and_leads_back() -> None:
    texture = RANDOM.integers(0, 256, (64, 72, 3)).astype(np.uint8)
    image = np.stack([texture[:, 4:68], texture[:, 1:65]])  # everything moves 3 pixels to the right
    right = np.tile(np.array([3, 0], np.float16), (2, 64, 64, 1))
    columns = {"image": image, "flow": right, "flow_backward": -right}
    assert flow_explains_change(columns) == pytest.approx(1)
    assert flow_there_and_back(columns) == 1
    columns |= {"flow": -right}
    assert flow_explains_change(columns) < 0.1
    assert flow_there_and_back(columns) == 0


def test_oddness_counts_robust_deviations() -> None:
    figures = np.full((101, 2), np.nan)
    figures[:, 0] = np.arange(101)  # median 50, median distance from it 25
    figures[7, 0] = 1000
    figures[3, 1] = 5  # one frame alone is not odd
    found = oddness(figures)
    assert found.score[7] == pytest.approx(950 / (1.4826 * 25), rel=0.05) and found.figure[7] == 0
    assert found.score[50] < 0.1 and (found.figure < 1).all()
    assert (oddness(np.full((20, 1), 3.0)).score == 0).all()


def test_histograms_merge_by_count_and_gaps_are_shares() -> None:
    whole = merged([Histogram((10.0, 0.0), 0, 1), Histogram((0.0, 30.0), 0, 2)])
    assert sum(whole.counts) == pytest.approx(40) and (whole.low, whole.high) == (0, 2)
    assert whole.up_to(np.array([0.5])) == pytest.approx(0.25)
    same, apart = Histogram((1.0, 1.0), 0, 1), Histogram((1.0,), 5, 6)
    assert gap(same, same) == 0 and gap(same, apart) == 1
    assert gap(same, Histogram((1.0, 0.0), 0, 1)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("lengths", "frames", "taken"),
    [((1,) * 100, 16, 16), ((64,) * 10, 16, 16), ((4, 30), 64, 34), ((), 8, 0), ((1, 1, 50), 20, 20)],
)
def test_a_sample_is_as_large_as_asked_and_no_frame_comes_twice(
    lengths: tuple[int, ...], frames: int, taken: int
) -> None:
    clips = [Span(f"s{k}", 0, length) for k, length in enumerate(lengths)]
    found = sample_spans(clips, frames)
    assert sum(s.stop - s.start for s in found) == taken
    assert len({s.shard for s in found}) == len(found)
    assert all(0 <= s.start < s.stop <= lengths[int(s.shard[1:])] for s in found)


@pytest.mark.slow
@pytest.mark.renders
def test_detectors_are_measured_on_the_renders_of_a_dataset(tmp_path: Path) -> None:
    render(
        tmp_path,
        1,
        RenderOptions(frames=5, size=(96, 96), seed=1),
        cluster=Cluster(workers=0),
        reporter=Reporter("quiet"),
    )
    dataset = Dataset(tmp_path)
    [name] = dataset.shards()
    found = {(m.label, m.detector): m for m in measure_detectors(dataset, [(name, 0, 5)], frames=5)}
    assert {label for label, _ in found} >= {"edges", "flow", "depth", "regions", "motion", "foreground"}
    depth = found["depth", "sensor_depth"]
    assert depth.labels > 5_000 and depth.wrong < 0.1 and depth.wrong_trusted <= depth.wrong
    for m in found.values():
        assert sum(count for count, _, _ in m.bins) == m.labels
        assert 0 <= m.ece <= 1 and m.meaning
