"""Of every detector each number is changed, by 30 % either way, and put back."""

from collections.abc import Mapping

import numpy as np
import pytest

from benchmarks.labels import sensitivity
from benchmarks.labels.sensitivity import FACTORS, changed, constants, scaled, sensitivity_rows
from benchmarks.labels.trials import Trial
from freelabels.generators import regions, saliency
from freelabels.generators.contract.clip import Clip
from freelabels.generators.regions import Superpixels


def test_numbers_are_scaled_and_whole_ones_stay_whole() -> None:
    assert [scaled(2.0, factor) for factor in FACTORS] == pytest.approx([1.4, 2.6])
    assert [scaled(1, factor) for factor in FACTORS] == [0, 2]  # by one at least
    assert scaled((-8, 8), 0.7) == (-6, 6)


def test_constants_are_the_numbers_that_a_module_defines_in_capitals() -> None:
    names = [name for _, name in constants((saliency,))]
    assert {"COLOUR", "FREE", "PRIOR", "WALL", "STEP"} <= set(names)  # STEP beside WALL, in one assignment
    assert all(np.isfinite(getattr(saliency, name)) for name in names)
    with changed(saliency, "PRIOR", 0.7):
        inside = saliency.PRIOR
    assert inside == pytest.approx(0.7 * saliency.PRIOR)


def test_each_number_has_a_row_either_way_and_what_does_not_run_is_nan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip = Clip(np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1), np.eye(3))

    def figure(made: dict[str, np.ndarray], truth: Mapping[str, np.ndarray]) -> float:
        seen.append(len(made))
        if len(seen) == 3:
            raise ValueError("a window of even width")
        return float(len(seen))

    seen: list[int] = []
    trial = Trial(Superpixels(), (regions,), "share", "more", {"renders": [(clip, {})]}, figure)
    monkeypatch.setattr(sensitivity, "trials", lambda data: [trial])
    rows = list(sensitivity_rows(None))
    numbers = [
        "count",
        "longest",
        "colour_tolerance",
        *(f"regions.{name}" for _, name in constants((regions,))),
    ]
    methods = [f"{name} × {factor}" for name in numbers for factor in FACTORS]
    assert [row["method"] for row in rows] == ["as it is", *methods]
    assert np.isnan(rows[2]["value"]) and np.isfinite([row["value"] for row in rows[3:]]).all()
