"""Label models: reliabilities found without truth, and scores in closed form."""

import cv2
import numpy as np
import pytest

from benchmarks.label_model import average_precision, dawid_skene, methods, motion_votes
from benchmarks.labels.metrics import calibration_error
from freelabels.generators.contract.clip import Clip


def voters(count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """A third of the items are true; three independent voters are right with 0.9, 0.8 and 0.6."""
    random = np.random.default_rng(0)
    true = random.random(count) < 1 / 3
    right = random.random((3, count)) < np.array([[0.9], [0.8], [0.6]])
    return true, np.where(right, true, ~true).astype(np.int64)


def test_dawid_skene_finds_whom_to_believe_without_truth() -> None:
    true, votes = voters()
    weight = np.ones(len(true))
    belief = dawid_skene(votes, weight, votes.mean(axis=0))
    majority = votes.mean(axis=0) > 0.5
    assert ((belief > 0.5) == true).mean() > (majority == true).mean() + 0.02
    assert calibration_error(belief, true, weight) < 0.02


def test_dawid_skene_is_overconfident_where_voters_copy_each_other() -> None:
    true, votes = voters()
    copied, weight = votes[[1, 1, 1, 2]], np.ones(len(true))
    belief = dawid_skene(copied, weight, copied.mean(axis=0))
    assert calibration_error(belief, true, weight) > 0.1


def test_average_precision_counts_ties_together_and_weighs_items() -> None:
    true, weight = np.array([True, False, True, False]), np.array([1.0, 1.0, 3.0, 1.0])
    assert average_precision(np.array([4.0, 2.0, 3.0, 1.0]), true, weight) == (1.0, 1.0)
    precision, _ = average_precision(np.zeros(4), true, weight)
    assert precision == pytest.approx(4 / 6)


def test_cues_of_motion_are_votes_on_superpixels_that_a_moving_square_wins() -> None:
    random = np.random.default_rng(0)
    front, back = (
        cv2.resize(random.integers(0, 256, (32, 32, 3), dtype=np.uint8), (96, 96)) for _ in range(2)
    )
    frames, moving = np.repeat(back[None], 4, axis=0), np.zeros((4, 96, 96), bool)
    for t in range(4):
        square = slice(30, 66), slice(20 + 4 * t, 56 + 4 * t)
        frames[t][square], moving[t][square] = front[:36, :36], True
    given = motion_votes(iter([(Clip(frames, np.arange(4) / 25, np.eye(3)), moving)]))
    assert given.weight.sum() == 2 * 96 * 96  # the first and the last frame lack a direction
    assert np.average(given.true, weights=given.weight) == pytest.approx((36 / 96) ** 2, abs=0.03)
    scores = methods(given)
    assert set(scores) > {"flow, next alone", "colour, previous alone", "majority vote", "ours"}
    assert min(average_precision(score, given.true, given.weight)[0] for score in scores.values()) > 0.5


def test_calibration_error_is_the_gap_between_belief_and_truth_and_weighs_items() -> None:
    belief, right = np.array([0.95, 0.95, 0.15, 0.15]), np.array([True, False, False, False])
    assert calibration_error(belief, right) == pytest.approx((0.45 + 0.15) / 2)
    assert calibration_error(belief, right, np.array([1.0, 1.0, 6.0, 0.0])) == pytest.approx((0.9 + 0.9) / 8)
