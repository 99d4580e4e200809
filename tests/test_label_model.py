"""Label models: reliabilities found without truth, and scores in closed form."""

import numpy as np
import pytest

from benchmarks.label_model import average_precision, calibration_error, dawid_skene


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
