"""Claims are judged by finished rows, seed by seed; what can't be judged is not run, never met."""

from typing import Any

import pytest

from freelabels.train.bench.claims import CLAIMS, Claim, Comparison, Verdict, judge, markdown, verdicts
from freelabels.train.bench.rows import ROWS

STAGES = ("conv1", "conv2")
NEAREST, DENSE, FEW = "nearest neighbours", "depth, linear a pixel", "linear, ridge, 1 % of the labels"
LOW = "low-shot, 1 a class"


def record(row: str, seed: int, **values: list[float | None]) -> dict[str, Any]:
    measures = {"nearest": (NEAREST, True), "dense": (DENSE, False), "few": (FEW, True), "low": (LOW, True)}
    tables = [
        {
            "data": "toy",
            "measure": measures[k][0],
            "unit": "%, accuracy" if measures[k][1] else "m",
            "higher_is_better": measures[k][1],
            "columns": [],
            "values": v,
        }
        for k, v in values.items()
    ]
    return {"row": row, "seed": seed, "tables": tables}


def pair(mine: dict[str, list[float | None]], theirs: dict[str, list[float | None]]) -> list[dict[str, Any]]:
    return [record(row, seed, **v) for row, v in (("free", mine), ("random", theirs)) for seed in (0, 1, 2)]


CLAIM = Claim("free beats random", "free", ("random",))


@pytest.mark.parametrize(
    ("mine", "theirs", "state"),
    [
        ({"nearest": [0.3, 0.5]}, {"nearest": [0.4, 0.2]}, "met"),  # by the best stage of each
        ({"nearest": [0.3, 0.5]}, {"nearest": [0.6, 0.2]}, "not met"),
        (
            {"dense": [0.2, None]},
            {"dense": [0.3, 0.4]},
            "met",
        ),  # an error: lower is better; None wasn't measured
        ({"dense": [0.4, 0.4]}, {"dense": [0.3, 0.4]}, "not met"),
        ({"nearest": [0.3, 0.5], "few": [0.1, 0.1]}, {"nearest": [0.4, 0.2], "few": [0.2, 0.1]}, "not met"),
    ],
)
def test_a_claim_is_met_if_its_row_is_better_everywhere(
    mine: dict[str, list[float | None]], theirs: dict[str, list[float | None]], state: str
) -> None:
    assert judge("a", CLAIM, pair(mine, theirs), STAGES).state == state


def test_named_stages_are_compared_one_by_one() -> None:
    records = pair({"nearest": [0.3, 0.5]}, {"nearest": [0.4, 0.2]})
    judged = judge("a", Claim("", "free", ("random",), stages=STAGES), records, STAGES)
    assert [(one.where, one.state) for one in judged.comparisons] == [
        (f"toy: {NEAREST}, conv1", "lost"),
        (f"toy: {NEAREST}, conv2", "won"),
    ]


def test_a_difference_within_the_spread_of_the_seeds_is_level() -> None:
    noisy = [record("free", seed, nearest=[0.5 + gain]) for seed, gain in enumerate((-0.1, 0.0, 0.12))]
    records = [*noisy, *(record("random", seed, nearest=[0.5]) for seed in (0, 1, 2))]
    assert judge("a", CLAIM, records, STAGES).state == "not met"
    level = judge("a", Claim("", "free", ("random",), equal=True), records, STAGES)
    assert (level.state, level.why) == ("met", "1 level")


def test_without_two_seeds_of_every_row_nothing_is_met() -> None:
    judged = judge("a", CLAIM, [record("free", 0, nearest=[0.9]), record("random", 0, nearest=[0.1])], STAGES)
    assert judged.state == "not run"
    assert "free, random" in judged.why
    assert {one.state for one in verdicts([], STAGES)} == {"not run"}


def test_a_row_without_seeds_or_figures_in_common_is_not_passed_over() -> None:
    claim = Claim("", "free", ("random", "rotation"))
    records = pair({"nearest": [0.5]}, {"nearest": [0.4]})
    elsewhere = [record("rotation", seed, nearest=[0.9]) for seed in (7, 8)]
    judged = judge("a", claim, records + elsewhere, STAGES)
    assert (judged.state, judged.why) == ("not run", "fewer than two seeds of rotation that free has too")
    for lacks in ({}, {"nearest": [float("nan")]}):
        unmeasured = [record("rotation", seed, dense=[0.9], **lacks) for seed in (0, 1)]
        judged = judge("a", claim, records + unmeasured, STAGES)
        assert judged.state == "not run"
        assert "free and rotation in toy:" in judged.why


def test_a_claim_on_some_measures_is_judged_by_those_alone() -> None:
    claim = Claim("", "free", ("random",), measures=("nearest",))
    better, worse = {"nearest": [0.5], "low": [0.1]}, {"nearest": [0.4], "low": [0.2]}
    assert judge("b", claim, pair(better, worse), STAGES).state == "met"
    assert judge("b", CLAIM, pair(better, worse), STAGES).state == "not met"


def test_the_weakest_comparison_stands_beside_the_claim_in_its_own_unit() -> None:
    records = pair({"nearest": [0.5, 0.5], "dense": [0.2, 0.2]}, {"nearest": [0.4, 0.4], "dense": [0.5, 0.5]})
    told = markdown([judge("a", CLAIM, records, STAGES)])
    assert "+10.0 ± 0.0 points against random, toy: nearest neighbours, best stage" in told
    assert str(Comparison("x", "toy", "m", -0.3, 0.1, 2)) == "-0.300 ± 0.100 m against x, toy"


def test_the_weakest_is_judged_by_its_interval_whatever_its_unit() -> None:
    sure, unsure = Comparison("x", "a", "°", 5.0, 10.0, 3), Comparison("x", "b", "%", -0.1, 0.01, 3)
    told = markdown([Verdict("a", "", "not met", "", (sure, unsure))])
    assert "-10.0 ± 1.0 points against x, b" in told


def test_claims_are_about_rows_that_there_are() -> None:
    assert {name for claims in CLAIMS.values() for one in claims for name in (one.row, *one.others)} <= set(
        ROWS
    )
